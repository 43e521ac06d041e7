//! What operators set for the whole cluster (`holdfast config apply -f policy.toml`).

mod extensions;
mod recovery;

pub use extensions::ExtensionPolicy;
pub use recovery::{RejoinPolicy, RestartPolicy};

use crate::fence_device::FenceDevice;
use crate::id::{DeviceName, ExtensionName, HostName, SignerName, SiteName};
use crate::signature::PublicKey;
pub use crate::timing::TimingPolicy;
use crate::timing::{Timing, TimingError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Cluster policy. As a file it refuses unknown keys; every key has a default but `sites`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Heartbeats, deadlines, waits.
    #[serde(default)]
    pub timing: TimingPolicy,
    /// The sites, the witness among them.
    #[serde(default)]
    pub sites: Vec<SitePolicy>,
    /// Where VMs may be put.
    #[serde(default)]
    pub placement: PlacementPolicy,
    /// How failed VMs are started again.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How long a returning host is held back.
    #[serde(default)]
    pub rejoin: RejoinPolicy,
    /// When VMs go back to their preferred site.
    #[serde(default)]
    pub failback: FailbackPolicy,
    /// How much may be under way at once.
    #[serde(default)]
    pub budgets: Budgets,
    /// When hosts are given up.
    #[serde(default)]
    pub fencing: FencingPolicy,
    /// What becomes of VMs whose storage has failed.
    #[serde(default)]
    pub storage: StoragePolicy,
    /// What extensions get for the roles that they name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<ExtensionName, ExtensionPolicy>,
    /// Who may sign extensions. With one of them in it, only what they signed is installed and asked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extension_signers: BTreeMap<SignerName, PublicKey>,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SitePolicy {
    /// Its name, as hosts' and managers' configuration gives it.
    pub name: SiteName,
    /// It only votes; it runs no VM.
    #[serde(default)]
    pub witness: bool,
}

/// Where VMs may be put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementPolicy {
    /// vCPUs granted per physical CPU at the most, in percent (800 = 8 to 1).
    pub vcpu_ratio_percent: u32,
    /// Memory kept free on every host for the host itself, in MiB.
    pub reserved_memory_mib: u64,
    /// How long a start waits for a better host that is just coming up, in milliseconds; 0: not at
    /// all.
    pub settle_ms: u64,
}

impl Default for PlacementPolicy {
    fn default() -> Self {
        Self {
            vcpu_ratio_percent: 800,
            reserved_memory_mib: 1024,
            settle_ms: 10_000,
        }
    }
}

/// When VMs go back to their preferred site by live migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailbackPolicy {
    /// Off: VMs stay where they are until an operator moves them.
    pub enabled: bool,
    /// The site's hosts and storage must have been well for this long.
    pub hold_down_ms: u64,
}

impl Default for FailbackPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            hold_down_ms: 300_000,
        }
    }
}

/// When hosts are given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FencingPolicy {
    /// What becomes of the VMs of a host that lost its network and not its storage.
    pub on_isolation: OnIsolation,
    /// The storm brake: when more than so many of the hosts, in percent, fall silent at once at more
    /// than one site, nothing is given up at first: it is rather the network, or this manager, that
    /// fails. 100: no brake.
    pub storm_percent: u32,
    /// How long the storm brake holds, in milliseconds from the last host that fell silent.
    pub storm_hold_ms: u64,
    /// Fencing devices are asked as soon as a host is suspect, and not only once its own guard has to stop
    /// everything, or nobody does. Faster, and a host that is merely slow or cut off is switched off with
    /// all it runs.
    pub on_suspicion: bool,
    /// Devices that switch hosts off and say whether they are; each host has one at the most.
    pub devices: BTreeMap<DeviceName, FenceDevice>,
}

impl FencingPolicy {
    /// The device that switches a host.
    pub fn device_of(&self, host: &HostName) -> Option<(&DeviceName, &FenceDevice)> {
        let mut devices = self.devices.iter();
        devices.find(|(name, device)| device.switches(name, host))
    }

    /// The silence on the lease volume after which a host's device may be asked; none without one. Without
    /// suspicion it is the runner's deadline: by then its own guard has begun to stop everything.
    pub fn quiet_ms(&self, host: &HostName, timing: &Timing) -> Option<u64> {
        self.device_of(host).map(|_| match self.on_suspicion {
            true => timing.suspect_after_ms,
            false => timing.runner_deadline_ms,
        })
    }

    fn fault(&self) -> Option<PolicyError> {
        let mut switched = BTreeMap::new();
        for (name, device) in &self.devices {
            if let Some(what) = device.fault() {
                let name = name.clone();
                return Some(PolicyError::Device { name, what });
            }
            let own = [HostName::from_str(name.as_str()).ok()];
            let own = own.into_iter().flatten();
            let hosts: Vec<HostName> = match device.hosts.is_empty() {
                true => own.collect(),
                false => device.hosts.clone(),
            };
            for host in hosts {
                if let Some(other) = switched.insert(host.clone(), name) {
                    return Some(PolicyError::DeviceTwice {
                        host,
                        one: other.clone(),
                        two: name.clone(),
                    });
                }
            }
        }
        None
    }
}

impl Default for FencingPolicy {
    fn default() -> Self {
        Self {
            on_isolation: OnIsolation::Release,
            storm_percent: 50,
            storm_hold_ms: 30_000,
            on_suspicion: false,
            devices: BTreeMap::new(),
        }
    }
}

