//! Hosts whose clocks have nothing to do with each other, or jump.

use std::time::Duration;

use holdfast_model::status::Plane;

use super::checks::{given_up, runs_on, same_grant, wait_lease, went_elsewhere};
use super::{PATIENCE, THREE_TTLS, expect, host_of, small, with_vms};
use crate::clock::{now_ms, unix_ms};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::{Cluster, move_vm};

/// A VM moves live to a host whose clock is an hour behind, that host loses its power, and comes back with
/// a clock that has begun anew.
pub(super) fn apart(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("clk", "b")], |cluster| {
        let from = host_of(cluster, "clk")?;
        let to = "a1";
        let behind_s = uptime_s(lab, &from)? - uptime_s(lab, to)?;
        expect((3_000..4_200).contains(&behind_s), || {
            format!("{to} is {behind_s} s behind {from} instead of an hour")
        })?;
        move_vm(cluster, "clk", to, PATIENCE)?;
        let before = cluster.vm("clk")?;
        let was_s = uptime_s(lab, to)?;
        lab.hit(Hit::host(to));
        let off = lab.power_off(&[to])?;
        went_elsewhere(cluster, &before, off.at_ms)?;
        lab.power_on(&[to])?;
        let now_s = uptime_s(lab, to)?;
        expect(now_s < was_s, || {
            format!("{to} was up for {was_s} s, had no power, and is up for {now_s} s")
        })
    })
}

/// An hour, and no deadline, session, lease or hold-down that is counted in seconds survives it.
const JUMP_S: i64 = 3_600;

/// The wall clocks of a VM's host and of all managers jump by an hour, against each other and back: the VM
/// runs on. Then its host loses its power, while they are two hours apart.
pub(super) fn stepped(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("wal", "a")], |cluster| {
        let host = host_of(cluster, "wal")?;
        let controls: Vec<&str> = lab.layout().controls().map(|m| m.name.as_str()).collect();
        let machines = || controls.iter().copied().chain([host.as_str()]);
        for machine in machines() {
            lab.set_wall_clock(machine, 0)?;
        }
        for ahead_s in [JUMP_S, -JUMP_S] {
            wait_lease(cluster, &host, Plane::Valid)?;
            let before = cluster.vm("wal")?;
            let known = given_up(cluster)?;
            let jumped_ms = now_ms();
            for machine in &controls {
                lab.set_wall_clock(machine, -ahead_s)?;
            }
            lab.set_wall_clock(&host, ahead_s)?;
            runs_on(cluster, &before, jumped_ms, THREE_TTLS)?;
            same_grant(cluster, &before)?;
            let given_up = given_up(cluster)?;
            expect(given_up == known, || {
                format!(
                    "hosts were given up for a clock on the wall: {given_up:?}, before {known:?}"
                )
            })?;
            have_jumped(cluster, &host, ahead_s)?;
        }
        let before = cluster.vm("wal")?;
        lab.hit(Hit::host(&host));
        let off = lab.power_off(&[&host])?;
        went_elsewhere(cluster, &before, off.at_ms)?;
        lab.power_on(&[&host])?;
        cluster.wait_sites_online(PATIENCE)?;
        for machine in machines() {
            lab.real_wall_clock(machine)?;
        }
        Ok(())
    })
}

/// A restart on request is told of by the leader and by the host, each by its own clock: both have jumped.
fn have_jumped(cluster: &Cluster, host: &str, ahead_s: i64) -> Result<()> {
    let known = cluster.events()?;
    cluster.lab.hit(Hit::vm("wal"));
    cluster
        .lab
        .cli(&["vm", "restart", "wal"])?
        .ok("holdfast vm restart")?;
    wait_until(
        "events by the clocks that have jumped",
        PATIENCE,
        "",
        || {
            let events = cluster.events().map_err(|error| error.to_string())?;
            let now_ms = unix_ms() as i64;
            let by = |of_host: bool, ahead_s: i64| {
                events.iter().any(|event| {
                    let ahead_ms = event.at.0 as i64 - now_ms;
                    let off_ms = (ahead_ms - 1_000 * ahead_s).unsigned_abs();
                    !known.contains(event) && (event.actor == host) == of_host && off_ms < 120_000
                })
            };
            match (by(true, ahead_s), by(false, -ahead_s)) {
                (true, true) => Ok(()),
                (of_host, of_manager) => {
                    Err(format!("host {of_host}, manager {of_manager}: {events:?}"))
                }
            }
        },
    )?;
    cluster.wait_running(&["wal"], PATIENCE)
}

/// How long a machine is up, by its own clock.
fn uptime_s(lab: &Lab, machine: &str) -> Result<i64> {
    let argv = ["cat", "/proc/uptime"];
    let text = lab
        .exec(machine, &argv, Duration::from_secs(10))?
        .ok("cat")?;
    let whole = text.stdout.split('.').next().unwrap_or_default();
    whole
        .parse()
        .map_err(|_| LabError::Refused(format!("{machine}: /proc/uptime is {:?}", text.stdout)))
}
