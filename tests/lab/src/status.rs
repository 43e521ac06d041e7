//! What a lab is like right now.

use serde::Serialize;

use crate::cuts::Cut;
use crate::error::Result;
use crate::init::spec::ServiceState;
use crate::lab::Lab;
use crate::layout::Machine;
use crate::machine::Power;
use crate::net;
use crate::storage::{Exec, StorageState};

/// A machine right now.
#[derive(Debug, Clone, Serialize)]
pub struct MachineStatus {
    /// Name, site, role, address.
    #[serde(flatten)]
    pub machine: Machine,
    /// Whether it has power.
    pub power: Power,
    /// Whether its cable is plugged in.
    pub cable: bool,
    /// Its services; empty without power.
    pub services: Vec<ServiceState>,
    /// VMs whose QEMU runs there.
    pub vms: Vec<String>,
}

/// The lab right now.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Whether `up` came to its end.
    pub complete: bool,
    /// Where its files are.
    pub state: std::path::PathBuf,
    /// `kvm` or `qemu`.
    pub domain_type: String,
    /// All machines.
    pub machines: Vec<MachineStatus>,
    /// Cuts in force.
    pub cuts: Vec<Cut>,
    /// The storage, if it has any and a control machine can tell.
    pub storage: Option<StorageState>,
    /// All bricks up and nothing to heal.
    pub storage_in_sync: bool,
}

pub(crate) fn collect(lab: &Lab) -> Result<Status> {
    let machines: Vec<MachineStatus> = lab
        .layout()
        .machines
        .iter()
        .map(|machine| of_machine(lab, machine))
        .collect();
    // Unknown is part of the answer: a status must work when everything is broken.
    let storage = if lab.options().storage {
        lab.storage_state().ok()
    } else {
        None
    };
    Ok(Status {
        complete: lab.record.complete,
        state: lab.state.root().into(),
        domain_type: lab.domain_type().to_owned(),
        machines,
        cuts: lab.cuts()?,
        storage_in_sync: storage.as_ref().is_some_and(StorageState::in_sync),
        storage,
    })
}

fn of_machine(lab: &Lab, machine: &Machine) -> MachineStatus {
    let power = lab.power_of(machine);
    let mut vms: Vec<String> = crate::machine::processes_of(&lab.state, machine)
        .iter()
        .filter(|process| process.program.starts_with("qemu-system"))
        .flat_map(|process| &process.args)
        .filter_map(|arg| arg.split(',').next()?.strip_prefix("guest="))
        .map(str::to_owned)
        .collect();
    vms.sort();
    MachineStatus {
        services: lab.services(&machine.name).unwrap_or_default(),
        cable: net::cable_up(machine),
        machine: machine.clone(),
        power,
        vms,
    }
}
