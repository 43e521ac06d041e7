//! Why a sector is not believed, and why a volume is not opened.

use crate::sector::VolumeId;
use holdfast_model::lease::Kind;
use std::path::PathBuf;

/// Why the bytes of a sector are no sector of this volume. None of these means "free".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SectorError {
    /// Fewer or more bytes than a sector has.
    #[error("{found} bytes instead of {wanted}: the volume was cut short")]
    Size {
        /// How many there should be.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// Nothing but zeros: overwritten, or a hole in the file.
    #[error("nothing but zeros: it was overwritten, or never formatted")]
    Zeroed,
    /// Something else was written there.
    #[error("it does not begin with Holdfast's mark: something else was written there")]
    Magic,
    /// Parts of two writes, or rot.
    #[error("its checksum is {found:08x} and should be {wanted:08x}: torn or damaged")]
    Checksum {
        /// By its contents.
        wanted: u32,
        /// As it stands there.
        found: u32,
    },
    /// A Holdfast of another time wrote it.
    #[error("format version {found}; this program reads version {known}: {}", upgrade(*found, *known))]
    Version {
        /// Of the sector.
        found: u16,
        /// The only one that is known.
        known: u16,
    },
    /// Another volume's sector.
    #[error("it belongs to volume {found}, not to {wanted}")]
    Volume {
        /// This volume.
        wanted: VolumeId,
        /// The sector's.
        found: VolumeId,
    },
    /// Written to the wrong place.
    #[error("it says it is sector {found} and stands at {wanted}")]
    Number {
        /// Where it stands.
        wanted: u64,
        /// What it says.
        found: u64,
    },
    /// A kind that does not belong there, or is not known.
    #[error("it is of kind {found}, and {wanted} belongs there")]
    Kind {
        /// What belongs there.
        wanted: Kind,
        /// The kind's number.
        found: u8,
    },
    /// A value inside is not possible.
    #[error("its {field} is not possible: {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl SectorError {
    /// Its own holder may write it anew. Another volume's sector and one of a newer version are somebody's, and where
    /// the volume ends too early there is no sector.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Zeroed
            | Self::Magic
            | Self::Checksum { .. }
            | Self::Number { .. }
            | Self::Kind { .. }
            | Self::Field { .. } => true,
            Self::Size { .. } | Self::Version { .. } | Self::Volume { .. } => false,
        }
    }
}

/// Whose turn it is if the versions differ.
fn upgrade(found: u16, known: u16) -> &'static str {
    match found > known {
        true => "upgrade it",
        false => "upgrade the one that wrote it",
    }
}

/// What to do with something that is no volume. One of another version is in use.
fn instead(first: &SectorError, copy: &SectorError) -> &'static str {
    let version = |error: &SectorError| matches!(error, SectorError::Version { .. });
    match version(first) || version(copy) {
        true => "It is left alone: use programs of that version",
        false => "`holdfast lease create` makes one",
    }
}

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The system said no.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Without direct I/O a read may come from this host's own memory.
    #[error(
        "{path}: the file system refuses direct I/O, and without it a heartbeat could be read from \
         this host's own memory; put the lease volume on the shared storage itself"
    )]
    NoDirectIo {
        /// The volume.
        path: PathBuf,
    },
    /// A superblock and its copy are both unreadable.
    #[error(
        "{path} is no lease volume that can be read: its superblock: {first}; the copy: {copy}. {}",
        instead(first, copy)
    )]
    NotAVolume {
        /// The volume.
        path: PathBuf,
        /// What is wrong with the superblock.
        first: SectorError,
        /// What is wrong with the copy.
        copy: SectorError,
    },
    /// Another cluster's volume.
    #[error(
        "{path} is the lease volume of cluster {found}, not of {wanted}: two clusters never share \
         one; give this cluster a volume of its own"
    )]
    Cluster {
        /// The volume.
        path: PathBuf,
        /// This cluster.
        wanted: String,
        /// The volume's.
        found: String,
    },
    /// It exists already.
    #[error(
        "{path} is in use: {what}. Creating a volume over it takes every lease on it away; with \
         --force it is done all the same"
    )]
    Exists {
        /// The volume.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// Numbers that cannot be.
    #[error("{0}")]
    Layout(String),
    /// The sector cannot be believed.
    #[error("{path}, sector {number}: {source}")]
    Sector {
        /// The volume.
        path: PathBuf,
        /// Which sector.
        number: u64,
        /// Why not.
        source: SectorError,
    },
    /// What was read back is not what was written.
    #[error(
        "{path}, sector {number}: read back another write than was made: somebody else writes to \
         this sector (two hosts with one slot?)"
    )]
    Overwritten {
        /// The volume.
        path: PathBuf,
        /// Which sector.
        number: u64,
    },
}
