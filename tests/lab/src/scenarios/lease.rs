//! Storage leases and the processes that keep them: what runs on, what stops first, and what is told.

use std::time::Duration;

use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm};
use serde_json::Value;

use super::checks::{
    given_up, moved_over, proven, runs_on, same_grant, wait_host, wait_lease, wait_told,
};
use super::fence::wait_event;
use super::{PATIENCE, THREE_TTLS, expect, host_of, small, wait_gone, with_vms};
use crate::error::{LabError, Result};
use crate::faults;
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::Cluster;

/// Ten of them, and more.
const TEN_TTLS: Duration = Duration::from_secs(45);

/// An agent's connections to libvirtd: for events, looks, changes, and what is urgent.
const AGENTS_CONNECTIONS: usize = 15;

pub(super) fn isolated(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("iso", "a")], |cluster| {
        let before = cluster.vm("iso")?;
        let host = host_of(cluster, "iso")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        lab.hit(Hit::host(&host));
        let cut = cluster.lab.cut(&host, "etcd", false)?;
        proven(cluster)?;
        moved_over(cluster, &before, cut.at_ms)?;
        wait_host(cluster, &host, Membership::Fenced)?;
        let reason = cluster.status()?.hosts.into_iter();
        let mut reason = reason.filter(|each| each.name.as_str() == host);
        let reason = reason.next().map(|each| each.reason).unwrap_or_default();
        expect(reason.contains("released"), || {
            format!("{host} was given up for another reason: {reason}")
        })?;
        cluster.lab.heal(&host, "etcd")?;
        wait_host(cluster, &host, Membership::Online)
    })
}

pub(super) fn both_lost(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("both", "a")], |cluster| {
        let before = cluster.vm("both")?;
        let host = host_of(cluster, "both")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        lab.hit(Hit::host(&host));
        let cut = cluster.lab.cut(&host, "all", false)?;
        proven(cluster)?;
        moved_over(cluster, &before, cut.at_ms)?;
        cluster.lab.heal("all", "all")?;
        wait_host(cluster, &host, Membership::Online)?;
        both_instants(cluster, &before)
    })
}

/// `holdfast timeline` shows when the guard stopped it there and when it ran elsewhere, in this order. The guard
/// can tell only once its host is back.
fn both_instants(cluster: &Cluster, before: &Vm) -> Result<()> {
    let name = before.name.as_str();
    let host = before.host.as_ref().map(ToString::to_string);
    let host = host.unwrap_or_default();
    let to = host_of(cluster, name)?;
    wait_event(cluster, &format!("{host}: the guard stopped {name}"))?;
    wait_until("a timeline with both instants", PATIENCE, "", || {
        let lane = lane_of(cluster, name).map_err(|error| error.to_string())?;
        let reached = |phase: &str| {
            let marks = lane["marks"].as_array().into_iter().flatten();
            let mut marks = marks.filter(|mark| mark["phase"] == phase);
            marks.next().and_then(|mark| mark["at_ms"].as_u64())
        };
        let stopped = lane["killed_ms"].as_u64();
        let in_order = stopped.is_some() && stopped < reached("running");
        match in_order && lane["from"] == host && lane["to"] == to {
            true => Ok(()),
            false => Err(format!("{lane}")),
        }
    })
}

/// A VM's part of the newest incident in which hosts were lost: a site's loss, if other scenarios have just lost its
/// other host.
fn lane_of(cluster: &Cluster, vm: &str) -> Result<Value> {
    let incidents = cluster.lab.cli_json(&["timeline"])?;
    let list = incidents.get("items").unwrap_or(&incidents).as_array();
    let lost =
        |incident: &&Value| incident["kind"] == "host-loss" || incident["kind"] == "site-loss";
    let vms = list.and_then(|list| list.iter().rfind(lost));
    let mut lanes = vms
        .and_then(|incident| incident["vms"].as_array())
        .into_iter()
        .flatten();
    let lane = lanes.find(|lane| lane["vm"] == vm).cloned();
    lane.ok_or_else(|| LabError::Refused(format!("no loss of a host of {vm} in {incidents}")))
}

pub(super) fn agent_away(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("agt", "a")], |cluster| {
        let before = cluster.vm("agt")?;
        let host = host_of(cluster, "agt")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        let killed = cluster.lab.kill(&host, "agent")?;
        runs_on(cluster, &before, killed.done_ms, Duration::from_secs(5))?;
        let frozen = cluster.lab.freeze(&host, "agent")?;
        runs_on(cluster, &before, frozen.done_ms, THREE_TTLS)?;
        wait_host(cluster, &host, Membership::Isolated)?;
        let thawed = cluster.lab.thaw(&host, "agent")?;
        wait_host(cluster, &host, Membership::Online)?;
        runs_on(cluster, &before, thawed.done_ms, Duration::from_secs(1))?;
        same_grant(cluster, &before)
    })
}

