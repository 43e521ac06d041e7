//! Leadership and manager presence: the same guarded heartbeats as a host's session.

use crate::id::{ExtensionName, ManagerName, SiteName};
use crate::shadow::ShadowStanding;
use crate::standing::Readiness;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `leader/epoch`: written only at a takeover. Its mod revision *is* the epoch, and every write of
/// that leader compares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderEpoch {
    /// Who leads.
    pub manager: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// One life of a manager daemon, so that a restarted one does not take itself for its past.
    pub life: String,
}

/// `leader/heartbeat`: renewed a few times a second, each write guarded by the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderHeartbeat {
    /// Who leads.
    pub manager: ManagerName,
    /// Its life.
    pub life: String,
    /// Counts.
    pub beat: u64,
}

/// `managers/M`: presence of a manager, renewed every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerPresence {
    /// Its name.
    pub name: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// Where its API listens.
    pub api: String,
    /// Its life.
    pub life: String,
    /// The software's version.
    pub version: String,
    /// Counts.
    pub beat: u64,
    /// How the installed extensions stand there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<ExtensionName, Readiness>,
    /// How the shadows of some of them do there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shadows: BTreeMap<ExtensionName, ShadowStanding>,
}
