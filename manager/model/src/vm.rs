//! A virtual machine: what operators want, and who owns it.

use crate::advice::Labels;
use crate::id::{Generation, HostName, Incarnation, SiteName, VmName, VmUuid};
use crate::lease::StorageClass;
use crate::policy::{OnIoError, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `vms/V/spec`: desired. Written by operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// Its name.
    pub name: VmName,
    /// libvirt's UUID of it.
    pub uuid: VmUuid,
    /// The libvirt domain it is started from.
    pub domain_xml: String,
    /// It should run.
    pub run: bool,
    /// Counts the operator's start requests, so that a start after the guest shut itself down is
    /// told from the wish that was there before.
    #[serde(default)]
    pub run_serial: u64,
    /// It should be removed once it is stopped.
    #[serde(default)]
    pub deleting: bool,
    /// Memory it needs, in MiB.
    pub memory_mib: u64,
    /// vCPUs it needs.
    pub vcpus: u32,
    /// Higher ones are started first.
    #[serde(default)]
    pub priority: i32,
    /// Where it should be.
    #[serde(default)]
    pub preferred_site: Option<SiteName>,
    /// How strictly.
    #[serde(default)]
    pub site_rule: SiteRule,
    /// VMs with the same word here are kept on different hosts where possible.
    #[serde(default)]
    pub spread: Option<String>,
    /// Its disks are on the storage of the hosts' lease volume: it may outlive a loss of the control
    /// plane.
    #[serde(default = "leased")]
    pub storage_lease: bool,
    /// What becomes of it when it is paused on an I/O error while its host's storage is good; none: as the policy
    /// says. Versions of before it read a definition without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_io_error: Option<OnIoError>,
    /// Words that operators put on it, for placement extensions.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl VmSpec {
    /// What becomes of it when it is paused on an I/O error while its host's storage is good.
    pub fn on_io_error(&self, policy: &Policy) -> OnIoError {
        self.on_io_error.unwrap_or(policy.storage.on_io_error)
    }
}

fn leased() -> bool {
    true
}

/// How strictly a preferred site is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SiteRule {
    /// Elsewhere if it must be.
    #[default]
    Should,
    /// Nowhere else.
    Must,
}

/// One incarnation of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Runner {
    /// The host.
    pub host: HostName,
    /// Its life.
    pub incarnation: Incarnation,
}

/// A grant of before, which may be what stands on the lease volume: the next grant takes the VM's sector
/// there only if it knows the claim it finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastGrant {
    /// Its token.
    pub generation: Generation,
    /// Who held it.
    pub runner: Runner,
    /// It was reported to run, so it was claimed.
    pub ran: bool,
}

/// `vms/V/owner`: who may run a VM. Written by the leader only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// May run it. None: nobody does, and whoever did is proven stopped.
    pub holder: Option<Runner>,
    /// The destination of a live migration: may run it as well until the end is settled.
    #[serde(default)]
    pub incoming: Option<Runner>,
    /// The fencing token of this grant.
    pub generation: Generation,
    /// [`StorageClass::Quorum`]: under this grant it runs on while either plane of its host is valid,
    /// the session or the heartbeat on the lease volume. Fixed for the generation.
    #[serde(default)]
    pub lease: StorageClass,
    /// What the holder should do.
    pub intent: Intent,
    /// Why nobody holds it although it should run.
    #[serde(default)]
    pub rest: Option<Rest>,
    /// Recent failures, for the choice of the next host and the wait before it.
    #[serde(default)]
    pub failures: Failures,
    /// An operator put it where it is: failback leaves it there.
    #[serde(default)]
    pub placed_by_hand: bool,
    /// [`VmSpec::run_serial`] when this grant was made.
    #[serde(default)]
    pub run_serial: u64,
    /// Live migrations that failed in a row, for the wait before the next.
    #[serde(default)]
    pub migrate_failures: u32,
    /// Grants under a storage lease before this one, newest first; the last that was claimed for sure is
    /// among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<PastGrant>,
    /// Why this grant was made, in words.
    pub reason: String,
}

impl Owner {
    /// Everyone who may be running the VM.
    pub fn possible_runners(&self) -> impl Iterator<Item = &Runner> {
        self.holder.iter().chain(self.incoming.iter())
    }
}

/// What the holder should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// Start it if this grant was never started here, else keep it running.
    Run,
    /// Shut it down; destroy it after the grace.
    Stop,
    /// Destroy it at once: its guest could not shut down, since its storage is gone. A host or manager
    /// of before this word was known cannot read the record that has it, so a rolling upgrade has to
    /// reach all of them before a VM is evacuated.
    Kill,
    /// Resume it, paused on an I/O error as it is; then keep it running, as [`Intent::Run`] does. As
    /// new as [`Intent::Kill`].
    Resume,
    /// Migrate it live to `incoming`.
    Migrate,
    /// Stop migrating: `incoming` gives up first, then the holder carries on.
    AbortMigration,
}

/// Why a VM that should run is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Rest {
    /// The guest shut itself down, under this start request.
    GuestShutdown {
        /// [`VmSpec::run_serial`] at that time: a higher one wakes it.
        run_serial: u64,
    },
}

/// Failures since the VM last ran well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// In a row, on any host.
    pub in_a_row: u32,
    /// Where the last one was, if that host is to be tried again.
    #[serde(default)]
    pub last_host: Option<HostName>,
    /// Per host: how many, and the last one's words.
    #[serde(default)]
    pub per_host: BTreeMap<HostName, HostFailures>,
}

/// Failures of one VM on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFailures {
    /// How many in a row.
    pub count: u32,
    /// The last one's words.
    pub reason: String,
}
