//! Losing hosts, and how long their VMs were away.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::event::{Event, EventKind};
use holdfast_model::status::VmState;
use serde::Serialize;

use super::cluster::Cluster;
use super::median;
use crate::clock;
use crate::error::{LabError, Result};
use crate::machine::PowerOff;

/// How one VM came through. Milliseconds after the power-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VmFailover {
    /// The host that was lost.
    pub from: String,
    /// The host it runs on now.
    pub to: String,
    /// Its host missed heartbeats.
    pub lost_ms: Option<u64>,
    /// Its host was proven stopped.
    pub proven_ms: Option<u64>,
    /// It was granted to another host.
    pub granted_ms: Option<u64>,
    /// libvirt runs it.
    pub running_ms: Option<u64>,
    /// The guest itself gave its first sign on the new host, as the observer heard it.
    pub first_write_ms: u64,
}

/// How a loss of power went.
#[derive(Debug, Clone, Serialize)]
pub struct Failover {
    /// What was lost.
    pub machines: Vec<String>,
    /// When (CLOCK_BOOTTIME).
    pub power_off_at: u64,
    /// When (wall clock).
    pub power_off_unix: u64,
    /// Until the last process was seen to be gone.
    pub gone_ms: u64,
    /// Until the last lost host was suspected.
    pub detected_ms: Option<u64>,
    /// Until the last lost host was proven stopped.
    pub proven_ms: Option<u64>,
    /// Per VM.
    pub vms: BTreeMap<String, VmFailover>,
}

impl Failover {
    /// From the power-off to the guests' first signs: least, median, most.
    pub fn rto_ms(&self) -> (u64, u64, u64) {
        let all = || self.vms.values().map(|vm| vm.first_write_ms);
        let middle = median(all()).unwrap_or(0);
        (all().min().unwrap_or(0), middle, all().max().unwrap_or(0))
    }
}

/// Cuts a site's power and waits until its VMs live elsewhere.
pub fn lose_site(cluster: &Cluster, site: &str, limit: Duration) -> Result<Failover> {
    let machines = cluster.lab.layout().site(site)?;
    let names: Vec<String> = machines
        .iter()
        .map(|machine| machine.name.clone())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lose(cluster, &names, limit)
}

/// Cuts the power of machines and waits until the VMs they ran live elsewhere.
pub fn lose(cluster: &Cluster, machines: &[&str], limit: Duration) -> Result<Failover> {
    let before = cluster.status()?;
    let mut vms = BTreeMap::new();
    for vm in before.vms.iter().filter(|vm| vm.state == VmState::Running) {
        let Some(host) = vm.host.as_ref().map(|host| host.to_string()) else {
            continue;
        };
        if machines.contains(&host.as_str()) {
            vms.insert(
                vm.name.to_string(),
                VmFailover {
                    from: host,
                    ..VmFailover::default()
                },
            );
        }
    }
    let (boottime, unix) = (clock::now_ms(), clock::unix_ms());
    let power_off = cluster.lab.power_off(machines)?;
    let power_off_unix = (unix + power_off.at_ms).saturating_sub(boottime);
    wait_for_guests(cluster, machines, &power_off, &mut vms, limit)?;
    let names: Vec<&str> = vms.keys().map(String::as_str).collect();
    // The last report may still be on its way to the store.
    cluster.wait_running(&names, limit)?;
    let events = cluster.events()?;
    let mut failover = Failover {
        machines: power_off.machines.clone(),
        power_off_at: power_off.at_ms,
        power_off_unix,
        gone_ms: power_off.gone_ms.saturating_sub(power_off.at_ms),
        detected_ms: None,
        proven_ms: None,
        vms,
    };
    phases(&mut failover, &events);
    Ok(failover)
}

/// The guests themselves say where they live.
fn wait_for_guests(
    cluster: &Cluster,
    machines: &[&str],
    power_off: &PowerOff,
    vms: &mut BTreeMap<String, VmFailover>,
    limit: Duration,
) -> Result<()> {
    let mut log = cluster.lab.observer_log()?;
    for (name, vm) in vms.iter_mut() {
        // Nothing that was sent before the cables were out can arrive much later.
        let beat = log.wait_for_beat(name, power_off.links_down_ms, limit)?;
        if machines.contains(&beat.host.as_str()) {
            return Err(LabError::Refused(format!(
                "{name} was heard from {} after its power was cut: the fault did not happen",
                beat.host
            )));
        }
        vm.to = beat.host;
        vm.first_write_ms = beat.at_ms.saturating_sub(power_off.at_ms);
    }
    Ok(())
}

/// Takes the phases from the cluster's own events.
fn phases(failover: &mut Failover, events: &[Event]) {
    let start = failover.power_off_unix;
    let since = |event: &Event| event.at.0.saturating_sub(start);
    let later: Vec<&Event> = events.iter().filter(|event| event.at.0 >= start).collect();
    let of_host = |kind: EventKind, host: &str| {
        later
            .iter()
            .find(|event| {
                event.kind == kind && event.host.as_ref().is_some_and(|h| h.as_str() == host)
            })
            .map(|event| since(event))
    };
    for (name, vm) in &mut failover.vms {
        let of_vm = |kind: EventKind| {
            let about = |event: &&&Event| {
                event.kind == kind && event.vm.as_ref().is_some_and(|vm| vm.as_str() == name)
            };
            later.iter().find(about).map(|event| since(event))
        };
        vm.lost_ms = of_host(EventKind::HostSuspect, &vm.from);
        vm.proven_ms = of_host(EventKind::HostFenced, &vm.from);
        vm.granted_ms = of_vm(EventKind::VmGranted);
        vm.running_ms = of_vm(EventKind::VmRunning);
    }
    failover.detected_ms = failover.vms.values().filter_map(|vm| vm.lost_ms).max();
    failover.proven_ms = failover.vms.values().filter_map(|vm| vm.proven_ms).max();
}
