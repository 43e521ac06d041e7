//! Cuts of just one deadline, and cuts of one direction only.

use std::time::Duration;

use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm};
use holdfast_model::timing::{Profile, Timing};

use super::checks::{given_up, moved_over, proven, runs_on, same_grant, wait_host, wait_lease};
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::needless::Hit;
use crate::proof::{Began, Stay};
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
        let kept = cluster.vm("odb")?;
        let host = host_of(cluster, "oda")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        // A host loses etcd for just that long: its lease on the storage carries its VM over, unless it
        // finds its way back so late that a leader has asked it to let go.
        let before = Told::of(cluster, "oda")?;
        lab.hit(Hit::host(&host));
        let at_ms = cut_for_one_deadline(cluster, &[(&host, "etcd")])?;
        on_or_once_anew(cluster, &before, at_ms)?;
        // A whole site loses both. Whatever its guards decide, it is one of the two.
        let before = Told::of(cluster, "oda")?;
        lab.hit_site("a")?;
        let at_ms = cut_for_one_deadline(cluster, &[("a", "b"), ("a", "witness")])?;
        runs_on(cluster, &kept, at_ms, PAST_EVERY_WAIT)?;
        on_or_once_anew(cluster, &before, at_ms)?;
        same_grant(cluster, &kept)
    })
}

/// What was told of a VM and of hosts so far.
struct Told {
    vm: Vm,
    grants: usize,
    given_up: Vec<String>,
}

impl Told {
    fn of(cluster: &Cluster, name: &str) -> Result<Told> {
        let vm = cluster.vm(name)?;
        let granted = |event: &Event| {
            event.kind == EventKind::VmGranted && event.vm.as_ref() == Some(&vm.name)
        };
        Ok(Told {
            grants: cluster.events()?.into_iter().filter(granted).count(),
            given_up: given_up(cluster)?,
            vm,
        })
    }
}

/// It ran on. Or a leader had waited its whole wait, said so, and granted it once: it booted once more.
/// A host is silent from its last heartbeat, up to one period before the cut, until it has found its way
/// back: after a cut of one deadline, that may be just as long as a taker waits.
fn on_or_once_anew(cluster: &Cluster, before: &Told, since_ms: u64) -> Result<()> {
    let name = before.vm.name.as_str();
    let past_ms = since_ms + PAST_EVERY_WAIT.as_millis() as u64;
    let mut log = cluster.lab.observer_log()?;
    log.wait_for_beat(name, past_ms, PATIENCE)?;
    cluster.wait_sites_online(PATIENCE)?;
    cluster.wait_running(&[name], PATIENCE)?;
    log.wait_for_beat_on(name, &host_of(cluster, name)?, past_ms, PATIENCE)?;
    let now = Told::of(cluster, name)?;
    let granted = now.grants - before.grants;
    let proof = cluster.lab.proof()?;
    let found = proof.vms.iter().find(|vm| vm.vm == name);
    let stays = found.map_or(&[][..], |vm| &vm.stays);
    let anew = |stay: &&Stay| stay.began == Began::Restarted && stay.first_ms > since_ms;
    let boots = stays.iter().filter(anew).count();
    expect(boots == granted && granted <= 1, || {
        format!("{name} was granted {granted} times anew and booted {boots} times: {stays:?}")
    })?;
    expect(
        granted == 0 || now.given_up.len() > before.given_up.len(),
        || {
            format!(
                "{name} was granted anew though no host was given up: {:?}",
                now.vm
            )
        },
    )
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
            lab.hit(Hit::host(&host));
            let cut = cluster.lab.cut(from, to, true)?;
            proven(cluster)?;
            moved_over(cluster, &before, cut.at_ms)?;
            cluster.lab.heal("all", "all")?;
            wait_host(cluster, &host, Membership::Online)?;
        }
        Ok(())
    })
}
