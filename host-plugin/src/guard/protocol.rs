//! What agent and guard say to each other: one JSON object per line, over a Unix socket.

use super::claims::ClaimState;
use super::lease::VolumeInfo;
use crate::process::ProcessId;
use holdfast_core::guardian::deadline::{Phase, Renewal};
use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::claim::Wanted;
use holdfast_core::lease::observer::Finding;
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{Generation, Incarnation, Revision, VmName, VmUuid};
use holdfast_model::lease::{Mail, StorageClass};
use holdfast_model::probe::ProbeKey;
use holdfast_model::time::Instant;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Of this protocol. A guard answers a newer agent's calls that it does not know with a refusal.
pub const VERSION: u32 = 1;

/// Longest line, in bytes. A status of a thousand VMs has about 150 KiB.
pub const LINE_MAX: usize = 1 << 20;

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The agent's [`VERSION`].
    pub v: u32,
    /// Comes back in the reply.
    pub id: u64,
    /// What is asked for.
    #[serde(flatten)]
    pub call: Call,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum Call {
    /// How things stand.
    Status,
    /// Watch over a life. Before its first heartbeat is sent, and again after either side
    /// was restarted.
    Arm {
        /// Which.
        incarnation: Incarnation,
        /// Its bounds.
        bounds: RunnerBounds,
        /// Its slot on the lease volume, once its session declares it for sure.
        #[serde(default)]
        slot: Option<u32>,
    },
    /// The agent is there, and cannot renew the session at the moment. Said every second while there is
    /// nothing else to say.
    Alive,
    /// A leader has closed the session of that life, and not yet the life: its control plane has lapsed.
    ControlClosed {
        /// Which.
        incarnation: Incarnation,
    },
    /// What is known of the lease volume.
    Volume,
    /// What may be said of a peer's life by its heartbeat slot.
    Observe {
        /// Its slot.
        slot: u32,
        /// Its life.
        incarnation: Incarnation,
        /// When the agent learned that its session had been closed.
        closed: Instant,
    },
    /// Write a message into a peer's mailbox.
    Send {
        /// The peer's slot.
        slot: u32,
        /// The message.
        mail: Mail,
    },
    /// Write a VM's claim on the lease volume, before the VM runs. Said again until it is answered with
    /// more than that it is under way.
    Claim {
        /// The VM's slot; none: what stands in those that may be its own.
        slot: Option<u32>,
        /// What is claimed.
        wanted: Box<Wanted>,
    },
    /// Empty the slot of a VM that does not exist any more. Said again, as [`Call::Claim`].
    FreeClaim {
        /// Which.
        slot: u32,
        /// Whose it must be.
        uuid: VmUuid,
    },
    /// Answer managers that ask whether this host is there. A guard that is older refuses that, and this host
    /// has no part in it.
    Probes {
        /// Where to listen.
        listen: SocketAddr,
        /// What questions and answers are signed with.
        key: ProbeKey,
    },
    /// A heartbeat was acknowledged.
    Renewed {
        /// Of which life.
        incarnation: Incarnation,
        /// When it was sent.
        sent_at: Instant,
        /// Its revision: messages that are older are obsolete.
        #[serde(default)]
        revision: Revision,
    },
    /// The session of that life is lost: its deadline has come.
    Revoke {
        /// Which.
        incarnation: Incarnation,
    },
    /// Watch a process. Once this is answered with [`Answer::Done`], it dies at the deadline.
    Watch {
        /// Of which life.
        incarnation: Incarnation,
        /// The process.
        process: Process,
    },
}

/// A VM's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Which VM.
    pub vm: VmName,
    /// Under which grant.
    pub generation: Generation,
    /// Its UUID.
    pub uuid: VmUuid,
    /// Which process.
    pub process: ProcessId,
    /// Under which storage lease its grant was made: with [`StorageClass::Quorum`] it runs on while
    /// either plane is valid.
    #[serde(default)]
    pub lease: StorageClass,
    /// The slot on the lease volume in which this life has claimed it; none if it has not.
    #[serde(default)]
    pub slot: Option<u32>,
}

/// To the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
pub enum Message {
    /// To a request.
    Reply {
        /// Which.
        id: u64,
        /// The answer, or why there is none.
        result: Result<Answer, String>,
    },
    /// A deadline has passed, and this became of the VMs. Told again whenever it changes.
    Stopped {
        /// The life that ended; none if nobody had armed one, or if it goes on by its storage lease
        /// and only VMs without one were stopped.
        incarnation: Option<Incarnation>,
        /// What was killed.
        killed: Vec<Killed>,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<Status>),
    /// To [`Call::Arm`].
    Armed {
        /// The deadline now.
        deadline: Instant,
        /// From the guard's last sign to the reset by a watchdog, in milliseconds; 0 if nothing
        /// resets this host.
        #[serde(default)]
        watchdog_bound_ms: u64,
    },
    /// To [`Call::Renewed`].
    Renewed {
        /// What became of it.
        renewal: Renewal,
    },
    /// To [`Call::Volume`].
    Volume {
        /// What it is; none while that is not known.
        info: Option<VolumeInfo>,
        /// What is wrong with it, or with this host's slot on it.
        problem: Option<String>,
        /// How this host's planes stand: control, storage.
        planes: (PlaneState, PlaneState),
    },
    /// To [`Call::Observe`].
    Observed {
        /// What may be said.
        finding: Finding,
        /// The silence after which that life's storage plane has ended, by what its last heartbeat
        /// declares, in milliseconds; none if none was read.
        wait_ms: Option<u64>,
    },
    /// To [`Call::Claim`] and [`Call::FreeClaim`].
    Claim {
        /// How it stands.
        state: ClaimState,
    },
    /// To all other calls.
    Done,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The guard's [`VERSION`].
    pub v: u32,
    /// The deadline's state.
    pub phase: Phase,
    /// What is watched.
    pub watched: Vec<Process>,
    /// What was killed at the last deadline, until another life is armed.
    pub killed: Vec<Killed>,
    /// Protections that this system did not permit, in words.
    pub warnings: Vec<String>,
    /// As in [`Answer::Armed`].
    #[serde(default)]
    pub watchdog_bound_ms: u64,
}

/// A VM that was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// Which.
    pub vm: VmName,
    /// Under which grant.
    pub generation: Generation,
    /// Its process is gone; false: it was sent the signal and is still there (stuck in I/O).
    pub gone: bool,
    /// Why it had to go.
    #[serde(default)]
    pub why: KillReason,
}

/// Why a VM had to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillReason {
    /// No plane of this host protected it any more.
    #[default]
    Lapsed,
    /// The storage knows a newer holder of it.
    PassedOver,
}
