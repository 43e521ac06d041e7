//! What is damaged on the lease volume: sectors of hosts and of VMs, and a file that ends too early. What a reader
//! makes of it is for the production's own format to say.

use super::Sim;
use super::claim_sectors::Stands;
use super::faults::FaultError;
use super::san::{San, Sector};
use holdfast_lease::error::SectorError;
use holdfast_lease::sector::{Place as OnVolume, Sector as OnDisk, VolumeId, decode, encode};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::lease::Record;
use std::sync::Arc;

/// Bytes of a sector.
pub(super) const SECTOR: usize = 4_096;
/// The first heartbeat slot, and a VM's sector: which of those makes no difference.
const SLOTS: u64 = 2;
/// See [`SLOTS`].
const CLAIMS: u64 = 66;

/// What became of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The end of a write is missing: the bytes of another one follow.
    Torn,
    /// Nothing but zeros.
    Zeroed,
    /// It is of another cluster's volume.
    Foreign,
    /// One bit is another.
    Flipped,
    /// The file ends before it.
    CutOff,
}

/// The volume's id, and another cluster's.
const IDS: [VolumeId; 2] = [
    VolumeId(uuid::Uuid::from_u128(1)),
    VolumeId(uuid::Uuid::from_u128(2)),
];

/// What the production's own format makes of a sector that is damaged like that.
fn damaged(number: u64, record: &Record, how: Damage) -> Result<Record, SectorError> {
    let place = OnVolume {
        volume: IDS[0],
        number,
        kind: record.kind(),
        size: SECTOR,
    };
    let on_disk = |volume: VolumeId, writes: u64| {
        let sector = OnDisk {
            number,
            writes,
            record: record.clone(),
        };
        encode(&sector, volume, SECTOR)
    };
    let mut bytes = on_disk(IDS[0], 7);
    match how {
        Damage::Torn => bytes[44..].copy_from_slice(&on_disk(IDS[0], u64::MAX)[44..]),
        Damage::Zeroed => bytes.fill(0),
        Damage::Foreign => bytes = on_disk(IDS[1], 7),
        Damage::Flipped => bytes[SECTOR / 2] ^= 1,
        Damage::CutOff => bytes.clear(),
    }
    decode(&bytes, &place).map(|sector| sector.record)
}

impl San {
    /// Damages a heartbeat sector on every brick. What a reader says of it; none if it stands there
    /// no more, or is read all the same.
    fn damage(&mut self, slot: u32, how: Damage) -> Option<String> {
        let sector = Sector::Heartbeat(slot);
        let mut words = None;
        for brick in self.bricks.values_mut() {
            let Some((_, content)) = brick.get_mut(&sector) else {
                continue;
            };
            let Some(record) = content else { continue };
            match damaged(SLOTS + u64::from(slot), record, how) {
                Ok(read) => *content = Some(Arc::new(read)),
                Err(error) => {
                    *content = None;
                    words = Some(error.to_string());
                }
            }
        }
        words
    }

    /// The same with a VM's sector. An error is an invariant that is broken.
    fn damage_claim(
        &mut self,
        vm: &VmName,
        how: Damage,
        now: u64,
    ) -> Result<Option<String>, String> {
        let mut words = None;
        for claims in self.claims.values_mut() {
            let Some((_, stands)) = claims.get_mut(vm) else {
                continue;
            };
            let Stands::Claim(claim) = stands else {
                continue;
            };
            let record = Record::Claim(Some(claim.clone()));
            match damaged(CLAIMS, &record, how) {
                Ok(Record::Claim(Some(read))) if read == *claim => {}
                Ok(read) => {
                    return Err(format!(
                        "damaged-is-not-free: the sector of {vm} is damaged ({how:?}) and reads as {read:?}"
                    ));
                }
                Err(why) => {
                    words = Some(why.to_string());
                    let was = claim.clone();
                    *stands = Stands::Damaged {
                        was,
                        why,
                        since: now,
                    };
                }
            }
        }
        Ok(words)
    }

