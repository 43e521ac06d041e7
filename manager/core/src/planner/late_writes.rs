//! Late writes: what storage may still deliver of a VM that has stopped, for the policy's settle time.
//!
//! The time counts from when this manager first saw the proof of the end, whatever it was: that is later than the
//! end, and a new leader that saw it later waits longer. The life of a host on which the VM ended, and that is there
//! itself, reads what it has written: a start there waits for nothing.

use super::facts::{Resolution, proof};
use holdfast_model::id::VmName;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Owner, Runner};
use holdfast_model::world::{Seen, World};

/// How a VM's last grant ended.
#[derive(Clone, Copy)]
pub(super) struct Ended<'a> {
    /// Since when that is known here.
    since: Instant,
    /// The life that said itself that it is over.
    here: Option<&'a Runner>,
}

impl<'a> Ended<'a> {
    /// By what proves that its holder has stopped.
    pub fn of(world: &World, vm: &VmName, owner: &'a Owner, holder: &'a Runner) -> Option<Self> {
        let (how, since) = proof(world, vm, owner, holder)?;
        let itself = !matches!(how, Resolution::Fenced(_));
        Some(Self {
            since,
            here: itself.then_some(holder),
        })
    }

    /// Nobody holds it, and who did is not known any more.
    pub fn before(owner: &Seen<Owner>) -> Self {
        Self {
            since: owner.seen_at,
            here: None,
        }
    }

    /// Until when a start there has to wait; none if it may go ahead.
    pub fn holds(&self, world: &World, to: &Runner) -> Option<Instant> {
        let until = self.since.plus(world.policy.storage.settle_wait_ms());
        (world.now < until && self.here != Some(to)).then_some(until)
    }
}
