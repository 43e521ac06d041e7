//! A hypervisor: what operators want of it, what it says of itself, what the leader holds of it.

use crate::advice::Labels;
use crate::id::{BootId, Generation, HostName, Incarnation, MachineId, SiteName};
use crate::lease::StorageClass;
use crate::timing::required_taker_wait_ms;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// `hosts/H/spec`: desired. Written by the host when it first joins, then by operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its name.
    pub name: HostName,
    /// Where it stands.
    pub site: SiteName,
    /// Drained: it gives its VMs away and takes none.
    #[serde(default)]
    pub maintenance: bool,
}

/// `hosts/H/session`: the host's heartbeat. Each write is guarded by the revision of the last, so
/// whoever wrote last knows that nobody wrote in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The life this session belongs to.
    pub incarnation: Incarnation,
    /// The boot it runs on.
    pub boot_id: BootId,
    /// The machine it runs on.
    pub machine_id: MachineId,
    /// Counts this incarnation's heartbeats, for people; safety uses the store's revisions.
    pub beat: u64,
    /// Open, or closed by a leader.
    pub state: SessionState,
    /// The bounds this host keeps.
    pub bounds: RunnerBounds,
    /// Whether a guard enforces the deadline.
    pub guard: GuardState,
    /// Its heartbeat on a lease volume. While that is written, its leased VMs run on without this
    /// session; so its silence here closes the control plane only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StoragePlane>,
    /// The software's version.
    pub version: String,
}

impl Session {
    /// Whether this is another one's next heartbeat and nothing else.
    pub fn only_renews(&self, before: &Self) -> bool {
        let Self {
            incarnation,
            boot_id,
            machine_id,
            beat: _,
            state,
            bounds,
            guard,
            storage,
            version,
        } = self;
        *incarnation == before.incarnation
            && *boot_id == before.boot_id
            && *machine_id == before.machine_id
            && *state == before.state
            && *bounds == before.bounds
            && *guard == before.guard
            && *storage == before.storage
            && *version == before.version
    }
}

/// Where a host heartbeats on shared storage. Once a life has declared it, it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePlane {
    /// The lease volume's id.
    pub volume: String,
    /// The host's slot on it.
    pub slot: u32,
    /// What the storage promises.
    pub class: StorageClass,
}

/// Whether a session accepts heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// The host renews it.
    Open,
    /// A leader closed it; the incarnation's VMs are, or will be, started elsewhere.
    Closed,
}

/// Whether a guard enforces the runner's deadline on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardState {
    /// It kills the VMs at the deadline, also without the agent.
    Working,
    /// Nobody does: silence of this host is no evidence.
    Absent,
}

/// The bounds one host keeps, in milliseconds (see [`crate::timing`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerBounds {
    /// From sending the last acknowledged heartbeat to the kill.
    pub runner_deadline_ms: u64,
    /// From the kill to the last VM gone.
    pub kill_bound_ms: u64,
    /// From there to the watchdog's reset; 0 without one.
    pub watchdog_bound_ms: u64,
}

impl Session {
    /// Its VMs may outlive this session: they have a second plane.
    pub fn has_storage_plane(&self) -> bool {
        let class = self.storage.as_ref().map(|plane| plane.class);
        class == Some(StorageClass::Quorum)
    }
}

impl RunnerBounds {
    /// The shortest silence after which everything this host ran has stopped.
    pub fn required_wait_ms(&self) -> u64 {
        required_taker_wait_ms(
            self.runner_deadline_ms,
            self.kill_bound_ms,
            self.watchdog_bound_ms,
        )
    }
}

/// `hosts/H/report`: what the host found about itself. Written when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Who found it.
    pub incarnation: Incarnation,
    /// The connection to libvirtd.
    pub libvirt: LibvirtState,
    /// What there is to give.
    pub capacity: Capacity,
    /// The storage its VMs' disks are on.
    pub storage: StorageState,
    /// Where peers reach this host's libvirtd and QEMU for migrations.
    pub migrate_address: String,
    /// Its heartbeat on the lease volume.
    #[serde(default)]
    pub lease: LeaseState,
    /// Where its guard answers probes; none: nobody asks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<SocketAddr>,
    /// Words that its operator put on it, for placement extensions.
    #[serde(default, skip_serializing_if = "no_labels")]
    pub labels: Arc<Labels>,
}

fn no_labels(labels: &Arc<Labels>) -> bool {
    labels.is_empty()
}

/// How a host's heartbeat on its lease volume stands, by the host's own word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum LeaseState {
    /// None is configured.
    #[default]
    NotUsed,
    /// Written in time.
    Valid,
    /// Not.
    Lapsed {
        /// Why, in words.
        reason: String,
    },
}

