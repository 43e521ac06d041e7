//! What the scenarios look at: that a fault has happened, that a VM runs on, that it went elsewhere.

use std::time::Duration;

use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm};

use super::{PATIENCE, expect};
use crate::error::Result;
use crate::run::wait_until;
use crate::trial::{Cluster, Handover, hand_over};

/// The rules are in force and have dropped packets: the fault has happened.
pub(super) fn proven(cluster: &Cluster) -> Result<()> {
    wait_until("the cuts to have dropped packets", PATIENCE, "", || {
        let cuts = cluster.lab.cuts().map_err(|error| error.to_string())?;
        match cuts.iter().filter(|cut| cut.dropped == 0).count() {
            0 if !cuts.is_empty() => Ok(()),
            _ => Err(format!("{cuts:?}")),
        }
    })
}

pub(super) fn wait_host(cluster: &Cluster, host: &str, wanted: Membership) -> Result<()> {
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

pub(super) fn wait_lease(cluster: &Cluster, host: &str, wanted: Plane) -> Result<()> {
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
pub(super) fn runs_on(
    cluster: &Cluster,
    before: &Vm,
    since_ms: u64,
    how_long: Duration,
) -> Result<()> {
    let name = before.name.as_str();
    let host = before.host.as_ref().map(ToString::to_string);
    let host = host.unwrap_or_default();
    let mut log = cluster.lab.observer_log()?;
    let until = since_ms + how_long.as_millis() as u64;
    log.wait_for_beat_on(name, &host, until, PATIENCE)?;
    let proof = cluster.lab.proof()?;
    let found = proof.vms.iter().find(|vm| vm.vm == name);
    let stays = found.map_or(&[][..], |vm| &vm.stays);
    let since: Vec<_> = stays.iter().filter(|s| s.last_ms > since_ms).collect();
    let on = matches!(since[..], [stay] if stay.first_ms <= since_ms);
    expect(on, || {
        format!(
            "{name} did not just run on since {since_ms}; its stays by its own signs: {since:?}"
        )
    })
}

/// The same grant still.
pub(super) fn same_grant(cluster: &Cluster, before: &Vm) -> Result<()> {
    let now = cluster.vm(before.name.as_str())?;
    expect(
        (now.generation, &now.host) == (before.generation, &before.host),
        || format!("{} went to {:?}: {}", now.name, now.host, now.reason),
    )
}

/// It runs on another host, and its last sign on the old one came after the fault and before the first
/// on the new one.
pub(super) fn moved_over(cluster: &Cluster, before: &Vm, since_ms: u64) -> Result<()> {
    let Handover {
        last_ms, first_ms, ..
    } = went_elsewhere(cluster, before, since_ms)?;
    expect(last_ms > since_ms, || {
        let name = &before.name;
        format!(
            "{name} was silent before the fault: last sign {last_ms}, fault at {since_ms}, \
             first elsewhere {first_ms}"
        )
    })
}

/// It runs on another host, and was silent on the old one before its first sign there.
pub(super) fn went_elsewhere(cluster: &Cluster, before: &Vm, since_ms: u64) -> Result<Handover> {
    hand_over(cluster, before, since_ms, PATIENCE)
}

/// Waits until a condition stands in the status; its text.
pub(super) fn wait_told(cluster: &Cluster, code: &str, says: &str) -> Result<String> {
    cluster.wait(&format!("`{code}` to be told"), PATIENCE, |status| {
        let mut found = status.conditions.iter();
        match found.find(|each| each.code == code && each.text.contains(says)) {
            Some(found) => Ok(found.text.clone()),
            None => Err(format!("{:?}", status.conditions)),
        }
    })
}

/// What was told of hosts that were given up.
pub(super) fn given_up(cluster: &Cluster) -> Result<Vec<String>> {
    let events = cluster.events()?.into_iter();
    let lost =
        |event: &Event| matches!(event.kind, EventKind::HostFenced | EventKind::HostIsolated);
    Ok(events.filter(lost).map(|event| event.text).collect())
}
