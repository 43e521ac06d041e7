//! Cuts between the sites.

use std::time::Duration;

use holdfast_model::status::VmState;

use super::checks::proven;
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::error::Result;
use crate::lab::Lab;

/// Long enough for every deadline and wait of the default profile, twice over.
const LONG_CUT: Duration = Duration::from_secs(14);

pub(super) fn witness_sees_both(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("ca", "a"), small("cb", "b")], |cluster| {
        let before: Vec<_> = cluster.status()?.vms;
        let cut = cluster.lab.cut("a", "b", false)?;
        proven(cluster)?;
        let until = cut.at_ms + LONG_CUT.as_millis() as u64;
        let mut log = cluster.lab.observer_log()?;
        for vm in &before {
            let host = host_of(cluster, vm.name.as_str())?;
            log.wait_for_beat_on(vm.name.as_str(), &host, until, PATIENCE)?;
        }
        cluster.lab.heal("all", "all")?;
        for vm in before {
            let now = cluster.vm(vm.name.as_str())?;
            expect(
                (now.generation, &now.host) == (vm.generation, &vm.host),
                || {
                    format!(
                        "{} went from {:?} to {:?}: {}",
                        vm.name, vm.host, now.host, now.reason
                    )
                },
            )?;
        }
        Ok(())
    })
}

pub(super) fn witness_sees_a(lab: &Lab) -> Result<()> {
    one_side_alone(lab, "b", "a")
}

pub(super) fn witness_sees_b(lab: &Lab) -> Result<()> {
    one_side_alone(lab, "a", "b")
}

/// Cuts a site off from everything; its VMs must be silent before they beat at the other.
fn one_side_alone(lab: &Lab, alone: &'static str, other: &'static str) -> Result<()> {
    with_vms(lab, &[small("ca", "a"), small("cb", "b")], |cluster| {
        let lost = if alone == "a" { "ca" } else { "cb" };
        let kept = if alone == "a" { "cb" } else { "ca" };
        let kept_before = cluster.vm(kept)?;
        cluster.lab.cut(alone, other, false)?;
        let cut = cluster.lab.cut(alone, "witness", false)?;
        proven(cluster)?;
        let was = host_of(cluster, lost)?;
        cluster.wait(
            &format!("{lost} to run at site {other}"),
            PATIENCE,
            |status| match status.vms.iter().find(|vm| vm.name.as_str() == lost) {
                Some(vm)
                    if vm.state == VmState::Running
                        && vm.site.as_ref().is_some_and(|site| site.as_str() == other) =>
                {
                    Ok(())
                }
                Some(vm) => Err(format!("{:?} on {:?}: {}", vm.state, vm.host, vm.reason)),
                None => Err("it is gone".into()),
            },
        )?;
        let now = host_of(cluster, lost)?;
        let mut log = cluster.lab.observer_log()?;
        let first = log.wait_for_beat_on(lost, &now, cut.at_ms, PATIENCE)?;
        // The observer hears a cut-off site as well: the last sign from there is the truth.
        let last = cluster
            .lab
            .proof()?
            .vms
            .into_iter()
            .filter(|vm| vm.vm == lost)
            .flat_map(|vm| vm.stays)
            .filter(|stay| stay.host == was)
            .map(|stay| stay.last_ms)
            .max();
        expect(
            last.is_some_and(|last| last > cut.at_ms && last < first.at_ms),
            || {
                format!(
                    "last sign on {was} {last:?}, cut {}, first on {now} {}",
                    cut.at_ms, first.at_ms
                )
            },
        )?;
        cluster.lab.heal("all", "all")?;
        let kept_now = cluster.vm(kept)?;
        expect(kept_now.generation == kept_before.generation, || {
            format!("{kept} was at the side with the witness and was started anew")
        })
    })
}
