//! The guard: the heartbeat on the storage, the mailbox, and the kill. It is never paused: its own
//! delays are part of the kill bound.

use crate::bug::Bug;
use crate::protocol::{Action, Class, Protocol};
use crate::state::{Heartbeat, Host, KILL, Mail, Session, Stage, State, Vm};
use crate::taker;

pub(crate) fn step(model: &Protocol, s: &mut State, action: Action) -> Option<()> {
    match action {
        Action::SendHeartbeat => send(model, s),
        Action::HeartbeatLands => lands(s),
        Action::HeartbeatAcked => acked(model, s),
        Action::HeartbeatLost => s.host.heartbeat.take().map(|_| ()),
        Action::HeartbeatGivenUp => {
            (model.ghosts && !s.host.ghost).then_some(())?;
            let given_up = |it: &mut Heartbeat| it.stage == Stage::Sent && !it.released;
            s.host.heartbeat.take_if(given_up)?;
            s.host.ghost = true;
            Some(())
        }
        Action::GhostLands => {
            s.host.ghost.then_some(())?;
            s.host.ghost = false;
            taker::sector_changed(s, false);
            Some(())
        }
        Action::ReadMail => {
            (s.mail == Mail::Asked && !s.host.over).then_some(())?;
            s.mail = Mail::Read;
            s.host.over = !model.bugs.has(Bug::NoLatch);
            kill(&mut s.host);
            Some(())
        }
        _ => {
            matches!(s.host.vm, Vm::Killed { .. }).then_some(())?;
            s.host.vm = Vm::Gone;
            Some(())
        }
    }
}

/// From now on the process is dying.
pub(crate) fn kill(host: &mut Host) {
    if host.vm.exists() && !matches!(host.vm, Vm::Killed { .. }) {
        host.vm = Vm::Killed {
            left: KILL,
            ran: host.vm != Vm::Created,
        };
    }
}

fn send(model: &Protocol, s: &mut State) -> Option<()> {
    let gone = !s.host.vm.exists() || model.bugs.has(Bug::ReleasedBeforeGone);
    let asked = s.host.over || s.mail == Mail::Read;
    let released = asked && gone;
    let nothing_new = released && s.released && !s.host.ghost;
    let old_life = s.session != Session::NextLife;
    if model.class == Class::Alone || s.host.heartbeat.is_some() || nothing_new || !old_life {
        return None;
    }
    s.host.heartbeat = Some(Heartbeat {
        age: 0,
        stage: Stage::Sent,
        released,
    });
    Some(())
}

fn lands(s: &mut State) -> Option<()> {
    let heartbeat = s.host.heartbeat.filter(|it| it.stage == Stage::Sent)?;
    s.host.heartbeat = Some(Heartbeat {
        stage: Stage::Applied,
        ..heartbeat
    });
    taker::sector_changed(s, heartbeat.released);
    Some(())
}

fn acked(model: &Protocol, s: &mut State) -> Option<()> {
    let heartbeat = s.host.heartbeat.take_if(|it| it.stage == Stage::Applied)?;
    let age = match model.bugs.has(Bug::DeadlineFromAck) {
        true => 0,
        false => heartbeat.age,
    };
    if !s.host.over && !heartbeat.released {
        s.host.storage = s.host.storage.min(age);
    }
    Some(())
}
