//! Whether guests can use hardware virtualisation, found out by booting one.
//!
//! `/dev/kvm` may exist, open, and still hang an ordinary kernel, so looking is not enough. The
//! answer is kept per kernel and QEMU, since a failing probe takes its whole time limit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use super::linux::{LinuxFiles, cache_dir};
use crate::error::{LabError, Result};
use crate::run::wait_until;

const LIMIT: Duration = Duration::from_secs(8);

/// libvirt's domain type: `kvm` where a guest boots with it, `qemu` (emulation) otherwise.
pub fn domain_type(linux: Option<&LinuxFiles>) -> Result<String> {
    let qemu = "qemu".to_owned();
    if !Path::new("/dev/kvm").exists() {
        return Ok(qemu);
    }
    // Without a kernel to boot nothing is proven.
    let Some(linux) = linux else { return Ok(qemu) };
    let key = key();
    let answer_file = cache_dir().join("domain-type");
    if let Ok(text) = std::fs::read_to_string(&answer_file)
        && let Some((known, answer)) = text.trim().rsplit_once(' ')
        && known == key
    {
        return Ok(answer.to_owned());
    }
    let answer = if boots(linux)? { "kvm" } else { "qemu" };
    crate::state::write(&answer_file, format!("{key} {answer}\n"))?;
    Ok(answer.into())
}

fn key() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modified = std::fs::metadata("/usr/bin/qemu-system-x86_64")
        .and_then(|file| file.modified())
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!(
        "{} {}",
        release.trim(),
        modified.map_or(0, |time| time.as_secs())
    )
}

/// Boots the Linux guest without a disk; it has booted when its init speaks.
fn boots(linux: &LinuxFiles) -> Result<bool> {
    let serial = cache_dir().join(format!("probe-{}.log", std::process::id()));
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "pc,accel=kvm",
            "-cpu",
            "host",
            "-m",
            "96",
            "-display",
            "none",
        ])
        .args([
            "-nodefaults",
            "-no-reboot",
            "-append",
            "console=ttyS0 quiet panic=1",
        ])
        .arg("-kernel")
        .arg(&linux.kernel)
        .arg("-initrd")
        .arg(&linux.initrd)
        .arg("-serial")
        .arg(format!("file:{}", serial.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(LabError::io("start", "qemu-system-x86_64"))?;
    let booted = wait_until("a guest with kvm", LIMIT, "", || {
        let text = std::fs::read(&serial).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.lines().any(|line| line.starts_with("I ")) {
            Ok(true)
        } else if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            Ok(false)
        } else {
            Err("no word from it".into())
        }
    });
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    let _ = std::fs::remove_file(&serial);
    match booted {
        Err(LabError::TimedOut { .. }) => Ok(false),
        other => other,
    }
}
