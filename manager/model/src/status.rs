//! What `GET /v1/status` answers. Its shape is an interface: extend it, do not change it.

use crate::host::Membership;
use crate::id::{BootId, Generation, HostName, Incarnation, ManagerName, Revision, SiteName};
use crate::id::{VmName, VmUuid};
use serde::{Deserialize, Serialize};

/// The cluster at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The store's voters.
    pub quorum: Quorum,
    /// Who leads, if anybody does.
    pub leader: Option<Leader>,
    /// The managers that were seen.
    #[serde(default)]
    pub managers: Vec<Member>,
    /// The sites.
    pub sites: Vec<Site>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// The VMs.
    pub vms: Vec<Vm>,
    /// What deserves attention.
    pub conditions: Vec<Condition>,
}

/// The store's voters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// A majority answers.
    pub healthy: bool,
    /// Each of them.
    pub members: Vec<Member>,
}

/// A voter or a manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it stands, if known.
    pub site: Option<SiteName>,
    /// It answers.
    pub healthy: bool,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The manager.
    pub name: ManagerName,
    /// Its epoch.
    pub epoch: Revision,
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// How it is.
    pub state: SiteState,
    /// It only votes.
    #[serde(default)]
    pub witness: bool,
    /// Storage there, in words.
    #[serde(default)]
    pub storage: String,
}

/// How a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteState {
    /// All of its hosts are online or in maintenance.
    Online,
    /// Some are not.
    Degraded,
    /// None is.
    Lost,
    /// Back, and held down.
    Rejoining,
    /// It has no host.
    Empty,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Where it stands.
    pub site: Option<SiteName>,
    /// Its membership; none before its first session.
    pub state: Option<Membership>,
    /// Its life.
    pub incarnation: Option<Incarnation>,
    /// Its boot.
    pub boot_id: Option<BootId>,
    /// What lets its VMs run.
    pub planes: Planes,
    /// Why it is in that state.
    pub reason: String,
    /// Silence so far, in milliseconds.
    pub silence_ms: Option<u64>,
    /// Managers that ask it directly: this one, if it has had an answer, and those that get none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probed>,
    /// VMs it holds.
    pub vms: u32,
    /// Memory granted and there, in MiB.
    pub memory_mib: (u64, u64),
    /// libvirt there.
    pub libvirt: String,
    /// Storage there.
    pub storage: String,
}

/// A manager that asks a host directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Which manager.
    pub by: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// How long ago it was answered last, in milliseconds.
    pub silent_ms: u64,
    /// For so long that it counts.
    pub silent: bool,
}

/// The two lease planes of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planes {
    /// The session in etcd.
    pub control: Plane,
    /// The heartbeat on the lease volume.
    pub storage: Plane,
}

/// A lease plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plane {
    /// Renewed in time.
    Valid,
    /// Not.
    Lapsed,
    /// Not in use.
    None,
}

/// A VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// Its name.
    pub name: VmName,
    /// Its UUID.
    pub uuid: Option<VmUuid>,
    /// What it does.
    pub state: VmState,
    /// Where.
    pub host: Option<HostName>,
    /// Where.
    pub site: Option<SiteName>,
    /// Where it should be.
    pub preferred_site: Option<SiteName>,
    /// Its fencing token.
    pub generation: Generation,
    /// Which lease protects it: `control`, `control+storage`.
    pub lease: String,
    /// Why it is where and how it is.
    pub reason: String,
    /// Its priority.
    pub priority: i32,
}

/// What a VM does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    /// It runs.
    Running,
    /// It was granted and comes up.
    Starting,
    /// It moves, live.
    Migrating,
    /// It is being shut down.
    Stopping,
    /// It exists, paused.
    Paused,
    /// It is off and should be.
    Stopped,
    /// It should run and waits: `reason` says for what.
    Waiting,
    /// Its host is silent: nobody can say.
    Unknown,
}

/// Something that deserves attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// How bad.
    pub severity: Severity,
    /// A stable word for scripts.
    pub code: String,
    /// In words, with what to do.
    pub text: String,
}

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The next fault may hurt.
    Warning,
    /// It hurts now.
    Critical,
}
