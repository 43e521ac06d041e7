//! Storage leases and the processes that keep them: what runs on, what stops first, and what is told.

use std::time::Duration;

use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm, VmState};

use super::cut::proven;
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::configs::LEASE_VOLUME;
use crate::error::Result;
use crate::lab::Lab;
use crate::run::wait_until;
use crate::trial::Cluster;

/// More than three times the default profile's deadline.
const THREE_TTLS: Duration = Duration::from_secs(14);
/// Ten of them, and more.
const TEN_TTLS: Duration = Duration::from_secs(45);

fn wait_host(cluster: &Cluster, host: &str, wanted: Membership) -> Result<()> {
    cluster.wait(
        &format!("{host} to be {wanted:?}"),
        PATIENCE,
        |status| match status.hosts.iter().find(|each| each.name.as_str() == host) {
            Some(found) if found.state == Some(wanted) => Ok(()),
            Some(found) => Err(format!("{:?}: {}", found.state, found.reason)),
            None => Err("it is not known".into()),
        },
    )
}

fn wait_lease(cluster: &Cluster, host: &str, wanted: Plane) -> Result<()> {
    let what = format!("{host}'s storage plane to be {wanted:?}");
    cluster.wait(&what, PATIENCE, |status| {
        match status.hosts.iter().find(|each| each.name.as_str() == host) {
            Some(found) if found.planes.storage == wanted => Ok(()),
            Some(found) => Err(format!("{:?}: {}", found.planes, found.reason)),
            None => Err("it is not known".into()),
        }
    })
}

/// It beats for as long as that, in the very same grant, on the very same host.
fn runs_on(cluster: &Cluster, before: &Vm, since_ms: u64, how_long: Duration) -> Result<()> {
    let name = before.name.as_str();
    let host = before.host.as_ref().map(ToString::to_string);
    let host = host.unwrap_or_default();
    let mut log = cluster.lab.observer_log()?;
    let until = since_ms + how_long.as_millis() as u64;
    log.wait_for_beat_on(name, &host, until, PATIENCE)?;
    let proof = cluster.lab.proof()?;
    let found = proof.vms.iter().find(|vm| vm.vm == name);
    let stays = found.map_or(0, |vm| vm.stays.len());
    expect(stays == 1, || {
        format!("{name} did not just run on: it has {stays} stays by its own signs")
    })
}

/// The same grant still.
fn same_grant(cluster: &Cluster, before: &Vm) -> Result<()> {
    let now = cluster.vm(before.name.as_str())?;
    expect(
        (now.generation, &now.host) == (before.generation, &before.host),
        || format!("{} went to {:?}: {}", now.name, now.host, now.reason),
    )
}

/// It runs on another host, and its last sign on the old one came before the first on the new one.
fn moved_over(cluster: &Cluster, before: &Vm, since_ms: u64) -> Result<()> {
    let name = before.name.as_str();
    let was = before.host.as_ref().map(ToString::to_string);
    let was = was.unwrap_or_default();
    cluster.wait(
        &format!("{name} to run elsewhere"),
        PATIENCE,
        |status| match status.vms.iter().find(|vm| vm.name.as_str() == name) {
            Some(vm) if vm.state == VmState::Running && vm.host != before.host => Ok(()),
            Some(vm) => Err(format!("{:?} on {:?}: {}", vm.state, vm.host, vm.reason)),
            None => Err("it is gone".into()),
        },
    )?;
    let now = host_of(cluster, name)?;
    let mut log = cluster.lab.observer_log()?;
    let first = log.wait_for_beat_on(name, &now, since_ms, PATIENCE)?;
    // The observer hears a cut-off host as well: the last sign from there is the truth.
    let proof = cluster.lab.proof()?;
    let stays = proof.vms.into_iter().filter(|vm| vm.vm == name);
    let stays = stays.flat_map(|vm| vm.stays);
    let last = stays
        .filter(|stay| stay.host == was)
        .map(|stay| stay.last_ms);
    let last = last.max();
    expect(
        last.is_some_and(|last| last > since_ms && last < first.at_ms),
        || {
            format!(
                "last sign on {was} {last:?}, fault at {since_ms}, first on {now} {}",
                first.at_ms
            )
        },
    )
}

