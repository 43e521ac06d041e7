//! The part of a lab's files that is kept in memory: etcd's data and the observer's log.
//!
//! All machines of a lab share one real disk. An etcd member syncs each write to it, so another
//! program's burst of writes would look like the loss of all members at once, which no two sites
//! ever show: there each member has a disk of its own. So it has here, and one that is full is nobody
//! else's. A power-off does not touch these files.

use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};
use crate::run::run;
use crate::state::StateDir;

/// Mounts it, empty.
pub(crate) fn mount(state: &StateDir) -> Result<()> {
    unmount(state)?;
    tmpfs(&state.ram(), "2g")
}

/// The disk of a machine's etcd member: room for its log, which is written ahead in pieces of 64 MB, and
/// for what a test adds.
pub(crate) fn mount_etcd(state: &StateDir, machine: &str) -> Result<()> {
    tmpfs(&state.etcd(machine), "384m")
}

fn tmpfs(dir: &Path, size: &str) -> Result<()> {
    crate::state::make_dir(dir)?;
    let dir = dir.to_string_lossy().into_owned();
    let options = format!("size={size},mode=0755");
    let argv = ["-t", "tmpfs", "-o", &options, "holdfast-lab", &dir];
    run("mount", &argv).map(drop)
}

/// Unmounts what is mounted there; what was in it is gone.
pub(crate) fn unmount(state: &StateDir) -> Result<()> {
    let mounts = "/proc/self/mounts";
    let text = std::fs::read_to_string(mounts).map_err(LabError::io("read", mounts))?;
    for place in below(&text, &state.ram()) {
        run("umount", &["--lazy", &place.to_string_lossy()])?;
    }
    Ok(())
}

/// Mounts at a directory and below it, those first that were mounted last.
fn below(mounts: &str, dir: &Path) -> Vec<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut found: Vec<PathBuf> = places.map(PathBuf::from).collect();
    found.retain(|place| place.starts_with(dir));
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_mounts_come_first() {
        let mounts = "proc /proc proc rw 0 0\nlab /x/ram tmpfs rw 0 0\nlab /x/ram/etcd/a tmpfs rw 0 0\n\
                      lab /x/rambler tmpfs rw 0 0\n";
        let found = below(mounts, Path::new("/x/ram"));
        assert_eq!(found, [Path::new("/x/ram/etcd/a"), Path::new("/x/ram")]);
    }
}
