//! The process behind a domain: libvirt's API does not tell its id, but its run directory does.
//! A process id may be given to another process at any time; id and start time together are not.

use holdfast_model::id::VmUuid;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A process, told from any other that ever has its id on this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its id.
    pub pid: u32,
    /// When it began, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

/// The process of a domain, from libvirt's pid file, if that process is the domain's QEMU.
pub fn of_domain(run_dir: &Path, name: &str, uuid: &VmUuid) -> Option<ProcessId> {
    let text = std::fs::read_to_string(run_dir.join(format!("{name}.pid"))).ok()?;
    verified(text.trim().parse().ok()?, uuid)
}

/// A process with that id, if it was started for the domain with that UUID: libvirt puts the UUID
/// on QEMU's command line. The start time is read before and after, so both are of one process.
///
/// Reading the command line may block while the process is stuck in the kernel.
pub fn verified(pid: u32, uuid: &VmUuid) -> Option<ProcessId> {
    let start_ticks = start_ticks(pid)?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_of = |argument: &[u8]| argument == uuid.as_str().as_bytes();
    let ours = line.split(|byte| *byte == 0).any(is_of);
    let same = self::start_ticks(pid) == Some(start_ticks);
    (ours && same).then_some(ProcessId { pid, start_ticks })
}

/// Takes hold of a process: what comes back is readable once it has exited. The start time is
/// compared after that, so what is held is what was meant, even if the id was given away in between.
///
/// # Errors
/// `SRCH` if it has ended; otherwise what the system says.
pub fn hold(process: ProcessId) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let fd = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    match start_ticks(process.pid) == Some(process.start_ticks) {
        true => Ok(fd),
        false => Err(Errno::SRCH),
    }
}

/// When a process began; `None` if there is none with that id. Does not block.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets, and may contain anything.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    const UUID: &str = "11111111-2222-3333-4444-555555555555";

    struct Killed(Child);
    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_known_by_its_command_line_and_its_start() {
        // It complains about the file that is not there, and stays.
        let child = Command::new("tail")
            .args(["-f", "/dev/null", UUID])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = Killed(child.expect("a process"));
        let dir = tempfile::tempdir().expect("a directory");
        let pid_file = dir.path().join("web.pid");
        std::fs::write(&pid_file, format!("{}\n", child.0.id())).expect("written");
        let uuid = UUID.parse().expect("a UUID");
        let other = "99999999-2222-3333-4444-555555555555"
            .parse()
            .expect("a UUID");
        // Its own command line is there only once it has begun.
        let found = loop {
            if let Some(found) = of_domain(dir.path(), "web", &uuid) {
                break found;
            }
            assert!(start_ticks(child.0.id()).is_some(), "it runs");
            std::thread::yield_now();
        };
        assert_eq!(found.pid, child.0.id());
        assert_eq!(of_domain(dir.path(), "web", &other), None);
        assert_eq!(of_domain(dir.path(), "db", &uuid), None);
        std::fs::write(&pid_file, "1\n").expect("written");
        assert_eq!(of_domain(dir.path(), "web", &uuid), None, "init is not it");
    }
}
