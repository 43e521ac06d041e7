//! Fencing: closing incarnations by evidence.
//!
//! ```text
//! open session ── silent for the taker's wait ──> Lapsed     (session closed in the same txn)
//!              ── operator vouches             ──> Confirmed (session closed in the same txn)
//!              ── its fencing device says off  ──> PoweredOff (session closed in the same txn)
//! earlier life ── clean session, other boot    ──> Rebooted
//!              ── clean session, same boot     ──> Released
//! ```
//! Closing the session of a life with a storage lease closes its control plane only: the second step is
//! in [`second_plane`](super::second_plane); when a device is asked, in [`power`](super::power). When too many hosts fall silent at once, the
//! [storm brake](super::storm) holds.

use super::draft::Draft;
use super::facts::{self, lapse_after_ms, open_session, silence_ms};
use super::suspect::is_suspect;
use super::{power, second_plane, storm};
use holdfast_model::event::EventKind;
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::{HostState, Membership, Session, SessionState};
use holdfast_model::id::{HostName, Incarnation, OpId};
use holdfast_model::lease::StorageClass;
use holdfast_model::op::Request;
use holdfast_model::plan::{PlannerStep, Subject, Write};
use holdfast_model::vm::{Owner, Runner};
use holdfast_model::world::{HostView, Seen, World};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn step(draft: &mut Draft) {
    let world = draft.world;
    let earlier = earlier_lives(world);
    for (name, host) in &world.hosts {
        for life in earlier.get(name).into_iter().flatten() {
            close_earlier_life(draft, name, host, life);
        }
        match open_session(host) {
            Some(session) => lapse(draft, name, host, session),
            None => {
                second_plane::close(draft, name, host);
                tell_of_unproven(draft, name, host);
            }
        }
    }
    for (id, op) in &world.ops {
        if let Request::ConfirmOff { host } = &op.value.request {
            confirm(draft, id, op.revision, host, &op.value.by);
        }
    }
}

/// Closes a session whose host was silent for the whole wait.
fn lapse(draft: &mut Draft, name: &HostName, host: &HostView, session: &Seen<Session>) {
    let silence = silence_ms(draft.world, session);
    let since = session.seen_at.max(draft.world.view_since);
    let leased = may_be_leased(draft, name, &session.value);
    let suspect = is_suspect(draft.world, &draft.timing, name, session);
    if let Some(by) = power::proves_off(draft.world, name, host).filter(|_| suspect) {
        return close(
            draft,
            name,
            host,
            session,
            Evidence::PoweredOff { by },
            None,
        );
    }
    let subject = Subject::Host(name.clone());
    let Some(wait_ms) = lapse_after_ms(draft.world, &session.value) else {
        if suspect {
            let text = "silent, but it declared no working guard: its silence proves nothing; waiting \
                        for it to come back, or for `holdfast host confirm-off`";
            power::report(draft, name, host, text);
            power::ask_open(draft, name, session, leased);
        }
        return;
    };
    if silence < wait_ms {
        let until = since.plus(wait_ms);
        if suspect {
            let text = format!(
                "silent; its heartbeat lapses {:.1} s after the last one{}",
                wait_ms as f64 / 1000.0,
                power::words(draft, name, host)
            );
            draft.wait(PlannerStep::Fencing, subject, text, until);
            power::ask_open(draft, name, session, leased);
        } else {
            draft.wake_at(until);
        }
        return;
    }
    if let Some((text, until)) = storm::holds(draft) {
        return draft.wait(PlannerStep::Fencing, subject, text, until);
    }
    close(
        draft,
        name,
        host,
        session,
        Evidence::Lapsed {
            silence_ms: silence,
            wait_ms,
        },
        None,
    );
}

