//! The managers: what they see, who leads, and the three transactions that lead to a start elsewhere.
//! Each compares what it was decided on; etcd applies it whole or refuses it.

use crate::bug::Bug;
use crate::protocol::{Action, Class, Protocol};
use crate::state::{Evidence, Fence, Manager, Session, Start, State, Txn, Write};

pub(crate) fn step(model: &Protocol, s: &mut State, action: Action) -> Option<()> {
    match action {
        Action::Look(of) => look(&mut s.managers[of]),
        Action::LeaderChange => leader_change(model, s),
        Action::CloseControl(of) => {
            let write = close_control(model, s, of)?;
            decide(s, of, write, s.managers[of].current)
        }
        Action::Close(of) => {
            let (evidence, view_is_current) = close(model, s)?;
            decide(s, of, Write::Close(evidence), view_is_current)
        }
        Action::Grant(of) => {
            let write = grant(model, s, of)?;
            decide(s, of, write, true)
        }
        Action::TxnArrives(of) => {
            let txn = s.managers[of].txn.take()?;
            if !refused(model, s, &txn) {
                apply(model, s, txn.write);
            }
            Some(())
        }
        Action::TxnLost(of) => s.managers[of].txn.take().map(|_| ()),
        _ => None,
    }
}

fn look(manager: &mut Manager) -> Option<()> {
    (!manager.current).then_some(())?;
    manager.current = true;
    manager.silence = 0;
    Some(())
}

/// The epoch goes up: what was sent under the old one is refused.
fn leader_change(model: &Protocol, s: &mut State) -> Option<()> {
    (model.managers > 1).then_some(())?;
    s.leader = 1 - s.leader;
    for manager in &mut s.managers {
        if let Some(txn) = &mut manager.txn {
            txn.epoch = false;
        }
    }
    Some(())
}

/// Only whoever leads decides; one thing at a time. A view that lags names revisions that are gone.
fn decide(s: &mut State, of: usize, write: Write, view_is_current: bool) -> Option<()> {
    let manager = &mut s.managers[of];
    (s.leader == of && manager.txn.is_none()).then_some(())?;
    manager.txn = Some(Txn {
        write,
        session: view_is_current,
        fence: view_is_current,
        epoch: true,
    });
    Some(())
}

fn close_control(model: &Protocol, s: &State, of: usize) -> Option<Write> {
    let lapsed = s.session == Session::Open && s.managers[of].silence >= model.wait();
    lapsed.then_some(Write::CloseControl)
}

/// The final record, on what the observer found or the host said, and whether the view it was decided
/// on is etcd's state now. One that names a counter which has changed since may be renewed: a late
/// heartbeat of a dead host would keep the VM down for ever.
fn close(model: &Protocol, s: &State) -> Option<(Evidence, bool)> {
    if s.session == Session::NextLife && s.fence != Fence::Closed(Evidence::Released) {
        return Some((Evidence::Released, true));
    }
    let finding = s.taker.finding?;
    let evidence = finding.evidence;
    if evidence != Evidence::Released && !finding.current {
        // Made for an earlier closing. Whoever has not seen that it was taken back decides on it.
        let mixed_up = model.bugs.has(Bug::FindingOfEarlierClosing);
        return Some((evidence, mixed_up && s.fence == Fence::ControlClosed));
    }
    let may = match (evidence, s.fence) {
        (_, Fence::Closed(now)) => {
            let once = model.bugs.has(Bug::CounterNamedOnce);
            evidence != now && now != Evidence::Released && !once
        }
        (Evidence::Released, _) => true,
        (_, fence) => fence == Fence::ControlClosed && s.session == Session::Closed,
    };
    may.then_some((evidence, true))
}

fn grant(model: &Protocol, s: &State, of: usize) -> Option<Write> {
    let enough = model.class == Class::Plain || model.bugs.has(Bug::ControlIsEnough);
    let evidence = match s.fence {
        Fence::Closed(_) => true,
        Fence::ControlClosed => enough,
        Fence::Absent => {
            model.bugs.has(Bug::SilenceIsEvidence) && s.managers[of].silence >= model.wait()
        }
    };
    (evidence && !s.granted).then_some(Write::Grant)
}

fn refused(model: &Protocol, s: &State, txn: &Txn) -> bool {
    let differs = |same: bool, unless: Bug| !same && !model.bugs.has(unless);
    let moved_on = match txn.write {
        Write::CloseControl => differs(txn.session, Bug::CloseWithoutRevision),
        Write::Close(_) => {
            differs(txn.session, Bug::FinalWithoutSessionCompare)
                || differs(txn.fence, Bug::FinalWithoutFenceCompare)
        }
        // A final record stays what it is; the closing of the control plane may be taken back.
        Write::Grant => {
            let revocable = !matches!(s.fence, Fence::Closed(_));
            s.granted || (revocable && differs(txn.fence, Bug::GrantWithoutFenceCompare))
        }
    };
    moved_on || differs(txn.epoch, Bug::NoEpochGuard)
}

fn apply(model: &Protocol, s: &mut State, write: Write) {
    match write {
        Write::CloseControl => {
            s.session = Session::Closed;
            s.fence = match model.class {
                Class::Alone => Fence::Closed(Evidence::Silence),
                Class::Quorum | Class::Plain => Fence::ControlClosed,
            };
            session_changed(s);
            fence_changed(s);
        }
        Write::Close(evidence) => {
            s.fence = Fence::Closed(evidence);
            fence_changed(s);
            if s.session == Session::Open {
                s.session = Session::Closed;
                session_changed(s);
            }
        }
        Write::Grant => s.granted = true,
    }
}

/// The session has another revision.
pub(crate) fn session_changed(s: &mut State) {
    for manager in &mut s.managers {
        manager.current = false;
        if let Some(txn) = &mut manager.txn {
            txn.session = false;
        }
    }
}

/// The fence record has another revision, or is gone.
pub(crate) fn fence_changed(s: &mut State) {
    for manager in &mut s.managers {
        if let Some(txn) = &mut manager.txn {
            txn.fence = false;
        }
    }
}

/// A transaction that will be refused has no effect, whenever it arrives. Silence matters only while
/// the session is open, and only that of the revision which stands there.
pub(crate) fn settle(model: &Protocol, s: &mut State) {
    let fresh = Manager {
        current: true,
        silence: 0,
        txn: None,
    };
    for of in 0..s.managers.len() {
        if of >= model.managers || s.taker.start == Start::Running {
            s.managers[of] = fresh;
            continue;
        }
        if s.managers[of]
            .txn
            .is_some_and(|txn| refused(model, s, &txn))
        {
            s.managers[of].txn = None;
        }
        let blind =
            model.bugs.has(Bug::CloseWithoutRevision) || model.bugs.has(Bug::SilenceIsEvidence);
        if !s.managers[of].current && !blind {
            s.managers[of].silence = 0;
        }
        if matches!(s.fence, Fence::Closed(_)) && !model.bugs.has(Bug::ReopenWithoutFenceCompare) {
            s.managers[of].current = true;
            s.managers[of].silence = 0;
        }
    }
    if s.taker.start == Start::Running {
        s.leader = 0;
    }
}
