//! The first process of a machine (`xtask lab-init SPEC`, never called by people).
//!
//! It is process 1 of a PID namespace: when it is killed the kernel kills everything else in the
//! machine at once, which is the lab's power switch.

mod mounts;
pub mod spec;
mod supervisor;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::error::{LabError, Result};
use crate::processes;
use crate::state;
use spec::{Identity, InitSpec, Reply, Request};
use supervisor::Supervisor;

/// Looks this often for children that have ended: libvirt waits for a killed QEMU to be reaped.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Runs a machine until it is killed; returns only if it could not be set up.
pub fn run(spec_file: &Path) -> Result<()> {
    let spec: InitSpec = state::read_json(spec_file)?;
    // Fails only where this process leads a group already, which is as good.
    let _ = rustix::process::setsid();
    // `/proc` is still the real machine's: it tells this process's id as others see it.
    let (pid, start_time) = own_identity()?;
    let boot_id = mounts::set_up(&spec)?;
    match std::fs::remove_file(&spec.control_socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(LabError::io("remove", &spec.control_socket)(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&spec.control_socket)
        .map_err(LabError::io("listen on", &spec.control_socket))?;
    listener
        .set_nonblocking(true)
        .map_err(LabError::io("listen on", &spec.control_socket))?;
    state::write_json(
        &spec.identity_file,
        &Identity {
            pid,
            start_time,
            boot_id,
        },
    )?;
    let mut supervisor = Supervisor::new(spec.services, &spec.log_dir);
    loop {
        supervisor.step();
        let mut sources = [PollFd::new(&listener, PollFlags::IN)];
        // An interrupted poll is only an early look.
        let _ = poll(&mut sources, Some(&STEP));
        while let Ok((stream, _)) = listener.accept() {
            // A client that went away has no use for an answer.
            let _ = answer(stream, &mut supervisor);
        }
    }
}

fn own_identity() -> Result<(i32, u64)> {
    let link = std::fs::read_link("/proc/self").map_err(LabError::io("read", "/proc/self"))?;
    let pid = link.to_string_lossy().parse().unwrap_or_default();
    let start_time = processes::start_time(pid)
        .ok_or_else(|| LabError::Refused("cannot read /proc/self/stat".into()))?;
    // This machine's clock is not the real one's, in which others will look it up.
    let ahead_s = clock::ahead_s()?;
    let ahead = ahead_s * rustix::param::clock_ticks_per_second() as i64;
    Ok((pid, start_time.saturating_add_signed(-ahead)))
}

fn answer(stream: UnixStream, supervisor: &mut Supervisor) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => supervisor.handle(request),
        Err(error) => Reply {
            error: Some(error.to_string()),
            services: Vec::new(),
        },
    };
    let text = serde_json::to_string(&reply)?;
    (&stream).write_all(text.as_bytes())?;
    (&stream).write_all(b"\n")
}

/// Asks the first process of a machine.
pub(crate) fn ask(control_socket: &Path, request: &Request) -> Result<Reply> {
    let failed = |error| LabError::io("talk to", control_socket)(error);
    let stream = UnixStream::connect(control_socket).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .map_err(failed)?;
    let wrong = |source| LabError::Parse {
        path: control_socket.into(),
        source,
    };
    let text = serde_json::to_string(request).map_err(wrong)?;
    (&stream).write_all(text.as_bytes()).map_err(failed)?;
    (&stream).write_all(b"\n").map_err(failed)?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .map_err(failed)?;
    let reply: Reply = serde_json::from_str(&line).map_err(wrong)?;
    match reply.error {
        Some(error) => Err(LabError::Refused(error)),
        None => Ok(reply),
    }
}
