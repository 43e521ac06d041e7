//! The simulated cluster and the scenario runner.
//!
//! - [`sim`]: managers, agents and guards with the production cores, on simulated machines, links,
//!   hypervisors and a store in memory, in virtual time. Single-threaded; the same input gives the
//!   same run.
//! - [`scenario`]: text in, golden text out.
//! - [`random`]: random faults from a seed, recorded as scenarios.
#![warn(missing_docs)]

pub mod random;
pub mod scenario;
pub mod sim;
