//! Intent `Run`: start it if this grant was never started here, else keep it running.
//!
//! ```text
//! no report ──(Starting durable)── Start ──> Created ── resumed ──> Running
//! Incoming{complete} of the grant before ──(Starting durable)── TakeOver ──> Running
//! Paused by a migration, and the migration is settled ── Resume ──> Running
//! Paused by an I/O error or by hand ── reported, left as it is
//! Paused by an I/O error, and intent `Resume` ── Resume ──> Running
//! ```

use super::case::{Case, Next};
use super::exits;
use super::types::{Action, Domain, DomainState};
use holdfast_model::host::{ExitKind, PauseReason, RunState};
use holdfast_model::vm::Intent;

/// Nothing is here: start it, or say how it ended.
pub(super) fn absent(case: &Case<'_>) -> Next {
    if case.report.is_some() || case.end.is_some() {
        return exits::gone(case);
    }
    if let Some(stored) = case.stored {
        let this_life = stored.incarnation == *case.life;
        if this_life && stored.generation > case.generation() {
            // The store went backwards. Nothing old is started; a leader must grant above it.
            return Next::nothing();
        }
        if !this_life && stored.generation >= case.generation() {
            return exited(case, "an earlier life of this host has had this grant");
        }
        let received = RunState::Incoming { complete: true };
        if this_life && stored.state == received && stored.generation.next() == case.generation() {
            return exited(
                case,
                "what the migration brought was gone before it was taken over",
            );
        }
    }
    if case.spec.is_none() {
        let reason = "its definition is gone".to_owned();
        return case.report(RunState::Exited {
            how: ExitKind::StartFailed { reason },
        });
    }
    if !case.may_set_going() {
        return Next::nothing();
    }
    case.report(RunState::Starting).then(Action::Start {
        generation: case.generation(),
    })
}

fn exited(case: &Case<'_>, reason: &str) -> Next {
    case.report(RunState::Exited {
        how: ExitKind::Crashed {
            reason: reason.to_owned(),
        },
    })
}

/// A domain of this very grant is here.
pub(super) fn present(case: &Case<'_>, domain: &Domain) -> Next {
    let generation = case.generation();
    match domain.state {
        DomainState::Running => case.report(RunState::Running),
        DomainState::ShuttingDown => match case.report {
            // Asked by us, or by whoever is inside: it ends soon, and its end is reported.
            Some(RunState::Stopping) => Next::nothing(),
            _ => case.report(RunState::Running),
        },
        // An agent before us created or restamped it and did not come to the resume.
        DomainState::Created => set_going(case, Action::Resume { generation }),
        DomainState::Received => set_going(case, Action::TakeOver { generation }),
        DomainState::Paused {
            reason: PauseReason::Migration,
        } => set_going(case, Action::Resume { generation }),
        DomainState::Paused { reason } => case.report(RunState::Paused { reason }),
        DomainState::Receiving => {
            Next::destroy("a migration brings in a VM that this host holds already")
        }
    }
}

/// Intent `Resume`, and a domain of this grant is here: what an I/O error paused goes on.
pub(super) fn to_resume(case: &Case<'_>, domain: &Domain) -> Next {
    let generation = case.generation();
    match domain.state {
        DomainState::Paused {
            reason: PauseReason::IoError,
        } => set_going(case, Action::Resume { generation }),
        _ => present(case, domain),
    }
}

/// `Starting` stands in the store before vCPUs go, unless an earlier report already says that a
/// domain of this grant is here. While a migration is not settled nothing goes: the destination
/// may have the whole VM.
fn set_going(case: &Case<'_>, action: Action) -> Next {
    if !case.may_set_going() || case.owner.incoming.is_some() {
        return Next::nothing();
    }
    match case.report {
        None => case.report(RunState::Starting).then(action),
        Some(_) => Next::act(action),
    }
}

/// The domain is of an earlier grant: it was received and is to be taken over, or it is a stray.
///
/// The commit of a migration and a cold start look alike in the owner record. What tells them
/// apart is this host's own word on the grant before: only a destination that said "received
/// whole", and has not taken it back, is granted the takeover of what it has.
pub(super) fn older_than_the_grant(case: &Case<'_>, domain: &Domain) -> Next {
    let generation = case.generation();
    let announced = case.stored.is_some_and(|stored| {
        stored.incarnation == *case.life
            && stored.generation == domain.generation
            && stored.state == RunState::Incoming { complete: true }
    });
    // Written by us right before a takeover that did not come to the restamp.
    let begun = case.report == Some(&RunState::Starting);
    let received = domain.state == DomainState::Received && domain.generation.next() == generation;
    let wanted = case.owner.intent == Intent::Run;
    if received && wanted && (announced || begun) {
        return set_going(case, Action::TakeOver { generation });
    }
    Next::act(Action::Destroy {
        why: format!(
            "it is of generation {}, the grant is {generation}",
            domain.generation
        ),
    })
}

/// The store has forgotten a grant that the domain carries (it was restored from a backup). The
/// record still names this host, so nobody else may run it; a person must look.
pub(super) fn newer_than_the_grant(case: &Case<'_>, domain: &Domain) -> Next {
    let reason = format!(
        "the domain carries generation {}, the store knows only {}: was the store restored from a \
         backup? Destroy the domain by hand, or raise the VM's generation above the domain's",
        domain.generation,
        case.generation()
    );
    case.report(RunState::Unknown { reason })
}
