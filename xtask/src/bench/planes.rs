//! Figures of what the two planes are for: cuts that hand VMs over, and losses that stop nothing.

use std::time::Duration;

use holdfast_lab::trial::{Cluster, Handover, VmWish, hand_over, watch_homecoming};
use holdfast_lab::{LabError, Progress, Result, wait_until};
use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm};

use super::Figure;
use super::runs::{PATIENCE, Plan, wishes};

/// How long etcd has no majority.
const ETCD_AWAY: Duration = Duration::from_secs(60);
/// How long VMs are watched after an agent was killed: more than two deadlines.
const AGENT_AWAY: Duration = Duration::from_secs(10);

/// A host loses etcd and keeps its storage: it is asked through its mailbox to release its VMs.
pub(super) fn isolation(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    plan.in_lab(progress, |cluster| {
        let names = run(cluster, &wishes(1, "a"))?;
        for number in 1..=plan.runs {
            progress.step(&format!("run {number} of {}", plan.runs), || {
                all_well(cluster)?;
                let before = cluster.vm(&names[0])?;
                let host = place(&before)?;
                let cut = cluster.lab.cut(&host, "etcd", false)?;
                let done = hand_over(cluster, &before, cut.at_ms, PATIENCE)?;
                dropped(cluster)?;
                all.push((cut.at_ms, done));
                cluster.lab.heal(&host, "etcd").map(drop)
            })?;
        }
        Ok(())
    })?;
    let of = |pick: &dyn Fn(u64, &Handover) -> u64| {
        all.iter().map(|(at, done)| pick(*at, done)).collect()
    };
    Ok(vec![
        Figure::of(
            "host cut off from etcd: to the VM's last sign there",
            of(&|at, done| done.last_ms.saturating_sub(at)),
        ),
        Figure::of(
            "host cut off from etcd: to its first sign elsewhere",
            of(&|at, done| done.first_ms.saturating_sub(at)),
        ),
        Figure::of(
            "between the two",
            of(&|_, done| done.first_ms.saturating_sub(done.last_ms)),
        ),
    ])
}

/// Site a is cut off from all others: the last of its VMs stops before the first one starts at site b.
pub(super) fn site_cut(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let (mut stopped, mut started, mut between) = (Vec::new(), Vec::new(), Vec::new());
    plan.in_lab(progress, |cluster| {
        let names = run(cluster, &wishes(4, "a"))?;
        for number in 1..=plan.runs {
            progress.step(&format!("run {number} of {}", plan.runs), || {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                watch_homecoming(cluster, "a", &names, PATIENCE, |_| {})?;
                all_well(cluster)?;
                let before: Result<Vec<Vm>> = names.iter().map(|vm| cluster.vm(vm)).collect();
                let before = before?;
                cluster.lab.cut("a", "b", false)?;
                let cut = cluster.lab.cut("a", "witness", false)?;
                let done: Result<Vec<Handover>> = before
                    .iter()
                    .map(|vm| hand_over(cluster, vm, cut.at_ms, PATIENCE))
                    .collect();
                let done = done?;
                dropped(cluster)?;
                let last = done.iter().map(|each| each.last_ms).max().unwrap_or(0);
                let first = done.iter().map(|each| each.first_ms).min().unwrap_or(0);
                // Per VM it is checked above; across VMs it would be no fault, but is told as it is.
                if first < last {
                    return Err(LabError::Refused(format!(
                        "a VM started {} ms before another one had stopped",
                        last - first
                    )));
                }
                stopped.push(last.saturating_sub(cut.at_ms));
                started.push(first.saturating_sub(cut.at_ms));
                between.push(first - last);
                cluster.lab.heal("all", "all")?;
                cluster.lab.wait_storage_in_sync(PATIENCE)
            })?;
        }
        Ok(())
    })?;
    Ok(vec![
        Figure::of(
            "site with 4 VMs cut off: to the last VM's last sign",
            stopped,
        ),
        Figure::of(
            "site with 4 VMs cut off: to the first sign elsewhere",
            started,
        ),
        Figure::of("between the two", between),
    ])
}

