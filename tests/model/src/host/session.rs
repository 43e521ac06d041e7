//! The agent's session in etcd: renewals guarded by the revision of the last one, and the re-opening
//! of an incarnation whose control plane was closed while its storage plane lived on.

use crate::bug::Bug;
use crate::manager;
use crate::protocol::{Action, Protocol};
use crate::state::{Fence, Learned, Request, RequestKind, Session, Stage, State};

pub(crate) fn step(model: &Protocol, s: &mut State, action: Action) -> Option<()> {
    match action {
        // One that is bound to be refused is not sent.
        Action::SendRenewal => (s.session == Session::Open).then(|| send(s, RequestKind::Renew))?,
        Action::SendReopen => {
            let may = s.session == Session::Closed && s.fence == Fence::ControlClosed;
            may.then(|| send(s, RequestKind::Reopen))?
        }
        Action::BeginNextLife => begin_next_life(model, s),
        Action::RequestArrives => arrives(model, s),
        Action::RequestAcked => acked(model, s),
        _ => s.host.request.take().map(|_| ()),
    }
}

fn send(s: &mut State, kind: RequestKind) -> Option<()> {
    (s.host.request.is_none() && !s.host.over).then_some(())?;
    s.host.request = Some(Request {
        kind,
        age: 0,
        stage: Stage::Sent,
    });
    Some(())
}

/// Applied, or refused: then it is gone.
fn arrives(model: &Protocol, s: &mut State) -> Option<()> {
    let request = s.host.request.filter(|it| it.stage == Stage::Sent)?;
    let fence_fits =
        s.fence == Fence::ControlClosed || model.bugs.has(Bug::ReopenWithoutFenceCompare);
    let applied = match request.kind {
        RequestKind::Renew => s.session == Session::Open,
        RequestKind::Reopen => s.session == Session::Closed && fence_fits,
    };
    s.host.request = applied.then_some(Request {
        stage: Stage::Applied,
        ..request
    });
    if applied {
        if request.kind == RequestKind::Reopen {
            reopened(model, s);
        }
        s.session = Session::Open;
        manager::session_changed(s);
    }
    Some(())
}

/// The closing is taken back: what is found for it names a revision that does not stand any more.
fn reopened(model: &Protocol, s: &mut State) {
    if !model.bugs.has(Bug::ReopenLeavesFence) {
        s.fence = Fence::Absent;
        manager::fence_changed(s);
    }
    if s.taker.learned == Learned::Current {
        s.taker.learned = Learned::Earlier;
    }
    if let Some(finding) = &mut s.taker.finding {
        finding.current = false;
    }
}

/// A clean session is the host's word that nothing of the last life is left.
fn begin_next_life(model: &Protocol, s: &mut State) -> Option<()> {
    let empty = !s.host.vm.exists() || model.bugs.has(Bug::NewLifeNotEmpty);
    (s.host.over && empty && s.session != Session::NextLife).then_some(())?;
    s.session = Session::NextLife;
    manager::session_changed(s);
    Some(())
}

fn acked(model: &Protocol, s: &mut State) -> Option<()> {
    let request = s.host.request.take_if(|it| it.stage == Stage::Applied)?;
    let age = match model.bugs.has(Bug::DeadlineFromAck) {
        true => 0,
        false => request.age,
    };
    if !s.host.over {
        s.host.control = s.host.control.min(age);
    }
    Some(())
}
