//! What the parser promises of any bytes whatever. For the fuzz targets (`fuzz/`) and for the test
//! that runs their corpus (`tests/corpus.rs`), which must ask the same; not for anybody else.
//!
//! ```text
//! bytes ── as they are ───────────────┐
//!   ├───── the checksum made right ───┼──> read, as every kind, at both sizes ──> written: the same
//!   └───── the header made right too ─┘
//! ```
//! No fuzzer draws a right checksum by chance, and without one it would never get past it.

use crate::error::SectorError;
use crate::head::{HEAD, heads};
use crate::record;
use crate::sector::{
    HEADER, MAGIC, Place, Sector, VERSION, VolumeId, checksum, decode, decode_any, encode,
};
use holdfast_model::lease::{Kind, Record, Superblock};

/// All there are.
pub const KINDS: [Kind; 4] = [
    Kind::Superblock,
    Kind::Heartbeat,
    Kind::Mailbox,
    Kind::Claim,
];
/// Bytes per sector that there are.
pub const SIZES: [usize; 2] = [512, 4096];

/// A promise that these bytes break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {found}")]
pub struct Broken {
    promise: &'static str,
    found: String,
}

/// The error is made only where it is needed: fuzzing is for speed.
fn ensure(kept: bool, promise: &'static str, found: impl FnOnce() -> String) -> Result<(), Broken> {
    match kept {
        true => Ok(()),
        false => Err(Broken {
            promise,
            found: found(),
        }),
    }
}

/// What was made of bytes that may be a sector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SectorSeen {
    /// As they are, they are a sector of this kind and size.
    pub believed: Option<(Kind, usize)>,
    /// How many of the ways in which they were made right gave a sector.
    pub mended: usize,
}

/// Reads the bytes as a sector of every kind at both sizes, and as a bare record.
///
/// # Errors
/// The promise that they break.
pub fn sector(bytes: &[u8]) -> Result<SectorSeen, Broken> {
    let mut seen = SectorSeen::default();
    for kind in KINDS {
        for size in SIZES {
            if sector_keeps(bytes, kind, size)? {
                ensure(seen.believed.is_none(), "one kind and size only", || {
                    format!("{:?} and {:?}", seen.believed, (kind, size))
                })?;
                seen.believed = Some((kind, size));
            }
            let mut sized = bytes.to_vec();
            sized.resize(size, 0);
            sum(&mut sized);
            seen.mended += usize::from(sector_keeps(&sized, kind, size)?);
            mend(&mut sized, kind);
            seen.mended += usize::from(sector_keeps(&sized, kind, size)?);
        }
        if let Ok(found) = record::decode(kind, bytes) {
            ensure(record::encode(&found) == bytes, REWRITTEN, || {
                format!("{found:?}")
            })?;
        }
    }
    Ok(seen)
}

const REWRITTEN: &str = "what is read is written as the same bytes";

/// Whether they are a sector of that kind, and if so everything that must then be true.
fn sector_keeps(bytes: &[u8], kind: Kind, size: usize) -> Result<bool, Broken> {
    let Ok((volume, found)) = decode_any(bytes, kind, size) else {
        return Ok(false);
    };
    let shown = || format!("a {kind} of {size} bytes, {found:?}");
    ensure(encode(&found, volume, size) == bytes, REWRITTEN, shown)?;
    let number = found.number;
    let place = Place {
        volume,
        number,
        kind,
        size,
    };
    let there = decode(bytes, &place);
    ensure(
        there.as_ref() == Ok(&found),
        "read in its own place as well",
        shown,
    )?;
    let elsewhere = Place {
        number: number.wrapping_add(1),
        ..place
    };
    let refused = matches!(decode(bytes, &elsewhere), Err(SectorError::Number { .. }));
    ensure(refused, "refused where it does not stand", shown)?;
    let foreign = Place {
        volume: VolumeId(uuid::Uuid::from_u128(!volume.0.as_u128())),
        ..place
    };
    let refused = matches!(decode(bytes, &foreign), Err(SectorError::Volume { .. }));
    ensure(refused, "refused on another volume", shown)?;
    Ok(true)
}

/// Which of the two superblocks were believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadSeen {
    /// The first.
    pub first: bool,
    /// The copy.
    pub copy: bool,
}

/// Reads the bytes as the beginning of a volume, as opening one does.
///
/// # Errors
/// The promise that they break.
pub fn head(bytes: &[u8]) -> Result<HeadSeen, Broken> {
    let bytes = bytes.get(..HEAD).unwrap_or(bytes);
    for size in SIZES {
        let mut mended = bytes.to_vec();
        mended.resize(HEAD, 0);
        for (number, sector) in mended.chunks_mut(size).take(2).enumerate() {
            sector[32] = number as u8;
            sector[33..40].fill(0);
            // The sector size, after the cluster's name and the class.
            sector[HEADER + 65..HEADER + 69].copy_from_slice(&(size as u32).to_le_bytes());
            mend(sector, Kind::Superblock);
        }
        head_keeps(&mended)?;
        // And a copy that is of the same volume.
        let id: [u8; 16] = std::array::from_fn(|at| mended[16 + at]);
        mended[size + 16..size + 32].copy_from_slice(&id);
        sum(&mut mended[size..2 * size]);
        head_keeps(&mended)?;
    }
    head_keeps(bytes)
}

fn head_keeps(bytes: &[u8]) -> Result<HeadSeen, Broken> {
    let (first, copy) = heads(bytes);
    for (number, found) in [(0, &first), (1, &copy)] {
        if let Ok(found) = found {
            superblock_keeps(bytes, number, found)?;
        }
    }
    if let (Ok(first), Ok(copy)) = (&first, &copy) {
        ensure(first.0 == copy.0, "both are of one volume", || {
            format!("{} and {}", first.0, copy.0)
        })?;
    }
    Ok(HeadSeen {
        first: first.is_ok(),
        copy: copy.is_ok(),
    })
}

fn superblock_keeps(
    bytes: &[u8],
    number: u64,
    (volume, found, superblock): &(VolumeId, Sector, Superblock),
) -> Result<(), Broken> {
    let shown = || format!("superblock {number}, {superblock:?} in {found:?}");
    let layout = superblock.layout;
    ensure(layout.check().is_ok(), "its layout is possible", shown)?;
    ensure(found.number == number, "it has its own number", shown)?;
    let is_it = found.record == Record::Superblock(superblock.clone());
    ensure(is_it, "it says what its sector says", shown)?;
    let size = layout.sector_bytes();
    let at = number as usize * size;
    let there = bytes.get(at..at + size);
    let written = encode(found, *volume, size);
    ensure(
        there == Some(&written),
        "it stands where one of its size does",
        shown,
    )
}

/// Gives a sector the mark, the version, the kind, the padding and the checksum that are right.
fn mend(sector: &mut [u8], kind: Kind) {
    sector[..8].copy_from_slice(&MAGIC);
    sector[8..10].copy_from_slice(&VERSION.to_le_bytes());
    sector[10] = kind as u8;
    sector[11] = 0;
    sector[50..HEADER].fill(0);
    let length = usize::from(u16::from_le_bytes([sector[48], sector[49]]));
    // Longer than a sector: left to the parser to refuse.
    if let Some(rest) = sector.get_mut(HEADER + length..) {
        rest.fill(0);
    }
    sum(sector);
}

/// Gives a sector, of 64 bytes at least, the checksum that is right.
pub fn sum(sector: &mut [u8]) {
    let sum = checksum(sector);
    sector[12..16].copy_from_slice(&sum.to_le_bytes());
}
