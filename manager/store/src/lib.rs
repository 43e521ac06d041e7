//! The store of intent and reports.
//!
//! - [`api`]: the trait, with its two back ends [`etcd`] and [`memory`] under one contract test
//! - [`keyspace`]: every key is spelled here and nowhere else
//! - [`record`], [`view`], [`cache`]: the store's records decoded and kept current, with the times at which
//!   this process first saw them
//! - [`components`]: what extensions run, in pieces
//! - [`guarded`]: a heartbeat key whose every write is guarded by the last; [`session`] and
//!   [`leadership`] are the two uses of it, [`run`] the loop
//!   that carries out what they ask
//! - [`guards`]: the transactions of planner steps and of hosts' reports; [`errands`]: those by which one manager
//!   asks a fencing device for another
//! - [`clock`]: the only place that reads a clock
//!
//! What is absent: no decision about VMs or hosts, no write that is not guarded, no use of etcd's
//! leases (they restart on a change of etcd's leader).
#![warn(missing_docs)]

pub mod api;
pub mod cache;
pub mod clock;
pub mod components;
pub mod errands;
pub mod etcd;
pub mod events;
pub mod freshness;
pub mod guarded;
pub mod guards;
pub mod keyspace;
pub mod leadership;
pub mod memory;
pub mod record;
pub mod run;
pub mod session;
pub mod view;

pub use api::{Store, StoreError, Txn, TxnOutcome};
