//! Evidence: what proves that an incarnation of a host runs nothing any more.

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
}

/// How far an incarnation is closed. A host without a storage lease goes to `Closed` at once: the
/// control plane is its only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceStage {
    /// Its heartbeats are refused; what its storage lease protects may still run.
    ControlClosed,
    /// Nothing of it can run any more.
    Closed,
}

/// What proves it. Nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Evidence {
    /// A fencing device was asked afterwards and says off.
    PoweredOff {
        /// Which device said so.
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
