//! etcd with a disk that is slow, or full. No VM may stop for it.

use std::time::Duration;

use holdfast_model::status::{Plane, Vm};

use super::checks::{given_up, runs_on, same_grant, wait_lease, wait_told};
use super::{PATIENCE, expect, small, with_vms};
use crate::blueprint::ETCD_DIR;
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::trial::{Cluster, move_etcd_leader};

/// What one sync of a slow disk takes.
const SLOW: Duration = Duration::from_millis(500);
/// Longer than any wait that ends in a start elsewhere.
const PAST_EVERY_WAIT: Duration = Duration::from_secs(7);
/// Longer than two deadlines.
const LONG: Duration = Duration::from_secs(10);
const MEMBERS: [&str; 3] = ["a-ctl", "b-ctl", "witness"];

/// Two VMs whose hosts have both planes; afterwards all is as before, and no host was given up.
fn nothing_stops(
    lab: &Lab,
    names: [&str; 2],
    fault: impl FnOnce(&Cluster, &[Vm]) -> Result<()>,
) -> Result<()> {
    with_vms(
        lab,
        &[small(names[0], "a"), small(names[1], "b")],
        |cluster| {
            let before = [cluster.vm(names[0])?, cluster.vm(names[1])?];
            for vm in &before {
                let host = vm.host.as_ref().map(ToString::to_string);
                wait_lease(cluster, &host.unwrap_or_default(), Plane::Valid)?;
            }
            let known = given_up(cluster)?;
            move_etcd_leader(cluster, "a-ctl")?;
            fault(cluster, &before)?;
            // Nor afterwards: whoever leads then has seen none of them for longer than any wait.
            cluster.wait("a manager to lead", PATIENCE, |status| {
                match &status.leader {
                    Some(_) if status.quorum.healthy => Ok(()),
                    _ => Err(format!("{:?}", status.conditions)),
                }
            })?;
            let leads_ms = clock::now_ms();
            cluster.wait_sites_online(PATIENCE)?;
            cluster.wait_running(&names, PATIENCE)?;
            for vm in &before {
                runs_on(cluster, vm, leads_ms, PAST_EVERY_WAIT)?;
                same_grant(cluster, vm)?;
            }
            let given_up = given_up(cluster)?;
            expect(given_up == known, || {
                format!("hosts were given up for etcd's disks: {given_up:?}, before {known:?}")
            })
        },
    )
}

pub(super) fn slow(lab: &Lab) -> Result<()> {
    nothing_stops(lab, ["esa", "esb"], |cluster, before| {
        // The leader's alone, then everybody's.
        let mut disks = vec![lab.slow_disk(MEMBERS[0], "etcd", SLOW)?];
        disks[0].wait_held_up(3, PATIENCE)?;
        for vm in before {
            runs_on(cluster, vm, clock::now_ms(), PAST_EVERY_WAIT)?;
        }
        for member in &MEMBERS[1..] {
            disks.push(lab.slow_disk(member, "etcd", SLOW)?);
        }
        for disk in &disks[1..] {
            disk.wait_held_up(3, PATIENCE)?;
        }
        let slow_ms = clock::now_ms();
        wait_told(cluster, "no-quorum", "slow disk")?;
        for vm in before {
            runs_on(cluster, vm, slow_ms, LONG)?;
        }
        Ok(())
    })
}

pub(super) fn full(lab: &Lab) -> Result<()> {
    nothing_stops(lab, ["efa", "efb"], |cluster, before| {
        fill(lab, MEMBERS[0])?;
        wait_told(cluster, "voter-down", "etcd member a-ctl does not answer")?;
        let full_ms = clock::now_ms();
        for vm in before {
            runs_on(cluster, vm, full_ms, PAST_EVERY_WAIT)?;
            same_grant(cluster, vm)?;
        }
        for member in &MEMBERS[1..] {
            fill(lab, member)?;
        }
        wait_told(cluster, "no-quorum", "no answer from")?;
        let full_ms = clock::now_ms();
        for vm in before {
            runs_on(cluster, vm, full_ms, LONG)?;
        }
        for member in MEMBERS {
            lab.exec(member, &["rm", BALLAST], LIMIT)?.ok("rm")?;
        }
        crate::ready::etcd(lab)
    })
}

const LIMIT: Duration = Duration::from_secs(30);
const BALLAST: &str = "/var/lib/holdfast/etcd/ballast";

/// Leaves a member's disk without a free block.
fn fill(lab: &Lab, member: &str) -> Result<()> {
    let of = format!("of={BALLAST}");
    let written = lab.exec(member, &["dd", "if=/dev/zero", &of, "bs=64k"], LIMIT)?;
    expect(written.stderr.contains("No space left on device"), || {
        format!("{member}: dd filled nothing: {}", written.stderr)
    })?;
    let free = ["stat", "--file-system", "--format=%a", ETCD_DIR];
    let free = lab.exec(member, &free, LIMIT)?.ok("stat")?.stdout;
    expect(free.trim() == "0", || {
        format!("{member}: {free} blocks are free still")
    })
}
