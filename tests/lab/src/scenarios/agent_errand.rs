//! Fencing devices that only the agents of site a can ask: no manager has the program, and the witness leads.

use holdfast_model::host::Membership;
use std::fs;
use std::io::ErrorKind;

use super::checks::{wait_host, went_elsewhere};
use super::errand::managers_with;
use super::fence::{By, wait_event, wait_fenced};
use super::{PATIENCE, host_of, small, with_policy, with_vms};
use crate::boards::{Boards, Mode, PROGRAM, write_program};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::{Machine, Role};
use crate::needless::Hit;
use crate::trial::{Cluster, lead_from};
use crate::{configs, state};

const VM: &str = "agent-errand";
/// Beside host.toml.
const FILE: &str = "/etc/holdfast/fence.toml";
/// As those of `fence-errand`, and agents may ask as well.
const DEVICES: &str = "[fencing]\non_suspicion = true\n\n[fencing.devices.boards]\n\
                       hosts = [\"a1\", \"a2\", \"b1\", \"b2\"]\nagent = \"fence_lab\"\nfrom = [\"a\"]\n\
                       askers = [\"managers\", \"agents\"]\ntimeout_ms = 60000\n";

/// A host at site a loses power: the agent of the other one there asks its board for the leader.
pub(super) fn by_the_other_host(lab: &Lab) -> Result<()> {
    with_policy(lab, DEVICES, || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                managers_with(cluster, None, configs::manager_toml_without_agents)?;
                let done = agents(lab, give).and_then(|()| body(cluster, boards));
                // Also after a failure: the next scenario finds the lab as it was.
                agents(lab, take)?;
                managers_with(cluster, None, configs::manager_toml)?;
                done
            })
        })
    })
}

fn body(cluster: &Cluster, boards: &Boards) -> Result<()> {
    let lab = cluster.lab;
    lead_from(cluster, "witness")?;
    // Until then nobody has told that he could ask.
    cluster.wait("somebody who reaches the boards", PATIENCE, |status| {
        let mut conditions = status.conditions.iter();
        match conditions.find(|each| each.code == "fencing-device-out-of-reach") {
            None => Ok(()),
            Some(lonely) => Err(lonely.text.clone()),
        }
    })?;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    let other = if host == "a1" { "a2" } else { "a1" };
    boards.set(&host, Mode::Answers);
    lab.hit(Hit::host(&host));
    let off = lab.power_off(&[&host])?;
    boards.wait_asked(&host, "status", off.at_ms, PATIENCE)?;
    went_elsewhere(cluster, &before, off.at_ms)?;
    wait_fenced(cluster, &host, By::Program, true)?;
    wait_event(
        cluster,
        &format!("told by the agent of {other} to switch it off: says off"),
    )?;
    lab.power_on(&[&host])?;
    wait_host(cluster, &host, Membership::Online)
}

/// Changes what the agents of site a ask with, and starts them with that.
fn agents(lab: &Lab, change: fn(&Lab, &Machine) -> Result<()>) -> Result<()> {
    let all = lab.layout().machines.iter();
    for machine in all.filter(|each| each.role == Role::Hypervisor && each.site == "a") {
        change(lab, machine)?;
        lab.stop_service(&machine.name, "agent")?;
        lab.start_service(&machine.name, "agent")?;
    }
    Ok(())
}

fn give(lab: &Lab, machine: &Machine) -> Result<()> {
    let private = |path| lab.state().private(&machine.name, path);
    let program = &lab.options().init_program;
    write_program(lab.state(), &private(PROGRAM), program)?;
    let text = format!("[fence_agents]\nfence_lab = \"{PROGRAM}\"\n");
    state::write(&private(FILE), text)
}

fn take(lab: &Lab, machine: &Machine) -> Result<()> {
    let file = lab.state().private(&machine.name, FILE);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(LabError::io("remove", &file)(error))
        }
        _ => Ok(()),
    }
}
