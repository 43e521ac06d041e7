//! The guardian: what one host does next, given its grants and what it finds running.
//!
//! ```text
//! grants (etcd) ─┐
//! domains ───────┼─> decide() ─> reports to write, actions to take, when to wake
//! own reports ───┘
//! ```
//! A grant is a (VM, generation) whose owner record names this host and its present incarnation.
//! A generation is started at most once on a host: `Starting` is written durably before the domain
//! is created, so an agent that comes back knows that it may have run.
//!
//! The runner's deadline is a state machine of its own, [`deadline`], run by the guard.

pub mod deadline;
mod types;

pub use types::*;

/// Decides. The same world always gives the same decision.
pub fn decide(world: &HostWorld) -> Decision {
    let _ = world;
    Decision::default()
}
