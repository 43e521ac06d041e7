//! How a lab is to be built.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What drives the VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// libvirtd and QEMU on every hypervisor.
    Qemu,
    /// libvirt's `test:///default`: no guests, no migration, but up in seconds.
    Test,
}

/// Options of [`crate::Lab::up`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabOptions {
    /// Directory for everything the lab writes.
    pub state: PathBuf,
    /// Hypervisors per site.
    pub hosts_per_site: usize,
    /// Boot-sector guests to make and, with daemons, to hand to Holdfast.
    pub vms: usize,
    /// Linux guests with a journal on disk, likewise.
    pub linux_vms: usize,
    /// `[timing] profile` of the cluster policy.
    pub profile: String,
    /// `hold_down_ms` of the cluster policy's failback.
    pub hold_down_ms: u64,
    /// What drives the VMs.
    pub driver: Driver,
    /// Replicated storage (GlusterFS); without it all machines share one local directory.
    pub storage: bool,
    /// Start the Holdfast daemons.
    pub daemons: bool,
    /// Where `holdfast-manager`, `holdfast-host`, `holdfast-guard`, `holdfast` are.
    pub bin_dir: PathBuf,
    /// The program with the hidden `lab-init` and `lab-observer` verbs.
    pub init_program: PathBuf,
    /// etcd's `--heartbeat-interval`, its default if none.
    pub etcd_heartbeat_ms: Option<u32>,
    /// etcd's `--election-timeout`, its default if none.
    pub etcd_election_ms: Option<u32>,
    /// `RUST_LOG` of the daemons.
    pub log_filter: String,
}

/// Where a lab lives unless told otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/holdfast-lab";

impl Default for LabOptions {
    /// The default lab; programs are looked for beside the running one.
    fn default() -> LabOptions {
        let bin_dir = crate::programs::own_bin_dir();
        LabOptions {
            state: DEFAULT_STATE.into(),
            hosts_per_site: 2,
            vms: 4,
            linux_vms: 1,
            profile: "default".into(),
            hold_down_ms: 10_000,
            driver: Driver::Qemu,
            storage: true,
            daemons: true,
            init_program: bin_dir.join("xtask"),
            bin_dir,
            etcd_heartbeat_ms: None,
            etcd_election_ms: None,
            log_filter: "info".into(),
        }
    }
}
