//! Writes that close a host's incarnation.

use super::{Found, Rule, power, probes};
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::{GuardState, Session, SessionState, StoragePlane};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::lease::{Found as LeaseFound, StorageClass};
use holdfast_model::op::Request;
use holdfast_model::plan::{Step, Write};
use holdfast_model::world::World;

pub(super) fn close(
    world: &World,
    step: &Step,
    host: &HostName,
    closed: &Session,
    expect: Revision,
    found: &mut Found,
) {
    let rule = Rule::ClosedByEvidence;
    let Some(session) = world.hosts.get(host).and_then(|view| view.session.as_ref()) else {
        found.add(rule, format!("{host} has no session to close"));
        return;
    };
    found.unless(session.revision == expect, Rule::OneGuardedWrite, || {
        super::stale("session", host)
    });
    let same = Session {
        state: SessionState::Closed,
        ..session.value.clone()
    };
    found.unless(*closed == same, rule, || {
        format!("closing {host} changes its session")
    });
    let recorded = step.writes.iter().any(|write| {
        matches!(write, Write::Fence { record, .. }
            if record.host == *host && record.incarnation == session.value.incarnation)
    });
    found.unless(recorded, rule, || {
        format!("{host} is closed without a record of why")
    });
}

pub(super) fn fence(
    world: &World,
    step: &Step,
    record: &FenceRecord,
    expect: Option<Revision>,
    found: &mut Found,
) {
    let rule = Rule::ClosedByEvidence;
    let host = &record.host;
    let key = (host.clone(), record.incarnation.clone());
    let has = world.fences.get(&key);
    found.unless(
        has.map(|f| f.revision) == expect,
        Rule::OneGuardedWrite,
        || super::stale("fence", host),
    );
    let already = has.is_some_and(|fence| fence.value.stage == FenceStage::Closed);
    found.unless(!already, rule, || {
        format!("{host}/{} is closed already", record.incarnation)
    });
    let session = world.hosts.get(host).and_then(|view| view.session.as_ref());
    let current = session.filter(|session| session.value.incarnation == record.incarnation);
    let closes = step
        .writes
        .iter()
        .any(|write| matches!(write, Write::CloseSession { host: closed, .. } if closed == host));
    if record.stage == FenceStage::Closed && !closes && second(world, record) {
        return;
    }
    if record.stage == FenceStage::ControlClosed && !closes {
        // The same record, with a request to release.
        let same = has.is_some_and(|has| {
            let asked = FenceRecord {
                release_asked: true,
                ..has.value.clone()
            };
            *record == asked && !has.value.release_asked
        });
        found.unless(same, rule, || {
            format!("{host} is half closed without its session")
        });
        return;
    }
    // A lease on storage may keep its VMs running, whatever its session does.
    let leased = current.is_some_and(|session| session.value.storage.as_ref().is_some_and(quorum))
        || holds_leased(world, host, &record.incarnation);
    let whole_host = matches!(
        record.evidence,
        Evidence::Confirmed { .. } | Evidence::PoweredOff { .. }
    );
    let whole = record.stage == FenceStage::Closed;
    found.unless(!(leased && closes && whole) || whole_host, rule, || {
        format!("{host} is closed without a look at its storage lease")
    });
    match &record.evidence {
        Evidence::Lapsed { .. } => {
            let lapsed = current.is_some_and(|session| {
                let silence = world.now.since(session.seen_at.max(world.view_since));
                session.value.state == SessionState::Open
                    && session.value.guard == GuardState::Working
                    && silence >= session.value.bounds.required_wait_ms()
                    && silence >= world.policy.timing.resolve().taker_wait_ms
            });
            found.unless(lapsed && closes, rule, || format!("{host} has not lapsed"));
        }
        Evidence::Confirmed { .. } => {
            let asked = world.ops.values().any(|op| {
                matches!(&op.value.request, Request::ConfirmOff { host: asked } if asked == host)
            });
            found.unless(asked, rule, || format!("nobody vouched for {host}"));
            let open = current.is_some_and(|s| s.value.state == SessionState::Open);
            found.unless(closes || !open, rule, || {
                format!("{host} could still renew")
            });
        }
        Evidence::Rebooted { .. } | Evidence::Released => {
            let newer = current.is_none() && begun_after(world, record);
            found.unless(newer, rule, || format!("{host} has no newer life"));
        }
        Evidence::PoweredOff { by } => {
            let open = current.is_some_and(|s| s.value.state == SessionState::Open);
            let off =
                open && closes && whole && power::says_off(world, host, &record.incarnation, by);
            let same = current.map(|s| s.revision) == record.session_revision
                && current.is_some_and(|s| probes::is_suspect(world, host, s));
            found.unless(off && same, rule, || {
                format!("no device says that {host} is off, or not of this life as it is now")
            });
        }
    }
}

