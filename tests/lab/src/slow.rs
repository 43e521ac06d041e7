//! A process whose disk is slow: every sync of it takes longer, by `strace`.
//!
//! The data directories of a lab are in memory, where a sync takes no time. `strace` holds each `fsync` and
//! `fdatasync` of a running process up in the kernel's own entry, so that the process sees just what a slow
//! disk does: the thread that syncs stands still, the others go on.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::run::wait_until;

/// How `strace` marks a call that it has held up.
const HELD_UP: &str = "(DELAYED)";

/// Slow for as long as this lives.
#[derive(Debug)]
pub struct SlowDisk {
    machine: String,
    tracer: Child,
    log: PathBuf,
}

impl Lab {
    /// Makes every sync of a process (`etcd`, …) take that much longer.
    pub fn slow_disk(&self, machine: &str, process: &str, by: Duration) -> Result<SlowDisk> {
        let pids = self.pids(machine, process)?;
        let log = self.log_path(machine, &format!("{process}-syncs"))?;
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "-q",
                "-e",
                "trace=fsync,fdatasync",
                "-e",
                "signal=none",
            ])
            .arg("-e")
            .arg(format!(
                "inject=fsync,fdatasync:delay_enter={}",
                by.as_micros()
            ))
            .arg("-o")
            .arg(&log);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let errors = log.with_extension("err");
        let stderr = std::fs::File::create(&errors).map_err(LabError::io("create", &errors))?;
        let tracer = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(LabError::io("start", "strace"))?;
        Ok(SlowDisk {
            machine: machine.into(),
            tracer,
            log,
        })
    }
}

impl SlowDisk {
    /// How many syncs were held up so far.
    pub fn held_up(&self) -> Result<usize> {
        let text = match std::fs::read_to_string(&self.log) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.map_err(LabError::io("read", &self.log))?,
        };
        Ok(text.matches(HELD_UP).count())
    }

    /// Waits until so many were: the fault has happened.
    pub fn wait_held_up(&self, count: usize, limit: Duration) -> Result<()> {
        let hint = format!("log: {}", self.log.with_extension("err").display());
        let what = format!("{count} slow syncs on {}", self.machine);
        wait_until(&what, limit, &hint, || match self.held_up() {
            Ok(now) if now >= count => Ok(()),
            Ok(now) => Err(format!("{now} so far")),
            Err(error) => Err(error.chain()),
        })
    }
}

impl Drop for SlowDisk {
    /// Asked to end, `strace` lets go of the process and leaves it as it was.
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.tracer.id() as i32) {
            // It has ended already with the process it held: as good.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.tracer.wait();
    }
}
