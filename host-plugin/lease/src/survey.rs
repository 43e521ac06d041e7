//! A whole volume, read for people.

use crate::error::VolumeError;
use crate::sector::VolumeId;
use crate::volume::Volume;
use holdfast_model::lease::{Claim, Heartbeat, Kind, Layout, Mail, Record, Superblock};
use serde::{Deserialize, Serialize};

/// Everything that stands on a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Survey {
    /// Its id.
    pub volume: VolumeId,
    /// What it says of itself.
    pub superblock: Superblock,
    /// Hosts, by slot.
    pub hosts: Vec<Slot<Heartbeat>>,
    /// Messages, by slot.
    pub mail: Vec<Slot<Mail>>,
    /// VMs, by slot.
    pub claims: Vec<Slot<Claim>>,
    /// Sectors that cannot be believed.
    pub damaged: Vec<Damage>,
}

/// A slot that is in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Slot<T> {
    /// Its number among its kind.
    pub slot: u64,
    /// How often it was written.
    pub writes: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: T,
}

/// A sector that cannot be believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Damage {
    /// Its number from the beginning of the volume.
    pub sector: u64,
    /// What belongs there.
    pub kind: Kind,
    /// Which slot of that kind.
    pub slot: u64,
    /// What is wrong.
    pub problem: String,
}

/// Reads all of a volume.
pub fn survey(volume: &Volume) -> Result<Survey, VolumeError> {
    let superblock = volume.superblock().clone();
    let layout = superblock.layout;
    let mut survey = Survey {
        volume: volume.id(),
        superblock,
        hosts: Vec::new(),
        mail: Vec::new(),
        claims: Vec::new(),
        damaged: Vec::new(),
    };
    if let Some(error) = volume.damage() {
        survey.damaged.push(Damage {
            sector: 0,
            kind: Kind::Superblock,
            slot: 0,
            problem: format!("one of the two superblocks: {error}"),
        });
    }
    volume.read_all(|number, kind, found| {
        let slot = slot_of(&layout, number, kind);
        let sector = match found {
            Ok(sector) => sector,
            Err(error) => {
                let problem = error.to_string();
                let sector = number;
                return survey.damaged.push(Damage {
                    sector,
                    kind,
                    slot,
                    problem,
                });
            }
        };
        let writes = sector.writes;
        match sector.record {
            Record::Heartbeat(Some(record)) => survey.hosts.push(Slot {
                slot,
                writes,
                record,
            }),
            Record::Mailbox(Some(record)) => survey.mail.push(Slot {
                slot,
                writes,
                record,
            }),
            Record::Claim(Some(record)) => survey.claims.push(Slot {
                slot,
                writes,
                record,
            }),
            Record::Superblock(_)
            | Record::Heartbeat(None)
            | Record::Mailbox(None)
            | Record::Claim(None) => {}
        }
    })?;
    Ok(survey)
}

fn slot_of(layout: &Layout, number: u64, kind: Kind) -> u64 {
    let first = match kind {
        Kind::Superblock => Some(0),
        Kind::Heartbeat => layout.heartbeat(0),
        Kind::Mailbox => layout.mailbox(0),
        Kind::Claim => layout.claim(0),
    };
    number - first.unwrap_or(0)
}
