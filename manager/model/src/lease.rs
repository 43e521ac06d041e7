//! What stands on a lease volume: how hosts prove to each other over the storage alone that they are
//! alive, and which VMs they hold. The bytes of it are `holdfast-lease`'s business.

use crate::id::{BootId, ClusterName, Generation, HostName, Incarnation, Revision, VmName, VmUuid};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a sector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// The volume itself, at its beginning, twice.
    Superblock = 1,
    /// A host's sign of life. Only that host writes it.
    Heartbeat = 2,
    /// What others ask of a host that only the storage reaches. The leader's side writes it.
    Mailbox = 3,
    /// Who holds a VM. Its holder writes it.
    Claim = 4,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superblock => "superblock",
            Self::Heartbeat => "heartbeat",
            Self::Mailbox => "mailbox",
            Self::Claim => "claim",
        })
    }
}

/// What a storage domain promises when the sites are cut from each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum StorageClass {
    /// Only one side can write (Gluster with an arbiter, Ceph in stretch mode, DRBD with quorum, an
    /// array with a mediator): a lease here lets a VM outlive a loss of the control plane.
    Quorum = 1,
    /// Copies may diverge, or there is no lease volume: the control plane alone counts.
    #[default]
    Plain = 2,
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quorum => "quorum",
            Self::Plain => "plain",
        })
    }
}

/// The volume itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Whose volume it is.
    pub cluster: ClusterName,
    /// What the storage under it promises.
    pub class: StorageClass,
    /// Which sector is where.
    pub layout: Layout,
    /// When it was created, in milliseconds since 1970, by the clock of the machine that did.
    pub created_ms: u64,
}

/// Where a host stands with its VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum HostPhase {
    /// It runs VMs, or may.
    Holding = 1,
    /// Everything that this incarnation ran has stopped, confirmed by the kernel, and nothing of it
    /// will run again.
    Released = 2,
}

/// How a host's agent stands, as its guard sees it. Tells a host that lost its network from one whose
/// agent is being upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum AgentState {
    /// Its session is renewed.
    Connected = 1,
    /// It runs, and its session is not renewed: this host cannot reach the store.
    CutOff = 2,
    /// The guard hears nothing of it.
    Silent = 3,
}

/// A host's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub host: HostName,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// On which boot.
    pub boot_id: BootId,
    /// When it was sent, in milliseconds of its host's CLOCK_BOOTTIME; higher with each. What observers
    /// compare.
    pub counter: u64,
    /// Where it stands.
    pub phase: HostPhase,
    /// How its agent stands.
    pub agent: AgentState,
    /// The last message of its mailbox that it has done.
    pub answered: u64,
    /// Between two heartbeats, in milliseconds.
    pub period_ms: u32,
    /// From sending the last heartbeat that was written to the kill, in milliseconds.
    pub runner_deadline_ms: u32,
    /// From the kill to the last VM gone, in milliseconds.
    pub kill_bound_ms: u32,
    /// From there to the watchdog's reset, in milliseconds; 0 without one.
    pub watchdog_bound_ms: u32,
}

/// What is asked of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Ask {
    /// Stop everything of this incarnation, and say so: it will be started elsewhere.
    Release = 1,
}

/// A message to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// To whom.
    pub to: HostName,
    /// To which of its lives: another one does not heed it.
    pub incarnation: Incarnation,
    /// Up by one with each message.
    pub message: u64,
    /// What is asked.
    pub ask: Ask,
    /// Who wrote it.
    pub by: HostName,
}

/// One life of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host.
    pub host: HostName,
    /// Its life.
    pub incarnation: Incarnation,
}

/// Who holds a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The VM.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: VmUuid,
    /// The grant. A claim not above this one is refused.
    pub generation: Generation,
    /// Who holds it; nobody once it was released.
    pub holder: Option<Holder>,
    /// To whom it is being migrated.
    pub incoming: Option<Holder>,
}

/// What a sector says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Record {
    /// The volume itself.
    Superblock(Superblock),
    /// A host's slot; `None`: free.
    Heartbeat(Option<Heartbeat>),
    /// A host's mailbox; `None`: never written to.
    Mailbox(Option<Mail>),
    /// A VM's slot; `None`: free.
    Claim(Option<Claim>),
}

