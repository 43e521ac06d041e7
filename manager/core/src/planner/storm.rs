//! The storm brake: when most hosts of more than one site fall silent together, it is rather the network
//! or this manager that fails than the hosts. Nothing is given up for a while, so that a short outage
//! does not become a restart of everything. A single site's loss is what Holdfast is for, and never
//! braked; nor is what an operator vouches for, or what hosts say themselves.

use super::draft::Draft;
use super::facts::{open_session, silence_ms, site_of};
use holdfast_model::host::{Membership, Session};
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen};
use std::collections::BTreeSet;

/// Whether it holds now: what to say, and until when at the most.
pub(super) fn holds(draft: &Draft) -> Option<(String, Instant)> {
    let world = draft.world;
    let policy = &world.policy.fencing;
    let suspect_after_ms = draft.timing.suspect_after_ms;
    let (mut open, mut silent) = (0usize, 0usize);
    let mut sites = BTreeSet::new();
    let mut last: Option<Instant> = None;
    for (name, host) in &world.hosts {
        let Some(session) = open_session(host) else {
            continue;
        };
        open += 1;
        let is_silent = silence_ms(world, session) >= suspect_after_ms;
        if is_silent {
            let since = session.seen_at.max(world.view_since);
            last = last.max(Some(since));
        }
        if is_silent || is_just_back(host, session) {
            silent += 1;
            sites.extend(site_of(world, name));
        }
    }
    let too_many = silent * 100 > open * policy.storm_percent as usize;
    if !too_many || sites.len() < 2 {
        return None;
    }
    let until = last?.plus(policy.storm_hold_ms);
    let text = format!(
        "{silent} of {open} hosts at {} sites fell silent together or are just back: rather the network \
         than the hosts; nothing is given up until {:.0} s have passed, they are back, or an operator says so (`holdfast \
         host confirm-off`)",
        sites.len(),
        policy.storm_hold_ms as f64 / 1000.0
    );
    (world.now < until).then_some((text, until))
}

/// It was silent a moment ago: what took it may still hold the others.
fn is_just_back(host: &HostView, session: &Seen<Session>) -> bool {
    host.state.as_ref().is_some_and(|state| {
        let back = matches!(
            state.value.membership,
            Membership::Rejoining | Membership::Isolated | Membership::Fenced
        );
        back || state.value.incarnation != session.value.incarnation
    })
}