/// Closes a session and, unless a storage lease may keep VMs of it running, its incarnation in one
/// transaction, on the very heartbeat seen last: a later one of that life fails.
fn close(
    draft: &mut Draft,
    name: &HostName,
    host: &HostView,
    session: &Seen<Session>,
    evidence: Evidence,
    done: Option<Write>,
) {
    let life = &session.value.incarnation;
    // A person's word covers both planes at once, and so does a machine without power.
    let both = matches!(
        evidence,
        Evidence::Confirmed { .. } | Evidence::PoweredOff { .. }
    );
    let leased = may_be_leased(draft, name, &session.value);
    let (stage, membership, kind) = match leased && !both {
        true => (
            FenceStage::ControlClosed,
            Membership::Isolated,
            EventKind::HostIsolated,
        ),
        false => (
            FenceStage::Closed,
            Membership::Fenced,
            EventKind::HostFenced,
        ),
    };
    let why = match stage {
        FenceStage::Closed => format!("{name}: {evidence}"),
        FenceStage::ControlClosed => {
            format!("{name}: {evidence}; its storage lease is still to be looked at")
        }
    };
    let record = FenceRecord {
        host: name.clone(),
        incarnation: life.clone(),
        stage,
        evidence,
        session_revision: Some(session.revision),
        plane: session.value.storage.clone(),
        storage: None,
        release_asked: false,
    };
    let state = HostState {
        membership,
        incarnation: session.value.incarnation.clone(),
        boot_id: session.value.boot_id.clone(),
        losses: losses_after(draft, host),
        reason: why.clone(),
    };
    let mut writes = vec![
        Write::CloseSession {
            host: name.clone(),
            session: Session {
                state: SessionState::Closed,
                ..session.value.clone()
            },
            expect: session.revision,
        },
        fence_write(draft, record),
        draft.host_state_write(name, state),
    ];
    writes.extend(done);
    let event = draft.host_event(kind, name, why.clone());
    draft.push(why, writes, vec![event]);
}

/// VMs of this life may run on without its session.
fn may_be_leased(draft: &Draft, name: &HostName, session: &Session) -> bool {
    session.has_storage_plane() || has_leased_vms(draft, name, &session.incarnation)
}

/// VMs were granted to that life under a storage lease, whatever its session says of one.
fn has_leased_vms(draft: &Draft, name: &HostName, life: &Incarnation) -> bool {
    let owners = draft.world.vms.values().filter_map(|vm| vm.owner.as_ref());
    let leased = |owner: &&Seen<Owner>| owner.value.lease == StorageClass::Quorum;
    let mut runners = owners
        .filter(leased)
        .flat_map(|owner| owner.value.possible_runners());
    runners.any(|runner| runner.host == *name && runner.incarnation == *life)
}

/// Losses in a row, with the one that just happened: a host that stayed well for long has no past.
pub(super) fn losses_after(draft: &Draft, host: &HostView) -> u32 {
    let Some(state) = &host.state else { return 1 };
    let well = matches!(
        state.value.membership,
        Membership::Online | Membership::Maintenance
    );
    let since = draft.world.now.since(state.seen_at);
    if well && since >= draft.world.policy.rejoin.forget_after_ms {
        1
    } else {
        state.value.losses.saturating_add(1)
    }
}

pub(super) fn fence_write(draft: &Draft, record: FenceRecord) -> Write {
    let key = (record.host.clone(), record.incarnation.clone());
    let expect = draft.world.fences.get(&key).map(|fence| fence.revision);
    Write::Fence { record, expect }
}

/// Unclosed lives, per host, that owner records still name although the host has begun another.
fn earlier_lives(world: &World) -> BTreeMap<&HostName, BTreeSet<&Incarnation>> {
    let mut lives: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for runner in named_runners(world) {
        if facts::has_a_later_life(world, runner) && !is_closed(world, runner) {
            let of_host = lives.entry(&runner.host).or_default();
            of_host.insert(&runner.incarnation);
        }
    }
    lives
}

/// A host that is gone, and of which an owner record names another life than the one that was closed: it began that
/// one, and was lost before a heartbeat came that is younger than the record. Nothing proves that the other is over.
fn tell_of_unproven(draft: &mut Draft, name: &HostName, host: &HostView) {
    let last = host
        .session
        .as_ref()
        .map(|session| &session.value.incarnation);
    let unproven = named_runners(draft.world).find(|runner| {
        runner.host == *name && Some(&runner.incarnation) != last && !is_closed(draft.world, runner)
    });
    if let Some(runner) = unproven {
        let text = format!(
            "VMs are granted to a life of it ({}) that nothing proves to be over; waiting for it to come back, or \
             for `holdfast host confirm-off`",
            runner.incarnation
        );
        draft.report(PlannerStep::Fencing, Subject::Host(name.clone()), text);
    }
}

