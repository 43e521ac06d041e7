//! The destination of a live migration: it receives, says what it has, and never lets it run.
//!
//! ```text
//! Receiving: Incoming{complete: false} ──> Received: Incoming{complete: true} ──> a new grant (run)
//!                                    └──── called off, or lost: destroyed, NotHere (final)
//! ```

use super::case::{Case, Next};
use super::types::{Domain, DomainState};
use holdfast_model::host::RunState;
use holdfast_model::vm::Intent;

/// This life of this host is `incoming`.
pub(super) fn next(case: &Case<'_>) -> Next {
    if case.report == Some(&RunState::NotHere) {
        // The promise was that nothing of this grant will be accepted any more.
        return match case.domain {
            Some(_) => Next::destroy("it arrived after this host had declined it"),
            None => Next::nothing(),
        };
    }
    match (case.owner.intent, case.domain) {
        (Intent::AbortMigration, Some(_)) => Next::destroy("its migration was called off"),
        (Intent::AbortMigration, None) => case.report(RunState::NotHere),
        // Before the first sign of it there is nothing to say; afterwards it was lost.
        (Intent::Migrate | Intent::Run | Intent::Resume | Intent::Stop | Intent::Kill, None) => {
            match case.report {
                Some(_) => case.report(RunState::NotHere),
                None => Next::nothing(),
            }
        }
        (
            Intent::Migrate | Intent::Run | Intent::Resume | Intent::Stop | Intent::Kill,
            Some(domain),
        ) => receiving(case, domain),
    }
}

fn receiving(case: &Case<'_>, domain: &Domain) -> Next {
    if domain.generation != case.generation() {
        return Next::destroy("it is not of the grant that is migrating here");
    }
    match domain.state {
        // Paused and not known to be whole.
        DomainState::Receiving | DomainState::Paused { .. } => {
            case.report(RunState::Incoming { complete: false })
        }
        DomainState::Received => case.report(RunState::Incoming { complete: true }),
        DomainState::Running | DomainState::ShuttingDown | DomainState::Created => {
            Next::destroy("it runs at the destination before the ownership moved")
        }
    }
}
