//! What a daemon reads about itself: `manager.toml` and `host.toml`. Everything that is not about
//! one daemon is cluster policy, kept in etcd.
//!
//! Each file says by itself what in it cannot work, so that the check of a configuration and the
//! start of a daemon refuse the same things.

mod storage;

pub use storage::{OWN_PATH, StorageCheck, StorageSection};

use crate::advice::{Labels, label_fault};
use crate::id::{ClusterName, DeviceName, HostName, ManagerName, SiteName, TargetName};
use crate::target::{TargetSection, first_fault};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Shortest and longest accepted deadline of one call to etcd, in milliseconds. Below, a healthy
/// disk's slow write already fails; above, a failover would wait for a dead member.
const MANAGER_CALL_TIMEOUT_MS: RangeInclusive<u64> = 100..=30_000;
/// The same for a host. Above, one dead member would cost a heartbeat its deadline.
const HOST_CALL_TIMEOUT_MS: RangeInclusive<u64> = 100..=10_000;
/// Longest path of a socket, in bytes (`sun_path` of `unix(7)`, less its end).
const SOCKET_PATH_MAX: usize = 107;

/// Shortest and longest accepted time-out of the host's watchdog, in seconds. Below, a guard that is
/// late once resets the host; above, every takeover that has to wait for a reset takes minutes, and few
/// boards count further.
const WATCHDOG_TIMEOUT_S: RangeInclusive<u32> = 2..=300;

/// What in a readable file cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl Fault {
    fn new(key: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            key,
            what: what.into(),
            advice: advice.into(),
        }
    }
}

/// `manager.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagerFile {
    /// The cluster; has to be the one whose name is kept in etcd.
    pub cluster: ClusterName,
    /// This manager, unique in the cluster.
    pub name: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// Where its API listens.
    pub listen: SocketAddr,
    /// How etcd is reached.
    pub etcd: EtcdSection,
    /// The programs that talk to fencing devices, by the names that the policy uses: absolute paths of
    /// files that only root can change. What is not named here is not run, whatever the policy says.
    #[serde(default)]
    pub fence_agents: BTreeMap<DeviceName, PathBuf>,
    /// Where the files with their secrets are, and those with the secrets of targets.
    #[serde(default = "default_fence_secrets")]
    pub fence_secrets: PathBuf,
    /// Where the machine code of extensions is kept: a directory that only the manager's user can write.
    #[serde(default = "default_extensions_dir")]
    pub extensions_dir: PathBuf,
    /// How extensions are run.
    #[serde(default)]
    pub extensions_engine: ExtensionsEngine,
    /// Where the requests that extensions have sent are written down, and the programs that they have run, each before
    /// it happens: a file that only the manager's user can write. Without it none is sent, and none run.
    #[serde(default = "default_requests_file")]
    pub requests_file: PathBuf,
    /// Where extensions may send requests, by the names that the policy uses.
    #[serde(default)]
    pub targets: BTreeMap<TargetName, TargetSection>,
}

impl ManagerFile {
    /// The first thing that cannot work.
    pub fn fault(&self) -> Option<Fault> {
        let port = || {
            let advice = "give a port, such as 7070: managers and the command line look for it";
            let fault = || Fault::new("listen", "port 0 is no fixed port", advice);
            (self.listen.port() == 0).then(fault)
        };
        let etcd = self.etcd.fault(&MANAGER_CALL_TIMEOUT_MS);
        etcd.or_else(port)
            .or_else(|| asking_fault(&self.fence_agents, &self.targets))
    }
}

/// The first thing that cannot work of what devices are asked with.
fn asking_fault(
    programs: &BTreeMap<DeviceName, PathBuf>,
    targets: &BTreeMap<TargetName, TargetSection>,
) -> Option<Fault> {
    let mut each = programs.iter();
    if let Some((name, path)) = each.find(|(_, path)| !path.is_absolute()) {
        let what = format!("`{name}` is `{}`", path.display());
        let advice = "give the whole path of the program, such as /usr/sbin/fence_ipmilan";
        return Some(Fault::new("fence_agents", what, advice));
    }
    let (key, what, advice) = first_fault(targets)?;
    Some(Fault::new(key, what, advice))
}

/// `fence.toml` beside `host.toml`: what the agent asks fencing devices of other hosts with, where the policy lets it
/// (`askers`). A file of its own, since the guard reads `host.toml` and has no business with this. The keys are those
/// of `manager.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FenceFile {
    /// The programs that talk to fencing devices, by the names that the policy uses: absolute paths of files that
    /// only root can change. What is not named here is not run, whatever the policy says.
    #[serde(default)]
    pub fence_agents: BTreeMap<DeviceName, PathBuf>,
    /// Where the files with their secrets are, and those with the secrets of targets.
    #[serde(default = "default_fence_secrets")]
    pub fence_secrets: PathBuf,
    /// Where the machine code of extensions for fencing is kept: a directory that only root can write, and not that
    /// of storage checks.
    #[serde(default = "default_host_fencing_dir")]
    pub extensions_dir: PathBuf,
    /// Where the requests that extensions have sent are written down, and the programs that they have run, each before
    /// it happens: a file that only root can write. Without it none is sent, and none run.
    #[serde(default = "default_host_requests_file")]
    pub requests_file: PathBuf,
    /// Where extensions may send requests, by the names that the policy uses.
    #[serde(default)]
    pub targets: BTreeMap<TargetName, TargetSection>,
}