/// Closes an earlier life of a host: a session is only opened clean, so nothing of it is left.
fn close_earlier_life(draft: &mut Draft, name: &HostName, host: &HostView, life: &Incarnation) {
    let Some(session) = &host.session else { return };
    let known = host
        .state
        .as_ref()
        .filter(|state| state.value.incarnation == *life);
    let evidence = match known {
        Some(state) if state.value.boot_id != session.value.boot_id => Evidence::Rebooted {
            boot_id: session.value.boot_id.clone(),
        },
        _ => Evidence::Released,
    };
    record(draft, name, life.clone(), evidence, None);
}

fn record(
    draft: &mut Draft,
    name: &HostName,
    incarnation: Incarnation,
    evidence: Evidence,
    done: Option<Write>,
) {
    let why = format!("{name} ({incarnation}): {evidence}");
    let record = FenceRecord {
        host: name.clone(),
        incarnation,
        stage: FenceStage::Closed,
        evidence,
        session_revision: None,
        plane: None,
        storage: None,
        release_asked: false,
    };
    let mut writes = vec![fence_write(draft, record)];
    writes.extend(done);
    let event = draft.host_event(EventKind::HostFenced, name, why.clone());
    draft.push(why, writes, vec![event]);
}

/// Every possible runner that an owner record names.
fn named_runners(world: &World) -> impl Iterator<Item = &Runner> {
    let owners = world.vms.values().filter_map(|vm| vm.owner.as_ref());
    owners.flat_map(|owner| owner.value.possible_runners())
}

fn is_closed(world: &World, runner: &Runner) -> bool {
    let key = (runner.host.clone(), runner.incarnation.clone());
    let fence = world.fences.get(&key);
    fence.is_some_and(|fence| fence.value.stage == FenceStage::Closed)
}

/// An operator vouches that a host is off.
fn confirm(
    draft: &mut Draft,
    id: &OpId,
    revision: holdfast_model::id::Revision,
    name: &HostName,
    by: &str,
) {
    let done = Write::DeleteOp {
        id: id.clone(),
        expect: revision,
    };
    let evidence = Evidence::Confirmed { by: by.to_owned() };
    let host = draft.world.hosts.get(name);
    if let Some((host, session)) = host.and_then(|host| Some((host, open_session(host)?))) {
        if draft.host_done(name) {
            // It lapsed in this very round; the request is answered in the next one.
            return;
        }
        let silence = silence_ms(draft.world, session);
        if silence < draft.timing.suspect_after_ms {
            let text = format!(
                "confirm-off of {name} by {by} refused: it renewed its session {silence} ms ago, \
                 so it is not off"
            );
            let event = draft.host_event(EventKind::OpRefused, name, text.clone());
            draft.push(text, vec![done], vec![event]);
            return;
        }
        close(draft, name, host, session, evidence, Some(done));
        return;
    }
    if let Some(host) = host.filter(|host| second_plane::is_alive(host, draft.world, name)) {
        let slot = host.session.as_ref().and_then(|s| s.value.storage.as_ref());
        let text = format!(
            "confirm-off of {name} by {by} refused: it writes its heartbeat on the lease volume \
             (slot {}), so it is not off",
            slot.map_or(0, |plane| plane.slot)
        );
        let event = draft.host_event(EventKind::OpRefused, name, text.clone());
        draft.push(text, vec![done], vec![event]);
        return;
    }
    let open = named_runners(draft.world)
        .filter(|runner| runner.host == *name && !is_closed(draft.world, runner));
    let lives: BTreeSet<Incarnation> = open.map(|runner| runner.incarnation.clone()).collect();
    if lives.iter().any(|life| draft.fence_done(name, life)) {
        // Closed in this very round on the host's own word; the request is answered in the next.
        return;
    }
    match lives.into_iter().next() {
        // One life a round: each is a transaction of its own, the last one answers the request.
        Some(life) => record(draft, name, life, evidence, None),
        None => {
            let text = format!("{name} is confirmed off by {by}: nothing of it is left open");
            let event = draft.host_event(EventKind::Note, name, text.clone());
            draft.push(text, vec![done], vec![event]);
        }
    }
}
