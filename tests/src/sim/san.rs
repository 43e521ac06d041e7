//! The shared storage under the lease volume: a brick at every site, the witness too. A host that reaches
//! most of them reads what was written last and writes; one that does not may still read the brick of its
//! own site, which may be behind, and writes nothing.

use super::ctx::Ctx;
use super::event::Event;
use super::net::{Net, Place};
use super::voters::voter_place;
use holdfast_model::id::{HostName, SiteName};
use holdfast_model::lease::Record;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Everything.
    Read,
}

/// A call, from a boot of a host.
#[derive(Debug, Clone)]
pub struct IoCall {
    /// Whose.
    pub host: HostName,
    /// On which boot.
    pub boot: u32,
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
}

/// Sectors with what stands in them.
pub type Sectors = BTreeMap<Sector, Record>;

/// The storage.
#[derive(Debug, Default)]
pub struct San {
    /// Who reaches which brick.
    pub net: Net,
    bricks: BTreeMap<SiteName, BTreeMap<Sector, (u64, Record)>>,
    dead: BTreeSet<SiteName>,
    writes: u64,
    /// Every call hangs until it is over.
    stalled: bool,
    /// How much longer than usual a call takes, in milliseconds: half of it on its way there.
    pub slow_ms: u64,
    waiting: Vec<IoCall>,
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

    fn reached(&self, place: &Place) -> Vec<SiteName> {
        let reaches = |site: &&SiteName| {
            !self.dead.contains(*site) && self.net.connects(place, &voter_place(site))
        };
        self.bricks.keys().filter(reaches).cloned().collect()
    }

    /// Whether a place reaches most bricks.
    pub fn has_quorum(&self, place: &Place) -> bool {
        self.reached(place).len() * 2 > self.bricks.len() && !self.stalled
    }

    fn write(&mut self, place: &Place, sector: Sector, record: &Record) {
        self.writes += 1;
        for site in self.reached(place) {
            if let Some(brick) = self.bricks.get_mut(&site) {
                brick.insert(sector, (self.writes, record.clone()));
            }
        }
    }

    /// The newest of what the bricks that are reached have.
    fn read(&self, place: &Place) -> Option<Sectors> {
        let reached = self.reached(place);
        if reached.is_empty() {
            return None;
        }
        let mut newest: BTreeMap<Sector, (u64, Record)> = BTreeMap::new();
        for brick in reached.iter().filter_map(|site| self.bricks.get(site)) {
            for (sector, (write, record)) in brick {
                if newest.get(sector).is_none_or(|(known, _)| known < write) {
                    newest.insert(*sector, (*write, record.clone()));
                }
            }
        }
        let bare = |(sector, (_, record))| (sector, record);
        Some(newest.into_iter().map(bare).collect())
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
        let boot = u32::MAX;
        self.io(IoCall { boot, ..call });
    }

    /// It gets there.
    pub fn io_arrives(&mut self, call: IoCall) {
        if self.san.stalled {
            return self.san.waiting.push(call);
        }
        let quorum = self.san.has_quorum(&call.place);
        let way_ms = (IO_MS + self.san.slow_ms) / 2;
        let (end, ms) = match &call.io {
            Io::Write(sector, record) if quorum => {
                self.san.write(&call.place, *sector, record);
                (IoEnd::Written(true), way_ms)
            }
            Io::Write(..) => (IoEnd::Written(false), GIVEN_UP_MS),
            Io::Read => match self.san.read(&call.place) {
                Some(sectors) => (IoEnd::Read(Some(sectors)), way_ms),
                None => (IoEnd::Read(None), GIVEN_UP_MS),
            },
        };
        self.after(ms, Event::IoEnds(call.host, call.boot, end));
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