pub(super) fn isolated(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("iso", "a")], |cluster| {
        let before = cluster.vm("iso")?;
        let host = host_of(cluster, "iso")?;
        wait_lease(cluster, &host, Plane::Valid)?;
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
        let cut = cluster.lab.cut(&host, "all", false)?;
        proven(cluster)?;
        moved_over(cluster, &before, cut.at_ms)?;
        cluster.lab.heal("all", "all")?;
        wait_host(cluster, &host, Membership::Online)
    })
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

/// What was told of hosts that were given up.
fn given_up(cluster: &Cluster) -> Result<Vec<String>> {
    let events = cluster.events()?.into_iter();
    let lost =
        |event: &Event| matches!(event.kind, EventKind::HostFenced | EventKind::HostIsolated);
    Ok(events.filter(lost).map(|event| event.text).collect())
}

pub(super) fn volume_damaged(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("vol", "a")], |cluster| {
        let before = cluster.vm("vol")?;
        let host = host_of(cluster, "vol")?;
        let second = Duration::from_secs(10);
        let on_host = |argv: &[&str]| cluster.lab.exec(&host, argv, second)?.ok("on the volume");
        wait_lease(cluster, &host, Plane::Valid)?;
        // Every heartbeat slot is overwritten with zeros: their owners write them anew.
        let of = format!("of={LEASE_VOLUME}");
        let scribble = [
            "dd",
            "if=/dev/zero",
            &of,
            "bs=4096",
            "seek=2",
            "count=64",
            "conv=notrunc",
        ];
        on_host(&scribble)?;
        let begun = cluster.lab.observer_log()?.last_beat("vol");
        let since_ms = begun.map_or(0, |beat| beat.at_ms);
        runs_on(cluster, &before, since_ms, THREE_TTLS)?;
        wait_lease(cluster, &host, Plane::Valid)?;
        // And then it is gone: the plane lapses, nothing stops, and it is told.
        let away = format!("{LEASE_VOLUME}.away");
        on_host(&["mv", LEASE_VOLUME, &away])?;
        wait_lease(cluster, &host, Plane::Lapsed)?;
        let told = || {
            let conditions = cluster
                .status()
                .map_err(|error| error.to_string())?
                .conditions;
            let found = conditions.iter().any(|each| each.code == "lease-lapsed");
            found.then_some(()).ok_or(format!("{conditions:?}"))
        };
        wait_until("the lapsed lease to be told", PATIENCE, "", told)?;
        on_host(&["mv", &away, LEASE_VOLUME])?;
        wait_lease(cluster, &host, Plane::Valid)?;
        same_grant(cluster, &before)
    })
}

pub(super) fn libvirtd_away(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("lvd", "a")], |cluster| {
        let before = cluster.vm("lvd")?;
        let host = host_of(cluster, "lvd")?;
        let killed = cluster.lab.kill(&host, "libvirtd")?;
        runs_on(cluster, &before, killed.done_ms, Duration::from_secs(5))?;
        let frozen = cluster.lab.freeze(&host, "libvirtd")?;
        let told = || {
            let conditions = cluster
                .status()
                .map_err(|error| error.to_string())?
                .conditions;
            let found = conditions
                .iter()
                .any(|each| each.code == "libvirt-unreachable");
            found.then_some(()).ok_or(format!("{conditions:?}"))
        };
        wait_until("libvirtd's silence to be told", PATIENCE, "", told)?;
        runs_on(cluster, &before, frozen.done_ms, THREE_TTLS)?;
        cluster.lab.thaw(&host, "libvirtd")?;
        cluster.wait_running(&["lvd"], PATIENCE)?;
        same_grant(cluster, &before)
    })
}
