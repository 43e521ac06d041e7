//! Host 1, which may run the VM: the agent's session, the start of a VM, the guard.

pub(crate) mod guard;
pub(crate) mod session;
pub(crate) mod start;

use crate::bug::Bug;
use crate::protocol::Protocol;
use crate::state::{DEADLINE, Fence, Mail, Session, Stage, Start, State, Vm};

/// A life that is over renews nothing and starts nothing; what has no process cannot be killed.
pub(crate) fn settle(model: &Protocol, s: &mut State) {
    let host = &mut s.host;
    if host.over {
        host.control = DEADLINE;
        host.storage = DEADLINE;
        if !host.vm.exists() {
            host.vm = Vm::Gone;
        }
        host.checked_early = false;
    }
    if host.vm == Vm::Gone {
        host.checked_early = false;
    }
    // Nobody looks at the sector any more once the VM runs on host 2, nor at the requests of a life
    // that is closed.
    if s.taker.start == Start::Running {
        s.released = false;
        s.mail = Mail::Empty;
    }
    let refused = matches!(s.fence, Fence::Closed(_)) && s.session == Session::Closed;
    if refused
        && !model.bugs.has(Bug::ReopenWithoutFenceCompare)
        && let Some(request) = host.request
        && request.stage == Stage::Sent
    {
        host.request = None;
    }
}
