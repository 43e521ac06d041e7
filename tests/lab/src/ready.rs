//! When the parts of a lab answer.

use std::time::Duration;

use crate::error::Result;
use crate::lab::{Lab, in_parallel};
use crate::layout::{Layout, Machine};
use crate::run::wait_until;
use crate::storage::{self, Exec};

const LIMIT: Duration = Duration::from_secs(60);

fn log_hint(lab: &Lab, machine: &str, service: &str) -> String {
    format!("log: {}", lab.state.log(machine, service).display())
}

/// Every etcd member answers and has a leader.
pub(crate) fn etcd(lab: &Lab) -> Result<()> {
    let controls: Vec<&Machine> = lab.layout().controls().collect();
    in_parallel(&controls, |machine| {
        let hint = log_hint(lab, &machine.name, "etcd");
        wait_until(&format!("etcd on {}", machine.name), LIMIT, &hint, || {
            let argv = ["etcdctl", "--dial-timeout=1s", "endpoint", "health"];
            let health = lab.exec_in(machine, &argv, Duration::from_secs(6));
            health
                .and_then(|output| output.ok("etcdctl"))
                .map_err(|error| error.to_string())
        })
        .map(drop)
    })
}

/// The volume exists and every hypervisor has it mounted.
pub(crate) fn storage(lab: &Lab) -> Result<()> {
    let layout: &Layout = lab.layout();
    storage::create(lab, layout, &log_hint(lab, "a-ctl", "storage"))?;
    lab.start_everywhere(&["storage"])?;
    storage_mounted(lab)
}

/// Every hypervisor has the storage mounted.
pub(crate) fn storage_mounted(lab: &Lab) -> Result<()> {
    let hypervisors: Vec<&Machine> = lab.layout().hypervisors().collect();
    in_parallel(&hypervisors, |machine| {
        let hint = log_hint(lab, &machine.name, "storage");
        wait_until(
            &format!("storage on {}", machine.name),
            LIMIT,
            &hint,
            || storage::mounted(lab, machine),
        )
    })
}

/// Every libvirtd answers. Asking for the capabilities makes it probe QEMU now, not at the first
/// VM (3 s on a fresh host).
pub(crate) fn libvirt(lab: &Lab) -> Result<()> {
    let hypervisors: Vec<&Machine> = lab.layout().hypervisors().collect();
    in_parallel(&hypervisors, |machine| {
        let hint = log_hint(lab, &machine.name, "libvirtd");
        let domain_type = lab.domain_type();
        wait_until(
            &format!("libvirtd on {}", machine.name),
            LIMIT,
            &hint,
            || {
                let argv = [
                    "virsh",
                    "-c",
                    "qemu:///system",
                    "domcapabilities",
                    "--virttype",
                    domain_type,
                ];
                let answer = lab.exec_in(machine, &argv, Duration::from_secs(40));
                answer
                    .and_then(|output| output.ok("virsh"))
                    .map_err(|error| error.to_string())
            },
        )
        .map(drop)
    })
}

/// A manager answers the command line.
pub(crate) fn managers(lab: &Lab) -> Result<()> {
    let hint = log_hint(lab, "a-ctl", "manager");
    wait_until("the managers", LIMIT, &hint, || {
        let status = lab
            .cli(&["-o", "json", "status"])
            .and_then(|output| output.ok("holdfast"));
        status.map(drop).map_err(|error| error.to_string())
    })
}
