//! Cuts of just one deadline, and cuts of one direction only.

use std::time::Duration;

use holdfast_model::host::Membership;
use holdfast_model::status::Plane;
use holdfast_model::timing::{Profile, Timing};

use super::checks::{given_up, moved_over, proven, runs_on, same_grant, wait_host, wait_lease};
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::run::wait_until;
use crate::trial::Cluster;

/// Longer than the taker's wait, and than the deadline by more than any answer takes.
const PAST_EVERY_WAIT: Duration = Duration::from_secs(8);

/// The runner's deadline of the lab's profile.
fn deadline_ms() -> u64 {
    Timing::of(Profile::Default).runner_deadline_ms
}

/// Cuts these links for one deadline, and shows that it was one and that packets were lost in it.
fn cut_for_one_deadline(cluster: &Cluster, links: &[(&str, &str)]) -> Result<u64> {
    let mut at_ms = 0;
    for (one, other) in links {
        at_ms = cluster.lab.cut(one, other, false)?.at_ms;
    }
    proven(cluster)?;
    let end_ms = at_ms + deadline_ms();
    wait_until("the deadline to be over", PATIENCE, "", || {
        match end_ms.saturating_sub(clock::now_ms()) {
            0 => Ok(()),
            left_ms => Err(format!("{left_ms} ms left")),
        }
    })?;
    cluster.lab.heal("all", "all")?;
    let lasted_ms = clock::now_ms() - at_ms;
    expect(lasted_ms < deadline_ms() + 500, || {
        format!("the cut lasted {lasted_ms} ms: this machine was too slow to make it one deadline")
    })?;
    Ok(at_ms)
}

pub(super) fn one_deadline(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("oda", "a"), small("odb", "b")], |cluster| {
        let (alone, kept) = (cluster.vm("oda")?, cluster.vm("odb")?);
        let host = host_of(cluster, "oda")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        // A host loses etcd for just that long: its lease on the storage carries its VM over.
        let at_ms = cut_for_one_deadline(cluster, &[(&host, "etcd")])?;
        runs_on(cluster, &alone, at_ms, PAST_EVERY_WAIT)?;
        wait_host(cluster, &host, Membership::Online)?;
        same_grant(cluster, &alone)?;
        // A whole site loses both. Whatever its guards decide, it is one of the two.
        let at_ms = cut_for_one_deadline(cluster, &[("a", "b"), ("a", "witness")])?;
        runs_on(cluster, &kept, at_ms, PAST_EVERY_WAIT)?;
        cluster.wait_sites_online(PATIENCE)?;
        cluster.wait_running(&["oda", "odb"], PATIENCE)?;
        same_grant(cluster, &kept)?;
        let now = cluster.vm("oda")?;
        let mut log = cluster.lab.observer_log()?;
        log.wait_for_beat_on("oda", &host_of(cluster, "oda")?, at_ms, PATIENCE)?;
        let proof = cluster.lab.proof()?;
        let stays = proof.vms.into_iter().find(|vm| vm.vm == "oda");
        let boots = stays.map_or(0, |vm| vm.stays.len());
        let granted = now.generation.0 - alone.generation.0;
        expect(boots as u64 == granted + 1, || {
            format!("oda was granted {granted} times anew and has {boots} stays by its own signs")
        })
    })
}

/// The link between the sites loses one direction, then the other: the way over the witness is there.
pub(super) fn sites_one_way(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("swa", "a"), small("swb", "b")], |cluster| {
        let before = [cluster.vm("swa")?, cluster.vm("swb")?];
        let known = given_up(cluster)?;
        for (from, to) in [("a", "b"), ("b", "a")] {
            let cut = cluster.lab.cut(from, to, true)?;
            proven(cluster)?;
            for vm in &before {
                runs_on(cluster, vm, cut.at_ms, PAST_EVERY_WAIT)?;
            }
            cluster.lab.heal("all", "all")?;
            // What one side wrote in the meantime is not on the other yet.
            cluster.lab.wait_storage_in_sync(PATIENCE)?;
            for vm in &before {
                same_grant(cluster, vm)?;
            }
        }
        let given_up = given_up(cluster)?;
        expect(given_up == known, || {
            format!("hosts were given up though all could reach the witness: {given_up:?}")
        })
    })
}

/// A host hears everything and is heard by nobody, then the reverse: it can prove neither plane.
pub(super) fn host_one_way(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("how", "a")], |cluster| {
        for heard in [false, true] {
            let before = cluster.vm("how")?;
            let host = host_of(cluster, "how")?;
            wait_lease(cluster, &host, Plane::Valid)?;
            let (from, to) = if heard {
                ("all", host.as_str())
            } else {
                (host.as_str(), "all")
            };
            let cut = cluster.lab.cut(from, to, true)?;
            proven(cluster)?;
            moved_over(cluster, &before, cut.at_ms)?;
            cluster.lab.heal("all", "all")?;
            wait_host(cluster, &host, Membership::Online)?;
        }
        Ok(())
    })
}
