//! Starting, stopping, dying.

use std::time::Duration;

use holdfast_model::status::VmState;

use super::{PATIENCE, expect, host_of, small, wait_gone, with_vms};
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::trial::Cluster;

pub(super) fn start_stop(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("life", "a")], |cluster| {
        let host = host_of(cluster, "life")?;
        expect(host.starts_with('a'), || {
            format!("life prefers site a and is on {host}")
        })?;
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