impl FenceFile {
    /// The first thing that cannot work.
    pub fn fault(&self) -> Option<Fault> {
        asking_fault(&self.fence_agents, &self.targets)
    }
}

/// `host.toml`: the agent and the guard read the same file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// The cluster; has to be the one whose name is kept in etcd.
    pub cluster: ClusterName,
    /// This host, unique in the cluster.
    pub name: HostName,
    /// Where it stands.
    pub site: SiteName,
    /// Tells this machine from another with the same name.
    #[serde(default = "default_machine_id_file")]
    pub machine_id_file: PathBuf,
    /// Where agent and guard keep what must not outlive a boot.
    #[serde(default = "default_run_dir")]
    pub run_dir: PathBuf,
    /// How etcd is reached.
    pub etcd: EtcdSection,
    /// How libvirt is reached.
    pub libvirt: LibvirtSection,
    /// How the guard is reached.
    #[serde(default)]
    pub guard: GuardSection,
    /// What to count with instead of what the machine has.
    #[serde(default)]
    pub capacity: CapacitySection,
    /// How the storage under the VMs' disks is checked.
    #[serde(default)]
    pub storage: StorageSection,
    /// Where the machine code of extensions is kept: a directory that only root can write.
    #[serde(default = "default_host_extensions_dir")]
    pub extensions_dir: PathBuf,
    /// How extensions are run.
    #[serde(default)]
    pub extensions_engine: ExtensionsEngine,
    /// The lease volume, by which VMs outlive a loss of etcd.
    #[serde(default)]
    pub lease: LeaseSection,
    /// Where it answers managers that ask whether it is there.
    #[serde(default)]
    pub probe: ProbeSection,
    /// Words for placement extensions, such as the rack it stands in.
    #[serde(default)]
    pub labels: Labels,
}

impl HostFile {
    /// The first thing that cannot work.
    pub fn fault(&self) -> Option<Fault> {
        let address = &self.libvirt.migrate_address;
        if let Some(fault) = self.etcd.fault(&HOST_CALL_TIMEOUT_MS) {
            Some(fault)
        } else if address.is_empty() || address.contains([' ', '\0']) {
            let what = format!("`{address}` is no address");
            let advice = "give the address at which other hosts reach this one's libvirtd";
            Some(Fault::new("migrate_address", what, advice))
        } else if self.guard.socket.as_os_str().len() > SOCKET_PATH_MAX {
            let what = format!("`{}` is too long", self.guard.socket.display());
            let advice = "the system allows 107 bytes for the path of a socket";
            Some(Fault::new("socket", what, advice))
        } else if let Some(fault) = self.guard.watchdog.fault() {
            Some(fault)
        } else if let Some(fault) = self.probe.fault() {
            Some(fault)
        } else if let Some(fault) = self.storage.fault() {
            Some(fault)
        } else {
            let fault = label_fault(&self.labels);
            fault.map(|what| Fault::new("labels", what, "shorten or correct it"))
        }
    }
}

/// `[etcd]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtcdSection {
    /// Client addresses of the voters, the own site's first.
    #[schemars(length(min = 1), inner(regex(pattern = r"^http://[^ /]+:[0-9]+/*$")))]
    pub endpoints: Vec<String>,
    /// Deadline of one call, in milliseconds.
    #[serde(default = "default_call_timeout_ms")]
    pub call_timeout_ms: u64,
}

impl EtcdSection {
    fn fault(&self, bounds: &RangeInclusive<u64>) -> Option<Fault> {
        if self.endpoints.is_empty() {
            let advice = "list the client address of each etcd member, this site's first";
            return Some(Fault::new("endpoints", "`endpoints` is empty", advice));
        }
        let fault = |url: &String| endpoint_fault(url);
        if let Some((what, advice)) = self.endpoints.iter().find_map(fault) {
            return Some(Fault::new("endpoints", what, advice));
        }
        let timeout_ms = self.call_timeout_ms;
        (!bounds.contains(&timeout_ms)).then(|| {
            let what = format!("`call_timeout_ms` is {timeout_ms} milliseconds");
            let (least, most) = (bounds.start(), bounds.end());
            let advice = format!("use {least} to {most} (it is in milliseconds, not seconds)");
            Fault::new("call_timeout_ms", what, advice)
        })
    }
}

/// Why this cannot be the client address of an etcd member, and what to write.
pub fn endpoint_fault(url: &str) -> Option<(String, String)> {
    if url.starts_with("https://") {
        let what = format!("`{url}`: TLS to etcd is not supported yet");
        let advice = "write http:// and keep etcd's client port on a network of its own";
        return Some((what, advice.to_owned()));
    }
    let address = url.strip_prefix("http://").unwrap_or_default();
    let good = address
        .trim_end_matches('/')
        .rsplit_once(':')
        .is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([' ', '/']) && port.parse::<u16>().is_ok()
        });
    (!good).then(|| {
        let what = format!("`{url}` is not an etcd client address");
        (what, "write it as http://ADDRESS:2379".to_owned())
    })
}

