//! The second step of fencing: closing the storage plane of a life whose session is closed.
//!
//! ```text
//! ControlClosed ── an observer: unchanged for the whole wait, up to after the closing ──> Closed
//!               ── an observer: it says itself that everything has stopped ─────────────> Closed
//!               ── its fencing device says off, and nobody sees it beat ──────────────> Closed
//!               ── an observer: it beats, and its agent is cut off ── release asked ─┐
//!               ^────────────────────────────────────────────────────────────────────┘
//!               ── the same life opens its session again ──> open (written by the host)
//! ```
//! The leader does not read the volume: agents with a session do, each by its own clock, and write what
//! they found. One of them is enough: what it says stays true, because both planes of that life had
//! lapsed at the same time and its guard is bound to kill then. The final record is guarded by the
//! revision of the first, which the host deletes when it opens its session again.

use super::candidate::Request;
use super::draft::Draft;
use super::facts::{is_drained, open_session};
use super::fencing::fence_write;
use super::placement::{Choice, choose};
use super::power;
use super::suspect::is_suspect;
use holdfast_model::event::EventKind;
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage, StorageEvidence};
use holdfast_model::host::{HostState, Membership, Session};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::lease::{AgentState, Found, Sighting};
use holdfast_model::policy::OnIsolation;
use holdfast_model::world::{HostView, Seen, World};

/// Closes the storage plane of a host's closed session if it is proven to have ended, and otherwise
/// says what is waited for.
pub(super) fn close(draft: &mut Draft, name: &HostName, host: &HostView) {
    let Some((session, fence)) = half_closed(draft.world, name, host) else {
        return;
    };
    let sightings = sightings(draft.world, name, fence);
    let wait_ms = draft
        .timing
        .taker_wait_ms
        .max(session.bounds.required_wait_ms());
    for (by, sighting) in &sightings {
        let evidence = match &sighting.found {
            Found::Released => (Evidence::Released, None),
            Found::Unchanged { counter, for_ms } if *for_ms >= wait_ms => {
                let storage = StorageEvidence {
                    by: (*by).clone(),
                    counter: *counter,
                    unchanged_ms: *for_ms,
                };
                (fence.value.evidence.clone(), Some(storage))
            }
            Found::Unchanged { .. } | Found::Quiet { .. } | Found::Beating { .. } => continue,
        };
        return finish(draft, name, host, fence, evidence);
    }
    if let Some(by) = power::proves_off(draft.world, name, host) {
        return finish(
            draft,
            name,
            host,
            fence,
            (Evidence::PoweredOff { by }, None),
        );
    }
    power::ask_closed(draft, name, host);
    let beats = sightings.iter().find_map(|(by, sighting)| {
        let Found::Beating { agent } = &sighting.found else {
            return None;
        };
        Some(((*by).clone(), *agent))
    });
    let Some((by, agent)) = beats else {
        let text = "its session is closed; waiting for a host to say what stands in its heartbeat \
                    slot on the lease volume";
        return power::report(draft, name, host, text);
    };
    let on_isolation = draft.world.policy.fencing.on_isolation;
    let text = match agent {
        AgentState::CutOff if fence.value.release_asked => {
            "it is cut off and was asked through its mailbox to release its VMs".to_owned()
        }
        AgentState::CutOff if on_isolation == OnIsolation::Release => {
            match without_a_place(draft, name) {
                None => return ask(draft, name, fence, &by),
                Some(vm) => format!(
                    "it is cut off, and its VMs run on there: no other host could take {vm}"
                ),
            }
        }
        AgentState::CutOff => {
            "it is cut off, and its VMs run on there, as on_isolation says".into()
        }
        AgentState::Silent | AgentState::Connected => format!(
            "its agent does not renew its session, but its guard writes its heartbeat on the lease \
             volume ({by} saw it): its VMs run on there; look after holdfast-host on {name}"
        ),
    };
    power::report(draft, name, host, &text);
}

