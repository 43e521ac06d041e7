//! A host's session: how an agent opens it, and the heartbeat that keeps it.
//!
//! ```text
//!  record in the store                          an agent on this machine
//!  ─────────────────────────────────────────    ─────────────────────────────────────────────
//!  none                                         new incarnation, once the host is clean
//!  closed                                       new incarnation, once the host is clean
//!  closed, the life in our state file, with a   the same incarnation, if its fence record still
//!  storage plane                                leaves it open (see `reopen`)
//!  open, this boot, the life in our state file  the same incarnation goes on
//!  of a life before the one in our state file   the life in our state file, if the guard still has
//!                                               it: the store was set back (see `taken_back`)
//!  open, this machine, no such life             watched for a while; then a new incarnation,
//!                                               once the host is clean
//!  … and it is renewed while being watched      refused: two agents have this name
//!  open, another machine                        refused: two machines have this name
//!  unreadable                                   refused
//! ```
//! *Clean*: no domain with this cluster's stamp is left. So an open session of a new incarnation
//! says that nothing of an earlier one runs here. Every way in is one write guarded by the revision
//! that was decided on.

use crate::api::{Compare, KeyValue, Txn, TxnOp};
use crate::guarded::{Ack, BEATS_PER_MS, Beat, Heartbeat, Numbers, Start, Whose};
use crate::guards::encode;
use crate::keyspace::Key;
use holdfast_model::host::{Session, SessionState};
use holdfast_model::id::{BootId, HostName, Incarnation, MachineId, Revision};
use holdfast_model::time::Instant;

/// A session's heartbeat.
pub type SessionHeartbeat = Heartbeat<SessionBeat>;

/// What a session's heartbeat writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionBeat {
    /// The host.
    pub host: HostName,
    /// The record; `beat` is filled in, `state` is always open.
    pub session: Session,
}

impl Beat for SessionBeat {
    fn key(&self) -> Key {
        Key::HostSession(self.host.clone())
    }

    fn value(&self, beat: u64) -> Vec<u8> {
        encode(&Session {
            beat,
            state: SessionState::Open,
            ..self.session.clone()
        })
    }

    fn recognise(&self, value: &[u8]) -> Whose {
        let Ok(found) = serde_json::from_slice::<Session>(value) else {
            return Whose::Other("a record that this version cannot read".into());
        };
        let mine = &self.session;
        let same = found.incarnation == mine.incarnation
            && found.boot_id == mine.boot_id
            && found.machine_id == mine.machine_id;
        match (same, found.state) {
            (true, SessionState::Open) => Whose::Mine(found.beat),
            (true, SessionState::Closed) => Whose::Closed,
            (false, _) => Whose::Other(format!(
                "incarnation {} of machine {} (boot {})",
                found.incarnation, found.machine_id, found.boot_id
            )),
        }
    }
}

/// Which machine this is, and what it remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The host's name by configuration.
    pub host: HostName,
    /// This boot.
    pub boot_id: BootId,
    /// This machine.
    pub machine_id: MachineId,
    /// The life an agent had on this boot, from its state file.
    pub saved: Option<Incarnation>,
    /// The lives before it on this boot.
    pub earlier: Vec<Incarnation>,
}

impl Identity {
    /// That session is of a life before the one in the state file: the store was set back. A state file is
    /// of this boot, so any life of an earlier boot was before it.
    pub fn has_outlived(&self, found: &Session) -> bool {
        let earlier = found.boot_id != self.boot_id || self.earlier.contains(&found.incarnation);
        self.saved.is_some() && found.machine_id == self.machine_id && earlier
    }
}

/// What an agent may do about its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Open a new incarnation with a write on this revision (`None`: the key does not exist).
    New {
        /// Decided on.
        base: Option<Revision>,
    },
    /// Go on with the saved incarnation.
    Continue {
        /// Decided on.
        base: Revision,
        /// The session as it stands.
        session: Session,
    },
    /// The saved incarnation was closed by a leader, and its storage plane may have kept it alive: if
    /// the guard says so and the fence record is at
    /// [`ControlClosed`](holdfast_model::fence::FenceStage::ControlClosed), [`reopen`] it; otherwise
    /// forget that life and ask again.
    Reopen {
        /// Decided on.
        base: Revision,
        /// The session as it stands.
        session: Session,
    },
    /// The saved incarnation began after the one that the store knows: the store was set back to an older
    /// state. If the guard says so that life goes on, with a write on this revision ([`taken_back`]).
    TakeBack {
        /// Decided on.
        base: Revision,
    },
    /// Stamped domains are left: destroy them, then ask again.
    CleanFirst {
        /// Why they cannot stay, in words.
        why: String,
    },
    /// Read the record again then: whoever renews it would have done so.
    Observe {
        /// When.
        until: Instant,
    },
    /// Not as this host.
    Refused(OpenError),
}

