//! Membership: which hosts are there, and whether they may take VMs.
//!
//! ```text
//!      missed heartbeats, or probes     evidence
//!   Online ───────────────────> Suspect ────────> Fenced
//!     ^  ^                        │                 │ clean session
//!     │  └────── heartbeat ───────┘                 v
//!     └──────────── hold-down passed ────────── Rejoining
//!   any of them <── drain / resume ──> Maintenance
//! ```

use super::draft::Draft;
use super::facts::{is_drained, open_session};
use super::fencing::losses_after;
use super::suspect::{suspect_at, suspicion};
use holdfast_model::event::EventKind;
use holdfast_model::host::{HostState, Membership, Session};
use holdfast_model::id::HostName;
use holdfast_model::plan::{PlannerStep, Subject};
use holdfast_model::world::{HostView, Seen};

pub(super) fn step(draft: &mut Draft) {
    let world = draft.world;
    for (name, host) in &world.hosts {
        if draft.host_done(name) {
            continue;
        }
        let Some(session) = open_session(host) else {
            continue;
        };
        let Some((next, reason)) = next(draft, name, host, session) else {
            continue;
        };
        set(draft, name, host, session, next, reason);
    }
}

/// The membership a host should change to, with the reason.
fn next(
    draft: &mut Draft,
    name: &HostName,
    host: &HostView,
    session: &Seen<Session>,
) -> Option<(Membership, String)> {
    let drained = is_drained(host);
    let fresh = if drained {
        Membership::Maintenance
    } else {
        Membership::Online
    };
    let Some(state) = &host.state else {
        return Some((fresh, "joined".to_owned()));
    };
    if state.value.incarnation != session.value.incarnation {
        return Some((
            Membership::Rejoining,
            "back with a clean session".to_owned(),
        ));
    }
    let current = state.value.membership;
    if let Some(why) = suspicion(draft.world, &draft.timing, name, session) {
        let text = why.to_string();
        return (current != Membership::Suspect).then_some((Membership::Suspect, text));
    }
    draft.wake_at(suspect_at(draft.world, &draft.timing, name, session));
    match current {
        Membership::Online | Membership::Maintenance if current == fresh => None,
        Membership::Online => Some((Membership::Maintenance, "drained by an operator".to_owned())),
        Membership::Maintenance => Some((Membership::Online, "resumed by an operator".to_owned())),
        Membership::Suspect if state.value.losses == 0 => {
            Some((fresh, "its heartbeats are back".to_owned()))
        }
        Membership::Suspect | Membership::Isolated | Membership::Fenced => {
            Some((Membership::Rejoining, "its heartbeats are back".to_owned()))
        }
        Membership::Rejoining => held_down(draft, name, state, fresh),
    }
}

/// A returning host waits until it has been well for the hold-down.
fn held_down(
    draft: &mut Draft,
    name: &HostName,
    state: &Seen<HostState>,
    fresh: Membership,
) -> Option<(Membership, String)> {
    let hold_ms = draft
        .world
        .policy
        .rejoin
        .hold_down_for_ms(state.value.losses);
    let until = state.seen_at.plus(hold_ms);
    if draft.world.now < until {
        let text = format!(
            "held down for {:.0} s after its return",
            hold_ms as f64 / 1000.0
        );
        draft.wait(
            PlannerStep::Membership,
            Subject::Host(name.clone()),
            text,
            until,
        );
        return None;
    }
    Some((fresh, format!("well for {:.0} s", hold_ms as f64 / 1000.0)))
}

fn set(
    draft: &mut Draft,
    name: &HostName,
    host: &HostView,
    session: &Seen<Session>,
    membership: Membership,
    reason: String,
) {
    let known = host.state.as_ref().map(|state| &state.value);
    let same_life = known.is_some_and(|state| state.incarnation == session.value.incarnation);
    let was_fenced = known
        .is_some_and(|state| matches!(state.membership, Membership::Isolated | Membership::Fenced));
    let losses = match known {
        None => 0,
        // The loss was counted when it was fenced.
        Some(state) if same_life || was_fenced => state.losses,
        Some(_) => losses_after(draft, host),
    };
    let state = HostState {
        membership,
        incarnation: session.value.incarnation.clone(),
        boot_id: session.value.boot_id.clone(),
        losses,
        reason: reason.clone(),
    };
    let kind = match membership {
        Membership::Online => EventKind::HostOnline,
        Membership::Suspect => EventKind::HostSuspect,
        Membership::Isolated => EventKind::HostIsolated,
        Membership::Fenced => EventKind::HostFenced,
        Membership::Rejoining => EventKind::HostRejoining,
        Membership::Maintenance => EventKind::HostMaintenance,
    };
    let event = draft.host_event(kind, name, format!("{name}: {reason}"));
    let write = draft.host_state_write(name, state);
    draft.push(
        format!("{name} is {membership:?}: {reason}").to_lowercase(),
        vec![write],
        vec![event],
    );
}
