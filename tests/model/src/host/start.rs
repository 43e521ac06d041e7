//! The start of a granted VM, by an agent that may be paused between any two of its steps.

use crate::bug::Bug;
use crate::protocol::{Action, Protocol};
use crate::state::{Session, State, Vm};

/// The generation host 1 was granted.
const GENERATION: u8 = 1;

pub(crate) fn step(model: &Protocol, s: &mut State, action: Action) -> Option<()> {
    let early = model.bugs.has(Bug::RecheckBeforeWatch);
    let checks = s.session == Session::Open && !s.granted;
    let next = match (action, s.host.vm) {
        (Action::Claim, Vm::Granted) if s.claim < GENERATION => Vm::Claiming,
        // A write is not a compare: what was read before it may have changed since.
        (Action::ClaimLands, Vm::Claiming) => {
            s.claim = GENERATION;
            Vm::Claimed
        }
        (Action::Recheck, Vm::Claimed) if early && checks && !s.host.checked_early => {
            s.host.checked_early = true;
            Vm::Claimed
        }
        (Action::Create, Vm::Claimed) if accepted(model, s) => {
            let checked = s.host.checked_early || model.bugs.has(Bug::ResumeWithoutRecheck);
            match checked {
                true => Vm::Rechecked,
                false if early => return None,
                false => Vm::Created,
            }
        }
        (Action::Recheck, Vm::Created) if checks => Vm::Rechecked,
        // The kill has been sent and the agent does not know yet: its resume may still get through.
        (Action::Recheck, Vm::Killed { left, ran: false }) if checks => {
            Vm::Killed { left, ran: true }
        }
        (Action::Resume, Vm::Rechecked) => Vm::Running,
        _ => return None,
    };
    s.host.vm = next;
    Some(())
}

/// The guard takes a new process only of a life that is not over, and only while its rule lets it run.
fn accepted(model: &Protocol, s: &State) -> bool {
    !s.host.over && model.may_run(&s.host)
}