/// Why an agent may not open a session. Each names what an operator can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another machine has the name.
    #[error(
        "host name {host} belongs to another machine: {machine_id} holds its session \
         (incarnation {incarnation}) and this is {own}. Give this machine a name of its own in \
         host.toml; or, if the other one is gone for good, make sure that it is off and run \
         `holdfast host confirm-off {host}`"
    )]
    OtherMachine {
        /// The name.
        host: HostName,
        /// The machine that holds the session.
        machine_id: MachineId,
        /// Its life.
        incarnation: Incarnation,
        /// This machine.
        own: MachineId,
    },
    /// Somebody with this machine id renews it right now.
    #[error(
        "another agent renews the session of host {host} right now (incarnation {incarnation}, \
         boot {boot_id}), with the same machine id as this one. Stop the other agent; if it is on \
         a copy of this machine, give the copy a machine id of its own \
         (`rm /etc/machine-id && systemd-machine-id-setup`)"
    )]
    AlreadyRenewed {
        /// The name.
        host: HostName,
        /// The other's life.
        incarnation: Incarnation,
        /// The other's boot.
        boot_id: BootId,
    },
    /// The record is not readable.
    #[error(
        "the session record of host {host} cannot be read by this version ({why}); upgrade this \
         host, or remove the record once nothing runs there: `holdfast host forget {host}`"
    )]
    Unreadable {
        /// The name.
        host: HostName,
        /// Why.
        why: String,
    },
}

/// Decides how to open a session; remembers what it saw between two looks.
#[derive(Debug, Clone)]
pub struct Opener {
    me: Identity,
    /// How long an open session of this machine is watched before it is taken over, in
    /// milliseconds: two heartbeats and a half ([`holdfast_model::timing::Timing::suspect_after_ms`]).
    observe_ms: u64,
    first_seen: Option<(Revision, Instant)>,
    moved: bool,
}

impl Opener {
    /// For this machine.
    pub fn new(me: Identity, observe_ms: u64) -> Self {
        Self {
            me,
            observe_ms,
            first_seen: None,
            moved: false,
        }
    }

    /// What to do, given the record as it stands now (read linearizably) and whether the host is
    /// clean. Ask again after [`Opening::Observe`] and [`Opening::CleanFirst`], and when the first
    /// write of the session was lost.
    pub fn decide(&mut self, now: Instant, found: Option<&KeyValue>, clean: bool) -> Opening {
        let Some(item) = found else {
            self.first_seen = None;
            return fresh(None, clean, "no session is open");
        };
        let session: Session = match serde_json::from_slice(&item.value) {
            Ok(session) => session,
            Err(error) => {
                let (host, why) = (self.me.host.clone(), error.to_string());
                return Opening::Refused(OpenError::Unreadable { host, why });
            }
        };
        let base = Some(item.revision);
        let saved = session.boot_id == self.me.boot_id
            && self.me.saved.as_ref() == Some(&session.incarnation);
        if session.state == SessionState::Closed {
            if saved && session.storage.is_some() {
                let base = item.revision;
                return Opening::Reopen { base, session };
            }
            if self.me.has_outlived(&session) {
                return Opening::TakeBack {
                    base: item.revision,
                };
            }
            return fresh(base, clean, "the last session was closed by a leader");
        }
        if session.machine_id != self.me.machine_id {
            return Opening::Refused(OpenError::OtherMachine {
                host: self.me.host.clone(),
                machine_id: session.machine_id,
                incarnation: session.incarnation,
                own: self.me.machine_id.clone(),
            });
        }
        if saved {
            return Opening::Continue {
                base: item.revision,
                session,
            };
        }
        self.take_over(now, item.revision, session, clean)
    }

