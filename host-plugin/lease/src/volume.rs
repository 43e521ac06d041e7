//! A volume: created, opened, read and written, always by direct and synchronous I/O. Direct,
//! because what another host wrote must not come from this host's memory; synchronous, because a
//! heartbeat counts from the moment at which the storage has it.
//!
//! Every call here blocks for as long as the storage does: the guard makes them on threads of their own.

use crate::buffer::Buffer;
use crate::error::{SectorError, VolumeError};
use crate::head::{HEAD, heads};
use crate::sector::{Place, Sector, VolumeId, decode, encode};
use holdfast_model::id::ClusterName;
use holdfast_model::lease::{Kind, Layout, Record, SUPERBLOCKS, Superblock};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One read or write of many sectors, in bytes.
const CHUNK: usize = 1 << 20;

/// What is to be done with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only looked at.
    Read,
    /// Written to as well.
    Write,
}

/// An open volume.
#[derive(Debug)]
pub struct Volume {
    file: File,
    path: PathBuf,
    id: VolumeId,
    superblock: Superblock,
    damage: Option<SectorError>,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> VolumeError {
    move |error| VolumeError::Io {
        what,
        path: path.to_owned(),
        source: error.into(),
    }
}

/// Opens for direct I/O.
fn open_direct(path: &Path, flags: OFlags) -> Result<File, VolumeError> {
    let all = flags | OFlags::DIRECT | OFlags::DSYNC | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(path, all, mode) {
        Ok(fd) => Ok(fd.into()),
        Err(Errno::INVAL) => Err(VolumeError::NoDirectIo {
            path: path.to_owned(),
        }),
        Err(error) => Err(io("open", path)(error)),
    }
}

fn read_at(file: &File, path: &Path, at: u64, length: usize) -> Result<Vec<u8>, VolumeError> {
    let mut buffer = Buffer::new(length);
    let mut done = 0;
    while done < length {
        let read = rustix::io::pread(file, &mut buffer.bytes_mut()[done..], at + done as u64);
        match read {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            // The rest of a file whose length is no multiple of the block size.
            Err(Errno::INVAL) if done > 0 => break,
            Err(error) => return Err(io("read", path)(error)),
        }
    }
    Ok(buffer.bytes()[..done].to_vec())
}

fn write_at(file: &File, path: &Path, at: u64, bytes: &[u8]) -> Result<(), VolumeError> {
    let buffer = Buffer::of(bytes);
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(file, &buffer.bytes()[done..], at + done as u64) {
            Ok(0) => return Err(io("write", path)(Errno::NOSPC)),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(error) => return Err(io("write", path)(error)),
        }
    }
    Ok(())
}

impl Volume {
    /// Makes a volume: a file, or over a block device. What is there already is kept unless `force`.
    ///
    /// The superblocks are written last: one that was not finished is no volume.
    pub fn create(path: &Path, superblock: &Superblock, force: bool) -> Result<Self, VolumeError> {
        let layout = superblock.layout;
        layout
            .check()
            .map_err(|error| VolumeError::Layout(error.to_string()))?;
        let mut file = open_direct(path, OFlags::RDWR | OFlags::CREATE)?;
        let size = file.seek(SeekFrom::End(0)).map_err(|source| {
            let (what, path) = ("measure", path.to_owned());
            VolumeError::Io { what, path, source }
        })?;
        if !force && size > 0 {
            refuse_if_used(&file, path)?;
        }
        let wanted = layout.bytes().next_multiple_of(4096).max(HEAD as u64);
        let metadata = file.metadata().map_err(|source| VolumeError::Io {
            what: "look at",
            path: path.to_owned(),
            source,
        })?;
        if metadata.is_file() {
            rustix::fs::ftruncate(&file, wanted).map_err(io("give its size to", path))?;
        } else {
            fits(&file, path, layout, size, wanted)?;
        }
        let id = VolumeId(uuid::Uuid::new_v4());
        write_at(&file, path, 0, &vec![0; HEAD])?;
        write_slots(&file, path, id, layout)?;
        let volume = Self {
            file,
            path: path.to_owned(),
            id,
            superblock: superblock.clone(),
            damage: None,
        };
        for number in 0..SUPERBLOCKS {
            volume.write(number, 1, Record::Superblock(superblock.clone()))?;
        }
        Ok(volume)
    }

