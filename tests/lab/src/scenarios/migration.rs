//! Live migrations that go wrong on the way, and drains.
//!
//! The guests are tiny and would be gone in a blink: the source's QEMU is limited to 1 MiB/s first,
//! so that "in mid-migration" is a state that can be seen before the fault is made.

use std::time::Duration;

use holdfast_model::status::VmState;

use super::{PATIENCE, expect, host_of, small, wait_gone, with_vms};
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::Cluster;

const VM: &str = "mover";

/// Runs a VM on b1 or b2, begins a slow migration to the other site's first host, and hands over
/// (source, destination) once QEMU itself says that memory is being copied.
fn in_mid_migration(
    lab: &Lab,
    fault: impl FnOnce(&Cluster, &str, &str) -> Result<()>,
) -> Result<()> {
    with_vms(lab, &[small(VM, "b")], |cluster| {
        let (source, destination) = (host_of(cluster, VM)?, "a1".to_owned());
        let second = Duration::from_secs(10);
        let slow = ["virsh", "-q", "migrate-setspeed", VM, "1"];
        cluster
            .lab
            .exec(&source, &slow, second)?
            .ok("virsh migrate-setspeed")?;
        let argv = ["vm", "move", VM, "--to", &destination];
        cluster.lab.cli(&argv)?.ok("holdfast vm move")?;
        wait_until("QEMU to copy memory", PATIENCE, "", || {
            let job = cluster
                .lab
                .exec(&source, &["virsh", "-q", "domjobinfo", VM], second);
            let text = job.map_err(|error| error.to_string())?.stdout;
            let copying = text
                .lines()
                .any(|line| line.starts_with("Memory processed:"));
            if copying && text.contains("Unbounded") {
                Ok(())
            } else {
                Err(text)
            }
        })?;
        fault(cluster, &source, &destination)
    })
}

/// The VM runs on one of these hosts, and beats.
fn runs_on(cluster: &Cluster, hosts: &[&str], after_ms: u64) -> Result<String> {
    let host = cluster.wait(&format!("{VM} to run on {hosts:?}"), PATIENCE, |status| {
        let Some(vm) = status.vms.iter().find(|vm| vm.name.as_str() == VM) else {
            return Err("it is gone".into());
        };
        let host = vm
            .host
            .as_ref()
            .map(|host| host.to_string())
            .unwrap_or_default();
        match vm.state == VmState::Running && hosts.contains(&host.as_str()) {
            true => Ok(host),
            false => Err(format!("{:?} on {host}: {}", vm.state, vm.reason)),
        }
    })?;
    let beat = cluster
        .lab
        .observer_log()?
        .wait_for_beat_on(VM, &host, after_ms, PATIENCE)?;
    Ok(beat.host)
}

pub(super) fn source_dies(lab: &Lab) -> Result<()> {
    in_mid_migration(lab, |cluster, source, destination| {
        let generation = cluster.vm(VM)?.generation;
        cluster.lab.hit(Hit::host(source));
        let off = cluster.lab.power_off(&[source])?;
        let others: Vec<&str> = ["a1", "a2", "b1", "b2"]
            .into_iter()
            .filter(|host| *host != source)
            .collect();
        runs_on(cluster, &others, off.links_down_ms)?;
        let now = cluster.vm(VM)?.generation;
        expect(now > generation, || {
            format!("it was not granted anew: generation {now}")
        })?;
        wait_gone(cluster, destination, VM).or_else(|error| {
            // It may have been granted to the very host that dropped the copy.
            if host_of(cluster, VM)? == destination {
                Ok(())
            } else {
                Err(error)
            }
        })?;
        cluster.lab.power_on(&[source])
    })
}

pub(super) fn destination_dies(lab: &Lab) -> Result<()> {
    in_mid_migration(lab, |cluster, source, destination| {
        let generation = cluster.vm(VM)?.generation;
        cluster.lab.hit(Hit::host(destination));
        let off = cluster.lab.power_off(&[destination])?;
        cluster.wait(
            "the migration to be given up",
            // libvirt gives a connection to a host that is just gone up only after 100 s.
            2 * PATIENCE,
            |status| match status.vms.iter().find(|vm| vm.name.as_str() == VM) {
                Some(vm) if vm.state == VmState::Running => Ok(()),
                Some(vm) => Err(format!("{:?}: {}", vm.state, vm.reason)),
                None => Err("it is gone".into()),
            },
        )?;
        runs_on(cluster, &[source], off.gone_ms)?;
        let now = cluster.vm(VM)?.generation;
        expect(now == generation, || {
            format!("it was started anew: generation {now}")
        })?;
        cluster.lab.power_on(&[destination])
    })
}

pub(super) fn agent_dies(lab: &Lab) -> Result<()> {
    in_mid_migration(lab, |cluster, source, destination| {
        let killed = cluster.lab.kill(source, "agent")?;
        let host = runs_on(
            cluster,
            &[source, destination, "a2", "b1", "b2"],
            killed.done_ms,
        )?;
        for other in [source, destination]
            .into_iter()
            .filter(|each| *each != host)
        {
            wait_gone(cluster, other, VM)?;
        }
        Ok(())
    })
}

