//! Fencing devices: when one is asked to switch a host off, and when its answer is believed.
//!
//! ```text
//! session open ── past its runner's deadline, and no storage lease ───┐
//!              ── silent for the wait, nobody enforces its deadline ──┼─> asked ─> off ─> Closed
//!              ── suspect, unheard of, the policy says on_suspicion ──┤     └ on, unknown: again later
//! session closed, and its heartbeat slot is quiet as well ────────────┘
//!
//! several devices:   order 1, all at once ── none proves it off ──> order 2 ── … ──> again later, from order 1
//! ```
//! Beside the waits, never instead of them: a device that hangs, refuses, lies or has lost its power with
//! the site delays nothing. What it *says* counts, of a question that was begun after it had been told to
//! switch off, and only while the host has given no sign of life since it was asked, and no other device of it says
//! on that was asked as late.

use super::draft::Draft;
use super::facts::open_session;
use super::{storm, suspect};
use crate::advice::NoAdvisor;
use holdfast_model::event::EventKind;
use holdfast_model::fence::{FenceStage, TOGETHER};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{GuardState, Session, SessionState};
use holdfast_model::id::{DeviceName, HostName, Incarnation};
use holdfast_model::lease::{Found, Sighting};
use holdfast_model::plan::{PlannerStep, Step, Subject, Write};
use holdfast_model::policy::OnIsolation;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
use holdfast_model::probe::Heard;
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen, World};
use std::collections::BTreeMap;

/// Wait after the first answer that was of no use, in milliseconds; doubles with each further one.
const AGAIN_MIN_MS: u64 = 2_000;
/// The longest.
const AGAIN_MAX_MS: u64 = 60_000;

/// Why a reading says nothing of a host's present life, if so: a sign of life after it was asked, in the
/// session, or an answer to a probe that was sent after the device had said so. The leader's own closing of
/// that very session is none.
pub(crate) fn doubt(
    world: &World,
    name: &HostName,
    host: &HostView,
    reading: &PowerReading,
) -> Option<&'static str> {
    let session = host.session.as_ref()?;
    if session.value.incarnation != reading.incarnation {
        return None; // that life is over, by whatever proves it
    }
    let own = world.probes.get(&world.leader);
    let heard = own.and_then(|own| own.heard.get(name));
    let answered = |heard: &Heard| {
        heard.incarnation == reading.incarnation && heard.asked_at > reading.read_at
    };
    if heard.is_some_and(answered) {
        return Some("it has answered probes that were sent since");
    }
    let same = is_of_session(world, name, session, reading);
    (!same).then_some("it has renewed its session since it was asked")
}

/// The session has not been renewed since that ask. The leader's own closing of it is no renewal.
fn is_of_session(
    world: &World,
    name: &HostName,
    session: &Seen<Session>,
    reading: &PowerReading,
) -> bool {
    let asked_on = |revision| revision == reading.session_revision;
    let key = (name.clone(), reading.incarnation.clone());
    let fence = world.fences.get(&key);
    let closed_on = fence.and_then(|fence| fence.value.session_revision);
    asked_on(session.revision)
        || (session.value.state == SessionState::Closed && closed_on.is_some_and(asked_on))
}

/// What others say of the heartbeat slot of a host, after the closing of its present session.
fn sightings<'w>(world: &'w World, name: &'w HostName) -> impl Iterator<Item = &'w Sighting> {
    let session = world.hosts.get(name).and_then(|host| host.session.as_ref());
    let life = session.map(|session| &session.value.incarnation);
    let key = life.map(|life| (name.clone(), life.clone()));
    let fence = key.and_then(|key| world.fences.get(&key));
    let fence = fence.filter(|fence| fence.value.stage == FenceStage::ControlClosed);
    let all = world
        .hosts
        .values()
        .filter_map(|host| Some(&host.saw.get(name)?.value));
    all.filter(move |sighting| {
        fence.is_some_and(|fence| {
            sighting.incarnation == fence.value.incarnation
                && Some(sighting.session_revision) == fence.value.session_revision
        })
    })
}

/// Somebody sees its heartbeat on the lease volume go on after its session was closed.
pub(crate) fn beats(world: &World, name: &HostName) -> bool {
    sightings(world, name).any(|sighting| matches!(sighting.found, Found::Beating { .. }))
}

/// Somebody sees that it does not, and nobody that it does.
fn is_quiet(world: &World, name: &HostName) -> bool {
    let quiet = |sighting: &Sighting| {
        matches!(
            sighting.found,
            Found::Quiet { .. } | Found::Unchanged { .. }
        )
    };
    sightings(world, name).any(quiet) && !beats(world, name)
}

/// Another device of that host that says on, where that may have been after this one had said off. One that was
/// known to say on before this one was asked how the power stands contradicts nothing: it was on then.
pub(crate) fn gainsaid<'r>(
    of_host: &'r BTreeMap<DeviceName, PowerReading>,
    off: &PowerReading,
) -> Option<&'r PowerReading> {
    let mut others = of_host
        .values()
        .filter(|other| other.device != off.device && other.incarnation == off.incarnation);
    others.find(|other| other.state.says_on() && other.answered_at >= off.read_at)
}

