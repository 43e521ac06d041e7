//! Freezing, thawing and killing single programs of a machine, each with proof that it happened.

use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use crate::clock::now_ms;
use crate::error::{LabError, Result};
use crate::layout::{Machine, Role};
use crate::machine::{Power, power, processes_of};
use crate::processes::{self, Process};
use crate::run::wait_until;
use crate::state::StateDir;

/// The words for processes, for help texts.
pub const PROCESS_WORDS: &str = "agent guard libvirtd qemu:VM etcd manager storage";

/// What is done to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// SIGSTOP: it keeps its sockets and locks and answers nobody.
    Freeze,
    /// SIGCONT.
    Thaw,
    /// SIGKILL: services are started again by the machine's first process.
    Kill,
}

/// Proof of a fault.
#[derive(Debug, Clone, Serialize)]
pub struct FaultProof {
    /// What was done.
    pub fault: Fault,
    /// On which machine.
    pub machine: String,
    /// To which process, in the word it was asked for.
    pub process: String,
    /// The processes' ids on the real machine.
    pub pids: Vec<i32>,
    /// Just before the signal (CLOCK_BOOTTIME).
    pub at_ms: u64,
    /// When all were seen to be stopped, running or gone.
    pub done_ms: u64,
}

/// Whether a process is meant by a word.
fn is_meant(word: &str, role: Role, process: &Process) -> bool {
    if let Some(vm) = word.strip_prefix("qemu:") {
        let guest = format!("guest={vm}");
        return process.program.starts_with("qemu-system")
            && process
                .args
                .iter()
                .any(|arg| arg.split(',').next() == Some(guest.as_str()));
    }
    let program = process.program.as_str();
    match (word, role) {
        ("agent", _) => program == "holdfast-host",
        ("guard", _) => program == "holdfast-guard",
        ("manager", _) => program == "holdfast-manager",
        ("libvirtd" | "etcd", _) => program == word,
        ("storage", Role::Hypervisor) => program == "glusterfs",
        // A server's storage is its glusterd, its brick and its self-heal daemon.
        ("storage", Role::Control) => ["glusterd", "glusterfsd", "glusterfs"].contains(&program),
        _ => false,
    }
}

/// The processes a word means on a machine; an error if there is none.
pub(crate) fn find(state: &StateDir, machine: &Machine, word: &str) -> Result<Vec<Process>> {
    let known = PROCESS_WORDS.split(' ').any(|known| known == word);
    if !known && !word.starts_with("qemu:") {
        let known = PROCESS_WORDS.into();
        return Err(LabError::Unknown {
            kind: "process",
            name: word.into(),
            known,
        });
    }
    if power(state, machine) == Power::Off {
        return Err(LabError::Refused(format!("{} has no power", machine.name)));
    }
    let mut found = processes_of(state, machine);
    found.retain(|process| is_meant(word, machine.role, process));
    if found.is_empty() {
        return Err(LabError::Refused(format!(
            "no {word} runs on {}",
            machine.name
        )));
    }
    Ok(found)
}

/// Does it and waits until the kernel shows it.
pub(crate) fn inject(
    state: &StateDir,
    machine: &Machine,
    word: &str,
    fault: Fault,
) -> Result<FaultProof> {
    let targets = find(state, machine, word)?;
    let signal = match fault {
        Fault::Freeze => Signal::STOP,
        Fault::Thaw => Signal::CONT,
        Fault::Kill => Signal::KILL,
    };
    let at_ms = now_ms();
    for process in &targets {
        processes::signal(process, signal);
    }
    let what = format!("{fault:?} of {word} on {}", machine.name).to_lowercase();
    wait_until(
        &what,
        Duration::from_secs(10),
        "a process stuck in the kernel?",
        || {
            let pending: Vec<String> = targets
                .iter()
                .map(|process| (process.pid, processes::state(process)))
                .filter(|(_, now)| match fault {
                    Fault::Freeze => now.is_some_and(|state| state != 'T' && state != 'Z'),
                    Fault::Thaw => *now == Some('T'),
                    Fault::Kill => now.is_some_and(|state| state != 'Z'),
                })
                .map(|(pid, now)| format!("{pid} is {now:?}"))
                .collect();
            if pending.is_empty() {
                Ok(())
            } else {
                Err(pending.join(", "))
            }
        },
    )?;
    Ok(FaultProof {
        fault,
        machine: machine.name.clone(),
        process: word.into(),
        pids: targets.iter().map(|process| process.pid).collect(),
        at_ms,
        done_ms: now_ms(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str]) -> Process {
        let program = args[0].rsplit('/').next().unwrap().to_owned();
        let args = args.iter().map(ToString::to_string).collect();
        Process {
            pid: 1,
            start_time: 1,
            state: 'S',
            program,
            args,
        }
    }

    #[test]
    fn words() {
        let qemu = process(&[
            "/usr/bin/qemu-system-x86_64",
            "-name",
            "guest=web1,debug-threads=on",
        ]);
        assert!(is_meant("qemu:web1", Role::Hypervisor, &qemu));
        assert!(!is_meant("qemu:web", Role::Hypervisor, &qemu));
        let brick = process(&["/usr/sbin/glusterfsd", "-s", "10.77.1.10"]);
        assert!(is_meant("storage", Role::Control, &brick));
        assert!(!is_meant("storage", Role::Hypervisor, &brick));
        let agent = process(&["/x/holdfast-host", "--config", "guest=web1"]);
        assert!(is_meant("agent", Role::Hypervisor, &agent));
        assert!(!is_meant("qemu:web1", Role::Hypervisor, &agent));
    }
}