pub(super) fn link_lost(lab: &Lab) -> Result<()> {
    in_mid_migration(lab, |cluster, source, destination| {
        let generation = cluster.vm(VM)?.generation;
        let cut = cluster.lab.cut(source, destination, false)?;
        cuts_dropped(cluster)?;
        runs_on(cluster, &[source], cut.at_ms)?;
        cluster.lab.heal("all", "all")?;
        wait_gone(cluster, destination, VM)?;
        let now = cluster.vm(VM)?.generation;
        expect(now == generation, || {
            format!("it was started anew: generation {now}")
        })
    })
}

/// The whole memory is over, the destination has taken it, and its answer never arrives: with plain
/// libvirt and a destination that resumes by itself, this is how a VM comes to run twice.
pub(super) fn finish_lost(lab: &Lab) -> Result<()> {
    in_mid_migration(lab, |cluster, source, destination| {
        let generation = cluster.vm(VM)?.generation;
        let second = Duration::from_secs(10);
        let lab = cluster.lab;
        // QEMU sends to QEMU; libvirtd is asked only at the end.
        lab.freeze(destination, "libvirtd")?;
        let fast = ["virsh", "-q", "migrate-setspeed", VM, "1000"];
        lab.exec(source, &fast, second)?
            .ok("virsh migrate-setspeed")?;
        let status_file = format!("/run/libvirt/qemu/{VM}.xml");
        wait_until("the source to ask for the finish", PATIENCE, "", || {
            let phase = lab.exec(source, &["grep", "<job ", &status_file], second);
            let phase = phase.map_err(|error| error.to_string())?.stdout;
            match phase.contains("phase='perform3_done'") {
                true => Ok(()),
                false => Err(phase),
            }
        })?;
        let cut = lab.cut(source, destination, false)?;
        lab.thaw(destination, "libvirtd")?;
        // It finished, and so it is proven that the question had arrived before the cut.
        wait_until("the destination to have it whole", PATIENCE, "", || {
            let argv = ["virsh", "-q", "domstate", VM, "--reason"];
            let state = lab.exec(destination, &argv, second);
            let state = state.map_err(|error| error.to_string())?.stdout;
            match state.trim() {
                "paused (user)" => Ok(()),
                _ => Err(state),
            }
        })?;
        cuts_dropped(cluster)?;
        runs_on(cluster, &[source], cut.at_ms)?;
        lab.heal("all", "all")?;
        wait_gone(cluster, destination, VM)?;
        let now = cluster.vm(VM)?.generation;
        expect(now == generation, || {
            format!("it was started anew: generation {now}")
        })
    })
}

fn cuts_dropped(cluster: &Cluster) -> Result<()> {
    wait_until("the cut to have dropped packets", PATIENCE, "", || {
        let cuts = cluster.lab.cuts().map_err(|error| error.to_string())?;
        match cuts.iter().map(|cut| cut.dropped).sum() {
            0u64 => Err("none yet".into()),
            _ => Ok(()),
        }
    })
}

pub(super) fn drain(lab: &Lab) -> Result<()> {
    let vms = [
        small("d1", "a"),
        small("d2", "a"),
        small("d3", "a"),
        small("d4", "a"),
    ];
    with_vms(lab, &vms, |cluster| {
        let before: Vec<(String, u64)> = generations(cluster)?;
        let drained_at = clock::now_ms();
        cluster
            .lab
            .cli(&["host", "drain", "a1"])?
            .ok("holdfast host drain")?;
        cluster.wait("a1 to be empty", PATIENCE, |status| {
            let left: Vec<String> = status
                .vms
                .iter()
                .filter(|vm| {
                    vm.host.as_ref().is_some_and(|host| host.as_str() == "a1")
                        || vm.state != VmState::Running
                })
                .map(|vm| format!("{} {:?}: {}", vm.name, vm.state, vm.reason))
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.join("; "))
            }
        })?;
        let proof = cluster.lab.proof()?;
        for (vm, _) in &before {
            let stays = proof
                .vms
                .iter()
                .find(|each| &each.vm == vm)
                .map(|each| &each.stays);
            let booted = stays.into_iter().flatten().filter(|stay| {
                stay.first_ms >= drained_at && stay.began != crate::proof::Began::Moved
            });
            expect(booted.count() == 0, || {
                format!("{vm} was restarted instead of moved")
            })?;
        }
        cluster
            .lab
            .cli(&["host", "resume", "a1"])?
            .ok("holdfast host resume")
            .map(drop)
    })
}

fn generations(cluster: &Cluster) -> Result<Vec<(String, u64)>> {
    let vms = cluster.status()?.vms;
    Ok(vms
        .into_iter()
        .map(|vm| (vm.name.to_string(), vm.generation.0))
        .collect())
}
