//! The store of intent and reports.
//!
//! - [`api`]: the trait, with its two back ends `etcd` and `memory` under one contract test
//! - [`keyspace`]: every key is spelled here and nowhere else
#![warn(missing_docs)]

pub mod api;
pub mod keyspace;
