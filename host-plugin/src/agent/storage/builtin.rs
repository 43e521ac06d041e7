//! The built-in checks.

use super::Check;
use crate::config::{Config, StorageCheck, StorageSection};
use holdfast_model::host::StorageState;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// For one check; above what a replicated file system needs to notice a lost copy (3 s with the
/// settings the documentation asks for).
const BOUND: Duration = Duration::from_secs(8);

/// A check that is configured: where, and how.
pub struct Probe {
    check: StorageCheck,
    path: PathBuf,
    /// The file that is written and removed. Other hosts check the same directory at the same time.
    file: PathBuf,
}

/// None: there is none configured.
pub fn probe(config: &Config) -> Option<Probe> {
    let StorageSection { check, path, .. } = &config.storage;
    let builtin = matches!(check, StorageCheck::Statvfs | StorageCheck::Gluster);
    let path = path.as_ref().filter(|_| builtin)?;
    let (cluster, host) = (&config.cluster, &config.name);
    Some(Probe {
        check: *check,
        path: path.clone(),
        file: path.join(format!(".holdfast-check-{cluster}-{host}")),
    })
}

impl Check for Probe {
    fn bound(&self) -> Duration {
        BOUND
    }

    fn check(&self) -> StorageState {
        check_once(self)
    }
}

fn check_once(probe: &Probe) -> StorageState {
    if let Err(error) = write_and_remove(probe) {
        let shown = probe.path.display();
        return StorageState::Unusable {
            reason: format!("{shown}: {error}"),
        };
    }
    match probe.check {
        StorageCheck::Gluster => gluster(&probe.path),
        // That a file can be written says nothing about copies.
        StorageCheck::Statvfs | StorageCheck::None | StorageCheck::Extension => {
            StorageState::NotChecked
        }
    }
}

/// Something is mounted there, it has room, and a file can be written to the end.
fn write_and_remove(probe: &Probe) -> std::io::Result<()> {
    let stat = rustix::fs::statvfs(&probe.path)?;
    if stat.f_bavail == 0 {
        return Err(std::io::Error::other("the file system is full"));
    }
    let written = std::fs::File::create(&probe.file).and_then(|mut open| {
        open.write_all(b"holdfast\n")?;
        open.sync_all()
    });
    let _ = std::fs::remove_file(&probe.file);
    written
}

/// Where distributions put GlusterFS's own heal reader.
const GLFSHEAL: [&str; 4] = [
    "/usr/libexec/glusterfs/glfsheal",
    "/usr/lib/x86_64-linux-gnu/glusterfs/glfsheal",
    "/usr/lib/aarch64-linux-gnu/glusterfs/glfsheal",
    "/usr/lib/glusterfs/glfsheal",
];

/// Asks GlusterFS how many entries wait to be healed. The volume is the source of the mount.
///
/// The file could just be written, so whatever goes wrong here is no reason to start nothing: it
/// only means that the copies cannot be called equal.
fn gluster(path: &Path) -> StorageState {
    let cannot_tell = |reason: String| StorageState::Degraded {
        detail: format!("whether all copies are equal cannot be told: {reason}"),
    };
    let (volume, mount) = match volume_of(path) {
        Ok(found) => found,
        Err(reason) => return cannot_tell(reason),
    };
    match heal_info(&volume, &mount).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            heal_state(&String::from_utf8_lossy(&output.stdout))
        }
        Ok(output) => {
            let text = [output.stderr, output.stdout].concat();
            cannot_tell(String::from_utf8_lossy(&text).trim().to_owned())
        }
        Err(error) => cannot_tell(format!("gluster cannot be run: {error}")),
    }
}

/// A host that only mounts the volume has no glusterd to ask: the heal reader is given the mount's
/// own description of the volume instead.
fn heal_info(volume: &str, mount: &Path) -> Command {
    let description = mount.join(".meta/graphs/active/volfile");
    if let Some(program) = GLFSHEAL.iter().find(|program| Path::new(program).exists())
        && description.exists()
    {
        let mut command = Command::new(program);
        command
            .args([volume, "info-summary", "volfile-path"])
            .arg(description);
        return command;
    }
    let mut command = Command::new("gluster");
    command.args(["--mode=script", "volume", "heal", volume, "info", "summary"]);
    command
}

