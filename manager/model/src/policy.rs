//! What operators set for the whole cluster (`holdfast config apply -f policy.toml`).

mod extensions;
mod recovery;
mod storage;

pub use extensions::ExtensionPolicy;
pub use recovery::{RejoinPolicy, RestartPolicy};
pub use storage::{OnIoError, StoragePolicy};

use crate::fence_device::FenceDevice;
use crate::id::{DeviceName, ExtensionName, HostName, SignerName, SiteName};
use crate::signature::PublicKey;
pub use crate::timing::TimingPolicy;
use crate::timing::{Timing, TimingError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Cluster policy. Every key has a default but `sites`.
///
/// Unknown keys are refused in a file, and in the store as well: what a newer version wrote is not followed by half. A
/// member that cannot read it goes by the last one that it could read, or plans nothing and asks no extension.
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
    /// What is known of the storage, and what becomes of VMs when it has failed.
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
    /// Devices that switch hosts off and say whether they are. A host may have several.
    pub devices: BTreeMap<DeviceName, FenceDevice>,
}

impl FencingPolicy {
    /// The devices that switch a host, by their order.
    pub fn devices_of(&self, host: &HostName) -> Vec<(&DeviceName, &FenceDevice)> {
        let devices = self.devices.iter();
        let mut found: Vec<_> = devices
            .filter(|(name, device)| device.switches(name, host))
            .collect();
        found.sort_by_key(|(_, device)| device.order);
        found
    }

    /// Something switches a host.
    pub fn has_device(&self, host: &HostName) -> bool {
        let mut devices = self.devices.iter();
        devices.any(|(name, device)| device.switches(name, host))
    }

    /// The silence on the lease volume after which a host's devices may be asked; none without one. Without
    /// suspicion it is the runner's deadline: by then its own guard has begun to stop everything.
    pub fn quiet_ms(&self, host: &HostName, timing: &Timing) -> Option<u64> {
        self.has_device(host).then_some(match self.on_suspicion {
            true => timing.suspect_after_ms,
            false => timing.runner_deadline_ms,
        })
    }

    fn fault(&self) -> Option<PolicyError> {
        let mut hosts = BTreeSet::new();
        for (name, device) in &self.devices {
            if let Some(what) = device.fault() {
                let name = name.clone();
                return Some(PolicyError::Device { name, what });
            }
            hosts.extend(device.hosts_of(name));
        }
        hosts.iter().find_map(|host| self.fault_among(host))
    }