/// What becomes of the VMs of a host that the cluster cannot reach while its lease on the storage keeps
/// them running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnIsolation {
    /// They are stopped there and started elsewhere, once a place for each of them is known.
    #[default]
    Release,
    /// They run on there; nothing is asked.
    Keep,
}

/// What becomes of VMs whose storage has failed while their host is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoragePolicy {
    /// How long a host's storage check must say that the storage is unusable before the VMs there are
    /// stopped and started where it is good; and how long a VM must have been paused on an I/O error on
    /// a host whose storage is good. In milliseconds. Where no other host's storage is good, nothing
    /// is stopped.
    pub grace_ms: u64,
    /// What becomes of a VM that is paused on an I/O error while its host's storage is good.
    pub on_io_error: OnIoError,
}

impl Default for StoragePolicy {
    fn default() -> Self {
        Self {
            grace_ms: 10_000,
            on_io_error: OnIoError::Restart,
        }
    }
}

/// What becomes of a VM that is paused on an I/O error on a host whose storage check says that the
/// storage is good. Where it is not, VMs are moved away whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnIoError {
    /// It is destroyed and started again, elsewhere if another host can take it.
    #[default]
    Restart,
    /// It goes on where it is, once its host has checked that it still may run it.
    Resume,
    /// It stays paused until an operator decides.
    Leave,
}

/// How much may be under way at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// VMs being started on one host.
    pub starts_per_host: u32,
    /// Live migrations into or out of one host.
    pub migrations_per_host: u32,
    /// Live migrations between one pair of sites.
    pub migrations_per_link: u32,
    /// Events kept; older ones are removed.
    pub events_kept: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            starts_per_host: 8,
            migrations_per_host: 2,
            migrations_per_link: 4,
            events_kept: 2_000,
        }
    }
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The bounds are unsafe or contradictory.
    #[error("[timing] {0}")]
    Timing(TimingError),
    /// A site stands twice.
    #[error("[[sites]] names `{0}` twice; remove one of the two")]
    SiteTwice(SiteName),
    /// No site to run VMs at.
    #[error("[[sites]] has no site that can run VMs; add one without `witness = true`")]
    NoSite,
    /// A fencing device that cannot work.
    #[error("[fencing.devices.{name}] {what}")]
    Device {
        /// Which.
        name: DeviceName,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Two devices for one host.
    #[error(
        "[fencing.devices] `{one}` and `{two}` both switch {host}; name it in one of them (a host with \
         two power supplies needs a program that switches both)"
    )]
    DeviceTwice {
        /// The host.
        host: HostName,
        /// One device.
        one: DeviceName,
        /// The other.
        two: DeviceName,
    },
    /// A number that must not be zero.
    #[error("{0} is 0; use 1 or more")]
    Zero(&'static str),
}

impl Policy {
    /// Refuses a policy that is unsafe or cannot work.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.timing.resolve().check().map_err(PolicyError::Timing)?;
        let mut seen = std::collections::BTreeSet::new();
        for site in &self.sites {
            if !seen.insert(&site.name) {
                return Err(PolicyError::SiteTwice(site.name.clone()));
            }
        }
        if self.sites.iter().all(|site| site.witness) {
            return Err(PolicyError::NoSite);
        }
        if let Some(fault) = self.fencing.fault() {
            return Err(fault);
        }
        for (name, value) in [
            (
                "[placement] vcpu_ratio_percent",
                u64::from(self.placement.vcpu_ratio_percent),
            ),
            (
                "[restart] same_host_attempts",
                u64::from(self.restart.same_host_attempts),
            ),
            ("[restart] backoff_min_ms", self.restart.backoff_min_ms),
            (
                "[budgets] starts_per_host",
                u64::from(self.budgets.starts_per_host),
            ),
            (
                "[budgets] migrations_per_host",
                u64::from(self.budgets.migrations_per_host),
            ),
            (
                "[budgets] migrations_per_link",
                u64::from(self.budgets.migrations_per_link),
            ),
            ("[budgets] events_kept", u64::from(self.budgets.events_kept)),
        ] {
            if value == 0 {
                return Err(PolicyError::Zero(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_device_at_the_most() {
        let with = |devices: serde_json::Value| {
            let sites = serde_json::json!([{"name": "a"}]);
            let policy = serde_json::json!({"sites": sites, "fencing": {"devices": devices}});
            serde_json::from_value::<Policy>(policy).expect("a policy")
        };
        let good =
            with(serde_json::json!({"a1": {"agent": "x"}, "p": {"agent": "x", "hosts": ["a2"]}}));
        assert_eq!(good.check(), Ok(()));
        let switch = |host: &str| {
            let host = host.parse().expect("a name");
            let device = good.fencing.device_of(&host);
            device.map(|(name, _)| name.to_string())
        };
        assert_eq!(switch("a1").as_deref(), Some("a1"));
        assert_eq!(switch("a2").as_deref(), Some("p"));
        assert_eq!(switch("p"), None);
        let twice =
            with(serde_json::json!({"a1": {"agent": "x"}, "p": {"agent": "x", "hosts": ["a1"]}}));
        let error = twice.check().expect_err("both switch a1").to_string();
        assert!(error.contains("`a1` and `p` both switch a1"), "{error}");
        let bad = with(serde_json::json!({"a1": {"agent": "x", "options": {"ssh_path": "/x"}}}));
        let error = bad.check().expect_err("it executes").to_string();
        assert!(
            error.starts_with("[fencing.devices.a1] `ssh_path`"),
            "{error}"
        );
    }
}
