//! The shared storage under the lease volume: a brick at every site, the witness too. A host that reaches
//! most of them reads what was written last and writes; one that does not may still read the brick of its
//! own site, which may be behind, and writes nothing.

use super::claim_sectors::{ClaimsFound, Stands};
use super::ctx::Ctx;
use super::event::Event;
use super::net::{Net, Place};
use super::voters::voter_place;
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::lease::{Claim, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One way to the storage and back, in milliseconds.
pub const IO_MS: u64 = 4;
/// A client without a quorum gives a call up after this, in milliseconds.
const GIVEN_UP_MS: u64 = 3_000;

/// A sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sector {
    /// A host's sign of life.
    Heartbeat(u32),
    /// What is asked of a host.
    Mailbox(u32),
}

/// What is asked of the storage.
#[derive(Debug, Clone)]
pub enum Io {
    /// One sector.
    Write(Sector, Record),
    /// All heartbeats and mailboxes.
    Read,
    /// The claims of some VMs.
    ReadClaims(Vec<VmName>),
    /// A VM's claim, and when was sent what reads its sector before.
    WriteClaim(Box<Claim>, u64),
}

/// A call, from a boot of a host.
#[derive(Debug, Clone)]
pub struct IoCall {
    /// Whose.
    pub host: HostName,
    /// Of which boot, and of which process of the guard on it.
    pub of: (u32, u32),
    /// From where.
    pub place: Place,
    /// What.
    pub io: Io,
}

/// Its end.
#[derive(Debug, Clone)]
pub enum IoEnd {
    /// A write: whether the storage has it.
    Written(bool),
    /// A read: what was there; none if it failed.
    Read(Option<Sectors>),
    /// Claims that stand there; none if they could not be read.
    ClaimsRead(Vec<VmName>, Option<ClaimsFound>),
    /// A claim: whether the storage has it.
    ClaimWritten(Box<Claim>, bool),
}

/// Sectors with what stands in them; none where that is not a sector.
pub type Sectors = BTreeMap<Sector, Option<Arc<Record>>>;

/// Which of all writes a brick's sector is of, and what it says.
pub(super) type Content = (u64, Option<Arc<Record>>);

pub(super) type Brick = BTreeMap<Sector, Content>;

/// The storage.
#[derive(Debug, Default)]
pub struct San {
    /// Who reaches which brick.
    pub net: Net,
    pub(super) bricks: BTreeMap<SiteName, Brick>,
    /// What stands in the VMs' sectors on each brick, with the number of the write.
    pub(super) claims: BTreeMap<SiteName, BTreeMap<VmName, (u64, Stands)>>,
    dead: BTreeSet<SiteName>,
    pub(super) writes: u64,
    /// Every call hangs until it is over.
    stalled: bool,
    /// How much longer than usual a call takes, in milliseconds: half of it on its way there.
    pub slow_ms: u64,
    waiting: Vec<IoCall>,
    /// The volume is gone: every call fails.
    pub(super) lost: bool,
    /// The volume's file ends before the VMs' sectors.
    pub(super) ends_early: bool,
}

impl San {
    /// A site's brick.
    pub fn add_brick(&mut self, site: SiteName) {
        self.bricks.insert(site, BTreeMap::new());
    }

    /// A brick's power.
    pub fn set_alive(&mut self, site: &SiteName, alive: bool) {
        match alive {
            true => self.dead.remove(site),
            false => self.dead.insert(site.clone()),
        };
    }

    fn reaches(&self, place: &Place, site: &SiteName) -> bool {
        !self.dead.contains(site) && self.net.connects(place, &voter_place(site))
    }

    pub(super) fn reached(&self, place: &Place) -> impl Iterator<Item = (&SiteName, &Brick)> {
        let bricks = self.bricks.iter();
        bricks.filter(move |(site, _)| self.reaches(place, site))
    }

    /// Whether a place reaches most bricks.
    pub fn has_quorum(&self, place: &Place) -> bool {
        self.reached(place).count() * 2 > self.bricks.len() && !self.stalled
    }

