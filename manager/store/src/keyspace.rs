//! Every key, spelled once.
//!
//! ```text
//! /holdfast/v1/cluster                       the cluster's name; written once
//! /holdfast/v1/leader/{epoch,heartbeat}
//! /holdfast/v1/managers/M
//! /holdfast/v1/managers/M/probes            which hosts M finds silent that it asks directly
//! /holdfast/v1/probe-key                     what that is signed with; written once
//! /holdfast/v1/policy
//! /holdfast/v1/hosts/H/{spec,session,report,state,extensions,fencing}
//! /holdfast/v1/hosts/H/vms/V
//! /holdfast/v1/hosts/H/saw/G                 what H found in the heartbeat slot of host G
//! /holdfast/v1/vms/V/{spec,owner}
//! /holdfast/v1/uuids/U                       index: the VM that has this UUID
//! /holdfast/v1/fences/H/INCARNATION
//! /holdfast/v1/errands/HOST/DEVICE           what another manager, or an agent, is to ask that fencing device of the host
//! /holdfast/v1/leases/VOLUME/hosts/SLOT      index: the host that has this slot of a lease volume
//! /holdfast/v1/leases/VOLUME/vms/SLOT        index: the UUID of the VM that has this slot
//! /holdfast/v1/extensions/NAME
//! /holdfast/v1/extensions/NAME/shadow        a version that is asked beside it and not heeded
//! /holdfast/v1/told/NAME                     how far the event handler has been told
//! /holdfast/v1/ops/ID
//! /holdfast/v1/events/TIME-ACTOR-N
//! ```
//! Components of extensions stand apart, so that nobody who watches the above is sent megabytes:
//! ```text
//! /holdfast/components/v1/index/DIGEST
//! /holdfast/components/v1/data/DIGEST/N
//! ```

use holdfast_model::id::{
    DeviceName, ExtensionName, HostName, Incarnation, ManagerName, OpId, VmName, VmUuid,
};
use std::str::FromStr;

/// Everything Holdfast keeps.
pub const ROOT: &str = "/holdfast/v1/";
/// Both keys of the leader.
pub const LEADER: &str = "/holdfast/v1/leader/";
/// All VMs.
pub const VMS: &str = "/holdfast/v1/vms/";
/// All fence records.
pub const FENCES: &str = "/holdfast/v1/fences/";
/// All errands.
pub const ERRANDS: &str = "/holdfast/v1/errands/";
/// All installed extensions, and their shadows.
pub const EXTENSIONS: &str = "/holdfast/v1/extensions/";
/// Which components there are.
pub const COMPONENTS: &str = "/holdfast/components/v1/index/";
/// All events.
pub const EVENTS: &str = "/holdfast/v1/events/";

/// Whether an errand stands under this key as versions wrote it that knew one device of a host: `errands/HOST`.
pub fn is_old_errand(path: &str) -> bool {
    let rest = path.strip_prefix(ERRANDS);
    rest.is_some_and(|host| HostName::from_str(host).is_ok())
}

/// Everything of one host.
pub fn host_prefix(host: &HostName) -> String {
    format!("{ROOT}hosts/{host}/")
}

/// What is known of one component.
pub fn component(digest: &str) -> String {
    format!("{COMPONENTS}{digest}")
}

/// A piece of one component, counted from 0.
pub fn component_piece(digest: &str, number: usize) -> String {
    format!("/holdfast/components/v1/data/{digest}/{number:04}")
}

/// No key this version knows has more parts after [`ROOT`].
const PARTS_MAX: usize = 4;

/// A key, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The cluster's name.
    Cluster,
    /// Who leads; its mod revision is the epoch.
    LeaderEpoch,
    /// The leader's heartbeat.
    LeaderHeartbeat,
    /// Presence of a manager.
    Manager(ManagerName),
    /// Which hosts a manager finds silent.
    Probes(ManagerName),
    /// What probes are signed with.
    ProbeKey,
    /// Cluster policy.
    Policy,
    /// Desired state of a host.
    HostSpec(HostName),
    /// A host's heartbeat.
    HostSession(HostName),
    /// What a host says of itself.
    HostReport(HostName),
    /// What the leader holds of a host.
    HostState(HostName),
    /// How the extensions that a host asks do there.
    HostExtensions(HostName),
    /// What a host's agent has for asking fencing devices of others.
    HostAsks(HostName),
    /// What a host says of a VM.
    HostVm(HostName, VmName),
    /// What a host (the first) found in the heartbeat slot of another.
    HostSaw(HostName, HostName),
    /// Desired state of a VM.
    VmSpec(VmName),
    /// Who may run a VM.
    VmOwner(VmName),
    /// The VM that has this UUID.
    Uuid(VmUuid),
    /// Evidence.
    Fence(HostName, Incarnation),
    /// What another than the leader is to ask a fencing device of a host.
    Errand(HostName, DeviceName),
    /// The host that has a slot of a lease volume.
    HostSlot(String, u32),
    /// The UUID of the VM that has a slot of a lease volume.
    VmSlot(String, u32),
    /// An installed extension.
    Extension(ExtensionName),
    /// A version of it that is asked beside it and not heeded.
    Shadow(ExtensionName),
    /// How far an event handler has been told.
    Told(ExtensionName),
    /// A request.
    Op(OpId),
    /// An event; its id sorts by time.
    Event(String),
}

