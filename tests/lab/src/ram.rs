//! The part of a lab's files that is kept in memory: etcd's data and the observer's log.
//!
//! All machines of a lab share one real disk. An etcd member syncs each write to it, so another
//! program's burst of writes would look like the loss of all members at once, which no two sites
//! ever show: there each member has a disk of its own. A power-off does not touch these files.

use crate::error::{LabError, Result};
use crate::run::run;
use crate::state::StateDir;

/// Mounts it, empty.
pub(crate) fn mount(state: &StateDir) -> Result<()> {
    unmount(state)?;
    let dir = state.ram();
    crate::state::make_dir(&dir)?;
    let dir = dir.to_string_lossy().into_owned();
    run(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "size=2g,mode=0755",
            "holdfast-lab",
            &dir,
        ],
    )
    .map(drop)
}

/// Unmounts it if it is mounted; what was in it is gone.
pub(crate) fn unmount(state: &StateDir) -> Result<()> {
    let dir = state.ram();
    let mounts = "/proc/self/mounts";
    let text = std::fs::read_to_string(mounts).map_err(LabError::io("read", mounts))?;
    let dir = dir.to_string_lossy().into_owned();
    let count = text
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some(dir.as_str()))
        .count();
    for _ in 0..count {
        run("umount", &["--lazy", &dir])?;
    }
    Ok(())
}
