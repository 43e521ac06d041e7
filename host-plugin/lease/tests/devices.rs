//! Volumes on real block devices: loop devices over sparse files, with sectors of both sizes. Needs root
//! and a kernel with loop devices; where they are not to be had, says so and looks at nothing.
#![allow(clippy::unwrap_used)]

use holdfast_lease::error::VolumeError;
use holdfast_lease::survey::survey;
use holdfast_lease::volume::{Access, Volume};
use holdfast_model::lease::*;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// A loop device over a file of its own; both are gone with it, also when a test fails.
struct Loop {
    device: PathBuf,
    backing: PathBuf,
    _dir: tempfile::TempDir,
}

impl Loop {
    /// None, and the reason printed, if this machine has no loop devices of that kind.
    fn attach(sector_size: u32, bytes: u64) -> Option<Self> {
        // On the disk that the build is on: `/tmp` may be in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let backing = dir.path().join("disk");
        let file = std::fs::File::create(&backing).unwrap();
        file.set_len(bytes).unwrap();
        let output = Command::new("losetup")
            .args(["--find", "--show", "--sector-size"])
            .arg(sector_size.to_string())
            .arg(&backing)
            .output();
        let why = match output {
            Ok(output) if output.status.success() => {
                let device = String::from_utf8(output.stdout).unwrap();
                let device = PathBuf::from(device.trim());
                return Some(Self {
                    device,
                    backing,
                    _dir: dir,
                });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("losetup: {error}"),
        };
        eprintln!("not looked at: no loop device with sectors of {sector_size} bytes: {why}");
        None
    }

    /// What really lies on the disk under it.
    fn below(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let file = std::fs::File::open(&self.backing).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Detached with its last user at the latest.
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .status();
        if !detached.is_ok_and(|status| status.success()) {
            eprintln!("left behind: {}", self.device.display());
        }
    }
}

fn superblock(cluster: &str, sector_size: u32, vms_max: u32) -> Superblock {
    Superblock {
        cluster: cluster.parse().unwrap(),
        class: StorageClass::Quorum,
        layout: Layout {
            sector_size,
            hosts_max: 4,
            vms_max,
        },
        created_ms: 1,
    }
}

fn heartbeat(counter: u64) -> Record {
    Record::Heartbeat(Some(Heartbeat {
        host: "a1".parse().unwrap(),
        incarnation: "life".parse().unwrap(),
        boot_id: "boot".parse().unwrap(),
        counter,
        phase: HostPhase::Holding,
        agent: AgentState::Connected,
        answered: 0,
        period_ms: 1_000,
        runner_deadline_ms: 4_000,
        kill_bound_ms: 1_000,
        watchdog_bound_ms: 0,
    }))
}

fn is_device(path: &Path) -> bool {
    std::fs::metadata(path)
        .unwrap()
        .file_type()
        .is_block_device()
}

#[test]
fn a_block_device_is_made_a_volume_and_used() {
    for (device_size, sector_size) in [(512, 512), (512, 4096), (4096, 4096)] {
        let Some(disk) = Loop::attach(device_size, 4 * MIB) else {
            continue;
        };
        let (path, case) = (&disk.device, format!("{sector_size} on {device_size}"));
        assert!(is_device(path), "{case}");
        assert_eq!(Volume::would_destroy(path).unwrap(), None, "{case}");
        let wanted = superblock("c1", sector_size, 300);
        let made = Volume::create(path, &wanted, false).unwrap();
        assert!(is_device(path), "{case}: a file took its place");
        let number = wanted.layout.heartbeat(2).unwrap();
        made.write_and_check(number, 1, heartbeat(7)).unwrap();
        // It is on the disk, and where the format says: not in a cache of the device.
        let size = sector_size as usize;
        let below = disk.below(number * u64::from(sector_size), size);
        assert_eq!(&below[..8], b"HOLDFAST", "{case}");
        // Another host's eyes, and its writes to this one's.
        let theirs = Volume::open(path, Access::Write).unwrap();
        assert_eq!((theirs.id(), theirs.damage()), (made.id(), None), "{case}");
        assert_eq!(theirs.read(number).unwrap().record, heartbeat(7), "{case}");
        theirs.write(number, 2, heartbeat(8)).unwrap();
        assert_eq!(made.read(number).unwrap().record, heartbeat(8), "{case}");
        let all = survey(&theirs).unwrap();
        assert_eq!((all.hosts.len(), all.damaged.len()), (1, 0), "{case}");
        // What is there is not lost by mistake, and a lost superblock comes back.
        let error = Volume::create(path, &superblock("c2", sector_size, 300), false);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("of cluster c1"), "{case}: {error}");
        drop((made, theirs));
        let raw = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        raw.write_all_at(&vec![0; size], 0).unwrap();
        raw.sync_all().unwrap();
        drop(raw);
        let mut hurt = Volume::open(path, Access::Write).unwrap();
        assert!(hurt.damage().is_some(), "{case}");
        hurt.repair_superblocks().unwrap();
        let again = Volume::open(path, Access::Read).unwrap();
        assert_eq!(again.damage(), None, "{case}");
        assert_eq!(again.read(number).unwrap().record, heartbeat(8), "{case}");
    }
}

#[test]
fn a_device_that_is_too_small_or_in_use_is_refused_and_left_alone() {
    let Some(disk) = Loop::attach(512, MIB) else {
        return;
    };
    let wanted = superblock("c1", 4096, 4_000);
    let error = Volume::create(&disk.device, &wanted, false);
    let error = error.unwrap_err().to_string();
    let needed = wanted.layout.bytes().to_string();
    assert!(
        error.contains(&format!("has {MIB} bytes and {needed}")),
        "{error}"
    );
    assert!(disk.below(0, 8192).iter().all(|byte| *byte == 0));
    // A file system of somebody's: the mark of most of them is not at the very beginning.
    let raw = std::fs::OpenOptions::new().write(true).open(&disk.device);
    let raw = raw.unwrap();
    raw.write_all_at(&[7; 64], 1024).unwrap();
    raw.sync_all().unwrap();
    let error = Volume::create(&disk.device, &superblock("c1", 4096, 8), false);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("there is other data on it"), "{error}");
    assert_eq!(disk.below(1024, 64), [7; 64]);
}

/// Half of a device's sector cannot be written: with such a layout nothing is begun.
#[test]
fn sectors_smaller_than_the_devices_are_refused_before_anything_is_written() {
    let Some(disk) = Loop::attach(4096, 4 * MIB) else {
        return;
    };
    let before = Volume::create(&disk.device, &superblock("c1", 4096, 8), false).unwrap();
    let error = Volume::create(&disk.device, &superblock("c2", 512, 8), true).unwrap_err();
    assert!(matches!(error, VolumeError::Layout(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("4096 bytes at once") && text.contains("--sector-size 4096"),
        "{text}"
    );
    let after = Volume::open(&disk.device, Access::Read).unwrap();
    assert_eq!((after.id(), after.damage()), (before.id(), None));
}
