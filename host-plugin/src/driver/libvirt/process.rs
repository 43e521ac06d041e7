//! The process behind a domain: libvirt's API does not tell its id, but its run directory does.

use holdfast_model::id::VmUuid;
use std::path::Path;

/// The process id of a domain, from libvirt's pid file, if that process is the domain's QEMU.
pub fn of_domain(run_dir: &Path, name: &str, uuid: &VmUuid) -> Option<u32> {
    let text = std::fs::read_to_string(run_dir.join(format!("{name}.pid"))).ok()?;
    let pid = text.trim().parse().ok()?;
    is_of(pid, uuid).then_some(pid)
}

/// Whether a process was started for the domain with that UUID: libvirt puts the UUID on QEMU's
/// command line. A process id may have been given to another process since it was noted.
pub fn is_of(pid: u32, uuid: &VmUuid) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    line.split(|byte| *byte == 0)
        .any(|argument| argument == uuid.as_str().as_bytes())
}