pub(super) fn guard_away(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("grd", "a")], |cluster| {
        let before = cluster.vm("grd")?;
        let host = host_of(cluster, "grd")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        let killed = cluster.lab.kill(&host, "guard")?;
        runs_on(cluster, &before, killed.done_ms, Duration::from_secs(5))?;
        wait_lease(cluster, &host, Plane::Valid)?;
        let frozen = cluster.lab.freeze(&host, "guard")?;
        wait_lease(cluster, &host, Plane::Lapsed)?;
        runs_on(cluster, &before, frozen.done_ms, THREE_TTLS)?;
        let thawed = cluster.lab.thaw(&host, "guard")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        runs_on(cluster, &before, thawed.done_ms, Duration::from_secs(3))?;
        same_grant(cluster, &before)
    })
}

pub(super) fn etcd_away(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("eta", "a"), small("etb", "b")], |cluster| {
        let before = [cluster.vm("eta")?, cluster.vm("etb")?];
        for vm in &before {
            let host = vm.host.as_ref().map(ToString::to_string);
            wait_lease(cluster, &host.unwrap_or_default(), Plane::Valid)?;
        }
        let known = given_up(cluster)?;
        cluster.lab.freeze("a-ctl", "etcd")?;
        let frozen = cluster.lab.freeze("witness", "etcd")?;
        for vm in &before {
            runs_on(cluster, vm, frozen.done_ms, TEN_TTLS)?;
        }
        cluster.lab.thaw("a-ctl", "etcd")?;
        cluster.lab.thaw("witness", "etcd")?;
        cluster.wait_sites_online(PATIENCE)?;
        for vm in &before {
            same_grant(cluster, vm)?;
        }
        let given_up = given_up(cluster)?;
        expect(given_up == known, || {
            format!("hosts were given up for an outage of etcd: {given_up:?}, before {known:?}")
        })
    })
}

pub(super) fn libvirtd_away(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("lvd", "a")], |cluster| {
        let before = cluster.vm("lvd")?;
        let host = host_of(cluster, "lvd")?;
        let killed = cluster.lab.kill(&host, "libvirtd")?;
        runs_on(cluster, &before, killed.done_ms, Duration::from_secs(5))?;
        let frozen = cluster.lab.freeze(&host, "libvirtd")?;
        wait_told(cluster, "libvirt-unreachable", "")?;
        runs_on(cluster, &before, frozen.done_ms, THREE_TTLS)?;
        cluster.lab.thaw(&host, "libvirtd")?;
        cluster.wait_running(&["lvd"], PATIENCE)?;
        same_grant(cluster, &before)?;
        // The VM is stopped over one of the connections that are closed here.
        close_connections(cluster, &host)
    })
}

/// Nobody can ask libvirtd to stop the VM, and it can prove neither plane: its guard kills it in time all the same.
pub(super) fn libvirtd_away_and_cut(lab: &Lab) -> Result<()> {
    const VM: &str = "lvc";
    with_vms(lab, &[small(VM, "a")], |cluster| {
        let before = cluster.vm(VM)?;
        let host = host_of(cluster, VM)?;
        wait_lease(cluster, &host, Plane::Valid)?;
        lab.freeze(&host, "libvirtd")?;
        wait_told(cluster, "libvirt-unreachable", &host)?;
        lab.hit(Hit::host(&host));
        let cut = lab.cut(&host, "all", false)?;
        proven(cluster)?;
        moved_over(cluster, &before, cut.at_ms)?;
        wait_gone(cluster, &host, VM)?;
        // All of that while libvirtd stood still.
        let libvirtd = faults::find(lab.state(), lab.layout().machine(&host)?, "libvirtd")?;
        expect(libvirtd.iter().all(|process| process.state == 'T'), || {
            format!("libvirtd of {host} does not stand still: {libvirtd:?}")
        })?;
        lab.thaw(&host, "libvirtd")?;
        lab.heal("all", "all")?;
        wait_event(cluster, &format!("{host}: the guard stopped {VM}"))?;
        wait_host(cluster, &host, Membership::Online)
    })
}

/// libvirtd closes all of the agent's connections but the oldest, over which it would hear of it.
fn close_connections(cluster: &Cluster, host: &str) -> Result<()> {
    let admin = |argv: &[&str]| {
        let argv: Vec<&str> = ["virt-admin"].iter().chain(argv).copied().collect();
        let out = cluster.lab.exec(host, &argv, Duration::from_secs(20))?;
        out.ok("virt-admin")
    };
    let clients = || -> Result<Vec<u64>> {
        let said = admin(&["client-list", "libvirtd"])?.stdout;
        let ids = said.lines().filter_map(|line| {
            let id = line.split_ascii_whitespace().next()?;
            id.parse().ok()
        });
        let mut ids: Vec<u64> = ids.collect();
        ids.sort_unstable();
        Ok(ids)
    };
    // It opens them again after libvirtd stood still.
    let before = wait_until("the agent's connections", PATIENCE, "", || {
        let found = clients().map_err(|error| error.to_string())?;
        match found.len() >= AGENTS_CONNECTIONS {
            true => Ok(found),
            false => Err(format!("{found:?}")),
        }
    })?;
    for id in &before[1..] {
        admin(&["client-disconnect", "libvirtd", &id.to_string()])?;
    }
    let left = clients()?;
    expect(left.iter().all(|id| !before[1..].contains(id)), || {
        format!("clients {before:?} were to be disconnected but one, and are {left:?}")
    })
}
