//! A VM that stops on one host and begins on another, as the guest's own signs show it.

use std::time::Duration;

use holdfast_model::status::{Vm, VmState};

use super::cluster::Cluster;
use crate::error::{LabError, Result};

/// How a VM changed its host without a migration. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// Its last sign on the old host. The observer hears a host that is cut off as well.
    pub last_ms: u64,
    /// Its first sign on the new one.
    pub first_ms: u64,
}

/// Waits until a VM that was seen as `before` runs on another host. Refused if the old host was silent
/// never, or only after the first sign from the new one.
pub fn hand_over(
    cluster: &Cluster,
    before: &Vm,
    since_ms: u64,
    limit: Duration,
) -> Result<Handover> {
    let name = before.name.as_str();
    let from = before.host.as_ref().map(ToString::to_string);
    let from = from.unwrap_or_default();
    let to = cluster.wait(
        &format!("{name} to run elsewhere"),
        limit,
        |status| match status.vms.iter().find(|vm| vm.name.as_str() == name) {
            Some(vm) if vm.state == VmState::Running && vm.host != before.host => {
                Ok(vm.host.as_ref().map(ToString::to_string))
            }
            Some(vm) => Err(format!("{:?} on {:?}: {}", vm.state, vm.host, vm.reason)),
            None => Err("it is gone".into()),
        },
    )?;
    let to = to.unwrap_or_default();
    let mut log = cluster.lab.observer_log()?;
    let first_ms = log.wait_for_beat_on(name, &to, since_ms, limit)?.at_ms;
    let stays = cluster.lab.proof()?.vms.into_iter();
    let stays = stays
        .filter(|vm| vm.vm == name)
        .flat_map(|vm| vm.stays)
        .filter(|stay| stay.host == from);
    let last_ms = stays.map(|stay| stay.last_ms).max().unwrap_or_default();
    if last_ms == 0 || last_ms >= first_ms {
        return Err(LabError::Refused(format!(
            "{name}: last sign on {from} {last_ms}, first on {to} {first_ms}"
        )));
    }
    Ok(Handover {
        from,
        to,
        last_ms,
        first_ms,
    })
}
