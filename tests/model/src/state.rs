//! One state of the world: etcd, the storage, both hosts, both managers.
//!
//! Revisions and counters are never compared except for equality, so none is stored: what remembers
//! one holds a flag instead, "still the current one", and whoever writes clears the flags. That keeps
//! the state space finite without any bound on how many writes there are.

/// The runner's deadline, in ticks from the sending of the last renewal that was acknowledged.
pub const DEADLINE: u8 = 2;
/// From the kill to the last process gone, in ticks.
pub const KILL: u8 = 1;
/// By how much two clocks may differ over the whole wait, in ticks.
pub const DRIFT: u8 = 1;
/// The taker's wait, in ticks.
pub const WAIT: u8 = DEADLINE + KILL + DRIFT;

/// The session record of host 1 in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Session {
    /// Accepts renewals.
    Open,
    /// Refuses them.
    Closed,
    /// It is that of the host's next life.
    NextLife,
}

/// What a final record is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The heartbeat did not change for the whole wait.
    Lapsed {
        /// The counter it names still stands in the sector.
        current: bool,
    },
    /// The host's own word.
    Released,
    /// The session did not change for the whole wait, and the host has no storage lease.
    Silence,
}

/// The fence record of host 1's incarnation in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fence {
    /// There is none.
    Absent,
    /// Its renewals are refused; what the storage lease protects may run on.
    ControlClosed,
    /// Nothing of it can run any more.
    Closed(Evidence),
}

/// How far a write to etcd or to the storage has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// On its way.
    Sent,
    /// Applied; the acknowledgement is on its way.
    Applied,
}

/// What host 1's agent asks of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// Renew the session, compared with the revision of the last renewal.
    Renew,
    /// Open the session of the same incarnation again.
    Reopen,
}

/// A request of host 1's agent to etcd under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// What.
    pub kind: RequestKind,
    /// Ticks of host 1's clock since it was sent.
    pub age: u8,
    /// How far it has got.
    pub stage: Stage,
}

/// A heartbeat on its way to the sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// Ticks of host 1's clock since it was sent.
    pub age: u8,
    /// How far it has got.
    pub stage: Stage,
    /// It says that everything of this life has stopped.
    pub released: bool,
}

/// Host 1's mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mail {
    /// Nothing is asked.
    Empty,
    /// A release is.
    Asked,
    /// The guard has read that.
    Read,
}

/// The VM on host 1: the grant's way from etcd to vCPUs that run, and to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vm {
    /// The agent has read the grant.
    Granted,
    /// It has read the VM's sector and sent its claim.
    Claiming,
    /// The claim is written.
    Claimed,
    /// The domain exists, paused, and the guard watches it.
    Created,
    /// Owner and session were read again after that.
    Rechecked,
    /// It runs.
    Running,
    /// It was killed.
    Killed {
        /// Gone after so many ticks at the latest.
        left: u8,
        /// It ran, or a resume may be on its way: until it is gone it counts as running.
        ran: bool,
    },
    /// The kernel says that the process has exited.
    Gone,
}

impl Vm {
    /// There is a process.
    pub fn exists(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Rechecked | Self::Running | Self::Killed { .. }
        )
    }

    /// It runs, or may: a process that was killed may still be in the middle of a write.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Killed { ran: true, .. })
    }
}

/// Host 1: its agent and its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Host {
    /// Ticks since the last acknowledged renewal was sent, up to the deadline.
    pub control: u8,
    /// The same of the heartbeat on the storage.
    pub storage: u8,
    /// The guard's latch: nothing of this incarnation may run again.
    pub over: bool,
    /// The agent's request to etcd.
    pub request: Option<Request>,
    /// The guard's heartbeat under way.
    pub heartbeat: Option<Heartbeat>,
    /// A heartbeat that was given up may still land.
    pub ghost: bool,
    /// The VM.
    pub vm: Vm,
    /// It was re-checked before it was created; only with a bug.
    pub checked_early: bool,
}

/// What a manager has sent to etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    /// Close the session, record `ControlClosed`.
    CloseControl,
    /// Record `Closed`.
    Close(Evidence),
    /// Make host 2 the owner.
    Grant,
}

/// A transaction of a manager under way, and which of its compares would hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Txn {
    /// What it writes.
    pub write: Write,
    /// The session is at the revision it names.
    pub session: bool,
    /// The fence record is.
    pub fence: bool,
    /// The epoch is.
    pub epoch: bool,
}

/// A manager and its view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Manager {
    /// It has seen the session's current revision.
    pub current: bool,
    /// Ticks since it saw the last one that it saw.
    pub silence: u8,
    /// Sent and not applied yet.
    pub txn: Option<Txn>,
}

/// The start on host 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing is there.
    Idle,
    /// The heartbeat was read again, the VM's sector is claimed.
    Claimed,
    /// It runs.
    Running,
}

/// What the observer knows of the closing of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Learned {
    /// Nothing.
    Nothing,
    /// It was closed, and opened again since.
    Earlier,
    /// It is closed.
    Current,
}

/// What the observer has told the managers: it names the closing it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What it saw.
    pub evidence: Evidence,
    /// The closing it names still stands.
    pub current: bool,
}

/// Host 2: observer of host 1's heartbeat, and taker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taker {
    /// The counter it saw last still stands in the sector.
    pub current: bool,
    /// Ticks since the end of the read that showed it first.
    pub since: u8,
    /// Which closing it has learned of.
    pub learned: Learned,
    /// What it has told the managers.
    pub finding: Option<Finding>,
    /// The start.
    pub start: Start,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// etcd: host 1's session.
    pub session: Session,
    /// etcd: the fence record of its incarnation.
    pub fence: Fence,
    /// etcd: the owner is host 2, one generation up.
    pub granted: bool,
    /// Storage: what stands in host 1's sector says "released".
    pub released: bool,
    /// Storage: the generation in the VM's sector.
    pub claim: u8,
    /// Storage: host 1's mailbox, which may ask it to release.
    pub mail: Mail,
    /// Host 1.
    pub host: Host,
    /// The managers.
    pub managers: [Manager; 2],
    /// Which of them leads.
    pub leader: usize,
    /// Host 2.
    pub taker: Taker,
    /// Ticks by which host 1's clock may still fall behind.
    pub drift: u8,
}
