//! An event handler tells a webhook of a loss, and of where its VM went.

use holdfast_model::host::Membership;

use super::checks::{wait_host, went_elsewhere};
use super::extension::{install, remove, shown};
use super::{PATIENCE, expect, host_of, small, with_policy, with_vms};
use crate::error::Result;
use crate::lab::Lab;
use crate::sink::{Sink, TARGET};

const NOTIFIER: &str = "notifier";
const VM: &str = "told";

pub(super) fn tells(lab: &Lab) -> Result<()> {
    let bound = format!("[extensions.{NOTIFIER}]\nbind = {{ webhook = \"{TARGET}\" }}\n");
    with_policy(lab, &bound, || {
        Sink::serve(|sink| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                install(cluster, NOTIFIER, &[])?;
                let before = cluster.vm(VM)?;
                let host = host_of(cluster, VM)?;
                let off = lab.power_off(&[&host])?;
                went_elsewhere(cluster, &before, off.at_ms)?;
                let fenced = sink.wait_for("host-fenced", &host, PATIENCE)?;
                let granted = sink.wait_for("vm-granted", VM, PATIENCE)?;
                expect(fenced < granted, || {
                    format!("{VM} is told to have moved before {host} was given up")
                })?;
                let told = shown(cluster, NOTIFIER)?;
                expect(told["told"]["dropped"] == 0, || format!("{told:#}"))?;
                remove(cluster, NOTIFIER)?;
                lab.power_on(&[&host])?;
                wait_host(cluster, &host, Membership::Online)
            })
        })
    })
}
