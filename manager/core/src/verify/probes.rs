//! What probes let a leader suspect, read again from the world.

use super::{Found, Rule};
use holdfast_model::host::{HostState, Membership, Session, SessionState};
use holdfast_model::id::HostName;
use holdfast_model::world::{Seen, World};
use std::collections::BTreeSet;

/// Silent for as long as suspicion takes, by its session or by what two managers at different sites found.
pub(super) fn is_suspect(world: &World, host: &HostName, session: &Seen<Session>) -> bool {
    let timing = world.policy.timing.resolve();
    let silence_ms = world.now.since(session.seen_at.max(world.view_since));
    if silence_ms >= timing.suspect_after_ms {
        return true;
    }
    let probe_ms = timing.probe_suspect_ms;
    let overdue = silence_ms >= probe_ms && silence_ms * 4 >= timing.heartbeat_ms * 5;
    if probe_ms == 0 || !overdue || answers(world, host, session) {
        return false;
    }
    let mut sites = BTreeSet::new();
    for vantage in world.probes.values() {
        let Some(silence) = vantage.silent.get(host) else {
            continue;
        };
        let age_ms = world.now.since(silence.since);
        let beat_later_ms = session.seen_at.since(silence.since);
        let counts = silence.incarnation == session.value.incarnation
            && silence.for_ms.min(age_ms) >= probe_ms
            && age_ms < probe_ms + timing.suspect_after_ms
            && beat_later_ms < probe_ms / 2;
        if counts {
            sites.insert(&vantage.site);
        }
    }
    sites.len() >= 2
}

/// The host answered the leader itself a moment ago.
pub(super) fn answers(world: &World, host: &HostName, session: &Seen<Session>) -> bool {
    let within_ms = world.policy.timing.resolve().probe_suspect_ms;
    let own = world.probes.get(&world.leader);
    own.and_then(|own| own.heard.get(host))
        .is_some_and(|heard| {
            let age_ms = world.now.since(heard.at);
            heard.incarnation == session.value.incarnation && age_ms < within_ms
        })
}

/// A host is called suspect only while it is.
pub(super) fn state(world: &World, host: &HostName, state: &HostState, found: &mut Found) {
    if state.membership != Membership::Suspect {
        return;
    }
    let session = world.hosts.get(host).and_then(|view| view.session.as_ref());
    let silent = session.is_some_and(|session| {
        session.value.state == SessionState::Open
            && session.value.incarnation == state.incarnation
            && is_suspect(world, host, session)
    });
    found.unless(silent, Rule::SuspectInSilence, || {
        format!("{host} is called suspect and is not silent")
    });
}
