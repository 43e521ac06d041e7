//! A migrated domain's end at the source, seen as soon as it is certain.
//!
//! libvirt's call returns only after it has waited for QEMU in steps of 200 ms, and all that time
//! the VM stands still at the destination. But before libvirt ends QEMU it writes down what it has
//! made up its mind to do, in the domain's status file:
//!
//! ```text
//! perform3_done ─> the destination has it ─> confirm3           ─> QEMU is ended, whatever happens
//!               └> it does not, or no answer ─> confirm3_cancelled ─> resumed here
//! ```
//! So a QEMU that has exited under `confirm3` has left for good and has not run since the switch.
//! Anything else (another phase, a file of another shape) says nothing, and the call's own answer is
//! waited for. The phases are those of `qemuMigrationJobPhase` in libvirt's `qemu_migration.c`.

use super::lane::on_thread;
use crate::domain_xml::tree;
use crate::process::{ProcessId, hold};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A domain that is being migrated away.
pub struct Departure {
    qemu: OwnedFd,
    status_file: PathBuf,
}

impl Departure {
    /// Of the domain with this name, run by this process; none if the process is not there.
    pub fn of(run_dir: &Path, name: &str, process: ProcessId) -> Option<Self> {
        Some(Self {
            qemu: hold(process).ok()?,
            status_file: run_dir.join(format!("{name}.xml")),
        })
    }

    /// Returns once QEMU has exited or the bound is over, with whether it has left for good.
    pub async fn ended(self, bound: Duration) -> bool {
        let look = move || has_exited(&self.qemu, bound) && self.is_confirmed();
        on_thread("departure", bound, look).await.unwrap_or(false)
    }

    fn is_confirmed(&self) -> bool {
        std::fs::read_to_string(&self.status_file).is_ok_and(|status| is_confirmed(&status))
    }
}

fn has_exited(qemu: &OwnedFd, bound: Duration) -> bool {
    let Ok(bound) = Timespec::try_from(bound) else {
        return false;
    };
    let mut fds = [PollFd::new(qemu, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&bound)), Ok(1))
}

fn is_confirmed(status: &str) -> bool {
    let Ok(root) = tree::parse(status) else {
        return false;
    };
    root.child("job").is_some_and(|job| {
        job.attribute("async") == Some("migration out")
            && job.attribute("phase") == Some("confirm3")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start_ticks;

    fn status(job: &str) -> String {
        format!(
            "<!-- kept by libvirt -->\n<domstatus state='paused' pid='7'>{job}<domain/></domstatus>"
        )
    }

    #[test]
    fn only_the_confirmed_phase_of_a_migration_counts() {
        let job = |work: &str, phase: &str| {
            status(&format!(
                "<job type='none' async='{work}' phase='{phase}'/>"
            ))
        };
        assert!(is_confirmed(&job("migration out", "confirm3")));
        for (work, phase) in [
            ("migration out", "confirm3_cancelled"),
            ("migration out", "perform3_done"),
            ("migration in", "confirm3"),
            ("none", "confirm3"),
        ] {
            assert!(!is_confirmed(&job(work, phase)), "{work} {phase}");
        }
        assert!(!is_confirmed(&status("")));
        assert!(!is_confirmed("<domstatus"));
    }

    #[tokio::test]
    async fn nothing_is_said_before_the_process_has_exited() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a process");
        let process = ProcessId {
            pid: child.id(),
            start_ticks: start_ticks(child.id()).expect("it runs"),
        };
        let dir = tempfile::tempdir().expect("a directory");
        let confirmed = status("<job async='migration out' phase='confirm3'/>");
        std::fs::write(dir.path().join("web.xml"), confirmed).expect("written");
        let leaves = Departure::of(dir.path(), "web", process).expect("it runs");
        let nameless = Departure::of(dir.path(), "other", process).expect("it runs");
        let long = Duration::from_secs(60);
        let mut ended = Box::pin(leaves.ended(long));
        assert!(futures::poll!(&mut ended).is_pending());
        drop(child.stdin.take());
        child.wait().expect("it ends when nobody writes to it");
        assert!(ended.await);
        assert!(!nameless.ended(long).await, "its status is not known");
        assert!(Departure::of(dir.path(), "web", process).is_none());
    }
}