impl Key {
    /// The key as the store has it, if there is only one of its kind.
    pub fn fixed(&self) -> Option<&'static str> {
        match self {
            Self::Cluster => Some("/holdfast/v1/cluster"),
            Self::LeaderEpoch => Some("/holdfast/v1/leader/epoch"),
            Self::LeaderHeartbeat => Some("/holdfast/v1/leader/heartbeat"),
            Self::ProbeKey => Some("/holdfast/v1/probe-key"),
            Self::Policy => Some("/holdfast/v1/policy"),
            _ => None,
        }
    }

    /// The key as the store has it.
    pub fn path(&self) -> String {
        match self {
            Self::Cluster
            | Self::LeaderEpoch
            | Self::LeaderHeartbeat
            | Self::ProbeKey
            | Self::Policy => self.fixed().unwrap_or_default().to_owned(),
            Self::Manager(manager) => format!("{ROOT}managers/{manager}"),
            Self::Probes(manager) => format!("{ROOT}managers/{manager}/probes"),
            Self::HostSpec(host) => format!("{ROOT}hosts/{host}/spec"),
            Self::HostSession(host) => format!("{ROOT}hosts/{host}/session"),
            Self::HostReport(host) => format!("{ROOT}hosts/{host}/report"),
            Self::HostState(host) => format!("{ROOT}hosts/{host}/state"),
            Self::HostExtensions(host) => format!("{ROOT}hosts/{host}/extensions"),
            Self::HostAsks(host) => format!("{ROOT}hosts/{host}/fencing"),
            Self::HostVm(host, vm) => format!("{ROOT}hosts/{host}/vms/{vm}"),
            Self::HostSaw(by, host) => format!("{ROOT}hosts/{by}/saw/{host}"),
            Self::VmSpec(vm) => format!("{ROOT}vms/{vm}/spec"),
            Self::VmOwner(vm) => format!("{ROOT}vms/{vm}/owner"),
            Self::Uuid(uuid) => format!("{ROOT}uuids/{uuid}"),
            Self::Fence(host, incarnation) => format!("{ROOT}fences/{host}/{incarnation}"),
            Self::Errand(host, device) => format!("{ROOT}errands/{host}/{device}"),
            Self::HostSlot(volume, slot) => format!("{ROOT}leases/{volume}/hosts/{slot}"),
            Self::VmSlot(volume, slot) => format!("{ROOT}leases/{volume}/vms/{slot}"),
            Self::Extension(name) => format!("{ROOT}extensions/{name}"),
            Self::Shadow(name) => format!("{ROOT}extensions/{name}/shadow"),
            Self::Told(name) => format!("{ROOT}told/{name}"),
            Self::Op(id) => format!("{ROOT}ops/{id}"),
            Self::Event(id) => format!("{EVENTS}{id}"),
        }
    }

    /// Takes a key apart; `None` for keys this version does not know (a newer one may have written
    /// them: they are left alone).
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = [""; PARTS_MAX];
        let mut count = 0;
        for part in path.strip_prefix(ROOT)?.split('/') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        let host = |name: &str| HostName::from_str(name).ok();
        let vm = |name: &str| VmName::from_str(name).ok();
        Some(match &parts[..count] {
            ["cluster"] => Self::Cluster,
            ["leader", "epoch"] => Self::LeaderEpoch,
            ["leader", "heartbeat"] => Self::LeaderHeartbeat,
            ["managers", name] => Self::Manager(ManagerName::from_str(name).ok()?),
            ["managers", name, "probes"] => Self::Probes(ManagerName::from_str(name).ok()?),
            ["probe-key"] => Self::ProbeKey,
            ["policy"] => Self::Policy,
            ["hosts", name, "spec"] => Self::HostSpec(host(name)?),
            ["hosts", name, "session"] => Self::HostSession(host(name)?),
            ["hosts", name, "report"] => Self::HostReport(host(name)?),
            ["hosts", name, "state"] => Self::HostState(host(name)?),
            ["hosts", name, "extensions"] => Self::HostExtensions(host(name)?),
            ["hosts", name, "fencing"] => Self::HostAsks(host(name)?),
            ["hosts", name, "vms", v] => Self::HostVm(host(name)?, vm(v)?),
            ["hosts", by, "saw", name] => Self::HostSaw(host(by)?, host(name)?),
            ["leases", volume, "hosts", slot] => {
                Self::HostSlot((*volume).to_owned(), slot.parse().ok()?)
            }
            ["leases", volume, "vms", slot] => {
                Self::VmSlot((*volume).to_owned(), slot.parse().ok()?)
            }
            ["vms", name, "spec"] => Self::VmSpec(vm(name)?),
            ["vms", name, "owner"] => Self::VmOwner(vm(name)?),
            ["uuids", uuid] => Self::Uuid(VmUuid::from_str(uuid).ok()?),
            ["fences", name, life] => Self::Fence(host(name)?, Incarnation::from_str(life).ok()?),
            ["errands", name, device] => {
                Self::Errand(host(name)?, DeviceName::from_str(device).ok()?)
            }
            ["extensions", name] => Self::Extension(ExtensionName::from_str(name).ok()?),
            ["extensions", name, "shadow"] => Self::Shadow(ExtensionName::from_str(name).ok()?),
            ["told", name] => Self::Told(ExtensionName::from_str(name).ok()?),
            ["ops", id] => Self::Op(OpId::from_str(id).ok()?),
            ["events", id] => Self::Event((*id).to_owned()),
            _ => return None,
        })
    }
}
