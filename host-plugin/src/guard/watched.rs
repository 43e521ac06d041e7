//! One process, held by a pidfd: signals reach it and no other, and its end can be waited for.

use super::protocol::Process;
use crate::process::hold;
use holdfast_model::time::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// When a process that has to go should be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doom {
    /// When its deadline was. What a taker waits for counts from here.
    pub due: Instant,
    /// When it was sent the signal first: later than that only if the guard was away or late.
    pub signalled: Instant,
    /// How long it may take, by the bounds of its life.
    pub kill_bound_ms: u64,
}

impl Doom {
    /// From here on a pet of the watchdog would put the reset off beyond what the host declared.
    pub fn gone_by(&self) -> Instant {
        self.due.plus(self.kill_bound_ms)
    }

    /// From here on it counts as one that cannot be killed.
    pub fn given_up(&self) -> Instant {
        self.signalled.max(self.due).plus(self.kill_bound_ms)
    }
}

/// A process that is watched.
#[derive(Debug)]
pub struct Watched {
    /// Whose it is.
    pub process: Process,
    /// It was sent the signal: it goes, even if a plane is renewed before it has gone.
    pub doomed: Option<Doom>,
    fd: OwnedFd,
    /// For tests: as one that is stuck in the kernel.
    #[cfg(test)]
    pub deaf: bool,
}

/// Why a process cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It has ended, or its id belongs to another one by now.
    #[error("process {pid} of {vm} is gone")]
    Gone {
        /// Its id.
        pid: u32,
        /// The VM.
        vm: String,
    },
    /// The system refused.
    #[error("process {pid} cannot be watched: {source}")]
    System {
        /// Its id.
        pid: u32,
        /// Why.
        source: Errno,
    },
}

impl Watched {
    /// Takes hold of a process.
    pub fn open(process: Process) -> Result<Self, WatchError> {
        let pid = process.process.pid;
        match hold(process.process) {
            Ok(fd) => Ok(Self {
                process,
                doomed: None,
                fd,
                #[cfg(test)]
                deaf: false,
            }),
            Err(Errno::SRCH) => Err(WatchError::Gone {
                pid,
                vm: process.vm.to_string(),
            }),
            Err(source) => Err(WatchError::System { pid, source }),
        }
    }

    /// Sends SIGKILL. An error other than "it is gone already" comes back.
    pub fn kill(&self) -> Result<(), Errno> {
        #[cfg(test)]
        if self.deaf {
            return Ok(());
        }
        match pidfd_send_signal(&self.fd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether it has exited: all of its threads are gone and its files are closed, so the kernel
    /// has nothing of its I/O under way any more.
    pub fn has_exited(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A failed poll says nothing, and "not exited" is the answer that keeps it watched.
        matches!(poll(&mut fds, Some(&zero)), Ok(1))
    }

    /// To wait for its end: becomes readable then.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