    /// Whether a VM's sector cannot be believed.
    pub fn has_damaged_claims(&self) -> bool {
        let mut all = self.claims.values().flat_map(|claims| claims.values());
        self.ends_early || all.any(|(_, stands)| matches!(stands, Stands::Damaged { .. }))
    }

    /// Empties them.
    fn repair_claims(&mut self) {
        self.ends_early = false;
        for claims in self.claims.values_mut() {
            claims.retain(|_, (_, stands)| matches!(stands, Stands::Claim(_)));
        }
    }
}

impl Sim {
    /// A host's heartbeat sector is damaged, on every brick.
    pub fn damage_sector(&mut self, host: &HostName, how: Damage) -> Result<(), FaultError> {
        let unknown = || FaultError::Unknown(host.to_string());
        let lease = &self.hosts.get(host).ok_or_else(unknown)?.m.lease;
        let slot = lease.as_ref().ok_or_else(unknown)?.slot;
        let words = self.ctx.san.damage(slot, how);
        let words = words.ok_or_else(|| FaultError::Nothing(format!("sector of {host}")))?;
        self.ctx
            .log("storage", format!("sector of {host}: {words}"));
        Ok(())
    }

    /// A VM's sector is damaged, on every brick.
    pub fn damage_claim(&mut self, vm: &VmName, how: Damage) -> Result<(), FaultError> {
        match self.ctx.san.damage_claim(vm, how, self.ctx.now) {
            Ok(Some(words)) => {
                let text = format!("sector of {vm}: {words}");
                self.ctx.log("storage", text);
                Ok(())
            }
            Ok(None) => Err(FaultError::Nothing(format!("claim of {vm}"))),
            Err(broken) => {
                self.ctx.violation(broken);
                Ok(())
            }
        }
    }

    /// The volume's file ends after so many heartbeat slots: what stood behind them is gone, until somebody writes
    /// there. VMs' sectors are not written where there are none.
    pub fn truncate_volume(&mut self, slots: u32) -> Result<(), FaultError> {
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        let mut any = false;
        for host in hosts {
            let lease = self.hosts.get(&host).and_then(|host| host.m.lease.as_ref());
            if let Some(lease) = lease.filter(|lease| lease.slot >= slots) {
                let _ = self.ctx.san.damage(lease.slot, Damage::CutOff);
                any = true;
            }
        }
        let vms = self.ctx.san.claims.values();
        let vms: Vec<VmName> = vms.flat_map(|claims| claims.keys()).cloned().collect();
        for vm in vms {
            any |= self.damage_claim(&vm, Damage::CutOff).is_ok();
        }
        if !any || self.ctx.san.ends_early {
            return Err(FaultError::Nothing("the lease volume".to_owned()));
        }
        for brick in self.ctx.san.bricks.values_mut() {
            brick.retain(|sector, _| matches!(sector, Sector::Heartbeat(_)));
        }
        self.ctx.san.ends_early = true;
        Ok(())
    }

    /// `holdfast lease repair VOLUME --claims`: VMs' sectors that cannot be believed are emptied. Whoever holds one
    /// claims it anew.
    pub fn repair_claims(&mut self) -> Result<(), FaultError> {
        if !self.ctx.san.has_damaged_claims() {
            return Err(FaultError::Nothing("the VMs' sectors".to_owned()));
        }
        self.ctx.san.repair_claims();
        self.ctx.claims_are_gone();
        Ok(())
    }

    /// The lease volume is gone; or is created anew, empty.
    pub fn lose_volume(&mut self, lost: bool) -> Result<(), FaultError> {
        self.ctx.claims_are_gone();
        match self.ctx.san.set_lost(lost) {
            true => Ok(()),
            false => Err(FaultError::Nothing("the lease volume".to_owned())),
        }
    }
}
