//! Evidence: what proves that an incarnation of a host runs nothing any more.

use crate::host::StoragePlane;
use crate::id::{BootId, HostName, Incarnation, Revision};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `fences/H/INCARNATION`: that incarnation is closed, and why. Written once by the leader, in the
/// transaction that closes the session where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRecord {
    /// The host.
    pub host: HostName,
    /// The life that ended.
    pub incarnation: Incarnation,
    /// How far it is closed.
    pub stage: FenceStage,
    /// What proved it.
    pub evidence: Evidence,
    /// The session's revision it was decided on.
    #[serde(default)]
    pub session_revision: Option<Revision>,
    /// The storage plane of that life, where it declared one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plane: Option<StoragePlane>,
    /// What closed the storage plane, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageEvidence>,
    /// Its guard is asked through its mailbox on the lease volume to stop everything.
    #[serde(default)]
    pub release_asked: bool,
}

/// What proves that the storage plane of a life has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageEvidence {
    /// The host that read it.
    pub by: HostName,
    /// The heartbeat that was read, again and again. Whoever takes a VM over reads it once more.
    pub counter: u64,
    /// For how long, in milliseconds of that host's clock.
    pub unchanged_ms: u64,
}

/// How far an incarnation is closed.
///
/// ```text
/// (open) ── silent for the wait ──> ControlClosed ── heartbeat slot unchanged, released ──> Closed
///    ^                                   │
///    └──────── the same life renews ─────┘        without a storage plane: Closed at once
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceStage {
    /// Its session is closed; VMs that its storage lease protects may still run, and the life may
    /// open its session again. VMs without such a lease have stopped.
    ControlClosed,
    /// Nothing of it can run any more.
    Closed,
}

/// Between the names of devices that have to say off together. No name has a space in it.
pub const TOGETHER: &str = " and ";

/// What proves it. Nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Evidence {
    /// A fencing device was asked afterwards and says off.
    PoweredOff {
        /// Which device said so; those that have to say it together are joined by [`TOGETHER`].
        by: String,
    },
    /// The host said itself that nothing of that life is left.
    Released,
    /// No heartbeat for the taker's whole wait by the leader's own clock, and its guard declared
    /// that it would stop everything sooner.
    Lapsed {
        /// For how long, when it was closed.
        silence_ms: u64,
        /// How long the wait had to be.
        wait_ms: u64,
    },
    /// The host has a clean session on another boot.
    Rebooted {
        /// The new boot.
        boot_id: BootId,
    },
    /// An operator vouched for it by name.
    Confirmed {
        /// Who.
        by: String,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff { by } => write!(f, "powered off, says {by}"),
            Self::Released => f.write_str("released by the host itself"),
            Self::Lapsed {
                silence_ms,
                wait_ms,
            } => write!(
                f,
                "lapsed: no heartbeat for {:.1} s (wait {:.1} s)",
                *silence_ms as f64 / 1000.0,
                *wait_ms as f64 / 1000.0
            ),
            Self::Rebooted { boot_id } => write!(f, "rebooted: clean session on boot {boot_id}"),
            Self::Confirmed { by } => write!(f, "confirmed off by {by}"),
        }
    }
}
