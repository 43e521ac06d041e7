//! What a grant knows of the grants before it: a VM's sector on the lease volume is taken only by a grant
//! that knows the claim standing there ([`lease::claim`](crate::lease::claim)).
//!
//! What stands there is the claim of the last grant that was reported to run, or of a later one that
//! may have got as far as its claim. A write that hung may land late, so two older ones are known besides.

use super::facts::report_of;
use holdfast_model::host::RunState;
use holdfast_model::id::VmName;
use holdfast_model::lease::StorageClass;
use holdfast_model::vm::{Owner, PastGrant};
use holdfast_model::world::World;

/// Grants that are remembered of a VM that no host gets to run. With the longest pause between two
/// attempts that is a day of them.
const FOLLOWS_MAX: usize = 64;
/// Grants that are remembered from before the last one that ran.
const OLDER: usize = 2;

/// The memory of `new`, written over `old`. A grant without a storage lease claims nothing.
pub(super) fn after(world: &World, vm: &VmName, old: &Owner, new: &Owner) -> Vec<PastGrant> {
    let over = new.generation != old.generation || new.holder != old.holder;
    let past = old.holder.as_ref().filter(|_| over);
    let Some(runner) = past.filter(|_| old.lease == StorageClass::Quorum) else {
        return old.follows.clone();
    };
    let report = report_of(world, vm, old.generation, runner);
    let newest = PastGrant {
        generation: old.generation,
        runner: runner.clone(),
        ran: report.is_some_and(|report| runs(&report.state)),
    };
    let mut follows: Vec<PastGrant> = [newest].into_iter().chain(old.follows.clone()).collect();
    match follows.iter().position(|grant| grant.ran) {
        Some(sure) => {
            follows.truncate(sure + 1 + OLDER);
            if sure >= FOLLOWS_MAX {
                follows.remove(sure - 1);
            }
        }
        None => follows.truncate(FOLLOWS_MAX),
    }
    follows
}

/// The claim comes before the first resume. An end says nothing of that: a grant may end before it is
/// begun.
fn runs(state: &RunState) -> bool {
    match state {
        RunState::Running
        | RunState::Paused { .. }
        | RunState::Stopping
        | RunState::MigratingOut
        | RunState::MigrationFailed { .. }
        | RunState::MigratedAway => true,
        RunState::Starting
        | RunState::Incoming { .. }
        | RunState::NotHere
        | RunState::Exited { .. }
        | RunState::Unknown { .. } => false,
    }
}
