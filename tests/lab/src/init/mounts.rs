//! The machine's own view of the file system.
//!
//! The mount namespace is already private (`ip netns exec` has mounted `/sys`, `unshare` has cut
//! the propagation), so nothing done here is seen outside, and all of it is gone with the
//! machine's last process.

use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind};

use super::spec::InitSpec;
use crate::error::{LabError, Result};
use crate::state;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Mounts everything; gives the new boot id.
pub(super) fn set_up(spec: &InitSpec) -> Result<String> {
    mount("proc", "/proc", "proc", MountFlags::empty(), None)
        .map_err(|error| LabError::io("mount", "/proc")(error.into()))?;
    tmpfs(Path::new("/run"), MountFlags::empty())?;
    for dir in ["lock", "libvirt", "gluster", "holdfast"] {
        state::make_dir(&Path::new("/run").join(dir))?;
    }
    for (from, to) in &spec.binds {
        mount_bind(from, to).map_err(|error| LabError::io("mount over", to)(error.into()))?;
    }
    for place in &spec.mount_points {
        empty_place(place)?;
    }
    let uuid = "/proc/sys/kernel/random/uuid";
    let boot_id = std::fs::read_to_string(uuid).map_err(LabError::io("read", uuid))?;
    state::write(&spec.boot_id_file, &boot_id)?;
    mount_bind(&spec.boot_id_file, BOOT_ID)
        .map_err(|error| LabError::io("mount over", BOOT_ID)(error.into()))?;
    rustix::system::sethostname(spec.hostname.as_bytes())
        .map_err(|error| LabError::io("set the name of", &spec.hostname)(error.into()))?;
    Ok(boot_id.trim().to_owned())
}

fn tmpfs(at: &Path, flags: MountFlags) -> Result<()> {
    mount("tmpfs", at, "tmpfs", flags, Some(c"mode=0755"))
        .map_err(|error| LabError::io("mount", at)(error.into()))
}

/// An empty directory that cannot be written to: with the storage away nothing may write to what
/// looks like it. Its parent is what is mounted, because libvirt takes the first of two mounts on
/// one path for the file system and would refuse to migrate.
fn empty_place(place: &Path) -> Result<()> {
    let parent = place.parent().unwrap_or(place);
    tmpfs(parent, MountFlags::empty())?;
    state::make_dir(place)?;
    rustix::mount::mount_remount(parent, MountFlags::RDONLY, c"")
        .map_err(|error| LabError::io("make read-only", parent)(error.into()))
}

/// Removes a dead FUSE mount (and nothing else) so that a new client can mount there.
pub(super) fn remove_dead_fuse(place: &Path) {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let kind = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .rfind(|(at, _)| Path::new(at) == place);
    if kind.is_some_and(|(_, kind)| kind.starts_with("fuse")) {
        // Failing leaves the mount, the new client then says why it cannot mount.
        let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
    }
}
