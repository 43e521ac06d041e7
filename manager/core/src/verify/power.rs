//! What is asked of fencing devices, and what their answers prove.

use super::{Found, Rule, probes};
use holdfast_model::fence::{FenceStage, TOGETHER};
use holdfast_model::host::{GuardState, Session, SessionState};
use holdfast_model::id::{DeviceName, HostName, Incarnation};
use holdfast_model::lease::Found as LeaseFound;
use holdfast_model::plan::Write;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
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
    let before = of_life(world, ask, &ask.device);
    found.unless(
        before.is_none_or(|reading| {
            reading.state != PowerState::Asked && reading.attempt < ask.attempt
        }),
        rule,
        || {
            format!(
                "{} is being asked about {host} already, or was in this attempt",
                ask.device
            )
        },
    );
    in_order(world, ask, found);
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

/// What the leader remembers of a device of that life of the host.
fn of_life<'w>(world: &'w World, ask: &PowerAsk, device: &DeviceName) -> Option<&'w PowerReading> {
    let reading = world.power.get(&ask.host)?.get(device)?;
    (reading.incarnation == ask.incarnation).then_some(reading)
}

/// Every device of a lower order has answered in this attempt.
fn in_order(world: &World, ask: &PowerAsk, found: &mut Found) {
    let all = &world.policy.fencing.devices;
    let own = all.get(&ask.device).map_or(0, |device| device.order);
    for (name, device) in all {
        if device.order >= own || !device.switches(name, &ask.host) {
            continue;
        }
        let answered = of_life(world, ask, name).is_some_and(|reading| {
            reading.attempt >= ask.attempt && reading.state != PowerState::Asked
        });
        found.unless(answered, Rule::SwitchedOffInSilence, || {
            format!(
                "{} is of order {own}, and {name} has not answered about {} yet",
                ask.device, ask.host
            )
        });
    }
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

/// These devices said off: one, or all that have to say so together, in the same attempt.
pub(super) fn says_off(world: &World, host: &HostName, life: &Incarnation, by: &str) -> bool {
    let policy = &world.policy.fencing.devices;
    let names: Vec<&str> = by.split(TOGETHER).collect();
    let named = |device: &DeviceName| names.contains(&device.as_str());
    let mut attempts = world
        .power
        .get(host)
        .into_iter()
        .flatten()
        .filter(|(device, _)| named(device))
        .map(|(_, reading)| reading.attempt);
    let first = attempts.next();
    if !attempts.all(|attempt| Some(attempt) == first) {
        return false;
    }
    names.iter().all(|name| {
        let known = policy.iter().find(|(device, _)| device.as_str() == *name);
        let Some((device, how)) = known else {
            return false;
        };
        let mut others = policy.iter().filter(|(other, its)| {
            its.all_of && its.order == how.order && its.switches(other, host)
        });
        how.switches(device, host)
            && (!how.all_of || (names.len() > 1 && others.all(|(other, _)| named(other))))
            && one_says_off(world, host, life, device)
    })
}

/// The device said off of this very life, to a question begun after it had been told to switch off; no other one has
/// said on since that question; and the session is as it was then, but for the leader's own closing of it.
fn one_says_off(world: &World, host: &HostName, life: &Incarnation, by: &DeviceName) -> bool {
    let session = world.hosts.get(host).and_then(|view| view.session.as_ref());
    let of_host = world.power.get(host);
    let reading = of_host.and_then(|of_host| of_host.get(by));
    let (Some(reading), Some(session)) = (reading, session) else {
        return false;
    };
    let on = of_host.into_iter().flatten().any(|(_, other)| {
        let on = matches!(other.state, PowerState::On | PowerState::StillOn { .. });
        on && other.incarnation == *life && other.answered_at >= reading.read_at
    });
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
        && !on
        && reading.device == *by
        && reading.incarnation == *life
        && session.value.incarnation == *life
        && reading.asked_at <= reading.read_at
        && reading.read_at <= reading.answered_at
        && reading.answered_at <= world.now
        && unrenewed
}
