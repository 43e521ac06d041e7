//! Intents `Migrate` and `AbortMigration`, at the source.
//!
//! ```text
//! Running ──(MigratingOut durable)── Migrate ──> gone: MigratedAway (see exits)
//!                                         └────> here: MigrationFailed, running or paused
//! MigrationFailed ── leader: AbortMigration ── destination: NotHere ── leader: Run ──> resumed
//! ```
//! A source that stands paused after a failed migration is not resumed here: the destination may
//! have the whole VM, and only the leader knows when it has given up.

use super::case::{Case, Next};
use super::run;
use super::types::{Action, Domain, DomainState, EndKind};
use holdfast_model::host::{PauseReason, RunState};

/// The VM is to leave, and its domain is here.
pub(super) fn source(case: &Case<'_>, domain: &Domain) -> Next {
    let Some(destination) = &case.owner.incoming else {
        return run::present(case, domain);
    };
    if case.report == Some(&RunState::MigratingOut) {
        return ended_here(case, domain);
    }
    if matches!(case.report, Some(RunState::MigrationFailed { .. })) {
        return Next::nothing();
    }
    match domain.state {
        DomainState::Running if case.world.now < case.world.may_act_until => {
            case.report(RunState::MigratingOut).then(Action::Migrate {
                generation: case.generation(),
                to: destination.host.clone(),
            })
        }
        DomainState::Running => Next::nothing(),
        DomainState::Paused { .. } => failed(case, "it is paused: resume or restart it first"),
        DomainState::ShuttingDown => failed(case, "its guest is shutting down"),
        DomainState::Created | DomainState::Received | DomainState::Receiving => {
            failed(case, "it has not been started yet")
        }
    }
}

/// A migration was under way, its call has ended, and the domain is still here.
fn ended_here(case: &Case<'_>, domain: &Domain) -> Next {
    match case.end {
        Some(EndKind::MigratedAway) if domain.state.stands_still() => {
            Next::destroy("it was migrated away; what is left here is an old copy")
        }
        Some(EndKind::MigratedAway) => {
            failed(case, "libvirt reported success, yet the VM still runs here")
        }
        Some(EndKind::MigrationFailed { reason }) => failed(case, reason),
        Some(
            EndKind::StartFailed { .. }
            | EndKind::ClaimedBefore { .. }
            | EndKind::GuestShutdown
            | EndKind::Crashed { .. }
            | EndKind::Destroyed
            | EndKind::SelfFenced,
        )
        | None => failed(case, "the agent was restarted during the migration"),
    }
}

/// The leader called it off, and the domain is here.
pub(super) fn aborted(case: &Case<'_>, domain: &Domain) -> Next {
    match (case.report, domain.state) {
        (Some(RunState::MigrationFailed { .. }), _) => Next::nothing(),
        (Some(RunState::MigratingOut), _) => ended_here(case, domain),
        (
            _,
            DomainState::Paused {
                reason: PauseReason::Migration,
            },
        ) => failed(case, "it was called off"),
        // It had not begun.
        (_, DomainState::Running | DomainState::ShuttingDown) => case.report(RunState::Running),
        (_, DomainState::Paused { reason }) => case.report(RunState::Paused { reason }),
        (_, DomainState::Created | DomainState::Receiving | DomainState::Received) => {
            Next::nothing()
        }
    }
}

fn failed(case: &Case<'_>, reason: &str) -> Next {
    case.report(RunState::MigrationFailed {
        reason: reason.to_owned(),
    })
}