impl Record {
    /// What it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Superblock(_) => Kind::Superblock,
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Mailbox(_) => Kind::Mailbox,
            Self::Claim(_) => Kind::Claim,
        }
    }

    /// A free slot of that kind; none for the superblock, which is never free.
    pub fn free(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Superblock => None,
            Kind::Heartbeat => Some(Self::Heartbeat(None)),
            Kind::Mailbox => Some(Self::Mailbox(None)),
            Kind::Claim => Some(Self::Claim(None)),
        }
    }
}

/// The superblock and its copy.
pub const SUPERBLOCKS: u64 = 2;

/// How a volume is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Bytes per sector: 512 or 4096. What the storage writes at once, or less.
    pub sector_size: u32,
    /// Slots for hosts.
    pub hosts_max: u32,
    /// Slots for VMs.
    pub vms_max: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            sector_size: 4096,
            hosts_max: 64,
            vms_max: 4096,
        }
    }
}

/// Why a volume cannot be divided like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Neither of the two.
    #[error("{0} bytes per sector: use 4096, or 512 where the storage writes no more at once")]
    SectorSize(u32),
    /// None, or more than a cluster can have.
    #[error("{0} slots for hosts: use 2 to 1024")]
    Hosts(u32),
    /// None, or more than a cluster can have.
    #[error("{0} slots for VMs: use 1 to 100000")]
    Vms(u32),
}

impl Layout {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<(), LayoutError> {
        if !matches!(self.sector_size, 512 | 4096) {
            return Err(LayoutError::SectorSize(self.sector_size));
        }
        if !(2..=1024).contains(&self.hosts_max) {
            return Err(LayoutError::Hosts(self.hosts_max));
        }
        if !(1..=100_000).contains(&self.vms_max) {
            return Err(LayoutError::Vms(self.vms_max));
        }
        Ok(())
    }

    /// Bytes per sector.
    pub fn sector_bytes(&self) -> usize {
        self.sector_size as usize
    }

    /// How many sectors it has.
    pub fn sectors(&self) -> u64 {
        SUPERBLOCKS + 2 * u64::from(self.hosts_max) + u64::from(self.vms_max)
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.sectors() * u64::from(self.sector_size)
    }

    /// The sector of a host's heartbeat; none if there is no such slot.
    pub fn heartbeat(&self, slot: u32) -> Option<u64> {
        (slot < self.hosts_max).then(|| SUPERBLOCKS + u64::from(slot))
    }

    /// The sector of a host's mailbox; none if there is no such slot.
    pub fn mailbox(&self, slot: u32) -> Option<u64> {
        let first = SUPERBLOCKS + u64::from(self.hosts_max);
        (slot < self.hosts_max).then(|| first + u64::from(slot))
    }

    /// The sector of a VM's claim; none if there is no such slot.
    pub fn claim(&self, slot: u32) -> Option<u64> {
        let first = SUPERBLOCKS + 2 * u64::from(self.hosts_max);
        (slot < self.vms_max).then(|| first + u64::from(slot))
    }

    /// What belongs into a sector; none beyond the end.
    pub fn kind(&self, number: u64) -> Option<Kind> {
        let hosts = u64::from(self.hosts_max);
        let ends = [
            (SUPERBLOCKS, Kind::Superblock),
            (SUPERBLOCKS + hosts, Kind::Heartbeat),
            (SUPERBLOCKS + 2 * hosts, Kind::Mailbox),
            (self.sectors(), Kind::Claim),
        ];
        let found = ends.iter().find(|(end, _)| number < *end);
        found.map(|(_, kind)| *kind)
    }
}

/// `hosts/O/saw/H`: what host O found in the heartbeat slot of host H after H's control plane had been
/// closed. Written under O's session; what the leader closes H's storage plane by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which life of H it is about.
    pub incarnation: Incarnation,
    /// Which closing of the control plane it follows: [`crate::fence::FenceRecord::session_revision`].
    pub session_revision: Revision,
    /// What was found.
    pub found: Found,
}

/// What an observer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "found")]
pub enum Found {
    /// New heartbeats since the closing: it lives.
    Beating {
        /// How its agent stands.
        agent: AgentState,
    },
    /// The same heartbeat for as long as makes a host suspect, up to a moment after the closing: it seems to
    /// be gone. No evidence; told only where a fencing device may be asked for some.
    Quiet {
        /// Its counter.
        counter: u64,
    },
    /// The same heartbeat for the whole wait, up to a moment after the closing.
    Unchanged {
        /// Its counter.
        counter: u64,
        /// For how long, in milliseconds of the observer's clock.
        for_ms: u64,
    },
    /// It says itself that everything of that life has stopped.
    Released,
}