    /// An open session of this machine that is not ours: of an earlier boot, or of an agent that
    /// left no state file.
    fn take_over(
        &mut self,
        now: Instant,
        revision: Revision,
        session: Session,
        clean: bool,
    ) -> Opening {
        let (seen, since) = *self.first_seen.get_or_insert((revision, now));
        if seen != revision {
            self.first_seen = Some((revision, now));
            self.moved = true;
        }
        if self.moved {
            return Opening::Refused(OpenError::AlreadyRenewed {
                host: self.me.host.clone(),
                incarnation: session.incarnation,
                boot_id: session.boot_id,
            });
        }
        if now.since(since) < self.observe_ms {
            return Opening::Observe {
                until: since.plus(self.observe_ms),
            };
        }
        if self.me.has_outlived(&session) {
            return Opening::TakeBack { base: revision };
        }
        fresh(
            Some(revision),
            clean,
            "the open session is of another life of this host",
        )
    }
}

fn fresh(base: Option<Revision>, clean: bool, why: &str) -> Opening {
    match clean {
        true => Opening::New { base },
        false => Opening::CleanFirst { why: why.into() },
    }
}

/// The heartbeat of a new incarnation ([`Opening::New`]). Its first write opens the session; if
/// that is lost, decide anew, with another incarnation.
pub fn heartbeat(
    host: HostName,
    session: Session,
    base: Option<Revision>,
    period_ms: u64,
) -> SessionHeartbeat {
    let numbers = Numbers::From(1);
    let start = Start {
        base,
        numbers,
        also: Vec::new(),
        period_ms,
    };
    Heartbeat::new(SessionBeat { host, session }, start)
}

/// Opens the session of a life again that a leader had closed ([`Opening::Reopen`]): one transaction on
/// the closed session and on the fence record, which goes with it. A leader that closes the life for
/// good compares the same record, so one of the two fails. Returns the heartbeat's number as well.
pub fn reopen(
    host: &HostName,
    session: &Session,
    last_beat: u64,
    (base, fence): (Revision, Revision),
    now: Instant,
) -> (Txn, u64) {
    let beat = now
        .0
        .saturating_mul(BEATS_PER_MS)
        .max(last_beat.saturating_add(1));
    let key = Key::HostSession(host.clone()).path();
    let record = Key::Fence(host.clone(), session.incarnation.clone()).path();
    let open = Session {
        beat,
        state: SessionState::Open,
        ..session.clone()
    };
    let txn = Txn {
        compares: vec![
            Compare::Revision(key.clone(), base),
            Compare::Revision(record.clone(), fence),
        ],
        ops: vec![TxnOp::Put(key, encode(&open)), TxnOp::Delete(record)],
    };
    (txn, beat)
}

/// The heartbeat of a session that was opened again: that transaction was its first.
pub fn reopened(
    host: HostName,
    session: Session,
    ack: Ack,
    beat: u64,
    period_ms: u64,
) -> SessionHeartbeat {
    let start = Start {
        base: Some(ack.revision),
        numbers: Numbers::FromClock { above: beat },
        also: Vec::new(),
        period_ms,
    };
    Heartbeat::acknowledged_start(SessionBeat { host, session }, start, ack)
}

/// The heartbeat of a life that the store has forgotten ([`Opening::TakeBack`]). Each write compares that
/// nobody has closed that life: a fence record of it ends it.
pub fn taken_back(
    host: HostName,
    session: Session,
    base: Revision,
    period_ms: u64,
) -> SessionHeartbeat {
    let record = Key::Fence(host.clone(), session.incarnation.clone()).path();
    let start = Start {
        base: Some(base),
        numbers: Numbers::FromClock { above: 0 },
        also: vec![Compare::Absent(record)],
        period_ms,
    };
    Heartbeat::new(SessionBeat { host, session }, start)
}

/// The heartbeat of a session that goes on ([`Opening::Continue`]). `session` is what this process
/// declares; its incarnation is that of the record found, whose number and revision are given.
pub fn continued(
    host: HostName,
    session: Session,
    base: Revision,
    last_beat: u64,
    period_ms: u64,
) -> SessionHeartbeat {
    let numbers = Numbers::FromClock { above: last_beat };
    let start = Start {
        base: Some(base),
        numbers,
        also: Vec::new(),
        period_ms,
    };
    Heartbeat::new(SessionBeat { host, session }, start)
}
