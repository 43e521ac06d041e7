//! Hosts whose clocks have nothing to do with each other.

use std::time::Duration;

use super::checks::went_elsewhere;
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::trial::move_vm;

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
        let off = lab.power_off(&[to])?;
        went_elsewhere(cluster, &before, off.at_ms)?;
        lab.power_on(&[to])?;
        let now_s = uptime_s(lab, to)?;
        expect(now_s < was_s, || {
            format!("{to} was up for {was_s} s, had no power, and is up for {now_s} s")
        })
    })
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