/// The connection to libvirtd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum LibvirtState {
    /// Calls are answered.
    Connected,
    /// They are not: VMs run on, nothing can be started or moved.
    Unreachable {
        /// What failed.
        reason: String,
    },
}

/// What a host has, before reserves and ratios.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Physical CPUs.
    pub cpus: u32,
}

/// What the host's storage check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum StorageState {
    /// No check is configured: starts are allowed, failback relies on the hold-down alone.
    NotChecked,
    /// All copies are there and equal.
    Synced,
    /// Usable, but a copy is missing or behind.
    Degraded {
        /// What is behind.
        detail: String,
    },
    /// Not usable here: nothing may be started on this host.
    Unusable {
        /// What failed.
        reason: String,
    },
    /// The check did not answer: never counts as good.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// `hosts/H/vms/V`: what became of a grant on this host. Written when it changes, guarded by the
/// host's session, so only a living incarnation can write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmReport {
    /// Who says so.
    pub incarnation: Incarnation,
    /// Of which grant.
    pub generation: Generation,
    /// What.
    pub state: RunState,
}

/// What became of one grant on one host.
///
/// ```text
/// Starting -> Running <-> Paused        Running -> MigratingOut -> MigratedAway | MigrationFailed
///     \          |                      (destination) Incoming -> Running | NotHere
///      `-------> `-> Exited
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum RunState {
    /// The grant was accepted; from here on the VM may run.
    Starting,
    /// Its vCPUs run.
    Running,
    /// It exists and its vCPUs stand still. It may run again: a possible runner.
    Paused {
        /// Why.
        reason: PauseReason,
    },
    /// It was asked to shut down.
    Stopping,
    /// A live migration out of here is under way.
    MigratingOut,
    /// The migration failed; the VM runs here, or stands paused here until the migration's end is
    /// settled.
    MigrationFailed {
        /// libvirt's words.
        reason: String,
    },
    /// The migration succeeded: there is no domain here any more. Final.
    MigratedAway,
    /// Destination: a domain is being received (`complete: false`) or was received whole and
    /// waits, paused, for the ownership.
    Incoming {
        /// The whole memory is here.
        complete: bool,
    },
    /// Destination: no domain of this grant is here, and none will be accepted. Final.
    NotHere,
    /// The VM is proven stopped here. Final for this grant.
    Exited {
        /// How it ended.
        how: ExitKind,
    },
    /// A call had no answer, so nobody can say. Counts as running.
    Unknown {
        /// What happened.
        reason: String,
    },
}

impl RunState {
    /// Nothing of this grant runs here or will run here again.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::MigratedAway | Self::NotHere | Self::Exited { .. }
        )
    }
}

/// Why a domain is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseReason {
    /// An I/O error of its disk.
    IoError,
    /// Somebody paused it by hand.
    ByHand,
    /// A migration has not been settled yet.
    Migration,
    /// Anything else.
    Other,
}

/// How a VM ended on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ExitKind {
    /// The guest shut itself down: it wants to be off.
    GuestShutdown,
    /// Holdfast stopped it, as asked.
    Stopped,
    /// It died, or somebody destroyed it behind our back.
    Crashed {
        /// What is known.
        reason: String,
    },
    /// It never came up.
    StartFailed {
        /// libvirt's words.
        reason: String,
    },
    /// It was not started: the lease volume has a claim that the grant knows nothing of. The store was
    /// set back to an older state.
    ClaimedBefore {
        /// In words.
        reason: String,
        /// Of the claim.
        generation: Generation,
        /// Whose it is: it may be running the VM.
        runner: crate::vm::Runner,
    },
    /// The guard stopped it: the host had lost its planes.
    SelfFenced,
}

/// `hosts/H/state`: what the leader holds of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Its membership.
    pub membership: Membership,
    /// The incarnation this is about.
    pub incarnation: Incarnation,
    /// The boot of that incarnation.
    pub boot_id: BootId,
    /// Losses in a row, for the hold-down.
    #[serde(default)]
    pub losses: u32,
    /// Why it is in this state, in words.
    pub reason: String,
}

/// A host's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// It renews its session and takes grants.
    Online,
    /// It missed heartbeats: no new grants, nothing is taken from it yet.
    Suspect,
    /// Its session was closed, and its storage lease may keep its VMs running: the lease volume tells.
    Isolated,
    /// Its incarnation was closed by evidence; its VMs are free to run elsewhere.
    Fenced,
    /// It is back with a clean session and held down: last resort for starts, none for failback.
    Rejoining,
    /// An operator drained it.
    Maintenance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_the_bounds_a_host_declares() {
        let bounds = RunnerBounds {
            runner_deadline_ms: 4_000,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        };
        assert_eq!(bounds.required_wait_ms(), 5_011);
    }
}
