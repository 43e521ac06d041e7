//! Starting, stopping, dying.

use std::time::Duration;

use holdfast_model::status::VmState;

use super::{PATIENCE, expect, host_of, remove, small, wait_gone, with_vms};
use crate::clock;
use crate::error::Result;
use crate::guest::{GuestKind, GuestSpec};
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::Cluster;

pub(super) fn start_stop(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("life", "a")], |cluster| {
        let host = host_of(cluster, "life")?;
        expect(host.starts_with('a'), || {
            format!("life prefers site a and is on {host}")
        })?;
        lab.hit(Hit::vm("life"));
        verb(cluster, "stop")?;
        wait_state(cluster, VmState::Stopped)?;
        wait_gone(cluster, &host, "life")?;
        let stopped_at = clock::now_ms();
        // It must stay off: two rounds of every timer that could bring it back.
        let silence =
            cluster
                .lab
                .observer_log()?
                .wait_for_beat("life", stopped_at, Duration::from_secs(6));
        expect(silence.is_err(), || {
            format!("it was stopped, yet was heard: {silence:?}")
        })?;
        verb(cluster, "start")?;
        cluster
            .lab
            .observer_log()?
            .wait_for_beat("life", stopped_at, PATIENCE)?;
        wait_state(cluster, VmState::Running)?;
        let before = cluster.vm("life")?.generation;
        verb(cluster, "restart")?;
        cluster.wait("a new generation", PATIENCE, |status| {
            match status.vms.iter().find(|vm| vm.name.as_str() == "life") {
                Some(vm) if vm.generation > before && vm.state == VmState::Running => Ok(()),
                Some(vm) => Err(format!("{:?}, generation {}", vm.state, vm.generation)),
                None => Err("it is gone".into()),
            }
        })
    })
}

/// A guest powers itself off on a key: that is its own wish, so it stays off, and says why, until somebody
/// starts it.
pub(super) fn guest_shuts_down(lab: &Lab) -> Result<()> {
    const VM: &str = "byitself";
    const SAYS: &str = "its guest shut itself down";
    with_vms(lab, &[small(VM, "a")], |cluster| {
        let host = host_of(cluster, VM)?;
        let before = cluster.vm(VM)?;
        lab.hit(Hit::vm(VM));
        let key = ["virsh", "-q", "send-key", VM, "KEY_ENTER"];
        lab.exec(&host, &key, Duration::from_secs(10))?
            .ok("virsh send-key")?;
        wait_gone(cluster, &host, VM)?;
        let gone_ms = clock::now_ms();
        cluster.wait(
            "it to be told off, and why",
            PATIENCE,
            |status| match status.vms.iter().find(|vm| vm.name.as_str() == VM) {
                Some(vm) if vm.state == VmState::Stopped && vm.reason.contains(SAYS) => Ok(()),
                Some(vm) => Err(format!("{:?}: {}", vm.state, vm.reason)),
                None => Err("it is gone".into()),
            },
        )?;
        let why = lab.cli(&["why", "vm", VM])?.ok("holdfast why vm")?.stdout;
        // Its lines are broken where the terminal ends.
        let why: Vec<&str> = why.split_whitespace().collect();
        let why = why.join(" ");
        expect(
            why.contains(SAYS) && why.contains("holdfast vm start"),
            || format!("`holdfast why vm` does not say why it is off, and what to do: {why}"),
        )?;
        // Longer than any wait that ends in a start.
        let heard = lab
            .observer_log()?
            .wait_for_beat(VM, gone_ms, Duration::from_secs(10));
        expect(heard.is_err(), || {
            format!("its guest shut itself down, yet it was started again: {heard:?}")
        })?;
        let off = cluster.vm(VM)?;
        expect(
            off.state == VmState::Stopped && off.generation == before.generation,
            || format!("it was granted anew: {off:?}"),
        )?;
        lab.cli(&["vm", "start", VM])?.ok("holdfast vm start")?;
        lab.observer_log()?.wait_for_beat(VM, gone_ms, PATIENCE)?;
        cluster.wait_running(&[VM], PATIENCE)
    })
}

/// A VM whose disk is not there starts nowhere, says which file is missing, and can be taken away.
pub(super) fn disk_missing(lab: &Lab) -> Result<()> {
    const VM: &str = "nodisk";
    let cluster = Cluster::of(lab);
    cluster.wait_sites_online(PATIENCE)?;
    let guest = lab.add_guest(GuestSpec::new(VM, GuestKind::BootSector, "a"), false)?;
    let image = guest.spec.image();
    let second = Duration::from_secs(10);
    lab.exec("a1", &["rm", &image], second)?.ok("rm")?;
    let file = guest.spec_file.to_string_lossy();
    lab.cli(&["vm", "apply", "-f", &file])?
        .ok("holdfast vm apply")?;
    wait_until("the missing disk to be named", PATIENCE, "", || {
        let why = lab.cli(&["why", "vm", VM]);
        let why = why.map_err(|error| error.to_string())?.stdout;
        match why.contains(&image) && why.contains("No such file") {
            true => Ok(()),
            false => Err(why),
        }
    })?;
    for host in ["a1", "a2", "b1", "b2"] {
        wait_gone(&cluster, host, VM)?;
    }
    remove(&cluster, VM)
}

fn verb(cluster: &Cluster, verb: &str) -> Result<()> {
    cluster
        .lab
        .cli(&["vm", verb, "life"])?
        .ok(&format!("holdfast vm {verb}"))
        .map(drop)
}

fn wait_state(cluster: &Cluster, state: VmState) -> Result<()> {
    cluster.wait(
        &format!("life to be {state:?}"),
        PATIENCE,
        |status| match status.vms.iter().find(|vm| vm.name.as_str() == "life") {
            Some(vm) if vm.state == state => Ok(()),
            Some(vm) => Err(format!("{:?}: {}", vm.state, vm.reason)),
            None => Err("it is gone".into()),
        },
    )
}

pub(super) fn qemu_killed(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("crash", "a")], |cluster| {
        let first = host_of(cluster, "crash")?;
        let mut log = cluster.lab.observer_log()?;
        // Twice it comes back where it was; the third failure in a row sends it elsewhere.
        for kill in 1..=3 {
            let host = host_of(cluster, "crash")?;
            expect(host == first, || {
                format!("after {} kills it is on {host}", kill - 1)
            })?;
            let generation = cluster.vm("crash")?.generation;
            lab.hit(Hit::vm("crash"));
            let killed = cluster.lab.kill(&host, "qemu:crash")?;
            log.wait_for_beat("crash", killed.done_ms, PATIENCE)?;
            cluster.wait(
                "the next generation to run",
                PATIENCE,
                |status| match status.vms.iter().find(|vm| vm.name.as_str() == "crash") {
                    Some(vm) if vm.generation > generation && vm.state == VmState::Running => {
                        Ok(())
                    }
                    Some(vm) => Err(format!("{:?}: {}", vm.state, vm.reason)),
                    None => Err("it is gone".into()),
                },
            )?;
        }
        let last = host_of(cluster, "crash")?;
        expect(last != first, || {
            format!("after three kills it is still on {first}")
        })
    })
}
