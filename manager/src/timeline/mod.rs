//! Incidents, told from events: which VM was away for how long, and in which phase.
//!
//! ```text
//! host   lost ─────────────── proven
//! vm1    lost ─────────────── proven ─ granted ── running
//! vm2    lost ─────────────── proven ───── granted ──── running
//! ```
//! Milliseconds count from the start of an incident: a lost host's last heartbeat. Events carry wall clocks, so the
//! figures are for people; no decision uses them. What came first is what was written first, whatever the
//! clocks of its writers say.

mod assemble;
mod build;

pub use build::build;

use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Something that happened to VMs, from its first sign to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// From its start's date and time (UTC), so that it stays the same while events are trimmed.
    pub id: String,
    /// What kind.
    pub kind: IncidentKind,
    /// In words.
    pub title: String,
    /// Its start: the last heartbeat of the first host lost, or the first event.
    pub started_at: UnixMs,
    /// From start to end, in milliseconds; none while it goes on.
    pub duration_ms: Option<u64>,
    /// Hosts that were lost.
    pub hosts: Vec<HostLane>,
    /// VMs that were touched.
    pub vms: Vec<VmLane>,
    /// How long VMs were away.
    pub summary: Summary,
}

/// Kinds of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentKind {
    /// Hosts were lost.
    HostLoss,
    /// Every host of a site was lost.
    SiteLoss,
    /// Hosts were silent and came back before anything was taken from them.
    FalseAlarm,
    /// VMs died and were started again.
    VmRestart,
    /// VMs were migrated live.
    Moves,
}

/// One host's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLane {
    /// Which.
    pub host: HostName,
    /// Where it stands.
    pub site: Option<SiteName>,
    /// Its phases.
    pub marks: Vec<Mark>,
    /// What proved that its VMs had stopped.
    pub evidence: Option<String>,
}

/// One VM's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmLane {
    /// Which.
    pub vm: VmName,
    /// Where it was.
    pub from: Option<HostName>,
    /// Where it went.
    pub to: Option<HostName>,
    /// Why it was touched, in the planner's words.
    pub reason: Option<String>,
    /// Its phases.
    pub marks: Vec<Mark>,
    /// When the guard of the host that it left stopped it, in milliseconds after the incident's start: by that
    /// host's own clock, and told only once it is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_ms: Option<u64>,
}

/// A phase was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which.
    pub phase: Phase,
    /// Milliseconds after the incident's start.
    pub at_ms: u64,
}

/// Phases of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its host is silent.
    Lost,
    /// It died on a healthy host.
    Exited,
    /// Its host is proven to run nothing any more.
    Proven,
    /// It was granted to another host.
    Granted,
    /// It runs.
    Running,
    /// A live migration began.
    Moving,
    /// A live migration ended well.
    Moved,
    /// A live migration was given up; the VM runs where it was.
    NotMoved,
    /// The host is back.
    Back,
    /// It was stopped or removed on request.
    Stopped,
}

/// How long VMs were away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// VMs that were touched.
    pub vms: usize,
    /// VMs that run again (or were moved).
    pub done: usize,
    /// From the start until half of them ran.
    pub median_ms: Option<u64>,
    /// From the start until the last of them ran.
    pub slowest_ms: Option<u64>,
}

impl VmLane {
    /// It reached a phase; not before the one it reached before, whatever the clock says.
    fn reach(&mut self, mark: Mark) {
        let before_ms = self.marks.last().map_or(0, |last| last.at_ms);
        self.marks.push(Mark {
            at_ms: mark.at_ms.max(before_ms),
            ..mark
        });
    }

    /// When a phase was last reached.
    pub fn at(&self, phase: Phase) -> Option<u64> {
        last(&self.marks, phase)
    }

    /// Nothing more is expected of it.
    pub fn is_done(&self) -> bool {
        let end = self.marks.last().map(|mark| mark.phase);
        matches!(
            end,
            Some(Phase::Running | Phase::Moved | Phase::NotMoved | Phase::Stopped)
        )
    }
}

impl HostLane {
    /// When a phase was last reached.
    pub fn at(&self, phase: Phase) -> Option<u64> {
        last(&self.marks, phase)
    }
}

fn last(marks: &[Mark], phase: Phase) -> Option<u64> {
    let found = marks.iter().rev().find(|mark| mark.phase == phase);
    found.map(|mark| mark.at_ms)
}
