//! Who asks fencing devices, and what it takes: programs, targets, extensions on the machine that asks.

use crate::fence_device::FenceDevice;
use crate::id::{DeviceName, ExtensionName, HostName, Incarnation, ManagerName, TargetName};
use crate::requests::Newest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Who may ask a device, in the policy (`askers`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AskerKind {
    /// The leader, or another manager for it.
    Managers,
    /// Agents of hosts, for the leader: about other hosts, never their own.
    Agents,
}

impl fmt::Display for AskerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Managers => "managers",
            Self::Agents => "agents",
        })
    }
}

/// Who asked a device for the leader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asker {
    /// A manager.
    Manager(ManagerName),
    /// The agent of this host.
    Agent(HostName),
}

impl Asker {
    /// Of which kind.
    pub fn kind(&self) -> AskerKind {
        match self {
            Self::Manager(_) => AskerKind::Managers,
            Self::Agent(_) => AskerKind::Agents,
        }
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager(manager) => manager.fmt(f),
            Self::Agent(host) => write!(f, "the agent of {host}"),
        }
    }
}

/// What a machine has for asking devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskMeans {
    /// Programs, by their names in `[fence_agents]`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub programs: BTreeSet<DeviceName>,
    /// Targets, by their names in `[targets]`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub targets: BTreeSet<TargetName>,
    /// Extensions for fencing that are ready there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<ExtensionName>,
}

impl AskMeans {
    /// Nothing can be asked with it.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.targets.is_empty()
    }

    /// The first thing that is missing for a device, in words.
    pub fn lacks(&self, device: &FenceDevice) -> Option<String> {
        let program = |name: &DeviceName| {
            let missing = !self.programs.contains(name);
            missing.then(|| format!("[fence_agents] has no `{name}`"))
        };
        let target = |name: &TargetName| {
            let missing = !self.targets.contains(name);
            missing.then(|| format!("[targets] has no `{name}`"))
        };
        if let Some(agent) = &device.agent {
            return program(agent);
        }
        let extension = device.extension.as_ref();
        let unready = extension.filter(|name| !self.extensions.contains(*name));
        if let Some(name) = unready {
            return Some(format!("extension {name} is not ready"));
        }
        // A role is a target or a program; which, the extension's manifest says.
        let is_there = |name: &TargetName| {
            self.targets.contains(name) || self.programs.iter().any(|p| p.as_str() == name.as_str())
        };
        let mut bound = device.bind.values();
        if let Some(name) = bound.find(|name| !is_there(name)) {
            return Some(format!("neither [targets] nor [fence_agents] has `{name}`"));
        }
        let read = device.read_back.as_ref();
        let back = read.and_then(|back| target(&back.target));
        back.or_else(|| device.read_back_program.as_ref().and_then(program))
    }
}

/// `hosts/H/fencing`: what this host's agent has for asking devices of other hosts, and what it asked. Absent where nothing is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAsks {
    /// The host's life.
    pub incarnation: Incarnation,
    /// This start of its agent: what was meant for an earlier one is not done by a later.
    pub life: String,
    /// What it has.
    pub means: AskMeans,
    /// The newest that extensions had it send and run.
    #[serde(default, skip_serializing_if = "Newest::is_empty")]
    pub newest: Newest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence_device::ReadBack;

    fn name<T: std::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    #[test]
    fn what_is_missing_for_a_device_is_told() {
        let mut means = AskMeans::default();
        let mut device = FenceDevice::by_agent(name("fence_x"), Default::default(), 500);
        let says = |means: &AskMeans, device: &FenceDevice, part: &str| {
            let lack = means.lacks(device).unwrap_or_default();
            assert!(lack.contains(part), "{part}: {lack}");
        };
        assert!(means.is_empty());
        says(&means, &device, "[fence_agents] has no `fence_x`");
        means.programs.insert(name("fence_x"));
        assert_eq!(means.lacks(&device), None);
        device.agent = None;
        device.extension = Some(name("redfish"));
        device.bind = [(name("board"), name("a1-board"))].into();
        device.read_back = Some(ReadBack {
            target: name("a1-read"),
            path: "/".to_owned(),
            pointer: "/x".to_owned(),
            off: "Off".to_owned(),
            on: "On".to_owned(),
        });
        says(&means, &device, "extension redfish is not ready");
        means.extensions.insert(name("redfish"));
        says(&means, &device, "has `a1-board`");
        means.targets.insert(name("a1-board"));
        says(&means, &device, "[targets] has no `a1-read`");
        means.targets.insert(name("a1-read"));
        assert_eq!(means.lacks(&device), None);
        device.read_back = None;
        device.read_back_program = Some(name("fence_y"));
        says(&means, &device, "[fence_agents] has no `fence_y`");
        // A role may be a program.
        device.bind = [(name("agent"), name("fence_x"))].into();
        device.read_back_program = Some(name("fence_x"));
        assert_eq!(means.lacks(&device), None);
    }
}
