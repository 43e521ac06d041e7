//! Writes that close a host's incarnation.

use super::{Found, Rule};
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::{GuardState, Session, SessionState};
use holdfast_model::id::{HostName, Revision};
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
            let newer = session.is_some() && current.is_none();
            found.unless(newer, rule, || format!("{host} has no newer life"));
        }
        // No fencing device is asked yet, so nobody can have said so.
        Evidence::PoweredOff { .. } => {
            found.add(rule, format!("no device was asked about {host}"));
        }
    }
}