/// `[libvirt]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LibvirtSection {
    /// libvirt's connection URI.
    #[serde(default = "default_uri")]
    pub uri: String,
    /// Where peers reach this host for migrations: an address (libvirtd over plain TCP, for closed
    /// networks), or a libvirt URI with the transport (`qemu+tls://a1.example/system`).
    pub migrate_address: String,
    /// Where libvirtd keeps the state of its domains.
    #[serde(default = "default_libvirt_run_dir")]
    pub run_dir: PathBuf,
}

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSection {
    /// Where the guard listens.
    pub socket: PathBuf,
    /// What resets the host if the guard does not get its VMs stopped.
    pub watchdog: WatchdogSection,
}

impl Default for GuardSection {
    fn default() -> Self {
        Self {
            socket: "/run/holdfast/guard.sock".into(),
            watchdog: WatchdogSection::default(),
        }
    }
}

/// `[guard.watchdog]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatchdogSection {
    /// Who resets the host.
    pub kind: WatchdogKind,
    /// The device, with `kind = "own"`.
    pub device: PathBuf,
    /// From the guard's last sign to the reset, in seconds, with `kind = "own"`.
    pub timeout_s: u32,
}

impl Default for WatchdogSection {
    fn default() -> Self {
        Self {
            kind: WatchdogKind::None,
            device: "/dev/watchdog".into(),
            timeout_s: 10,
        }
    }
}

impl WatchdogSection {
    fn fault(&self) -> Option<Fault> {
        (!WATCHDOG_TIMEOUT_S.contains(&self.timeout_s)).then(|| {
            let what = format!("`timeout_s` is {} seconds", self.timeout_s);
            let (least, most) = (WATCHDOG_TIMEOUT_S.start(), WATCHDOG_TIMEOUT_S.end());
            let advice = format!("use {least} to {most} (it is in seconds, not milliseconds)");
            Fault::new("timeout_s", what, advice)
        })
    }
}

/// Who resets a host whose guard does not get its VMs stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogKind {
    /// Nobody.
    #[default]
    None,
    /// A watchdog that the guard has for itself.
    Own,
    /// systemd: `WatchdogSec=` of the guard's unit.
    Systemd,
}

/// `[capacity]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapacitySection {
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// CPUs.
    pub cpus: Option<u32>,
}

/// `[lease]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseSection {
    /// The volume (`holdfast lease create` makes one): a file or a block device on the storage that the
    /// VMs' disks are on. Without one, VMs stop when this host loses etcd.
    pub volume: Option<PathBuf>,
}

/// `[probe]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeSection {
    /// Managers ask this host directly, several times a second, whether it is there, and its guard answers.
    pub enabled: bool,
    /// Where it listens, and managers find it: an address of this host, and a UDP port. Otherwise the address
    /// of `migrate_address` and port 7071.
    pub address: Option<SocketAddr>,
}

impl Default for ProbeSection {
    fn default() -> Self {
        Self {
            enabled: true,
            address: None,
        }
    }
}

impl ProbeSection {
    fn fault(&self) -> Option<Fault> {
        let address = self.address?;
        (address.ip().is_unspecified() || address.port() == 0).then(|| {
            let what = format!("`{address}` is no address at which managers could find this host");
            let advice = "give one of this host's addresses and a port, such as 192.0.2.11:7071";
            Fault::new("address", what, advice)
        })
    }
}

fn default_machine_id_file() -> PathBuf {
    "/etc/machine-id".into()
}

fn default_fence_secrets() -> PathBuf {
    "/etc/holdfast/fence".into()
}

/// How a daemon runs extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionsEngine {
    /// As machine code, which a child process compiles.
    #[default]
    Native,
    /// By an interpreter, which is slower: the daemon makes no memory executable, so its unit may forbid it
    /// (`MemoryDenyWriteExecute=yes`).
    Pulley,
}

fn default_extensions_dir() -> PathBuf {
    "/var/lib/holdfast-manager/extensions".into()
}

fn default_requests_file() -> PathBuf {
    "/var/lib/holdfast-manager/requests.jsonl".into()
}

fn default_host_extensions_dir() -> PathBuf {
    "/var/lib/holdfast-host/extensions".into()
}

fn default_host_fencing_dir() -> PathBuf {
    "/var/lib/holdfast-host/fencing".into()
}

fn default_host_requests_file() -> PathBuf {
    "/var/lib/holdfast-host/requests.jsonl".into()
}

fn default_run_dir() -> PathBuf {
    "/run/holdfast".into()
}

fn default_libvirt_run_dir() -> PathBuf {
    "/run/libvirt/qemu".into()
}

fn default_uri() -> String {
    "qemu:///system".into()
}

fn default_call_timeout_ms() -> u64 {
    1_500
}
