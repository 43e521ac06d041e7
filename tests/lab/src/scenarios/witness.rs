//! The witness lost, and a site after it: the one case in which nobody may decide.

use std::time::Duration;

use holdfast_model::status::SiteState;

use super::checks::{runs_on, same_grant, wait_told};
use super::{PATIENCE, expect, host_of, small, wait_gone, with_vms};
use crate::clock;
use crate::error::Result;
use crate::lab::Lab;
use crate::trial::Cluster;

/// Longer than any wait that ends in a start elsewhere.
const PAST_EVERY_WAIT: Duration = Duration::from_secs(8);

pub(super) fn then_a_site(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("wla", "a"), small("wlb", "b")], |cluster| {
        let before = [cluster.vm("wla")?, cluster.vm("wlb")?];
        let off = cluster.lab.power_off(&["witness"])?;
        wait_told(
            cluster,
            "witness-lost",
            "the loss of a site could not be decided now",
        )?;
        wait_told(cluster, "voter-down", "etcd member witness does not answer")?;
        for vm in &before {
            runs_on(cluster, vm, off.gone_ms, PAST_EVERY_WAIT)?;
            same_grant(cluster, vm)?;
        }
        nobody_can_decide(cluster)?;
        let on_ms = clock::now_ms();
        lab.power_on(&["witness"])?;
        // Site b is with the majority again: it takes over what it now can prove, and its own.
        let mut log = lab.observer_log()?;
        for vm in ["wla", "wlb"] {
            log.wait_for_beat(vm, on_ms, PATIENCE)?;
        }
        cluster.wait_running(&["wla", "wlb"], PATIENCE)?;
        for (vm, was) in ["wla", "wlb"].into_iter().zip(&before) {
            let now = cluster.vm(vm)?;
            let granted = now.generation.0 - was.generation.0;
            expect(
                granted == 1 && host_of(cluster, vm)?.starts_with('b'),
                || format!("{vm} was granted {granted} times and is on {:?}", now.host),
            )?;
        }
        lab.power_on_site("a")?;
        lab.wait_storage_in_sync(PATIENCE)?;
        let witness = |status: &holdfast_model::status::Status| {
            let mut sites = status.sites.iter();
            match sites.find(|site| site.witness).map(|site| site.state) {
                Some(SiteState::Online) => Ok(()),
                state => Err(format!("{state:?}")),
            }
        };
        cluster.wait("the witness to be online", PATIENCE, witness)
    })
}

/// One of three is left, of etcd and of the storage: site b cannot tell whether it is alone.
fn nobody_can_decide(cluster: &Cluster) -> Result<()> {
    let host = host_of(cluster, "wlb")?;
    // Site b can prove neither plane then: what runs there has to stop as well.
    for site in ["a", "b"] {
        cluster.lab.hit_site(site)?;
    }
    let off = cluster.lab.power_off_site("a")?;
    let why = wait_told(cluster, "no-quorum", "etcd has no majority (no answer from")?;
    expect(why.contains("a-ctl") && why.contains("witness"), || {
        format!("it is not told whose answer is missing: {why}")
    })?;
    let said = cluster.lab.cli(&["status"])?.stdout;
    expect(
        said.contains("etcd has no majority") && said.contains("nothing is started"),
        || format!("`holdfast status` does not say in words that nothing can be decided:\n{said}"),
    )?;
    wait_gone(cluster, &host, "wlb")?;
    let gone_ms = clock::now_ms();
    let mut log = cluster.lab.observer_log()?;
    let heard = log.wait_for_beat("wla", off.links_down_ms, PAST_EVERY_WAIT);
    expect(heard.is_err(), || {
        format!("wla was started with nobody able to decide it: {heard:?}")
    })?;
    let heard = log.first_beat_after("wlb", gone_ms);
    expect(heard.is_none(), || {
        format!("wlb could prove neither plane, was stopped, and was heard again: {heard:?}")
    })
}
