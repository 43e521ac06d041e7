//! Calls under way: one per VM, so a VM with one is left alone, with two exceptions. A shutdown
//! that takes too long, or whose grant is gone, becomes a destroy; a migration that is no longer
//! wanted is aborted.

use super::case::{Next, Seat};
use super::strays;
use super::types::{Action, Domain, HostWorld, Job};
use holdfast_model::id::VmName;
use holdfast_model::vm::Intent;

/// There is no call under way for the VM, or none that counts any more: a guest that was asked to
/// shut down and has gone, or was asked too long ago and is wanted again.
pub(super) fn is_over(world: &HostWorld, vm: &VmName, domain: Option<&Domain>) -> bool {
    match world.jobs.get(vm) {
        None => true,
        Some(Job::Shutdown { since }) => {
            let grace_over = world.now.since(*since) >= world.restart.shutdown_grace_ms;
            domain.is_none() || (grace_over && !wanted_down(world, vm))
        }
        Some(
            Job::Start { .. }
            | Job::TakeOver { .. }
            | Job::Resume { .. }
            | Job::Destroy
            | Job::Migrate { .. },
        ) => false,
    }
}

/// The grant of this life, if there is one, says anything but that the VM should be up.
fn wanted_down(world: &HostWorld, vm: &VmName) -> bool {
    match Seat::of(world, vm, None) {
        Seat::Holder(case) => matches!(case.owner.intent, Intent::Stop | Intent::Kill),
        Seat::NotKnown => false,
        Seat::NoSession { .. }
        | Seat::Elsewhere { .. }
        | Seat::EarlierLife { .. }
        | Seat::Incoming(_) => true,
    }
}

/// A call is under way.
pub(super) fn under_way(world: &HostWorld, vm: &VmName, seat: &Seat<'_>) -> Next {
    match world.jobs.get(vm) {
        Some(Job::Shutdown { since }) => {
            let domain = world.domains.as_ref().and_then(|domains| domains.get(vm));
            let forgotten = domain.and_then(|domain| strays::forgotten(world, vm, domain));
            forgotten.unwrap_or_else(|| shutting_down(world, seat, *since))
        }
        Some(Job::Migrate {
            generation,
            aborting: false,
        }) => match seat {
            Seat::NotKnown => Next::nothing(),
            Seat::Holder(case)
                if case.generation() == *generation && case.owner.intent == Intent::Migrate =>
            {
                Next::nothing()
            }
            Seat::Holder(_)
            | Seat::Incoming(_)
            | Seat::NoSession { .. }
            | Seat::Elsewhere { .. }
            | Seat::EarlierLife { .. } => Next::act(Action::AbortMigration),
        },
        Some(
            Job::Start { .. }
            | Job::TakeOver { .. }
            | Job::Resume { .. }
            | Job::Destroy
            | Job::Migrate { aborting: true, .. },
        )
        | None => Next::nothing(),
    }
}

fn shutting_down(world: &HostWorld, seat: &Seat<'_>, since: holdfast_model::time::Instant) -> Next {
    let grace_ms = world.restart.shutdown_grace_ms;
    match seat {
        Seat::NotKnown => Next::nothing(),
        Seat::Holder(case) => {
            if case.owner.intent == Intent::Kill {
                return Next::destroy("its guest was shutting down and is past waiting for");
            }
            let over_at = since.plus(grace_ms);
            let stop = case.owner.intent == Intent::Stop;
            if stop && world.now >= over_at {
                let why = format!("it did not shut down within {grace_ms} ms");
                return Next::act(Action::Destroy { why });
            }
            Next::nothing().wake_at(over_at)
        }
        Seat::Incoming(_)
        | Seat::NoSession { .. }
        | Seat::Elsewhere { .. }
        | Seat::EarlierLife { .. } => Next::destroy("it was shutting down and its grant is gone"),
    }
}
