//! The power switch of a machine: its processes and its cable.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use crate::blueprint::{control_socket, identity_file};
use crate::clock::{self, now_ms};
use crate::error::{LabError, Result};
use crate::init::spec::{Identity, Request};
use crate::layout::Machine;
use crate::processes::{self, Process};
use crate::run::{Output, output, wait_until};
use crate::state::{self, StateDir};
use crate::{init, net};

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Its first process is alive.
    On,
    /// It has no process.
    Off,
}

/// Proof of a power cut.
#[derive(Debug, Clone, Serialize)]
pub struct PowerOff {
    /// Which machines.
    pub machines: Vec<String>,
    /// When it began (CLOCK_BOOTTIME): the last moment all machines certainly ran.
    pub at_ms: u64,
    /// When all cables were out; nothing was sent to anyone after it.
    pub links_down_ms: u64,
    /// When the last process was seen to be gone.
    pub gone_ms: u64,
    /// How many processes died.
    pub processes: usize,
}

/// The first process of a machine, if it is alive.
pub(crate) fn identity(state: &StateDir, machine: &Machine) -> Option<Identity> {
    let identity: Identity = state::read_json(&identity_file(state, machine)).ok()?;
    // Killed and not reaped yet, it runs nothing any more.
    processes::lives(identity.pid, identity.start_time).then_some(identity)
}

/// Whether a machine runs.
pub(crate) fn power(state: &StateDir, machine: &Machine) -> Power {
    if identity(state, machine).is_some() {
        Power::On
    } else {
        Power::Off
    }
}

/// All processes of a machine.
pub(crate) fn processes_of(state: &StateDir, machine: &Machine) -> Vec<Process> {
    identity(state, machine)
        .and_then(|identity| processes::namespace_of(identity.pid, "pid"))
        .map(|namespace| processes::in_namespace("pid", &namespace))
        .unwrap_or_default()
}

/// Starts the first process of a machine whose spec is written and whose cable is plugged in.
pub(crate) fn start(state: &StateDir, machine: &Machine, init_program: &Path) -> Result<()> {
    let dir = state.machine(&machine.name);
    let identity_path = identity_file(state, machine);
    if identity_path.exists() {
        std::fs::remove_file(&identity_path).map_err(LabError::io("remove", &identity_path))?;
    }
    let log_path = state.log(&machine.name, "init");
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(LabError::io("open", &log_path))?;
    let stdout = log.try_clone().map_err(LabError::io("open", &log_path))?;
    let mut child = Command::new("ip")
        .args([
            "netns",
            "exec",
            &machine.namespace(),
            "unshare",
            "--mount",
            "--uts",
            "--pid",
        ])
        .args(clock::unshare_arguments(machine))
        .args(["--fork", "--kill-child", "--propagation", "private", "--"])
        .arg(init_program)
        .arg("lab-init")
        .arg(dir.join("machine.json"))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(LabError::io("start", "ip"))?;
    let hint = format!("log: {}", log_path.display());
    let what = format!("first process of {}", machine.name);
    let started = wait_until(&what, Duration::from_secs(20), &hint, || {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Err(status));
        }
        match identity(state, machine) {
            Some(_) => init::ask(&control_socket(state, machine), &Request::List)
                .map(|_| Ok(()))
                .map_err(|error| error.chain()),
            None => Err("not there yet".into()),
        }
    })?;
    // Reaps it whenever it ends, however long this program (a test) goes on.
    std::thread::spawn(move || child.wait());
    started.map_err(|status| LabError::Command {
        command: what,
        status: format!("ended with {status}"),
        stderr: hint,
    })
}

/// Cuts the power of machines: cables first, so that no dying process says goodbye, then every
/// process at once.
pub(crate) fn power_off(state: &StateDir, machines: &[&Machine]) -> Result<PowerOff> {
    let mut first = Vec::new();
    let mut all = Vec::new();
    for machine in machines {
        let Some(identity) = identity(state, machine) else {
            return Err(LabError::Refused(format!(
                "{} has no power already",
                machine.name
            )));
        };
        all.extend(processes_of(state, machine));
        first.push(identity.pid);
    }
    let at_ms = now_ms();
    net::set_cables(machines, false)?;
    let links_down_ms = now_ms();
    for process in all.iter().filter(|process| first.contains(&process.pid)) {
        processes::signal(process, Signal::KILL);
    }
    wait_until(
        "all processes gone",
        Duration::from_secs(10),
        "stuck in the kernel?",
        || {
            let left: Vec<String> = all
                .iter()
                .filter(|process| processes::state(process).is_some_and(|state| state != 'Z'))
                .map(|process| format!("{} ({})", process.program, process.pid))
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.join(", "))
            }
        },
    )?;
    net::forget_unsent(machines)?;
    Ok(PowerOff {
        machines: machines
            .iter()
            .map(|machine| machine.name.clone())
            .collect(),
        at_ms,
        links_down_ms,
        gone_ms: now_ms(),
        processes: all.len(),
    })
}

/// A command that runs inside a machine.
pub(crate) fn command(state: &StateDir, machine: &Machine, argv: &[&str]) -> Result<Command> {
    let identity = identity(state, machine)
        .ok_or_else(|| LabError::Refused(format!("{} has no power", machine.name)))?;
    let mut command = Command::new("nsenter");
    command
        .args([
            "--target",
            &identity.pid.to_string(),
            "--mount",
            "--uts",
            "--net",
            "--pid",
            "--time",
            "--",
        ])
        .args(argv)
        .env("PATH", crate::programs::system_path());
    Ok(command)
}

/// Runs a command inside a machine to its end.
pub(crate) fn exec(
    state: &StateDir,
    machine: &Machine,
    argv: &[&str],
    input: &[u8],
    limit: Duration,
) -> Result<Output> {
    output(&mut command(state, machine, argv)?, input, limit)
}
