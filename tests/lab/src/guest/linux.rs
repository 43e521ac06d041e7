//! A Linux guest of one kernel and 2 MB of RAM disk that journals onto its own disk.
//!
//! Every few hundred milliseconds it writes one 4 KiB record `J BOOT-ID COUNTER UPTIME` to its
//! disk, makes it durable, and only then says `J BOOT-ID COUNTER` on the serial line. At boot it
//! says `I BOOT-ID`, goes on from the last record it finds, and says `B BOOT-ID COUNTER`. So the disk tells who ran
//! and in which order, even if nobody was listening.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cpio::Archive;
use crate::error::{LabError, Result};
use crate::run::{describe, output, run};

/// Size of the journal disk: 4096 records, 15 minutes, then it starts over.
pub const DISK_BYTES: u64 = 16 * 1024 * 1024;
/// Size of one record: a whole page, so that the guest writes without reading first. (With records
/// of 512 bytes GlusterFS was once seen to serve a block from a brick that had just come back and
/// was not healed yet; the guest put its record into the old block and wrote all of it back.)
pub const RECORD_BYTES: usize = 4096;

/// In the order they must be loaded.
const MODULES: [&str; 6] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
];

/// `conv=sync` here pads the record to its size; `fsync` makes it durable.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
boot=$(cat /proc/sys/kernel/random/boot_id)
echo "I $boot" >/dev/ttyS0
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
records=$(($(cat /sys/block/vda/size) / 8))
counter=$(tr -d '\000' </dev/vda | grep '^J ' | sort -n -k3 | tail -n 1 | cut -d ' ' -f 3)
counter=${counter:-0}
echo "B $boot $counter" >/dev/ttyS0
while :; do
  counter=$((counter + 1))
  read up rest </proc/uptime
  if echo "J $boot $counter $up" |
    dd of=/dev/vda bs=4096 count=1 seek=$((counter % records)) conv=notrunc,sync,fsync 2>/dev/null
  then echo "J $boot $counter" >/dev/ttyS0
  else echo "E $boot $counter" >/dev/ttyS0
  fi
  sleep 0.2
done
"#;

/// Named after what the guest does, so that a kept one of another version is never taken for ours.
/// FNV-1a, 64 bit: a mark, not a safeguard.
fn initrd_name() -> String {
    let mark = INIT.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |mark, byte| {
        (mark ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("initrd-{mark:016x}")
}

/// Where downloaded and built parts are kept between labs.
pub fn cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(|| "/var/cache".into());
    base.join("holdfast").join("lab")
}

/// Kernel and RAM disk of the guest.
#[derive(Debug, Clone)]
pub struct LinuxFiles {
    /// The kernel.
    pub kernel: PathBuf,
    /// The RAM disk.
    pub initrd: PathBuf,
}

/// The guest's files, if `cargo xtask setup` (or [`fetch`]) has got them.
pub fn cached() -> Option<LinuxFiles> {
    let dir = cache_dir();
    let files = LinuxFiles {
        kernel: dir.join("vmlinuz"),
        initrd: dir.join(initrd_name()),
    };
    (files.kernel.is_file() && files.initrd.is_file()).then_some(files)
}

/// Downloads Debian's (or Ubuntu's) kernel package, takes the kernel and the disk driver out of it
/// without installing it, and packs the RAM disk.
pub fn fetch() -> Result<LinuxFiles> {
    let dir = cache_dir();
    let work = dir.join("unpacked");
    if work.exists() {
        std::fs::remove_dir_all(&work).map_err(LabError::io("remove", &work))?;
    }
    crate::state::make_dir(&work)?;
    let mut wanted = vec![kernel_package()?];
    // Ubuntu keeps the modules in a package of their own.
    let modules = wanted[0].replace("linux-image", "linux-modules");
    if run("apt-cache", &["show", &modules]).is_ok_and(|text| !text.is_empty()) {
        wanted.push(modules);
    }
    for package in &wanted {
        let mut download = Command::new("apt-get");
        download.args(["download", package]).current_dir(&work);
        let name = describe(&download);
        output(&mut download, b"", Duration::from_secs(600))?.ok(&name)?;
    }
    for file in list(&work)? {
        let mut unpack = Command::new("dpkg");
        unpack.arg("-x").arg(&file).arg(&work);
        let name = describe(&unpack);
        output(&mut unpack, b"", Duration::from_secs(120))?.ok(&name)?;
    }
    let kernel = list(&work.join("boot"))?
        .into_iter()
        .find(|path| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz"))
        })
        .ok_or_else(|| LabError::Refused(format!("no kernel in {}", wanted.join(" "))))?;
    let initrd = dir.join(initrd_name());
    std::fs::write(&initrd, pack(&work)?).map_err(LabError::io("write", &initrd))?;
    let target = dir.join("vmlinuz");
    std::fs::copy(&kernel, &target).map_err(LabError::io("copy", &kernel))?;
    std::fs::remove_dir_all(&work).map_err(LabError::io("remove", &work))?;
    Ok(LinuxFiles {
        kernel: target,
        initrd,
    })
}

/// The package with the kernel itself behind the names that only depend on it.
fn kernel_package() -> Result<String> {
    for name in [
        "linux-image-cloud-amd64",
        "linux-image-virtual",
        "linux-image-amd64",
    ] {
        let Ok(text) = run("apt-cache", &["depends", "--important", name]) else {
            continue;
        };
        let real = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|package| package.starts_with("linux-image-"));
        if let Some(real) = real {
            return Ok(real.to_owned());
        }
    }
    Err(LabError::Refused(
        "apt knows no kernel package; run `apt-get update`".into(),
    ))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(LabError::io("list", dir))?;
    entries
        .map(|entry| entry.map(|e| e.path()).map_err(LabError::io("list", dir)))
        .collect()
}

fn pack(unpacked: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["bin", "proc", "sys", "dev", "modules"] {
        archive.directory(dir);
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox
        .iter()
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| LabError::MissingTools {
            missing: vec!["busybox (package busybox-static)".into()],
        })?;
    let content = std::fs::read(busybox).map_err(LabError::io("read", *busybox))?;
    archive.file("bin/busybox", &content);
    archive.file("init", INIT.as_bytes());
    let all = [
        unpacked.join("lib/modules"),
        unpacked.join("usr/lib/modules"),
    ];
    let modules = all.iter().find(|dir| dir.is_dir());
    let versions = modules
        .map(|dir| list(dir))
        .transpose()?
        .unwrap_or_default();
    for (number, module) in MODULES.iter().enumerate() {
        // One that is built into the kernel has no file.
        let file = versions.iter().map(|dir| dir.join("kernel").join(module));
        if let Some(file) = file.into_iter().find(|file| file.is_file()) {
            let content = std::fs::read(&file).map_err(LabError::io("read", &file))?;
            archive.file(&format!("modules/{number}.ko"), &content);
        }
    }
    Ok(archive.finish())
}
