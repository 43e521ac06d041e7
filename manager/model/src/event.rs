//! What happened, for people: `events/…`, bounded. No decision reads them.

use crate::id::{Generation, HostName, SiteName, VmName};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the writer's wall clock.
    pub at: UnixMs,
    /// Who wrote it: a manager or a host.
    pub actor: String,
    /// What kind.
    pub kind: EventKind,
    /// About which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// About which site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// About which VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// About which grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// In words.
    pub text: String,
}

/// Kinds of event. `holdfast timeline` draws its phases from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A manager took the leadership.
    LeaderElected,
    /// A host joined, or came back clean.
    HostOnline,
    /// A host missed heartbeats (phase: lost).
    HostSuspect,
    /// A host's session was closed; its storage lease may keep its VMs running.
    HostIsolated,
    /// A host's incarnation was closed by evidence (phase: proven).
    HostFenced,
    /// A fencing device is asked to switch a host off.
    PowerAsked,
    /// What a fencing device answered, or that its answer is not believed.
    PowerAnswered,
    /// A host is held down after a loss.
    HostRejoining,
    /// A host was drained or resumed.
    HostMaintenance,
    /// A VM was granted to a host (phase: granted).
    VmGranted,
    /// A VM runs (phase: running).
    VmRunning,
    /// A VM ended.
    VmExited,
    /// A live migration began.
    MigrationStarted,
    /// A live migration ended well: the ownership moved.
    MigrationDone,
    /// A live migration was given up.
    MigrationFailed,
    /// A VM stopped as asked, or is stopped by force for another host to take it.
    VmStopped,
    /// A VM was removed.
    VmDeleted,
    /// An operator's request was refused.
    OpRefused,
    /// Failback of a site began. Nothing writes it yet: each VM that goes home is told as a migration.
    FailbackStarted,
    /// A host's guard stopped its VMs.
    SelfFenced,
    /// Anything else worth telling.
    Note,
}

impl EventKind {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::LeaderElected => "leader-elected",
            Self::HostOnline => "host-online",
            Self::HostSuspect => "host-suspect",
            Self::HostIsolated => "host-isolated",
            Self::HostFenced => "host-fenced",
            Self::PowerAsked => "power-asked",
            Self::PowerAnswered => "power-answered",
            Self::HostRejoining => "host-rejoining",
            Self::HostMaintenance => "host-maintenance",
            Self::VmGranted => "vm-granted",
            Self::VmRunning => "vm-running",
            Self::VmExited => "vm-exited",
            Self::MigrationStarted => "migration-started",
            Self::MigrationDone => "migration-done",
            Self::MigrationFailed => "migration-failed",
            Self::VmStopped => "vm-stopped",
            Self::VmDeleted => "vm-deleted",
            Self::OpRefused => "op-refused",
            Self::FailbackStarted => "failback-started",
            Self::SelfFenced => "self-fenced",
            Self::Note => "note",
        }
    }

    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::LeaderElected,
        Self::HostOnline,
        Self::HostSuspect,
        Self::HostIsolated,
        Self::HostFenced,
        Self::PowerAsked,
        Self::PowerAnswered,
        Self::HostRejoining,
        Self::HostMaintenance,
        Self::VmGranted,
        Self::VmRunning,
        Self::VmExited,
        Self::MigrationStarted,
        Self::MigrationDone,
        Self::MigrationFailed,
        Self::VmStopped,
        Self::VmDeleted,
        Self::OpRefused,
        Self::FailbackStarted,
        Self::SelfFenced,
        Self::Note,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_s_word_is_how_it_is_written() {
        for kind in EventKind::ALL {
            let written = serde_json::to_value(kind).expect("a word");
            assert_eq!(written, kind.word());
        }
    }
}
