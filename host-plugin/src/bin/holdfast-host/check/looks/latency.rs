//! How long reading 4 KiB takes, past all caches.
//!
//! Of a file or a device its beginning is read. In a directory a small file is kept: it is written anew and synced
//! each time, so that a storage that takes no writes is found out, and then read. Only the reading counts.

use holdfast_extension_host::outside::ProbeError;
use holdfast_lease::Buffer;
use rustix::fs::{Mode, OFlags, fsync, open};
use rustix::io::{Errno, pread, write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// So much is read: a page, and a multiple of every block size.
const READ_BYTES: usize = 4_096;
/// What is kept in a directory.
const KEPT: [u8; READ_BYTES] = [b'h'; READ_BYTES];

/// In microseconds. `name` is that of the file kept in a directory. Hangs with the storage.
pub fn latency_us(path: &Path, name: &str) -> Result<u64, ProbeError> {
    let failed =
        |path: &Path, error: Errno| ProbeError::Failed(format!("{}: {error}", path.display()));
    let found = rustix::fs::stat(path).map_err(|error| failed(path, error))?;
    let is_dir = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
    let file: PathBuf = match is_dir {
        true => path.join(name),
        false => path.to_owned(),
    };
    if is_dir {
        keep(&file).map_err(|error| failed(&file, error))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let opened = match open(&file, flags, Mode::empty()) {
        // Nothing that is wrong with the storage.
        Err(Errno::INVAL) => return Err(cannot(&file, "what is on it cannot be read past caches")),
        opened => opened.map_err(|error| failed(&file, error))?,
    };
    let mut buffer = Buffer::new(READ_BYTES);
    let begin = Instant::now();
    let read = pread(&opened, buffer.bytes_mut(), 0).map_err(|error| failed(&file, error))?;
    let took = begin.elapsed();
    match read {
        0 => Err(cannot(&file, "it is empty")),
        _ => Ok(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
    }
}

/// It was named, and is not what could be read so.
fn cannot(file: &Path, why: &str) -> ProbeError {
    ProbeError::NoName(format!("{}: {why}", file.display()))
}

fn keep(file: &Path) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = open(file, flags, Mode::RUSR | Mode::WUSR)?;
    let mut left = &KEPT[..];
    while !left.is_empty() {
        let written = write(&opened, left)?;
        left = left.get(written..).unwrap_or_default();
    }
    fsync(&opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a disk: a tmpfs may know no direct reads.
    fn directory() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory")
    }

    #[test]
    fn a_directory_keeps_one_file_that_is_written_and_read() {
        let dir = directory();
        for _ in 0..2 {
            latency_us(dir.path(), ".check").expect("it is read");
        }
        let kept: Vec<_> = std::fs::read_dir(dir.path())
            .expect("it is there")
            .collect();
        assert_eq!(kept.len(), 1);
        let size = std::fs::metadata(dir.path().join(".check")).expect("it is kept");
        assert_eq!(size.len(), READ_BYTES as u64);
    }

    #[test]
    fn a_file_is_only_read() {
        let dir = directory();
        let file = dir.path().join("image");
        std::fs::write(&file, "").expect("written");
        let empty = latency_us(&file, ".check");
        assert!(matches!(empty, Err(ProbeError::NoName(_))), "{empty:?}");
        std::fs::write(&file, [7; 10_000]).expect("written");
        latency_us(&file, ".check").expect("it is read");
        assert_eq!(std::fs::read(&file).expect("it is there"), [7; 10_000]);
        let gone = latency_us(&dir.path().join("gone"), ".check");
        assert!(matches!(gone, Err(ProbeError::Failed(_))), "{gone:?}");
    }
}
