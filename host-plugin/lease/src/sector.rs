//! What every sector has, whatever it says (all numbers little-endian):
//!
//! ```text
//!  0  8  magic "HOLDFAST"         32  8  number of this sector
//!  8  2  format version           40  8  how often it was written
//! 10  1  kind                     48  2  length of the record
//! 11  1  zero                     50 14  zero
//! 12  4  CRC-32C of the sector    64  …  the record; zeros after it
//! 16 16  volume id
//! ```
//! The checksum is taken with its own four bytes zero. The first 16 bytes and the checksum's extent
//! stay as they are in every later version, so that an older program can tell "newer" from "torn".

use crate::error::SectorError;
use crate::record;
use crc::{CRC_32_ISCSI, Crc};
use holdfast_model::lease::{Kind, Record};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version this program writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"HOLDFAST";
/// Where the record begins.
pub const HEADER: usize = 64;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Tells one volume from any other; drawn when it is created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeId(pub uuid::Uuid);

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sector {
    /// Where it stands, counted from the beginning of the volume.
    pub number: u64,
    /// How often it was written: up by one with each write.
    pub writes: u64,
    /// What it says.
    pub record: Record,
}

/// Where a sector is read, and so what it must be.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The volume.
    pub volume: VolumeId,
    /// The sector's number.
    pub number: u64,
    /// What belongs there.
    pub kind: Kind,
    /// Bytes per sector.
    pub size: usize,
}

/// The bytes of a sector.
pub fn encode(sector: &Sector, volume: VolumeId, size: usize) -> Vec<u8> {
    let record = record::encode(&sector.record);
    let mut bytes = vec![0; size];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10] = sector.record.kind() as u8;
    bytes[16..32].copy_from_slice(volume.0.as_bytes());
    bytes[32..40].copy_from_slice(&sector.number.to_le_bytes());
    bytes[40..48].copy_from_slice(&sector.writes.to_le_bytes());
    // Records are shorter than the smallest sector, see the test below.
    bytes[48..50].copy_from_slice(&(record.len() as u16).to_le_bytes());
    bytes[HEADER..HEADER + record.len()].copy_from_slice(&record);
    let sum = checksum(&bytes);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Of a whole sector, whatever its own four bytes say.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&bytes[..12]);
    digest.update(&[0; 4]);
    digest.update(&bytes[16..]);
    digest.finalize()
}

/// Reads a sector. Whatever is not exactly a sector of this place is an error.
pub fn decode(bytes: &[u8], place: &Place) -> Result<Sector, SectorError> {
    let (volume, sector) = decode_any(bytes, place.kind, place.size)?;
    if volume != place.volume {
        return Err(SectorError::Volume {
            wanted: place.volume,
            found: volume,
        });
    }
    if sector.number != place.number {
        return Err(SectorError::Number {
            wanted: place.number,
            found: sector.number,
        });
    }
    Ok(sector)
}

/// The same for a sector of a volume that is not known yet.
pub(crate) fn decode_any(
    bytes: &[u8],
    kind: Kind,
    size: usize,
) -> Result<(VolumeId, Sector), SectorError> {
    if bytes.len() != size || size < HEADER {
        return Err(SectorError::Size {
            wanted: size,
            found: bytes.len(),
        });
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(SectorError::Zeroed);
    }
    if bytes[..8] != MAGIC {
        return Err(SectorError::Magic);
    }
    let (wanted, found) = (checksum(bytes), u32_at(bytes, 12));
    if wanted != found {
        return Err(SectorError::Checksum { wanted, found });
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version != VERSION {
        return Err(SectorError::Version {
            found: version,
            known: VERSION,
        });
    }
    if bytes[10] != kind as u8 {
        return Err(SectorError::Kind {
            wanted: kind,
            found: bytes[10],
        });
    }
    let length = usize::from(u16::from_le_bytes([bytes[48], bytes[49]]));
    let end = HEADER + length;
    if end > size {
        return Err(SectorError::Field {
            field: "length",
            problem: format!("{length} bytes do not fit"),
        });
    }
    let zeros = |range: &[u8]| range.iter().all(|byte| *byte == 0);
    if bytes[11] != 0 || !zeros(&bytes[50..HEADER]) || !zeros(&bytes[end..]) {
        return Err(SectorError::Field {
            field: "padding",
            problem: "it is not zero".to_owned(),
        });
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    let sector = Sector {
        number: u64_at(bytes, 32),
        writes: u64_at(bytes, 40),
        record: record::decode(kind, &bytes[HEADER..end])?,
    };
    Ok((VolumeId(uuid::Uuid::from_bytes(id)), sector))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
