//! Fencing devices: when one is asked to switch a host off, and when its answer is believed.
//!
//! ```text
//! session open ── past its runner's deadline, and no storage lease ───┐
//!              ── silent for the wait, nobody enforces its deadline ──┼─> asked ─> off ─> Closed
//!              ── suspect, unheard of, the policy says on_suspicion ──┤     └ on, unknown: again later
//! session closed, and its heartbeat slot is quiet as well ────────────┘
//! ```
//! Beside the waits, never instead of them: a device that hangs, refuses, lies or has lost its power with
//! the site delays nothing. What it *says* counts, of a question that was begun after it had been told to
//! switch off, and only while the host has given no sign of life since it was asked.

use super::draft::Draft;
use super::facts::open_session;
use super::{storm, suspect};
use crate::advice::NoAdvisor;
use holdfast_model::event::EventKind;
use holdfast_model::fence::FenceStage;
use holdfast_model::host::{GuardState, Session, SessionState};
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::lease::{Found, Sighting};
use holdfast_model::plan::{PlannerStep, Step, Subject, Write};
use holdfast_model::policy::OnIsolation;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
use holdfast_model::probe::Heard;
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen, World};

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
    let asked_on = |revision| revision == reading.session_revision;
    let key = (name.clone(), reading.incarnation.clone());
    let fence = world.fences.get(&key);
    let closed_on = fence.and_then(|fence| fence.value.session_revision);
    let same = asked_on(session.revision)
        || (session.value.state == SessionState::Closed && closed_on.is_some_and(asked_on));
    (!same).then_some("it has renewed its session since it was asked")
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

/// The reading that proves that this life of the host is over.
pub(super) fn proves_off<'w>(
    world: &'w World,
    name: &HostName,
    host: &HostView,
) -> Option<&'w PowerReading> {
    let session = host.session.as_ref()?;
    let reading = world.power.get(name)?;
    let off = reading.state == PowerState::Off
        && reading.incarnation == session.value.incarnation
        && reading.read_at >= reading.asked_at;
    let believed = doubt(world, name, host, reading).is_none() && !beats(world, name);
    (off && believed).then_some(reading)
}

/// Asks about a host whose session is open and that is suspect, where that may be. `leased`: a storage
/// lease may keep VMs of it running without its session.
pub(super) fn ask_open(draft: &mut Draft, name: &HostName, session: &Seen<Session>, leased: bool) {
    let policy = &draft.world.policy.fencing;
    if policy.device_of(name).is_none() {
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

fn ask(draft: &mut Draft, name: &HostName, session: &Seen<Session>) {
    let world = draft.world;
    let life = &session.value.incarnation;
    let Some((device, _)) = world.policy.fencing.device_of(name) else {
        return;
    };
    // Nothing is switched off that frees no VM, nor one that nobody could take: where all hosts are silent
    // they may just be starting, and nobody would switch them on again.
    if draft.host_done(name)
        || !may_run_something(world, name, life)
        || !somebody_is_there(draft, name)
    {
        return;
    }
    let before = world
        .power
        .get(name)
        .filter(|reading| reading.incarnation == *life);
    if before.is_some_and(|reading| reading.state == PowerState::Asked) {
        return;
    }
    if let Some(at) = before.map(again_at).filter(|at| world.now < *at) {
        return draft.wake_at(at);
    }
    if let Some((_, until)) = storm::holds(draft) {
        return draft.wake_at(until);
    }
    let attempt = before.map_or(1, |reading| reading.attempt.saturating_add(1));
    let why = format!(
        "{name} is silent: fencing device {device} is told to switch it off (attempt {attempt})"
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

fn may_run_something(world: &World, name: &HostName, life: &Incarnation) -> bool {
    let owners = world.vms.values().filter_map(|vm| vm.owner.as_ref());
    let mut runners = owners.flat_map(|owner| owner.value.possible_runners());
    runners.any(|runner| runner.host == *name && runner.incarnation == *life)
}

/// When a device may be asked again after an answer that was of no use.
fn again_at(reading: &PowerReading) -> Instant {
    let factor = 1u64 << reading.attempt.saturating_sub(1).min(16);
    reading
        .answered_at
        .plus((AGAIN_MIN_MS * factor).min(AGAIN_MAX_MS))
}

/// What to say of a host's device besides what is waited for; empty where there is nothing to say.
pub(super) fn words(draft: &Draft, name: &HostName, host: &HostView) -> String {
    let life = host
        .session
        .as_ref()
        .map(|session| &session.value.incarnation);
    let reading = draft.world.power.get(name);
    match reading.filter(|reading| Some(&reading.incarnation) == life) {
        Some(reading) => format!("; fencing device {}: {}", reading.device, reading.state),
        None => String::new(),
    }
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