/// The volume behind the longest mount point above a path, and that mount point.
fn volume_of(path: &Path) -> Result<(String, PathBuf), String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|e| e.to_string())?;
    let path = path.canonicalize().map_err(|e| e.to_string())?;
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (source, target, kind) = (words.next()?, words.next()?, words.next()?);
            path.starts_with(target).then_some((target, source, kind))
        })
        .max_by_key(|(target, ..)| target.len());
    match found {
        Some((target, source, "fuse.glusterfs")) => {
            let volume = match source.rsplit_once([':']) {
                Some((_, volume)) => volume.trim_start_matches('/'),
                None => source,
            };
            let volume = volume.split('/').next().unwrap_or(volume);
            Ok((volume.to_owned(), PathBuf::from(target)))
        }
        _ => Err(format!("{} is not on GlusterFS", path.display())),
    }
}

/// What `heal info summary` says: per brick whether it is connected and what waits for it.
fn heal_state(text: &str) -> StorageState {
    let mut brick = "";
    let mut bricks = 0;
    let mut behind = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if key.starts_with("Brick ") || key == "Brick" {
            brick = line.trim_start_matches("Brick ").trim();
            bricks += 1;
        } else if key == "Status" && value != "Connected" {
            behind.push(format!("{brick} is not connected"));
        } else if key == "Total Number of entries" && value != "0" {
            behind.push(format!("{brick}: {value} entries to heal"));
        }
    }
    match (bricks, behind.is_empty()) {
        (0, _) => StorageState::Degraded {
            detail: "gluster names no brick".to_owned(),
        },
        (_, true) => StorageState::Synced,
        (_, false) => StorageState::Degraded {
            detail: behind.join("; "),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "Brick a1:/bricks/v\nStatus: Connected\nTotal Number of entries: 0\n\
        Number of entries in heal pending: 0\n\nBrick b1:/bricks/v\nStatus: Connected\n\
        Total Number of entries: 0\n";

    #[test]
    fn heal_info_becomes_a_state() {
        assert_eq!(heal_state(HEALTHY), StorageState::Synced);
        let lost = HEALTHY.replacen("Connected", "Transport endpoint is not connected", 1);
        let StorageState::Degraded { detail } = heal_state(&lost) else {
            panic!("{lost}");
        };
        assert_eq!(detail, "a1:/bricks/v is not connected");
        let behind = HEALTHY.replacen("entries: 0", "entries: 12", 1);
        let StorageState::Degraded { detail } = heal_state(&behind) else {
            panic!("{behind}");
        };
        assert_eq!(detail, "a1:/bricks/v: 12 entries to heal");
        assert!(matches!(heal_state(""), StorageState::Degraded { .. }));
    }

    fn probe_of(host: &str, path: &Path) -> Probe {
        let shown = path.display();
        let text = format!(
            "cluster = \"c1\"\nname = \"{host}\"\nsite = \"a\"\n\
             [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
             [libvirt]\nmigrate_address = \"192.0.2.1\"\n\
             [storage]\ncheck = \"statvfs\"\npath = \"{shown}\"\n"
        );
        let config = crate::config::parse(&text, "host.toml").expect("a good file");
        assert!(matches!(
            super::super::before_the_first(&config),
            StorageState::Unknown { .. }
        ));
        probe(&config).expect("it is configured")
    }

    #[test]
    fn a_directory_that_is_not_there_is_unusable() {
        let dir = tempfile::tempdir().expect("a directory");
        let entries = || std::fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(
            check_once(&probe_of("h1", dir.path())),
            StorageState::NotChecked
        );
        assert_eq!(entries(), 0);
        let state = check_once(&probe_of("h1", &dir.path().join("gone")));
        let StorageState::Unusable { reason } = state else {
            panic!("{state:?}");
        };
        assert!(reason.contains("gone"), "{reason}");
    }

    /// Agents on different hosts may have the same process id.
    #[test]
    fn hosts_that_check_at_the_same_time_do_not_meet() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (probe_of("h1", dir.path()), probe_of("h2", dir.path()));
        assert_ne!(one.file, other.file);
    }
}
