//! The VMs' sectors on the storage: what stands in them, who writes there, and what must never be.

use super::ctx::Ctx;
use super::damage::SECTOR;
use super::net::Place;
use super::san::San;
use holdfast_lease::error::SectorError;
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::lease::Claim;
use std::collections::BTreeMap;

/// What stands in a VM's sector.
#[derive(Debug, Clone)]
pub enum Stands {
    /// A claim.
    Claim(Claim),
    /// It cannot be believed.
    Damaged {
        /// The claim that it was.
        was: Claim,
        /// What a reader says of it.
        why: SectorError,
        /// Since when.
        since: u64,
    },
}

/// Claims as a reader finds them; none where the sector is free.
pub type ClaimsFound = BTreeMap<VmName, Result<Claim, SectorError>>;

impl San {
    pub(super) fn write_claim(&mut self, place: &Place, claim: &Claim) {
        self.writes += 1;
        let sites = self.reached(place).map(|(site, _)| site.clone());
        let sites: Vec<SiteName> = sites.collect();
        for site in sites {
            let brick = self.claims.entry(site).or_default();
            let stands = Stands::Claim(claim.clone());
            brick.insert(claim.vm.clone(), (self.writes, stands));
        }
    }

    pub(super) fn read_claims(&self, place: &Place, vms: &[VmName]) -> Option<ClaimsFound> {
        let mut reached = self.reached(place).peekable();
        reached.peek()?;
        let bricks: Vec<_> = reached.filter_map(|(s, _)| self.claims.get(s)).collect();
        let newest = |vm: &VmName| {
            let found = bricks.iter().filter_map(|brick| brick.get(vm));
            let found = match found.max_by_key(|(write, _)| *write) {
                Some((_, Stands::Claim(claim))) => Ok(claim.clone()),
                Some((_, Stands::Damaged { why, .. })) => Err(why.clone()),
                None if self.ends_early => Err(SectorError::Size {
                    wanted: SECTOR,
                    found: 0,
                }),
                None => return None,
            };
            Some((vm.clone(), found))
        };
        Some(vms.iter().filter_map(newest).collect())
    }

    /// What was written last of all, whoever reaches it.
    pub(super) fn newest(&self, vm: &VmName) -> Option<&Stands> {
        let found = self.claims.values().filter_map(|claims| claims.get(vm));
        let newest = found.max_by_key(|(write, _)| *write);
        newest.map(|(_, stands)| stands)
    }
}

impl Ctx {
    /// A claim is about to be written, by a guard that began to read what stood there at that time: a sector that was
    /// damaged by then belongs to whoever had claimed it.
    pub(super) fn check_claim(&mut self, host: &HostName, claim: &Claim, read_at: u64) {
        let Some(Stands::Damaged { was, since, .. }) = self.san.newest(&claim.vm) else {
            return;
        };
        let same = was.generation == claim.generation && was.holder == claim.holder;
        if !same && *since < read_at {
            self.violation(format!(
                "damaged-is-not-free: {host} claims {} for generation {} over a sector that cannot be believed",
                claim.vm, claim.generation
            ));
        }
    }
}
