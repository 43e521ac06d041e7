//! The lab's directory: what is where, and the record that lets a later command find a lab,
//! or clean up after a killed one.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{LabError, Result};
use crate::layout::Layout;
use crate::options::LabOptions;

/// One lab per machine: this file is locked by the command that changes it, and names its state.
const LOCK: &str = "/run/holdfast-lab.lock";

/// Written before the first namespace is made, removed after the last is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabRecord {
    /// How it was asked for.
    pub options: LabOptions,
    /// Its machines.
    pub layout: Layout,
    /// Boot id of the real machine: after its reboot no recorded process exists.
    pub real_boot_id: String,
    /// Directories the lab had to make on the real file system as places to mount over.
    pub made_dirs: Vec<PathBuf>,
    /// `kvm` or `qemu` (emulation): the probed libvirt domain type.
    pub domain_type: String,
    /// Whether `up` came to its end.
    pub complete: bool,
}

/// Paths under the state directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// `root` must not be hidden inside the machines, and its sockets' paths must fit.
    pub fn new(root: &Path) -> Result<StateDir> {
        let root = std::path::absolute(root).map_err(LabError::io("resolve", root))?;
        let hidden = [
            "/run",
            "/var/run",
            "/proc",
            "/sys",
            "/srv/holdfast",
            "/var/lib/holdfast",
        ];
        if let Some(parent) = hidden.iter().find(|parent| root.starts_with(parent)) {
            let text = format!(
                "the state directory cannot be under {parent}: machines have their own {parent}"
            );
            return Err(LabError::Refused(text));
        }
        if root.as_os_str().len() > 70 {
            let text = format!(
                "{} is too long a path for the lab's sockets",
                root.display()
            );
            return Err(LabError::Refused(text));
        }
        Ok(StateDir { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The lab's record.
    pub fn record(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    /// Everything of one machine.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.root.join("machines").join(name)
    }

    /// The machine's own copy of a directory such as `/etc/libvirt`.
    pub fn private(&self, machine: &str, dir: &str) -> PathBuf {
        self.machine(machine)
            .join("fs")
            .join(dir.trim_start_matches('/'))
    }

    /// Log file of one service of a machine.
    pub fn log(&self, machine: &str, service: &str) -> PathBuf {
        self.machine(machine)
            .join("log")
            .join(format!("{service}.log"))
    }

    /// The observer's files.
    pub fn observer(&self) -> PathBuf {
        self.ram().join("observer")
    }

    /// What is kept in memory, see [`crate::ram`].
    pub(crate) fn ram(&self) -> PathBuf {
        self.root.join("ram")
    }

    /// The data of a machine's etcd member.
    pub(crate) fn etcd(&self, machine: &str) -> PathBuf {
        self.ram().join("etcd").join(machine)
    }

    /// VM specification and domain XML files.
    pub fn vms(&self) -> PathBuf {
        self.root.join("vms")
    }
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(LabError::io("read", path))?;
    serde_json::from_str(&text).map_err(|source| LabError::Parse {
        path: path.into(),
        source,
    })
}

/// Replaces a JSON file in one step, so that a reader never sees half of it.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|source| LabError::Parse {
        path: path.into(),
        source,
    })?;
    let temporary = path.with_extension("new");
    write(&temporary, text + "\n")?;
    std::fs::rename(&temporary, path).map_err(LabError::io("replace", path))
}

/// Writes a file and the directories it is in.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    std::fs::write(path, content).map_err(LabError::io("write", path))
}

/// Makes a directory and those it is in.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(LabError::io("make directory", path))
}

/// Boot id of the machine this runs on.
pub(crate) fn real_boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(std::fs::read_to_string(path)
        .map_err(LabError::io("read", path))?
        .trim()
        .to_owned())
}

/// Held by a command that changes the lab; released when dropped.
#[derive(Debug)]
pub struct LabLock {
    file: File,
}

impl LabLock {
    /// Takes the lock or fails at once.
    pub fn take() -> Result<LabLock> {
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(LOCK)
                .map_err(LabError::io("open", LOCK))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LabError::Busy { lock: LOCK.into() });
                }
                Err(error) => return Err(LabError::io("lock", LOCK)(error.into())),
            }
            // Whoever held it may have removed it in between; then this is a lock on nothing.
            let inode = |data: std::io::Result<std::fs::Metadata>| data.map(|data| data.ino()).ok();
            if inode(file.metadata()) == inode(std::fs::metadata(LOCK)) {
                return Ok(LabLock { file });
            }
        }
    }

    /// Ends with no lab on this machine: not even the lock is left.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(LOCK).map_err(LabError::io("remove", LOCK))
    }

    /// The state directory of the lab that exists, if any: it may not be the one asked for.
    pub fn current_state(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(LOCK).ok()?;
        let path = text.trim();
        (!path.is_empty()).then(|| path.into())
    }

    /// Notes where the lab's state is.
    pub fn set_state(&self, state: &Path) -> Result<()> {
        let text = state.to_string_lossy();
        self.file.set_len(0).map_err(LabError::io("write", LOCK))?;
        self.file
            .write_all_at(text.as_bytes(), 0)
            .map_err(LabError::io("write", LOCK))
    }
}