    fn write(&mut self, place: &Place, sector: Sector, record: Record) {
        self.writes += 1;
        let sites = self.reached(place).map(|(site, _)| site.clone());
        let sites: Vec<SiteName> = sites.collect();
        let record = Arc::new(record);
        for site in sites {
            if let Some(brick) = self.bricks.get_mut(&site) {
                brick.insert(sector, (self.writes, Some(record.clone())));
            }
        }
    }

    /// The newest of what the bricks that are reached have.
    fn read(&self, place: &Place) -> Option<Sectors> {
        let mut newest: BTreeMap<Sector, &Content> = BTreeMap::new();
        let mut bricks = self.reached(place).peekable();
        bricks.peek()?;
        for (sector, content) in bricks.flat_map(|(_, brick)| brick) {
            let known = newest.entry(*sector).or_insert(content);
            if known.0 < content.0 {
                *known = content;
            }
        }
        let bare = |(sector, content): (Sector, &Content)| (sector, content.1.clone());
        Some(newest.into_iter().map(bare).collect())
    }
}

impl San {
    /// The volume is gone, or there is a new, empty one. False: it is so already.
    pub fn set_lost(&mut self, lost: bool) -> bool {
        for brick in self.bricks.values_mut() {
            brick.clear();
        }
        self.claims.clear();
        self.ends_early = false;
        std::mem::replace(&mut self.lost, lost) != lost
    }
}

impl Ctx {
    /// A call to the storage is sent.
    pub fn io(&mut self, call: IoCall) {
        let way_ms = (IO_MS + self.san.slow_ms) / 2;
        self.after(way_ms, Event::IoArrives(call));
    }

    /// A message to a peer is sent; nobody waits for its end.
    pub fn mail(&mut self, call: IoCall) {
        let of = (u32::MAX, u32::MAX);
        self.io(IoCall { of, ..call });
    }

    /// It gets there.
    pub fn io_arrives(&mut self, call: IoCall) {
        if self.san.stalled {
            return self.san.waiting.push(call);
        }
        let quorum = self.san.has_quorum(&call.place);
        let way_ms = (IO_MS + self.san.slow_ms) / 2;
        let (end, ms) = match &call.io {
            Io::Write(..) if self.san.lost => (IoEnd::Written(false), IO_MS / 2),
            Io::Read if self.san.lost => (IoEnd::Read(None), IO_MS / 2),
            Io::ReadClaims(vms) if self.san.lost => {
                (IoEnd::ClaimsRead(vms.clone(), None), IO_MS / 2)
            }
            Io::WriteClaim(claim, _) if self.san.lost => {
                (IoEnd::ClaimWritten(claim.clone(), false), IO_MS / 2)
            }
            Io::WriteClaim(claim, read_at) if quorum => {
                self.check_claim(&call.host, claim, *read_at);
                self.san.write_claim(&call.place, claim);
                (IoEnd::ClaimWritten(claim.clone(), true), way_ms)
            }
            Io::WriteClaim(claim, _) => (IoEnd::ClaimWritten(claim.clone(), false), GIVEN_UP_MS),
            Io::ReadClaims(vms) => match self.san.read_claims(&call.place, vms) {
                Some(found) => (IoEnd::ClaimsRead(vms.clone(), Some(found)), way_ms),
                None => (IoEnd::ClaimsRead(vms.clone(), None), GIVEN_UP_MS),
            },
            Io::Write(sector, record) if quorum => {
                self.san.write(&call.place, *sector, record.clone());
                (IoEnd::Written(true), way_ms)
            }
            Io::Write(..) => (IoEnd::Written(false), GIVEN_UP_MS),
            Io::Read => match self.san.read(&call.place) {
                Some(sectors) => (IoEnd::Read(Some(sectors)), way_ms),
                None => (IoEnd::Read(None), GIVEN_UP_MS),
            },
        };
        self.after(ms, Event::IoEnds(call.host, call.of, end));
    }

    /// From now on every call hangs, or goes on: what hung is done late.
    pub fn stall_storage(&mut self, stalled: bool) {
        self.san.stalled = stalled;
        if !stalled {
            for call in std::mem::take(&mut self.san.waiting) {
                self.after(IO_MS, Event::IoArrives(call));
            }
        }
    }

    /// Whether calls hang.
    pub fn storage_is_stalled(&self) -> bool {
        self.san.stalled
    }
}
