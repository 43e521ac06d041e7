//! No domain is here although this life holds the VM: how did it end?

use super::case::{Case, Next};
use super::types::EndKind;
use holdfast_model::host::{ExitKind, RunState};
use holdfast_model::lease::Claim;
use holdfast_model::vm::{Intent, Runner};

/// The grant was begun, or is not to be begun any more, and nothing of it is here.
pub(super) fn gone(case: &Case<'_>) -> Next {
    case.report(ending(case))
}

fn ending(case: &Case<'_>) -> RunState {
    if case.end == Some(&EndKind::MigratedAway) {
        return match case.owner.incoming {
            Some(_) => RunState::MigratedAway,
            None => crashed("it was migrated to a host that had given it up"),
        };
    }
    let asked_to_stop = matches!(case.owner.intent, Intent::Stop | Intent::Kill)
        || case.report == Some(&RunState::Stopping);
    if asked_to_stop {
        return RunState::Exited {
            how: ExitKind::Stopped,
        };
    }
    match case.end {
        Some(EndKind::StartFailed { reason }) => start_failed(reason),
        Some(EndKind::ClaimedBefore { reason, claim }) => claimed_before(reason, claim),
        Some(EndKind::GuestShutdown) => RunState::Exited {
            how: ExitKind::GuestShutdown,
        },
        Some(EndKind::Crashed { reason }) => crashed(reason),
        // Without a wish to stop it, the agent destroys only what outlived its right to run.
        Some(EndKind::Destroyed | EndKind::SelfFenced) => RunState::Exited {
            how: ExitKind::SelfFenced,
        },
        Some(EndKind::MigrationFailed { reason }) => {
            crashed(&format!("gone after its migration failed: {reason}"))
        }
        Some(EndKind::MigratedAway) | None => unseen(case.report),
    }
}

/// Nobody saw it end: what was last reported tells how far it had come.
fn unseen(report: Option<&RunState>) -> RunState {
    match report {
        None => start_failed("it was never started"),
        Some(RunState::Starting) => {
            crashed("the agent was restarted during its start, and nothing is left of it")
        }
        // Whether the destination has the latest memory cannot be told: it may have run on here
        // after the switch failed. So this is not `MigratedAway`.
        Some(RunState::MigratingOut) => {
            crashed("gone during its migration, and how that ended was not seen")
        }
        Some(
            RunState::Running
            | RunState::Paused { .. }
            | RunState::Stopping
            | RunState::MigrationFailed { .. }
            | RunState::Incoming { .. }
            | RunState::Unknown { .. },
        ) => crashed("its domain is gone; libvirt did not say why"),
        Some(RunState::MigratedAway) => RunState::MigratedAway,
        Some(RunState::NotHere) => RunState::NotHere,
        Some(RunState::Exited { how }) => RunState::Exited { how: how.clone() },
    }
}

fn crashed(reason: &str) -> RunState {
    RunState::Exited {
        how: ExitKind::Crashed {
            reason: reason.to_owned(),
        },
    }
}

fn start_failed(reason: &str) -> RunState {
    RunState::Exited {
        how: ExitKind::StartFailed {
            reason: reason.to_owned(),
        },
    }
}

fn claimed_before(reason: &str, claim: &Claim) -> RunState {
    let Some(holder) = &claim.holder else {
        return start_failed(reason);
    };
    RunState::Exited {
        how: ExitKind::ClaimedBefore {
            reason: reason.to_owned(),
            generation: claim.generation,
            runner: Runner {
                host: holder.host.clone(),
                incarnation: holder.incarnation.clone(),
            },
        },
    }
}
