//! The storm brake: when most hosts of more than one site fall silent together, it is rather the network
//! or this manager that fails than the hosts. Nothing is given up for a while, so that a short outage
//! does not become a restart of everything. A single site's loss is what Holdfast is for, and never
//! braked; nor is what an operator vouches for, or what hosts say themselves.
//!
//! Hosts do not come back all at the same instant. One that did while others are silent counts as
//! silent for a moment longer, so that the rest, which are about to come back as well, are not given up
//! because they have just become few.

use super::draft::Draft;
use super::facts::{open_session, site_of};
use super::suspect;
use holdfast_model::host::{HostState, Membership, Session};
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen};
use std::collections::BTreeSet;

/// Whether it holds now: what to say, and until when at the most.
pub(super) fn holds(draft: &Draft) -> Option<(String, Instant)> {
    let world = draft.world;
    let policy = &world.policy.fencing;
    let suspect_after_ms = draft.timing.suspect_after_ms;
    let sessions = || {
        let hosts = world.hosts.iter();
        hosts.filter_map(|(name, host)| Some((name, host, open_session(host)?)))
    };
    // One that only this leader asks in vain may be the first sign of what is about to take many.
    let is_silent = |name, session| {
        suspect::is_suspect(world, &draft.timing, name, session)
            || suspect::is_unanswered(world, &draft.timing, name, session)
    };
    let fell_silent = || {
        let silent = sessions().filter(|(name, _, session)| is_silent(name, session));
        silent.map(|(_, _, session)| session.seen_at.max(world.view_since))
    };
    let (first, last) = (fell_silent().min()?, fell_silent().max()?);
    let came_back = |state: &Seen<HostState>| {
        let lately = world.now.since(state.seen_at) < suspect_after_ms;
        state.value.membership == Membership::Suspect || (state.seen_at > first && lately)
    };
    let (mut open, mut silent) = (0usize, 0usize);
    let mut sites = BTreeSet::new();
    for (name, host, session) in sessions() {
        open += 1;
        let back = host.state.as_ref().is_some_and(came_back);
        if is_silent(name, session) || back || is_held_down(host, session) {
            silent += 1;
            sites.extend(site_of(world, name));
        }
    }
    let too_many = silent * 100 > open * policy.storm_percent as usize;
    if !too_many || sites.len() < 2 {
        return None;
    }
    let until = last.plus(policy.storm_hold_ms);
    let text = format!(
        "{silent} of {open} hosts at {} sites fell silent together or are just back: rather the network \
         than the hosts; nothing is given up until {:.0} s have passed, they are back, or an operator says so (`holdfast \
         host confirm-off`)",
        sites.len(),
        policy.storm_hold_ms as f64 / 1000.0
    );
    (world.now < until).then_some((text, until))
}

/// It was given up and is back: what took it may still hold the others.
fn is_held_down(host: &HostView, session: &Seen<Session>) -> bool {
    host.state.as_ref().is_some_and(|state| {
        let back = matches!(
            state.value.membership,
            Membership::Rejoining | Membership::Isolated | Membership::Fenced
        );
        back || state.value.incarnation != session.value.incarnation
    })
}
