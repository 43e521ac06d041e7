//! The store of intent and reports: etcd and in-memory back ends, keyspace, watch cache, guards
