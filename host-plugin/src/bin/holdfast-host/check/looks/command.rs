//! Runs a status command: its words are fixed by the operator, there is no shell, and it is killed with all that it
//! started if it takes too long.

use holdfast_extension_host::outside::{Output, ProbeError};
use holdfast_strict::trust::program_fault;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// So much of each of its two outputs is kept, in bytes.
const KEPT_BYTES: usize = 64 * 1024;
/// So often an output is read before anything else is looked at.
const READS: usize = 32;
/// Where programs find others.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Its last words come within this after its end, or not at all: something it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Waits for its end, until then. Blocks for longer only in reaping one that cannot be killed.
pub fn run(words: &[String], until: Instant) -> Result<Output, ProbeError> {
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| ProbeError::NoName("it has no words".to_owned()))?;
    // That it may not be run says nothing about the storage.
    if let Some(fault) = program_fault(Path::new(program)) {
        return Err(ProbeError::NoName(fault));
    }
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let child = child.map_err(|error| ProbeError::Failed(format!("{program}: {error}")))?;
    let mut running = Running {
        group: Pid::from_child(&child),
        child,
        ended: false,
    };
    running
        .listen(until)
        .map_err(|error| ProbeError::Failed(format!("{program}: {error}")))?
        .ok_or_else(|| ProbeError::TimedOut(format!("{program} was killed: it took too long")))
}

/// A program and all that it has started: killed if it is given up before its end.
struct Running {
    child: Child,
    group: Pid,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            if let Err(error) = kill_process_group(self.group, Signal::KILL) {
                tracing::warn!(%error, "a status command that was given up could not be killed");
            }
            // Not before the storage lets it go.
            let _ = self.child.wait();
        }
    }
}

/// One of its outputs.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    cut: bool,
    over: bool,
}

impl Heard {
    /// Takes what is there, so that nobody waits for a reader; some of it, if it comes without end.
    fn read(&mut self, from: impl AsFd) -> Result<(), Errno> {
        let mut buffer = [0; 8 * 1024];
        for _ in 0..READS {
            match rustix::io::read(&from, &mut buffer) {
                Ok(0) => {
                    self.over = true;
                    return Ok(());
                }
                Ok(count) => {
                    let room = KEPT_BYTES.saturating_sub(self.bytes.len());
                    self.cut |= count > room;
                    let kept = buffer.get(..count.min(room)).unwrap_or_default();
                    self.bytes.extend_from_slice(kept);
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Running {
    /// None: it took too long.
    fn listen(&mut self, until: Instant) -> std::io::Result<Option<Output>> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(std::io::Error::other("it has no pipes"));
        };
        for pipe in [stdout.as_fd(), stderr.as_fd()] {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        let end = pidfd_open(self.group, PidfdFlags::empty())?;
        let (mut out, mut err) = (Heard::default(), Heard::default());
        let mut until = until;
        let mut status = None;
        loop {
            out.read(&stdout)?;
            err.read(&stderr)?;
            if status.is_none() {
                status = self.child.try_wait()?;
                if status.is_some() {
                    self.ended = true;
                    until = until.min(Instant::now() + LAST_WORDS);
                }
            }
            let silent = out.over && err.over;
            let late = Instant::now() >= until;
            match status {
                Some(status) if silent || late => {
                    return Ok(Some(Output {
                        exit_code: status.code(),
                        stdout: out.text(),
                        stderr: err.text(),
                        cut: out.cut || err.cut,
                    }));
                }
                None if late => return Ok(None),
                _ => {}
            }
            let mut awaited: Vec<BorrowedFd<'_>> = Vec::new();
            if !out.over {
                awaited.push(stdout.as_fd());
            }
            if !err.over {
                awaited.push(stderr.as_fd());
            }
            if status.is_none() {
                awaited.push(end.as_fd());
            }
            wait(&awaited, until)?;
        }
    }
}

/// Until something is to be read, a process has ended, or the time is over.
fn wait(awaited: &[BorrowedFd<'_>], until: Instant) -> std::io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = awaited
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
    match poll(&mut fds, Some(&left)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    fn sh(script: &str, until: Instant) -> Result<Output, ProbeError> {
        run(&["/bin/sh", "-c", script].map(str::to_owned), until)
    }

    #[test]
    fn it_is_told_how_it_ended_and_what_it_said() {
        let far = soon(60_000);
        let ended = sh("echo good; echo bad >&2; exit 3", far).expect("it ends");
        assert_eq!(ended.exit_code, Some(3));
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.as_str()),
            ("good\n", "bad\n")
        );
        assert!(!ended.cut);
        let killed = sh("kill -9 $$", far).expect("it ends");
        assert_eq!(killed.exit_code, None);
        let word = "a b; exit 1".to_owned();
        let echo = run(&["/bin/echo".to_owned(), word], far).expect("it ends");
        assert_eq!(echo.stdout, "a b; exit 1\n", "there is no shell");
    }

    #[test]
    fn a_flood_is_cut_and_does_not_hold_it_up() {
        let ended = sh("head -c 3000000 /dev/zero; echo end >&2", soon(60_000)).expect("it ends");
        assert_eq!((ended.stdout.len(), ended.cut), (KEPT_BYTES, true));
        assert_eq!((ended.exit_code, ended.stderr.as_str()), (Some(0), "end\n"));
    }

    #[test]
    fn words_without_end_are_ended() {
        let late = sh("yes", soon(200));
        assert!(matches!(late, Err(ProbeError::TimedOut(_))), "{late:?}");
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let late = sh(&script, soon(2_000));
        assert!(matches!(late, Err(ProbeError::TimedOut(_))), "{late:?}");
        let pid = std::fs::read_to_string(&file).expect("it had begun");
        let until = soon(60_000);
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while is_there() {
            assert!(Instant::now() < until, "what it started is gone as well");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_it_leaves_behind_does_not_hold_the_answer() {
        let ended = sh("sleep 50 & echo $!", soon(3_600_000)).expect("it ends");
        let sleeps = format!("/proc/{}", ended.stdout.trim());
        assert!(Path::new(&sleeps).exists(), "it holds the pipe: {ended:?}");
    }

    #[test]
    fn a_program_that_others_can_change_is_not_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("status");
        std::fs::write(&program, "#!/bin/sh\ntouch ran\n").expect("written");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&program, open).expect("its mode");
        let refused = run(&[program.display().to_string()], soon(60_000));
        let Err(ProbeError::NoName(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("can be changed by others than root"), "{why}");
        let gone = run(&["/nowhere/status".to_owned()], soon(60_000));
        assert!(matches!(gone, Err(ProbeError::NoName(_))), "{gone:?}");
    }
}
