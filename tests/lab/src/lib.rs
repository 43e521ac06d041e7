//! The two-site lab in namespaces on one machine