/// The agent of a host with VMs is killed: it comes back, and nothing stops.
pub(super) fn agent(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let begin = |cluster: &Cluster| {
        let host = place(&cluster.vm("vm1")?)?;
        Ok(cluster.lab.kill(&host, "agent")?.done_ms)
    };
    let fault = Fault {
        name: "agent killed: VMs stopped",
        begin: &begin,
        lasts: AGENT_AWAY,
        end: &|_| Ok(()),
    };
    nothing_stops(plan, progress, &fault)
}

/// Two of three members of etcd hang for a minute: nothing stops.
pub(super) fn etcd(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let begin = |cluster: &Cluster| {
        cluster.lab.freeze("a-ctl", "etcd")?;
        Ok(cluster.lab.freeze("witness", "etcd")?.done_ms)
    };
    let end = |cluster: &Cluster| {
        cluster.lab.thaw("a-ctl", "etcd")?;
        cluster.lab.thaw("witness", "etcd").map(drop)
    };
    let fault = Fault {
        name: "etcd without a majority for 60 s: VMs stopped",
        begin: &begin,
        lasts: ETCD_AWAY,
        end: &end,
    };
    nothing_stops(plan, progress, &fault)
}

/// What is done to a cluster, for how long, and undone.
struct Fault<'f> {
    name: &'f str,
    /// Since when it is true (CLOCK_BOOTTIME).
    begin: &'f dyn Fn(&Cluster) -> Result<u64>,
    lasts: Duration,
    end: &'f dyn Fn(&Cluster) -> Result<()>,
}

/// Counts the VMs that did not beat on to the end of a fault, or began anew.
fn nothing_stops(plan: &Plan, progress: &Progress, fault: &Fault) -> Result<Vec<Figure>> {
    let mut counts = Vec::new();
    plan.in_lab(progress, |cluster| {
        let mut wanted = wishes(4, "a");
        for wish in &mut wanted[2..] {
            wish.site = "b";
        }
        let names = run(cluster, &wanted)?;
        for number in 1..=plan.runs {
            progress.step(&format!("run {number} of {}", plan.runs), || {
                all_well(cluster)?;
                let stays = stays(cluster)?;
                let until = (fault.begin)(cluster)? + fault.lasts.as_millis() as u64;
                let mut log = cluster.lab.observer_log()?;
                let mut stopped = 0;
                for vm in &names {
                    stopped += u64::from(log.wait_for_beat(vm, until, PATIENCE).is_err());
                }
                (fault.end)(cluster)?;
                counts.push(stopped + self::stays(cluster)?.saturating_sub(stays) as u64);
                Ok(())
            })?;
        }
        Ok(())
    })?;
    Ok(vec![Figure::count(fault.name, counts)])
}

fn run(cluster: &Cluster, wishes: &[VmWish]) -> Result<Vec<String>> {
    cluster.run_vms(wishes, PATIENCE)?;
    Ok(wishes.iter().map(|wish| wish.name.clone()).collect())
}

/// All sites are online, and every host has both planes.
pub(super) fn all_well(cluster: &Cluster) -> Result<()> {
    cluster.wait_sites_online(PATIENCE)?;
    cluster.wait("every host to have both planes", PATIENCE, |status| {
        let ill = status.hosts.iter().find(|host| {
            host.state != Some(Membership::Online) || host.planes.storage != Plane::Valid
        });
        match ill {
            None => Ok(()),
            Some(host) => Err(format!(
                "{}: {:?}, {:?}",
                host.name, host.state, host.planes
            )),
        }
    })
}

fn place(vm: &Vm) -> Result<String> {
    let host = vm.host.as_ref().map(ToString::to_string);
    host.ok_or_else(|| LabError::Refused(format!("{} runs nowhere: {}", vm.name, vm.reason)))
}

/// The cuts have dropped packets: the fault has happened.
fn dropped(cluster: &Cluster) -> Result<()> {
    wait_until("the cuts to have dropped packets", PATIENCE, "", || {
        let cuts = cluster.lab.cuts().map_err(|error| error.to_string())?;
        match cuts.iter().all(|cut| cut.dropped > 0) && !cuts.is_empty() {
            true => Ok(()),
            false => Err(format!("{cuts:?}")),
        }
    })
}

/// How often any VM began somewhere, by the guests' own signs.
fn stays(cluster: &Cluster) -> Result<usize> {
    let proof = cluster.lab.proof()?;
    Ok(proof.vms.iter().map(|vm| vm.stays.len()).sum())
}