    /// What cannot work about the devices of one host together.
    fn fault_among(&self, host: &HostName) -> Option<PolicyError> {
        let devices = self.devices_of(host);
        for (at, (two, device)) in devices.iter().enumerate() {
            let mut before = devices[..at].iter();
            if let Some((one, _)) = before.find(|(_, other)| other.asks_as(device)) {
                return Some(PolicyError::DeviceTwice {
                    host: host.clone(),
                    one: (*one).clone(),
                    two: (*two).clone(),
                });
            }
            let together = |(name, other): &&(&DeviceName, &FenceDevice)| {
                name != two && other.all_of && other.order == device.order
            };
            if device.all_of && !devices.iter().any(|each| together(&each)) {
                return Some(PolicyError::Device {
                    name: (*two).clone(),
                    what: format!(
                        "`all_of` is for several devices that have to say off together, and no other one with \
                         `all_of` and order {} switches {host}; add it, or remove `all_of` here",
                        device.order
                    ),
                });
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
    /// A third copy at a place that is not known.
    #[error(
        "[storage] arbiter_site names `{0}`, and [[sites]] has no such site; correct one of them, or leave it out"
    )]
    ArbiterSite(SiteName),
    /// A fencing device that cannot work.
    #[error("[fencing.devices.{name}] {what}")]
    Device {
        /// Which.
        name: DeviceName,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A device under two names.
    #[error(
        "[fencing.devices] `{one}` and `{two}` ask the same in the same way about {host}; remove one of them, or \
         correct what distinguishes them (`options`, `bind`)"
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
        if let Some(site) = self.storage.arbiter_site.as_ref()
            && !seen.contains(site)
        {
            return Err(PolicyError::ArbiterSite(site.clone()));
        }
        for (name, device) in &self.fencing.devices {
            if let Some(site) = device.from.iter().find(|site| !seen.contains(site)) {
                let sites: Vec<String> = seen.iter().map(|site| format!("`{site}`")).collect();
                let sites = sites.join(", ");
                return Err(PolicyError::Device {
                    name: name.clone(),
                    what: format!(
                        "`from` names site `{site}`, and [[sites]] has {sites}; correct one of them"
                    ),
                });
            }
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

    fn with(devices: serde_json::Value) -> Policy {
        let sites = serde_json::json!([{"name": "a"}]);
        let policy = serde_json::json!({"sites": sites, "fencing": {"devices": devices}});
        serde_json::from_value::<Policy>(policy).expect("a policy")
    }

    fn refused(devices: serde_json::Value) -> String {
        let refused = with(devices).check();
        refused.expect_err("it cannot work").to_string()
    }

    #[test]
    fn a_host_has_the_devices_that_name_it_by_their_order() {
        let good = with(serde_json::json!({
            "a1": {"agent": "x", "order": 2},
            "p": {"agent": "x", "hosts": ["a2", "a1"]},
            "q": {"agent": "y", "hosts": ["a1"], "order": 2},
        }));
        assert_eq!(good.check(), Ok(()));
        let switch = |host: &str| {
            let host = host.parse().expect("a name");
            let devices = good.fencing.devices_of(&host).into_iter();
            let names: Vec<&str> = devices.map(|(name, _)| name.as_str()).collect();
            assert_eq!(good.fencing.has_device(&host), !names.is_empty());
            names
        };
        assert_eq!(switch("a1"), ["p", "a1", "q"]);
        assert_eq!(switch("a2"), ["p"]);
        assert_eq!(switch("p"), Vec::<&str>::new());
        let error =
            refused(serde_json::json!({"a1": {"agent": "x", "options": {"ssh_path": "/x"}}}));
        assert!(
            error.starts_with("[fencing.devices.a1] `ssh_path`"),
            "{error}"
        );
        let error = refused(serde_json::json!({"a1": {"agent": "x", "order": 0}}));
        assert!(
            error.starts_with("[fencing.devices.a1] `order` is 0"),
            "{error}"
        );
    }

    #[test]
    fn one_device_under_two_names_is_refused() {
        let two = |plug: &str| {
            serde_json::json!({
                "a1": {"agent": "x", "options": {"plug": "1"}},
                "p": {"agent": "x", "hosts": ["a1"], "options": {"plug": plug}, "order": 2},
            })
        };
        let error = refused(two("1"));
        assert!(
            error.contains("`a1` and `p` ask the same in the same way about a1"),
            "{error}"
        );
        assert_eq!(with(two("2")).check(), Ok(()));
    }

    #[test]
    fn what_has_to_say_off_together_is_more_than_one_of_one_order() {
        let feeds = |order: u32, all_of: bool, hosts: &[&str]| {
            serde_json::json!({
                "left": {"agent": "x", "hosts": ["a1", "a2"], "all_of": true, "options": {"ip": "1"}},
                "right": {"agent": "x", "hosts": hosts, "all_of": all_of, "order": order,
                          "options": {"ip": "2"}},
            })
        };
        assert_eq!(with(feeds(1, true, &["a1", "a2"])).check(), Ok(()));
        for (order, all_of, hosts, host) in [
            (2, true, &["a1", "a2"][..], "a1"),
            (1, false, &["a1", "a2"], "a1"),
            (1, true, &["a1", "a3"], "a2"),
        ] {
            let error = refused(feeds(order, all_of, hosts));
            assert!(
                error.starts_with("[fencing.devices.left] `all_of`")
                    && error.contains(&format!("order 1 switches {host}; add it")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_device_is_reached_from_sites_that_there_are() {
        let from = |sites: &[&str]| {
            let device = serde_json::json!({"agent": "x", "from": sites});
            let policy = serde_json::json!({
                "sites": [{"name": "a"}, {"name": "w", "witness": true}],
                "fencing": {"devices": {"a1": device}},
            });
            let policy = serde_json::from_value::<Policy>(policy).expect("a policy");
            policy.check().map_err(|error| error.to_string())
        };
        for good in [&[][..], &["a"], &["w"], &["a", "w"]] {
            assert_eq!(from(good), Ok(()), "{good:?}");
        }
        let error = from(&["a", "b"]).expect_err("there is no b");
        assert!(
            error.starts_with(
                "[fencing.devices.a1] `from` names site `b`, and [[sites]] has `a`, `w`"
            ),
            "{error}"
        );
    }
}