    /// What a volume that is made there would destroy, in words; none if nothing is there.
    pub fn would_destroy(path: &Path) -> Result<Option<String>, VolumeError> {
        match open_direct(path, OFlags::RDONLY) {
            Ok(file) => found(&file, path),
            Err(VolumeError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a volume. With a damaged superblock its copy is used, see [`Volume::damage`].
    pub fn open(path: &Path, access: Access) -> Result<Self, VolumeError> {
        let flags = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        let file = open_direct(path, flags)?;
        let (first, copy) = heads(&read_at(&file, path, 0, HEAD)?);
        let damage = first.as_ref().err().or(copy.as_ref().err()).cloned();
        let (id, _, superblock) = match (first, copy) {
            (Ok(found), _) | (Err(_), Ok(found)) => found,
            (Err(first), Err(copy)) => {
                return Err(VolumeError::NotAVolume {
                    path: path.to_owned(),
                    first,
                    copy,
                });
            }
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            id,
            superblock,
            damage,
        })
    }

    /// Refuses another cluster's volume.
    pub fn of_cluster(self, cluster: &ClusterName) -> Result<Self, VolumeError> {
        if self.superblock.cluster != *cluster {
            return Err(VolumeError::Cluster {
                path: self.path,
                wanted: cluster.to_string(),
                found: self.superblock.cluster.to_string(),
            });
        }
        Ok(self)
    }

    /// Its id.
    pub fn id(&self) -> VolumeId {
        self.id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file it is.
    pub fn stat(&self) -> rustix::io::Result<rustix::fs::Stat> {
        rustix::fs::fstat(&self.file)
    }

    /// What it says of itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// What is wrong with one of its two superblocks.
    pub fn damage(&self) -> Option<&SectorError> {
        self.damage.as_ref()
    }

    /// Writes both superblocks anew from the good one.
    pub fn repair_superblocks(&mut self) -> Result<(), VolumeError> {
        let record = Record::Superblock(self.superblock.clone());
        for number in 0..SUPERBLOCKS {
            self.write(number, 1, record.clone())?;
        }
        self.damage = None;
        Ok(())
    }

    fn place(&self, number: u64) -> Result<Place, VolumeError> {
        let layout = self.superblock.layout;
        let kind = layout.kind(number).ok_or_else(|| {
            let last = layout.sectors() - 1;
            VolumeError::Layout(format!(
                "there is no sector {number}; the last one is {last}"
            ))
        })?;
        Ok(Place {
            volume: self.id,
            number,
            kind,
            size: layout.sector_bytes(),
        })
    }

    /// Reads a sector.
    pub fn read(&self, number: u64) -> Result<Sector, VolumeError> {
        let place = self.place(number)?;
        let at = number * place.size as u64;
        let bytes = read_at(&self.file, &self.path, at, place.size)?;
        decode(&bytes, &place).map_err(|source| VolumeError::Sector {
            path: self.path.clone(),
            number,
            source,
        })
    }

    /// Writes a sector. Returns when the storage has it.
    pub fn write(&self, number: u64, writes: u64, record: Record) -> Result<(), VolumeError> {
        let place = self.place(number)?;
        if record.kind() != place.kind {
            let (what, wanted) = (record.kind(), place.kind);
            return Err(VolumeError::Layout(format!(
                "a {what} does not belong into sector {number}, which is for a {wanted}"
            )));
        }
        let sector = Sector {
            number,
            writes,
            record,
        };
        let bytes = encode(&sector, self.id, place.size);
        write_at(&self.file, &self.path, number * place.size as u64, &bytes)
    }

    /// Writes a sector and reads it back: what is there afterwards is what was written, or somebody
    /// else writes to it as well.
    pub fn write_and_check(
        &self,
        number: u64,
        writes: u64,
        record: Record,
    ) -> Result<(), VolumeError> {
        self.write(number, writes, record.clone())?;
        let found = self.read(number)?;
        if found.writes != writes || found.record != record {
            return Err(VolumeError::Overwritten {
                path: self.path.clone(),
                number,
            });
        }
        Ok(())
    }

    /// Reads all sectors after the superblocks, in order.
    pub fn read_all(
        &self,
        each: impl FnMut(u64, Kind, Result<Sector, SectorError>),
    ) -> Result<(), VolumeError> {
        self.read_some(0..self.superblock.layout.sectors(), each)
    }

    /// Reads a run of sectors, in order, and leaves out the superblocks.
    pub fn read_some(
        &self,
        numbers: Range<u64>,
        mut each: impl FnMut(u64, Kind, Result<Sector, SectorError>),
    ) -> Result<(), VolumeError> {
        let layout = self.superblock.layout;
        let size = layout.sector_bytes();
        let per_chunk = (CHUNK / size) as u64;
        let end = numbers.end.min(layout.sectors());
        let mut number = numbers.start;
        while number < end {
            let count = per_chunk.min(end - number);
            let length = count as usize * size;
            let bytes = read_at(&self.file, &self.path, number * size as u64, length)?;
            for offset in 0..count {
                let place = self.place(number + offset)?;
                let at = offset as usize * size;
                let sector = bytes.get(at..(at + size).min(bytes.len())).unwrap_or(&[]);
                if place.kind != Kind::Superblock {
                    each(place.number, place.kind, decode(sector, &place));
                }
            }
            number += count;
        }
        Ok(())
    }
}

fn refuse_if_used(file: &File, path: &Path) -> Result<(), VolumeError> {
    match found(file, path)? {
        None => Ok(()),
        Some(what) => Err(VolumeError::Exists {
            path: path.to_owned(),
            what,
        }),
    }
}

/// Whether a device of `size` bytes can take a volume of `wanted`: looked at before anything is written.
fn fits(
    file: &File,
    path: &Path,
    layout: Layout,
    size: u64,
    wanted: u64,
) -> Result<(), VolumeError> {
    let device = path.display();
    if size < wanted {
        return Err(VolumeError::Layout(format!(
            "{device} has {size} bytes and {wanted} are needed; use a larger device, or fewer slots \
             (--hosts, --vms)"
        )));
    }
    // What is no block device does not say; it refuses the write itself then.
    match rustix::fs::ioctl_blksszget(file) {
        Ok(least) if least > layout.sector_size => Err(VolumeError::Layout(format!(
            "{device} writes {least} bytes at once, and sectors of {} were asked for; use \
             --sector-size {least}",
            layout.sector_size
        ))),
        _ => Ok(()),
    }
}

/// Something is there: a lease volume, or other data?
fn found(file: &File, path: &Path) -> Result<Option<String>, VolumeError> {
    let head = read_at(file, path, 0, 16 * 4096)?;
    Ok(match heads(&head) {
        (Ok((id, _, superblock)), _) | (_, Ok((id, _, superblock))) => Some(format!(
            "it is lease volume {id} of cluster {}",
            superblock.cluster
        )),
        _ if head.iter().all(|byte| *byte == 0) => None,
        _ => Some("there is other data on it".to_owned()),
    })
}

/// Every slot, free.
fn write_slots(
    file: &File,
    path: &Path,
    volume: VolumeId,
    layout: Layout,
) -> Result<(), VolumeError> {
    let size = layout.sector_bytes();
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut at = SUPERBLOCKS * u64::from(layout.sector_size);
    for number in SUPERBLOCKS..layout.sectors() {
        if let Some(record) = layout.kind(number).and_then(Record::free) {
            let sector = Sector {
                number,
                writes: 0,
                record,
            };
            chunk.extend(encode(&sector, volume, size));
        }
        if chunk.len() + size > CHUNK {
            write_at(file, path, at, &chunk)?;
            at += chunk.len() as u64;
            chunk.clear();
        }
    }
    write_at(file, path, at, &chunk)
}
