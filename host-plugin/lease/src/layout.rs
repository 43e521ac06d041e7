//! Which sector is where.

use crate::record::Kind;
use serde::{Deserialize, Serialize};

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