/// It was seen to write its heartbeat after its session had been closed.
pub(super) fn is_alive(host: &HostView, world: &World, name: &HostName) -> bool {
    half_closed(world, name, host).is_some_and(|(_, fence)| {
        let mut found = sightings(world, name, fence).into_iter();
        found.any(|(_, sighting)| matches!(sighting.found, Found::Beating { .. }))
    })
}

/// The closed session and the record of it, where the storage plane is still open.
fn half_closed<'w>(
    world: &'w World,
    name: &HostName,
    host: &'w HostView,
) -> Option<(&'w Session, &'w Seen<FenceRecord>)> {
    let session = &host.session.as_ref()?.value;
    let key = (name.clone(), session.incarnation.clone());
    let fence = world.fences.get(&key)?;
    let half = fence.value.stage == FenceStage::ControlClosed && open_session(host).is_none();
    half.then_some((session, fence))
}

/// What others found in this host's slot after this very closing, whether or not they are still there.
fn sightings<'w>(
    world: &'w World,
    name: &HostName,
    fence: &Seen<FenceRecord>,
) -> Vec<(&'w HostName, &'w Sighting)> {
    let all = world.hosts.iter().filter_map(|(by, host)| {
        let sighting = &host.saw.get(name)?.value;
        let about = sighting.incarnation == fence.value.incarnation
            && Some(sighting.session_revision) == fence.value.session_revision;
        about.then_some((by, sighting))
    });
    all.collect()
}

fn finish(
    draft: &mut Draft,
    name: &HostName,
    host: &HostView,
    fence: &Seen<FenceRecord>,
    (evidence, storage): (Evidence, Option<StorageEvidence>),
) {
    let why = match &storage {
        None if matches!(evidence, Evidence::PoweredOff { .. }) => format!("{name}: {evidence}"),
        None => format!("{name}: {evidence}, says its heartbeat on the lease volume"),
        Some(storage) => format!(
            "{name}: {evidence}; and its heartbeat on the lease volume has not changed for {:.1} s \
             (number {}, read by {})",
            storage.unchanged_ms as f64 / 1000.0,
            storage.counter,
            storage.by
        ),
    };
    let record = FenceRecord {
        stage: FenceStage::Closed,
        evidence,
        storage,
        ..fence.value.clone()
    };
    let mut writes = vec![fence_write(draft, record)];
    if let Some(state) = &host.state {
        let state = HostState {
            membership: Membership::Fenced,
            reason: why.clone(),
            ..state.value.clone()
        };
        writes.push(draft.host_state_write(name, state));
    }
    let event = draft.host_event(EventKind::HostFenced, name, why.clone());
    draft.push(why, writes, vec![event]);
}

/// Has the host's guard asked to stop everything: whoever has a session and reaches the volume writes
/// the message.
fn ask(draft: &mut Draft, name: &HostName, fence: &Seen<FenceRecord>, by: &HostName) {
    let record = FenceRecord {
        release_asked: true,
        ..fence.value.clone()
    };
    let why = format!(
        "{name} is cut off and its VMs run on there ({by} saw its heartbeat): it is asked to release \
         them"
    );
    let writes = vec![fence_write(draft, record)];
    let event = draft.host_event(EventKind::Note, name, why.clone());
    draft.push(why, writes, vec![event]);
}

/// The first VM there that no other host could take.
fn without_a_place(draft: &Draft, name: &HostName) -> Option<VmName> {
    let (world, timing) = (draft.world, &draft.timing);
    let anybody = draft.world.hosts.iter().any(|(other, host)| {
        let there =
            open_session(host).is_some_and(|session| !is_suspect(world, timing, other, session));
        other != name && there && !is_drained(host)
    });
    draft.world.vms.iter().find_map(|(vm, view)| {
        let owner = &view.owner.as_ref()?.value;
        owner
            .possible_runners()
            .find(|runner| runner.host == *name)?;
        let spec = &view.spec.as_ref()?.value;
        let request = Request {
            vm,
            spec,
            failures: &owner.failures,
            leaving: Some(name),
            last: None,
            only_site: None,
            only_host: None,
            live: false,
        };
        let nowhere = matches!(choose(draft, &request), Choice::Nowhere(_));
        (!anybody || nowhere).then(|| vm.clone())
    })
}