/// The devices, in words, whose answers prove that this life of the host is over: one, or all of those that have
/// to say so together.
pub(super) fn proves_off(world: &World, name: &HostName, host: &HostView) -> Option<String> {
    let session = host.session.as_ref()?;
    let of_host = world.power.get(name)?;
    let says_off = |device: &DeviceName| {
        let reading = of_host.get(device)?;
        let off = reading.state == PowerState::Off
            && reading.incarnation == session.value.incarnation
            && reading.read_at >= reading.asked_at;
        let contradicted =
            doubt(world, name, host, reading).is_some() || gainsaid(of_host, reading).is_some();
        (off && !contradicted).then_some(reading.attempt)
    };
    if beats(world, name) {
        return None;
    }
    let devices = world.policy.fencing.devices_of(name);
    devices.iter().find_map(|(device, how)| {
        let attempt = says_off(device)?;
        let all = together(&devices, device, how);
        // One supply of several, and nothing is known of the others.
        let lone = how.all_of && all.len() < 2;
        let agree = !lone && all.iter().all(|part| says_off(part) == Some(attempt));
        let names: Vec<&str> = all.iter().map(|part| part.as_str()).collect();
        agree.then(|| names.join(TOGETHER))
    })
}

/// The devices that have to say off before this one is believed, itself among them.
fn together<'d>(
    devices: &[(&'d DeviceName, &FenceDevice)],
    device: &DeviceName,
    how: &FenceDevice,
) -> Vec<&'d DeviceName> {
    let parts = devices.iter().filter(|(other, its)| {
        *other == device || (how.all_of && its.all_of && its.order == how.order)
    });
    parts.map(|(part, _)| *part).collect()
}

/// Asks about a host whose session is open and that is suspect, where that may be. `leased`: a storage
/// lease may keep VMs of it running without its session.
pub(super) fn ask_open(draft: &mut Draft, name: &HostName, session: &Seen<Session>, leased: bool) {
    let policy = &draft.world.policy.fencing;
    if !policy.has_device(name) {
        return;
    }
    // A host that answers probes is there: only its agent or its way to etcd is not.
    let hasty =
        policy.on_suspicion && !suspect::is_heard(draft.world, &draft.timing, name, session);
    if hasty && !(leased && policy.on_isolation == OnIsolation::Keep) {
        return ask(draft, name, session);
    }
    let wait_ms = match session.value.guard {
        // Its own guard has begun to stop everything: nothing is lost that was not lost already.
        GuardState::Working if !leased => {
            let declared_ms = session.value.bounds.runner_deadline_ms;
            let deadline_ms = declared_ms.max(draft.timing.runner_deadline_ms);
            // Its clock may be slow, and the leader's fast.
            deadline_ms + deadline_ms / 400 + 1
        }
        GuardState::Working => return,
        GuardState::Absent => draft.timing.taker_wait_ms,
    };
    let since = session.seen_at.max(draft.world.view_since);
    match draft.world.now.since(since) >= wait_ms {
        true => ask(draft, name, session),
        false => draft.wake_at(since.plus(wait_ms)),
    }
}

/// Asks about a host whose session is closed, where its heartbeat slot is quiet as well.
pub(super) fn ask_closed(draft: &mut Draft, name: &HostName, host: &HostView) {
    if let Some(session) = host
        .session
        .as_ref()
        .filter(|_| open_session(host).is_none())
        && is_quiet(draft.world, name)
    {
        ask(draft, name, session);
    }
}

/// Another host was heard of since the store can be seen, and is not silent now.
fn somebody_is_there(draft: &Draft, name: &HostName) -> bool {
    let world = draft.world;
    world.hosts.iter().any(|(other, host)| {
        other != name
            && open_session(host).is_some_and(|session| {
                session.seen_at > world.view_since
                    && !suspect::is_suspect(world, &draft.timing, other, session)
            })
    })
}

/// What comes next with the devices of a host.
enum Turn<'w> {
    /// An answer: it is being asked.
    Answer,
    /// Nothing before then: all of them were asked, and none was of use.
    Later(Instant),
    /// These are asked, all of them at once.
    Ask(u32, Vec<(&'w DeviceName, &'w FenceDevice)>),
}

