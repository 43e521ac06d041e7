//! How much room a file system has, and what it is.

use holdfast_extension_host::outside::{ProbeError, Space};
use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxFlags, statvfs, statx};
use std::path::Path;

/// Hangs with the storage.
pub fn space(path: &Path) -> Result<Space, ProbeError> {
    let failed =
        |error: rustix::io::Errno| ProbeError::Failed(format!("{}: {error}", path.display()));
    let found = statvfs(path).map_err(failed)?;
    let block_bytes = found.f_frsize;
    Ok(Space {
        total_bytes: found.f_blocks.saturating_mul(block_bytes),
        free_bytes: found.f_bavail.saturating_mul(block_bytes),
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        kind: kind(path).map_err(failed)?,
    })
}

/// As the kernel's list of mounts has it: `xfs`, `fuse.glusterfs`.
fn kind(path: &Path) -> Result<String, rustix::io::Errno> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = kind_of(&mounts, found.stx_mnt_id);
    Ok(kind.unwrap_or("unknown").to_owned())
}

/// `36 35 98:0 / /srv rw,noatime master:1 - xfs /dev/sda rw`: the mount's id first, and its type after the dash.
fn kind_of(mounts: &str, id: u64) -> Option<&str> {
    let mut lines = mounts.lines();
    let line = lines.find(|line| {
        let first = line.split(' ').next();
        first.and_then(|first| first.parse().ok()) == Some(id)
    })?;
    line.split_once(" - ")?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_called_as_the_kernel_calls_it() {
        let mounts = "36 35 98:0 / /srv rw,noatime master:1 - xfs /dev/sda rw\n\
                      361 35 0:51 / /srv/holdfast rw - fuse.glusterfs a-ctl:vmstore rw,user_id=0\n";
        assert_eq!(kind_of(mounts, 361), Some("fuse.glusterfs"));
        assert_eq!(kind_of(mounts, 36), Some("xfs"));
        assert_eq!(kind_of(mounts, 3), None);
        let proc = space(Path::new("/proc")).expect("it is there");
        assert_eq!((proc.kind.as_str(), proc.total_bytes), ("proc", 0));
        let here = space(&std::env::temp_dir()).expect("it is there");
        assert!(here.total_bytes > here.free_bytes && !here.read_only);
    }

    #[test]
    fn what_is_not_there_has_failed() {
        let Err(ProbeError::Failed(why)) = space(Path::new("/nowhere/at/all")) else {
            panic!("it is not there");
        };
        assert!(why.starts_with("/nowhere/at/all: "), "{why}");
    }
}
