//! Which programs the lab needs, and where they are.

use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};
use crate::options::{Driver, LabOptions};

/// Directories of system programs; root's PATH lacks some of them on some machines.
const SYSTEM_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Where cargo puts the workspace's programs: the directory of this one, or the one above where
/// this one is a test in `deps/`.
pub fn own_bin_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or(Path::new("."));
    match dir.file_name() {
        Some(name) if name == "deps" => dir.parent().unwrap_or(dir).into(),
        _ => dir.into(),
    }
}

/// The full path of a system program.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_PATH.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The PATH every process of the lab gets.
pub(crate) fn system_path() -> String {
    SYSTEM_PATH.join(":")
}

/// Fails with one error that names everything that is missing.
pub(crate) fn check(options: &LabOptions) -> Result<()> {
    let mut needed = vec![
        "ip", "nft", "nsenter", "unshare", "etcd", "etcdctl", "dd", "strace",
    ];
    if options.driver == Driver::Qemu {
        needed.extend(["libvirtd", "virsh", "qemu-system-x86_64"]);
    }
    if options.storage {
        needed.extend(["glusterd", "glusterfs", "gluster"]);
    }
    let missing: Vec<String> = needed
        .into_iter()
        .filter(|name| find(name).is_none())
        .map(String::from)
        .collect();
    if !missing.is_empty() {
        return Err(LabError::MissingTools { missing });
    }
    let mut own = vec![(options.init_program.clone(), "xtask")];
    if options.daemons {
        for (name, package) in [
            ("holdfast-manager", "holdfast-manager"),
            ("holdfast", "holdfast-manager"),
            ("holdfast-host", "holdfast-host"),
            ("holdfast-guard", "holdfast-host"),
        ] {
            own.push((options.bin_dir.join(name), package));
        }
    }
    match own.into_iter().find(|(path, _)| !path.is_file()) {
        Some((path, package)) => Err(LabError::MissingDaemon { path, package }),
        None => Ok(()),
    }
}