/// In one attempt each device is asked once: those of an order when all of the orders before have answered. A host
/// that was heard of in between is another matter: that begins with the first order again. `devices`: by their order.
fn turn<'w>(
    world: &World,
    name: &HostName,
    session: &Seen<Session>,
    devices: &[(&'w DeviceName, &'w FenceDevice)],
) -> Turn<'w> {
    let of_host = world.power.get(name);
    let reading = |device: &DeviceName| {
        let reading = of_host?.get(device)?;
        (reading.incarnation == session.value.incarnation).then_some(reading)
    };
    let readings = || devices.iter().filter_map(|(device, _)| reading(device));
    let levels = || devices.chunk_by(|(_, one), (_, two)| one.order == two.order);
    let first = || levels().next().unwrap_or_default().to_vec();
    let Some(attempt) = readings().map(|reading| reading.attempt).max() else {
        return Turn::Ask(1, first());
    };
    let is_asked = |reading: &PowerReading| reading.state == PowerState::Asked;
    let mut present = readings().filter(|reading| reading.attempt == attempt);
    let goes_on = present.all(|reading| is_of_session(world, name, session, reading));
    for level in levels() {
        let is_open = |device: &DeviceName| {
            reading(device).is_none_or(|reading| reading.attempt < attempt && !is_asked(reading))
        };
        let open = level
            .iter()
            .filter(|(device, _)| goes_on && is_open(device));
        let open: Vec<_> = open.copied().collect();
        if !open.is_empty() {
            return Turn::Ask(attempt, open);
        }
        let mut said = level.iter().filter_map(|(device, _)| reading(device));
        if said.any(is_asked) {
            return Turn::Answer;
        }
    }
    let last = readings().map(|reading| reading.answered_at).max();
    let at = again_at(last.unwrap_or(world.now), attempt);
    match world.now < at {
        true => Turn::Later(at),
        false => Turn::Ask(attempt.saturating_add(1), first()),
    }
}

fn ask(draft: &mut Draft, name: &HostName, session: &Seen<Session>) {
    let world = draft.world;
    let life = &session.value.incarnation;
    let devices = world.policy.fencing.devices_of(name);
    // Nothing is switched off that frees no VM, nor one that nobody could take: where all hosts are silent
    // they may just be starting, and nobody would switch them on again.
    if devices.is_empty()
        || draft.host_done(name)
        || !may_run_something(world, name, life)
        || !somebody_is_there(draft, name)
    {
        return;
    }
    let (attempt, next) = match turn(world, name, session, &devices) {
        Turn::Answer => return,
        Turn::Later(at) => return draft.wake_at(at),
        Turn::Ask(attempt, next) => (attempt, next),
    };
    if let Some((_, until)) = storm::holds(draft) {
        return draft.wake_at(until);
    }
    for (device, how) in next {
        let place = place(world, name, &devices, how);
        let why = format!(
            "{name} is silent: fencing device {device}{place} is told to switch it off (attempt {attempt})"
        );
        let event = draft.host_event(EventKind::PowerAsked, name, why.clone());
        draft.ask(PowerAsk {
            host: name.clone(),
            incarnation: life.clone(),
            session_revision: session.revision,
            device: device.clone(),
            attempt,
            step: Step {
                writes: vec![Write::CheckSession {
                    host: name.clone(),
                    expect: session.revision,
                }],
                events: vec![event],
                why,
            },
        });
    }
}

/// Where a device stands among those of its host, and what came of those before it; empty for the only one.
fn place(
    world: &World,
    name: &HostName,
    devices: &[(&DeviceName, &FenceDevice)],
    how: &FenceDevice,
) -> String {
    if devices.len() < 2 {
        return String::new();
    }
    let of_host = world.power.get(name);
    let before = devices.iter().filter(|(_, other)| other.order < how.order);
    let said = before.filter_map(|(device, _)| {
        let reading = of_host?.get(*device)?;
        Some(format!("; {device}: {}", reading.state))
    });
    let said: String = said.collect();
    format!(" (order {}{said})", how.order)
}

fn may_run_something(world: &World, name: &HostName, life: &Incarnation) -> bool {
    let owners = world.vms.values().filter_map(|vm| vm.owner.as_ref());
    let mut runners = owners.flat_map(|owner| owner.value.possible_runners());
    runners.any(|runner| runner.host == *name && runner.incarnation == *life)
}

/// When devices may be asked again after so many attempts that were of no use.
fn again_at(answered_at: Instant, attempts: u32) -> Instant {
    let factor = 1u64 << attempts.saturating_sub(1).min(16);
    answered_at.plus((AGAIN_MIN_MS * factor).min(AGAIN_MAX_MS))
}

/// What to say of a host's devices besides what is waited for; empty where there is nothing to say.
pub(super) fn words(draft: &Draft, name: &HostName, host: &HostView) -> String {
    let life = host
        .session
        .as_ref()
        .map(|session| &session.value.incarnation);
    let of_host = draft.world.power.get(name).into_iter().flatten();
    let of_life = of_host.filter(|(_, reading)| Some(&reading.incarnation) == life);
    of_life
        .map(|(device, reading)| format!("; fencing device {device}: {}", reading.state))
        .collect()
}

/// Says what is found about a host.
pub(super) fn report(draft: &mut Draft, name: &HostName, host: &HostView, text: &str) {
    let text = format!("{text}{}", words(draft, name, host));
    draft.report(PlannerStep::Fencing, Subject::Host(name.clone()), text);
}

/// A step that writes an event and nothing else.
pub(crate) fn told(world: &World, kind: EventKind, host: &HostName, text: String) -> Step {
    let event = Draft::new(world, &NoAdvisor).host_event(kind, host, text.clone());
    Step {
        writes: Vec::new(),
        events: vec![event],
        why: text,
    }
}
