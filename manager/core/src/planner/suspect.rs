//! Which hosts are suspect: by their heartbeats alone, or sooner, where managers ask them directly.
//!
//! ```text
//! session silent for suspect_after ─────────────────────────────────────────────┐
//! session silent for a heartbeat and a quarter, and                             ├─> suspect
//!   probes of two managers at different sites unanswered for probe_suspect ─────┘
//!   and the leader's own not answered
//! ```
//! Suspicion is not evidence. Anything that contradicts probes drops them: an answer to the leader itself, and
//! a heartbeat that came well after they fell silent, since then it is the way of the probes that is broken.
//! What is said of a silence counts until the heartbeats tell by themselves, and no longer: so what a manager
//! said that has gone since does not stand.

use super::facts::silence_ms;
use holdfast_model::host::Session;
use holdfast_model::id::{HostName, ManagerName, SiteName};
use holdfast_model::probe::{Silence, Vantage};
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_model::world::{Seen, World};
use std::collections::BTreeSet;
use std::fmt;

/// Why a host is suspect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspicion<'w> {
    /// How long its session has been silent, in milliseconds.
    silence_ms: u64,
    /// Which managers ask it in vain, from which site, for how long in milliseconds: what it rests on, if the
    /// session alone does not do.
    probed: Vec<(&'w ManagerName, &'w SiteName, u64)>,
}

impl fmt::Display for Suspicion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: &u64| *ms as f64 / 1000.0;
        write!(f, "no heartbeat for {:.1} s", seconds(&self.silence_ms))?;
        for (n, (manager, site, ms)) in self.probed.iter().enumerate() {
            let before = ["", ", no answer to probes of "][usize::from(n == 0)];
            let and = ["", " and "][usize::from(n > 0)];
            let seconds = seconds(ms);
            write!(f, "{before}{and}{manager} at {site} for {seconds:.1} s")?;
        }
        Ok(())
    }
}

/// Whether a host is suspect, and why.
pub(super) fn suspicion<'w>(
    world: &'w World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> Option<Suspicion<'w>> {
    let silence_ms = silence_ms(world, session);
    if silence_ms >= timing.suspect_after_ms {
        return Some(Suspicion {
            silence_ms,
            probed: Vec::new(),
        });
    }
    let probed = in_vain(world, timing, name, session);
    (!probed.is_empty() && silence_ms >= timing.session_quiet_ms())
        .then_some(Suspicion { silence_ms, probed })
}

/// Whether a host is suspect.
pub(super) fn is_suspect(
    world: &World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> bool {
    suspicion(world, timing, name, session).is_some()
}

/// When a host is suspect, if nothing is heard of it until then.
pub(super) fn suspect_at(
    world: &World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> Instant {
    let ms = match in_vain(world, timing, name, session).is_empty() {
        true => timing.suspect_after_ms,
        false => timing.session_quiet_ms(),
    };
    session.seen_at.max(world.view_since).plus(ms)
}

/// Its guard answers this leader: the host is there, whatever has become of its agent and its session.
pub(super) fn is_heard(
    world: &World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> bool {
    let own = world.probes.get(&world.leader);
    let heard = own.and_then(|own| own.heard.get(name));
    heard.is_some_and(|heard| {
        heard.incarnation == session.value.incarnation
            && world.now.since(heard.at) < timing.probe_suspect_ms
    })
}

/// The leader itself asks in vain: alone that makes nobody suspect, and is enough to hold the storm brake.
pub(super) fn is_unanswered(
    world: &World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> bool {
    let own = world.probes.get(&world.leader);
    own.is_some_and(|own| in_vain_of(own, world, timing, name, session).is_some())
}

/// The managers that ask a host in vain, if they are enough: at two sites, for what all managers of one site
/// have in common may fail.
fn in_vain<'w>(
    world: &'w World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> Vec<(&'w ManagerName, &'w SiteName, u64)> {
    if is_heard(world, timing, name, session) {
        return Vec::new();
    }
    let found = world.probes.iter().filter_map(|(by, vantage)| {
        let silence = in_vain_of(vantage, world, timing, name, session)?;
        Some((by, &vantage.site, world.now.since(silence.since)))
    });
    let found: Vec<_> = found.collect();
    let sites: BTreeSet<_> = found.iter().map(|(_, site, _)| *site).collect();
    match sites.len() {
        0 | 1 => Vec::new(),
        _ => found,
    }
}

/// What one manager says of a host's silence, if that counts.
fn in_vain_of<'w>(
    vantage: &'w Vantage,
    world: &World,
    timing: &Timing,
    name: &HostName,
    session: &Seen<Session>,
) -> Option<&'w Silence> {
    let silence = vantage.silent.get(name)?;
    let known_ms = silence.for_ms.min(world.now.since(silence.since));
    let lasted = timing.probe_suspect_ms > 0 && known_ms >= timing.probe_suspect_ms;
    // The last heartbeat may have been on its way when the host was lost.
    let contradicted = session.seen_at >= silence.since.plus(timing.probe_suspect_ms / 2);
    let over = timing.probe_suspect_ms + timing.suspect_after_ms;
    let stands = world.now.since(silence.since) < over;
    (lasted && !contradicted && stands && silence.incarnation == session.value.incarnation)
        .then_some(silence)
}
