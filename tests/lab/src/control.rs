//! What can be done to a running lab: power, network, processes, services.

use std::time::Duration;

use serde::Serialize;

use crate::blueprint::control_socket;
use crate::clock::now_ms;
use crate::cuts::{self, Cut};
use crate::error::{LabError, Result};
use crate::faults::{self, Fault, FaultProof};
use crate::init::{self, spec::Request, spec::ServiceState};
use crate::lab::{Lab, in_parallel};
use crate::layout::Machine;
use crate::machine::{self, Power, PowerOff};
use crate::net;
use crate::run::wait_until;
use crate::storage::Exec;

/// Proof of a cut: what is in force now.
#[derive(Debug, Clone, Serialize)]
pub struct Cutting {
    /// When the rules were in force at the latest (CLOCK_BOOTTIME).
    pub at_ms: u64,
    /// All cuts with the packets they have dropped so far.
    pub cuts: Vec<Cut>,
}

impl Lab {
    /// Cuts the power of machines, all at the same instant.
    pub fn power_off(&self, machines: &[&str]) -> Result<PowerOff> {
        machine::power_off(&self.state, &self.resolve(machines)?)
    }

    /// Cuts the power of a whole site: hypervisors, manager, etcd member, storage.
    pub fn power_off_site(&self, site: &str) -> Result<PowerOff> {
        machine::power_off(&self.state, &self.layout().site(site)?)
    }

    /// Gives machines power again: same disks, empty `/run`, a new boot id.
    pub fn power_on(&self, machines: &[&str]) -> Result<()> {
        self.start(&self.resolve(machines)?)
    }

    /// Gives a whole site power again.
    pub fn power_on_site(&self, site: &str) -> Result<()> {
        self.start(&self.layout().site(site)?)
    }

    fn resolve(&self, machines: &[&str]) -> Result<Vec<&Machine>> {
        machines
            .iter()
            .map(|name| self.layout().machine(name))
            .collect()
    }

    fn start(&self, machines: &[&Machine]) -> Result<()> {
        if let Some(on) = machines
            .iter()
            .find(|each| self.power_of(each) == Power::On)
        {
            return Err(LabError::Refused(format!("{} has power already", on.name)));
        }
        net::set_cables(machines, true)?;
        let program = self.options().init_program.as_path();
        in_parallel(machines, |machine| {
            machine::start(&self.state, machine, program)
        })
    }

    /// Whether a machine has power.
    pub fn power(&self, machine: &str) -> Result<Power> {
        Ok(self.power_of(self.layout().machine(machine)?))
    }

    /// Drops packets from `one` to `other` (sites, machines, `witness`, `all`, or one of the services
    /// `etcd` and `storage` of the control machines), and back unless `one_way`. What the observer hears and the operator's shell are never cut.
    pub fn cut(&self, one: &str, other: &str, one_way: bool) -> Result<Cutting> {
        cuts::cut(self.layout(), one, other, one_way)?;
        Ok(Cutting {
            at_ms: now_ms(),
            cuts: cuts::active()?,
        })
    }

    /// Takes back cuts between two ends (`all`, `all`: every cut); gives the final counters.
    pub fn heal(&self, one: &str, other: &str) -> Result<Vec<Cut>> {
        cuts::machines(self.layout(), one)?;
        cuts::machines(self.layout(), other)?;
        cuts::heal(one, other)
    }

    /// Loses so many of a hundred packets between machines, at random; 0: none any more. How many an
    /// earlier call has dropped.
    pub fn lose_packets(&self, percent: u32) -> Result<u64> {
        cuts::lose(self.layout(), percent)
    }

    /// The cuts in force with their counters of dropped packets.
    pub fn cuts(&self) -> Result<Vec<Cut>> {
        cuts::active()
    }

    /// Stops a process (`agent guard libvirtd qemu:VM etcd manager storage`) with SIGSTOP.
    pub fn freeze(&self, machine: &str, process: &str) -> Result<FaultProof> {
        self.inject(machine, process, Fault::Freeze)
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self, machine: &str, process: &str) -> Result<FaultProof> {
        self.inject(machine, process, Fault::Thaw)
    }

    /// Kills a process; services are started again after 0.2 s, see [`Lab::stop_service`].
    pub fn kill(&self, machine: &str, process: &str) -> Result<FaultProof> {
        self.inject(machine, process, Fault::Kill)
    }

    fn inject(&self, machine: &str, process: &str, fault: Fault) -> Result<FaultProof> {
        faults::inject(&self.state, self.layout().machine(machine)?, process, fault)
    }

    /// Process ids, on the real machine, of a process.
    pub fn pids(&self, machine: &str, process: &str) -> Result<Vec<i32>> {
        let found = faults::find(&self.state, self.layout().machine(machine)?, process)?;
        Ok(found.into_iter().map(|process| process.pid).collect())
    }

    fn ask(&self, machine: &str, request: &Request) -> Result<Vec<ServiceState>> {
        let machine = self.layout().machine(machine)?;
        if self.power_of(machine) == Power::Off {
            return Err(LabError::Refused(format!("{} has no power", machine.name)));
        }
        Ok(init::ask(&control_socket(&self.state, machine), request)?.services)
    }

    /// The services of a machine (`etcd storage manager libvirtd guard agent`).
    pub fn services(&self, machine: &str) -> Result<Vec<ServiceState>> {
        self.ask(machine, &Request::List)
    }

    /// Kills a service and keeps it down until [`Lab::start_service`] or a power-on.
    pub fn stop_service(&self, machine: &str, service: &str) -> Result<()> {
        self.ask(
            machine,
            &Request::Stop {
                service: service.into(),
            },
        )?;
        wait_until(
            &format!("{service} of {machine} down"),
            Duration::from_secs(5),
            "",
            || {
                let services = self.services(machine).map_err(|error| error.chain())?;
                match services
                    .iter()
                    .find(|each| each.name == service)
                    .and_then(|each| each.pid)
                {
                    Some(pid) => Err(format!("pid {pid}")),
                    None => Ok(()),
                }
            },
        )
    }

    /// Starts a service.
    pub fn start_service(&self, machine: &str, service: &str) -> Result<()> {
        self.ask(
            machine,
            &Request::Start {
                service: service.into(),
            },
        )
        .map(drop)
    }
}
