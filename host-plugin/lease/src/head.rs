//! The two superblocks at the beginning of a volume, out of bytes that may be anything.
//!
//! ```text
//! sectors of 512:   0 superblock   512 copy    heartbeats …
//! sectors of 4096:  0 superblock …………………………………… 4096 copy ……………………………… 8192 heartbeats …
//! ```
//! The sector size is not known before one of them is read. Each is believed only where one of its
//! own size and number stands, and the copy only if it is of the same volume.

use crate::error::SectorError;
use crate::sector::{HEADER, Sector, VolumeId, decode_any};
use holdfast_model::lease::{Kind, Record, Superblock};

/// Bytes in which both superblocks are, whatever the sector size.
pub(crate) const HEAD: usize = 8192;
/// Where a volume's sector size may put the copy, in bytes from the beginning.
const COPIES: [usize; 2] = [4096, 512];

/// A superblock: its volume, the sector it is in, and what it says.
pub(crate) type Head = Result<(VolumeId, Sector, Superblock), SectorError>;

/// The superblock at the beginning of these bytes, whatever its sector size.
fn superblock_of(bytes: &[u8]) -> Head {
    // Where the superblock's record has the sector size: after the cluster's name and the class.
    let at = HEADER + 64 + 1;
    let said = bytes.get(at..at + 4);
    let size = match said {
        Some([0, 2, 0, 0]) => 512,
        _ => 4096,
    };
    let bytes = bytes.get(..size).unwrap_or(bytes);
    let (id, sector) = decode_any(bytes, Kind::Superblock, size)?;
    match &sector.record {
        Record::Superblock(superblock) if superblock.layout.sector_bytes() == size => {
            let superblock = superblock.clone();
            Ok((id, sector, superblock))
        }
        _ => Err(wrong_size("it is not the size of this sector")),
    }
}

/// The superblock and its copy.
pub(crate) fn heads(bytes: &[u8]) -> (Head, Head) {
    let first = superblock_of(bytes).and_then(|found| numbered(found, 0));
    let copy = match &first {
        Ok((id, _, superblock)) => {
            let copy = copy_at(bytes, superblock.layout.sector_bytes());
            copy.and_then(|found| of_volume(found, *id))
        }
        Err(_) => {
            let [large, small] = COPIES.map(|at| copy_at(bytes, at));
            match (large, small) {
                (Ok(found), _) | (Err(_), Ok(found)) => Ok(found),
                (Err(error), Err(_)) => Err(error),
            }
        }
    };
    (first, copy)
}

fn copy_at(bytes: &[u8], at: usize) -> Head {
    let found = superblock_of(bytes.get(at..).unwrap_or_default())?;
    if found.2.layout.sector_bytes() != at {
        return Err(wrong_size("a copy of that size does not stand here"));
    }
    numbered(found, 1)
}

fn numbered(found: (VolumeId, Sector, Superblock), wanted: u64) -> Head {
    match found.1.number {
        number if number == wanted => Ok(found),
        found => Err(SectorError::Number { wanted, found }),
    }
}

fn of_volume(found: (VolumeId, Sector, Superblock), wanted: VolumeId) -> Head {
    match found.0 {
        volume if volume == wanted => Ok(found),
        found => Err(SectorError::Volume { wanted, found }),
    }
}

fn wrong_size(problem: &str) -> SectorError {
    SectorError::Field {
        field: "sector size",
        problem: problem.to_owned(),
    }
}
