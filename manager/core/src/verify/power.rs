//! What is asked of fencing devices, and what their answers prove.

use super::{Found, Rule, probes};
use holdfast_model::fence::FenceStage;
use holdfast_model::host::{GuardState, Session, SessionState};
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::lease::Found as LeaseFound;
use holdfast_model::plan::Write;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::world::{Seen, World};

pub(super) fn ask(world: &World, ask: &PowerAsk, found: &mut Found) {
    let rule = Rule::SwitchedOffInSilence;
    let host = &ask.host;
    let session = world.hosts.get(host).and_then(|view| view.session.as_ref());
    let Some(session) = session.filter(|s| s.value.incarnation == ask.incarnation) else {
        return found.add(rule, format!("{host} has no session of that life"));
    };
    let known = world.policy.fencing.devices.get(&ask.device);
    found.unless(
        known.is_some_and(|device| device.switches(&ask.device, host)),
        rule,
        || format!("{} does not switch {host}", ask.device),
    );
    let guarded = ask.session_revision == session.revision
        && matches!(&ask.step.writes[..], [Write::CheckSession { host: checked, expect }]
            if checked == host && *expect == session.revision);
    found.unless(guarded, rule, || {
        format!("{host} may have renewed its session when its device is asked")
    });
    let asked = world
        .power
        .get(host)
        .filter(|r| r.state == PowerState::Asked);
    found.unless(
        asked.is_none_or(|reading| reading.incarnation != ask.incarnation),
        rule,
        || format!("the device of {host} is being asked already"),
    );
    let silent = match session.value.state {
        SessionState::Open => is_silent(world, host, session),
        SessionState::Closed => is_quiet(world, ask),
    };
    found.unless(silent, rule, || format!("{host} is not known to be silent"));
    let timing = world.policy.timing.resolve();
    let mut others = world.hosts.iter().filter(|(other, _)| *other != host);
    let somebody = others.any(|(_, view)| {
        let session = view.session.as_ref();
        session.is_some_and(|session| {
            session.value.state == SessionState::Open
                && session.seen_at > world.view_since
                && world.now.since(session.seen_at) < timing.suspect_after_ms
        })
    });
    found.unless(somebody, rule, || {
        format!("{host} is to be switched off, and no other host is there")
    });
}

/// An open session: suspect where the policy lets that do; otherwise past the deadline at which its guard
/// stops everything it has, or silent for the wait where nobody does.
fn is_silent(world: &World, host: &HostName, session: &Seen<Session>) -> bool {
    let timing = world.policy.timing.resolve();
    let silence = world.now.since(session.seen_at.max(world.view_since));
    let leased = session.value.has_storage_plane()
        || super::hosts::holds_leased(world, host, &session.value.incarnation);
    match session.value.guard {
        _ if world.policy.fencing.on_suspicion
            && probes::is_suspect(world, host, session)
            && !probes::answers(world, host, session) =>
        {
            true
        }
        GuardState::Absent => silence >= timing.taker_wait_ms,
        GuardState::Working => !leased && silence > session.value.bounds.runner_deadline_ms,
    }
}

/// A closed one: somebody looked at its heartbeat afterwards, and nobody saw a new one.
fn is_quiet(world: &World, ask: &PowerAsk) -> bool {
    let key = (ask.host.clone(), ask.incarnation.clone());
    let Some(fence) = world.fences.get(&key).map(|fence| &fence.value) else {
        return false;
    };
    let sightings = || {
        let all = world.hosts.values();
        let about = all.filter_map(|host| Some(&host.saw.get(&ask.host)?.value));
        about.filter(|sighting| {
            sighting.incarnation == ask.incarnation
                && Some(sighting.session_revision) == fence.session_revision
        })
    };
    let beats = sightings().any(|s| matches!(s.found, LeaseFound::Beating { .. }));
    fence.stage == FenceStage::ControlClosed && sightings().next().is_some() && !beats
}

/// The device said off of this very life, to a question begun after it had been told to switch off, and
/// the session is as it was then, but for the leader's own closing of it.
pub(super) fn says_off(world: &World, host: &HostName, life: &Incarnation, by: &str) -> bool {
    let session = world.hosts.get(host).and_then(|view| view.session.as_ref());
    let (Some(reading), Some(session)) = (world.power.get(host), session) else {
        return false;
    };
    let closed_on = world
        .fences
        .get(&(host.clone(), life.clone()))
        .and_then(|fence| fence.value.session_revision);
    let unrenewed = match session.value.state {
        SessionState::Open => reading.session_revision == session.revision,
        SessionState::Closed => {
            reading.session_revision == session.revision
                || Some(reading.session_revision) == closed_on
        }
    };
    let own = world.probes.get(&world.leader);
    let answered = own
        .and_then(|own| own.heard.get(host))
        .is_some_and(|heard| heard.incarnation == *life && heard.asked_at > reading.read_at);
    reading.state == PowerState::Off
        && !answered
        && reading.device.as_str() == by
        && reading.incarnation == *life
        && session.value.incarnation == *life
        && reading.asked_at <= reading.read_at
        && reading.read_at <= reading.answered_at
        && reading.answered_at <= world.now
        && unrenewed
}