/// The host has begun another life, and renewed it after the last owner record that names this one.
fn begun_after(world: &World, record: &FenceRecord) -> bool {
    let session = world
        .hosts
        .get(&record.host)
        .and_then(|host| host.session.as_ref());
    let named = world
        .vms
        .values()
        .filter_map(|vm| vm.owner.as_ref())
        .filter(|owner| {
            let mut runners = owner.value.possible_runners();
            runners.any(|r| r.host == record.host && r.incarnation == record.incarnation)
        });
    let last = named.map(|owner| owner.revision).max();
    session.is_some_and(|session| {
        session.value.state == SessionState::Open && last.is_none_or(|last| last < session.revision)
    })
}

fn quorum(plane: &StoragePlane) -> bool {
    plane.class == StorageClass::Quorum
}

/// A VM was granted to that life under a storage lease.
pub(super) fn holds_leased(world: &World, host: &HostName, life: &Incarnation) -> bool {
    world.vms.values().any(|vm| {
        vm.owner.as_ref().is_some_and(|owner| {
            let named = owner
                .value
                .possible_runners()
                .any(|runner| runner.host == *host && runner.incarnation == *life);
            named && owner.value.lease == StorageClass::Quorum
        })
    })
}

/// The storage plane of a life whose session was closed before is proven to have ended: by what some
/// host read in its heartbeat slot after that very closing.
fn second(world: &World, record: &FenceRecord) -> bool {
    let key = (record.host.clone(), record.incarnation.clone());
    let Some(before) = world.fences.get(&key).map(|fence| &fence.value) else {
        return false;
    };
    let session = world
        .hosts
        .get(&record.host)
        .and_then(|h| h.session.as_ref());
    let Some(session) = session.map(|session| &session.value) else {
        return false;
    };
    let closed = session.state == SessionState::Closed
        && session.incarnation == record.incarnation
        && before.stage == FenceStage::ControlClosed
        && before.session_revision == record.session_revision;
    let wait_ms = session
        .bounds
        .required_wait_ms()
        .max(world.policy.timing.resolve().taker_wait_ms);
    let mut seen = world.hosts.iter().filter_map(|(by, host)| {
        let sighting = &host.saw.get(&record.host)?.value;
        let about = sighting.incarnation == record.incarnation
            && Some(sighting.session_revision) == before.session_revision;
        about.then_some((by, &sighting.found))
    });
    if let Evidence::PoweredOff { by } = &record.evidence {
        let beats = seen.any(|(_, what)| matches!(what, LeaseFound::Beating { .. }));
        let off = power::says_off(world, &record.host, &record.incarnation, by);
        return closed && off && !beats && record.storage.is_none();
    }
    closed
        && seen.any(
            |(by, what)| match (what, &record.evidence, &record.storage) {
                (LeaseFound::Released, Evidence::Released, None) => true,
                (
                    LeaseFound::Unchanged { counter, for_ms },
                    Evidence::Lapsed { .. },
                    Some(storage),
                ) => *for_ms >= wait_ms && storage.counter == *counter && storage.by == *by,
                _ => false,
            },
        )
}
