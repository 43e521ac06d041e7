//! Cuts between the sites.

use std::time::Duration;

use super::checks::{moved_over, proven};
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
        let (kept_before, lost_before) = (cluster.vm(kept)?, cluster.vm(lost)?);
        cluster.lab.hit_site(alone)?;
        cluster.lab.cut(alone, other, false)?;
        let cut = cluster.lab.cut(alone, "witness", false)?;
        proven(cluster)?;
        moved_over(cluster, &lost_before, cut.at_ms)?;
        let lost_now = cluster.vm(lost)?;
        expect(
            lost_now
                .site
                .as_ref()
                .is_some_and(|at| at.as_str() == other),
            || format!("{lost} runs on {:?}, not at site {other}", lost_now.host),
        )?;
        cluster.lab.heal("all", "all")?;
        let kept_now = cluster.vm(kept)?;
        expect(kept_now.generation == kept_before.generation, || {
            format!("{kept} was at the side with the witness and was started anew")
        })
    })
}
