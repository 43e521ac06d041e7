//! Host 2: it observes host 1's heartbeat for the managers, and starts the VM when it is granted.
//!
//! The observer's rule (`core::lease::observer`): unchanged *since* the end of the read that showed the
//! counter first, *until* the sending of an own acknowledged write before the read that showed it
//! last. Only the sending counts, so finding is one step here, at that moment; the acknowledgement,
//! the read and the report come later, and so does whoever uses the finding.

use crate::bug::Bug;
use crate::protocol::{Action, Class, Protocol};
use crate::state::{Evidence, Fence, Finding, Learned, Mail, Session, Start, State, Write};

/// The generation host 2 is granted.
const GENERATION: u8 = 2;

pub(crate) fn step(model: &Protocol, s: &mut State, action: Action) -> Option<()> {
    match action {
        Action::ReadHeartbeat => {
            (!s.taker.current).then_some(())?;
            s.taker.current = true;
            s.taker.since = 0;
        }
        Action::LearnClosed => {
            let closed = s.session == Session::Closed && s.fence != Fence::Absent;
            (closed && s.taker.learned != Learned::Current).then_some(())?;
            s.taker.learned = Learned::Current;
        }
        Action::FindLapsed => s.taker.finding = Some(find_lapsed(model, s)?),
        Action::FindReleased => {
            s.released.then_some(())?;
            s.taker.finding = Some(Finding {
                evidence: Evidence::Released,
                current: true,
            });
        }
        Action::SendMail => {
            (model.mail && s.mail == Mail::Empty && s.taker.start == Start::Idle).then_some(())?;
            s.mail = Mail::Asked;
        }
        Action::TakerClaim => {
            let idle = s.granted && s.taker.start == Start::Idle && s.claim < GENERATION;
            (idle && read_again(model, s)).then_some(())?;
            s.claim = GENERATION;
            s.taker.start = Start::Claimed;
        }
        Action::TakerStart => {
            (s.taker.start == Start::Claimed).then_some(())?;
            s.taker.start = Start::Running;
        }
        _ => return None,
    }
    Some(())
}

/// Unchanged for the whole wait, by the observer's rule; the time may begin before the closing, but
/// ends after it was learned.
fn find_lapsed(model: &Protocol, s: &State) -> Option<Finding> {
    let taker = &s.taker;
    let seen = taker.current || model.bugs.has(Bug::StaleReadTrusted);
    let early = model.bugs.has(Bug::EndBeforeClosing);
    let ended_late = taker.learned != Learned::Nothing || early;
    let lapsed = seen && ended_late && taker.since >= model.wait();
    let released = taker.finding.map(|it| it.evidence) == Some(Evidence::Released);
    (lapsed && !released && model.class != Class::Alone).then_some(Finding {
        evidence: Evidence::Lapsed {
            current: taker.current,
        },
        current: taker.learned == Learned::Current || early,
    })
}

/// The last look before the start, after a write of its own.
fn read_again(model: &Protocol, s: &State) -> bool {
    let blind = model.bugs.has(Bug::NoReread) || model.bugs.has(Bug::StaleReadTrusted);
    match s.fence {
        Fence::Closed(Evidence::Lapsed { current }) => current || blind,
        _ => true,
    }
}

/// Another heartbeat stands in the sector: counters that were remembered are not the last any more.
pub(crate) fn sector_changed(s: &mut State, released: bool) {
    s.released = released;
    s.taker.current = false;
    let old = |evidence: &mut Evidence| {
        if let Evidence::Lapsed { current } = evidence {
            *current = false;
        }
    };
    if let Some(finding) = &mut s.taker.finding {
        old(&mut finding.evidence);
    }
    if let Fence::Closed(evidence) = &mut s.fence {
        old(evidence);
    }
    for manager in &mut s.managers {
        if let Some(txn) = &mut manager.txn
            && let Write::Close(evidence) = &mut txn.write
        {
            old(evidence);
        }
    }
}

/// How long an unknown counter has been there is nothing; once the VM runs, nothing is observed.
pub(crate) fn settle(model: &Protocol, s: &mut State) {
    if !s.taker.current && !model.bugs.has(Bug::StaleReadTrusted) {
        s.taker.since = 0;
    }
    if s.taker.start == Start::Running {
        s.taker.current = false;
        s.taker.since = 0;
        s.taker.learned = Learned::Nothing;
        s.taker.finding = None;
    }
}
