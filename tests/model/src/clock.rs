//! Time: one step makes every clock go on, and what is due at that moment happens in it.
//!
//! Everything else takes no time and may happen in any order between two ticks, or never: a process
//! that is paused, a message that is delayed and a network that is cut are all "does not happen yet".
//! Only what the guard and the kernel guarantee is bound to the clock: the kill at the deadline, the
//! exit after the kill.

use crate::bug::Bug;
use crate::host::guard;
use crate::protocol::{Class, Protocol};
use crate::state::{DEADLINE, State, Vm};

/// Time passes by one tick; `on_host`: also on host 1's clock.
pub(crate) fn tick(model: &Protocol, s: &mut State, on_host: bool) -> Option<()> {
    let wait = model.wait();
    for manager in &mut s.managers {
        manager.silence = later(manager.silence, wait);
    }
    s.taker.since = later(s.taker.since, wait);
    if let Vm::Killed { left, ran } = s.host.vm {
        s.host.vm = match left {
            0 | 1 => Vm::Gone,
            _ => Vm::Killed {
                left: left - 1,
                ran,
            },
        };
    }
    if on_host {
        host_clock(model, s);
    }
    Some(())
}

/// Host 1's clock falls behind by a tick, as far as the drift allows.
pub(crate) fn tick_not_on_host(model: &Protocol, s: &mut State) -> Option<()> {
    s.drift = s.drift.checked_sub(1)?;
    tick(model, s, false)
}

fn host_clock(model: &Protocol, s: &mut State) {
    let host = &mut s.host;
    host.control = later(host.control, DEADLINE);
    host.storage = later(host.storage, DEADLINE);
    if let Some(request) = &mut host.request {
        request.age = later(request.age, DEADLINE);
    }
    if let Some(heartbeat) = &mut host.heartbeat {
        heartbeat.age = later(heartbeat.age, DEADLINE);
    }
    if host.control == DEADLINE && host.storage == DEADLINE {
        host.over = !model.bugs.has(Bug::NoLatch);
        guard::kill(host);
    }
    // A VM of the control plane alone goes with it; its host may live on by the other.
    if model.class != Class::Quorum && !model.may_run(host) {
        guard::kill(host);
    }
}

/// One tick later, and no more than can matter.
fn later(age: u8, most: u8) -> u8 {
    age.saturating_add(1).min(most)
}
