//! This host's life as the cluster sees it, shared between the task that keeps the session and the
//! loop that runs VMs.
//!
//! ```text
//! Unknown ── the record is ours and open ───> Opening ── first ack ──> Open ── lost ──> Cleaning
//!    │                                           ^                                          │
//!    └────── it is not ──> Cleaning ─────────────┴──────────────── nothing is left ─────────┘
//! ```
//! `Unknown` and `Opening` touch nothing: a restarted agent must not judge VMs before it knows
//! whether their session still stands and how far the deadline is.

use holdfast_model::host::{RunnerBounds, StoragePlane};
use holdfast_model::id::{Incarnation, Revision};
use holdfast_model::lease::StorageClass;
use holdfast_model::time::Instant;

/// Where this host stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Life {
    /// Not known yet.
    #[default]
    Unknown,
    /// The host has no session: everything with this cluster's stamp goes.
    Cleaning,
    /// The host has a session by the record it read; no heartbeat of this process has been
    /// acknowledged yet.
    Opening(Open),
    /// The host has a session.
    Open(Open),
}

impl Life {
    /// The session, acknowledged or not.
    pub fn session(&self) -> Option<&Open> {
        match self {
            Self::Opening(open) | Self::Open(open) => Some(open),
            Self::Unknown | Self::Cleaning => None,
        }
    }

    /// The session was closed, and the life may go on by its storage lease: nothing is touched until
    /// that is known.
    pub fn reopening(&mut self) {
        if let Self::Open(open) = self {
            let acknowledged = None;
            *self = Self::Opening(Open {
                acknowledged,
                ..open.clone()
            });
        }
    }

    /// The same, to be changed.
    pub fn session_mut(&mut self) -> Option<&mut Open> {
        match self {
            Self::Opening(open) | Self::Open(open) => Some(open),
            Self::Unknown | Self::Cleaning => None,
        }
    }
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// This life.
    pub incarnation: Incarnation,
    /// The bounds that are declared.
    pub bounds: RunnerBounds,
    /// The last acknowledged heartbeat; none before the first.
    pub acknowledged: Option<Acknowledged>,
    /// The guard has this life armed, on this connection to it.
    pub armed_on: Option<u64>,
    /// The storage plane that is declared.
    pub storage: Option<StoragePlane>,
}

/// An acknowledged heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// When it was sent.
    pub sent_at: Instant,
    /// Its revision: what this host's other writes are guarded by.
    pub revision: Revision,
}

/// A start must be possible to finish before the deadline; decisions to begin one stop this long
/// before it, in milliseconds, and the last look before a resume half of that.
const START_MARGIN_MS: u64 = 1_000;

impl Open {
    /// The slot on the lease volume that is declared.
    pub fn slot(&self) -> Option<u32> {
        self.storage.as_ref().map(|plane| plane.slot)
    }

    /// The storage lease under which a VM runs here that was granted under this one.
    pub fn lease(&self, granted: StorageClass) -> StorageClass {
        match &self.storage {
            Some(plane) if plane.class == StorageClass::Quorum => granted,
            Some(_) | None => StorageClass::Plain,
        }
    }

    /// When the session lapses, unless a heartbeat is acknowledged before. In the past before the
    /// first.
    pub fn deadline(&self) -> Instant {
        let deadline = |ack: Acknowledged| ack.sent_at.plus(self.bounds.runner_deadline_ms);
        self.acknowledged.map_or(Instant(0), deadline)
    }

    /// Until when a VM may be set going.
    pub fn may_act_until(&self) -> Instant {
        Instant(self.deadline().0.saturating_sub(self.margin_ms()))
    }

    /// Until when a VM that was created may be resumed.
    pub fn may_resume_until(&self) -> Instant {
        Instant(self.deadline().0.saturating_sub(self.margin_ms() / 2))
    }

    fn margin_ms(&self) -> u64 {
        START_MARGIN_MS.min(self.bounds.runner_deadline_ms / 4)
    }
}
