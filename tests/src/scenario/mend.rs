//! `mend`: everything that a fault may have left behind is put right, as repair crews would.
//! One line, so that what led to a failure stands out in a recorded run.

use super::verbs::carry_out;
use crate::sim::Sim;

/// Carries out whatever mends something. What is whole already refuses to be mended, and stays.
pub(super) fn mend(sim: &mut Sim) {
    for line in repairs(sim) {
        let _ = carry_out(sim, &line);
    }
}

fn repairs(sim: &Sim) -> Vec<String> {
    let sites = || {
        sim.managers
            .values()
            .map(|manager| manager.site.to_string())
    };
    let hosts = || sim.hosts.keys().map(ToString::to_string);
    let vms = super::expect::all_vms(sim)
        .into_iter()
        .map(|spec| spec.name);
    let mut lines = vec!["heal".to_owned()];
    lines.extend(sites().map(|site| format!("power site {site} on")));
    lines.extend(sites().map(|site| format!("manager {site} start")));
    lines.extend(hosts().map(|host| format!("storage {host} synced")));
    lines.extend(hosts().map(|host| format!("power host {host} on")));
    lines.extend(hosts().map(|host| format!("agent {host} start")));
    lines.extend(hosts().map(|host| format!("fence {host} answers")));
    // By their own names as well.
    let odd = sim.odd_devices().map(ToString::to_string);
    let odd = odd.filter(|device| hosts().all(|host| host != *device));
    lines.extend(odd.map(|device| format!("fence {device} answers")));
    lines.extend(vms.map(|vm| format!("lose-finish {vm} off")));
    lines.extend(sites().map(|site| format!("voter {site} start")));
    let watchers = sites().chain(hosts());
    lines.extend(watchers.map(|name| format!("lose-replies {name} 0")));
    lines.push("pause-leader 0 0ms".to_owned());
    let slow = sim
        .hosts
        .values()
        .filter(|host| host.m.libvirtd.slow_ms > 0);
    lines.extend(slow.map(|host| format!("libvirt {} slow 0ms", host.m.name)));
    if sim.ctx.san.has_damaged_claims() {
        lines.push("san repair".to_owned());
    }
    if sim.loses_probes() {
        lines.push("probes lose 0".to_owned());
    }
    lines
}
