//! One event handler tells a webhook of a loss, and of where its VM went; another a router where the VM is, by the
//! cluster's records.

use holdfast_model::host::Membership;

use super::checks::{wait_host, went_elsewhere};
use super::extension::{install, remove, shown};
use super::{PATIENCE, expect, host_of, small, with_policy, with_vms};
use crate::error::Result;
use crate::lab::Lab;
use crate::needless::Hit;
use crate::sink::{Sink, TARGET};

const NOTIFIER: &str = "notifier";
const TRAFFIC: &str = "traffic";
const VM: &str = "told";

pub(super) fn tells(lab: &Lab) -> Result<()> {
    let bound = format!(
        "[extensions.{NOTIFIER}]\nbind = {{ webhook = \"{TARGET}\" }}\n\
         [extensions.{TRAFFIC}]\nbind = {{ router = \"{TARGET}\" }}\n"
    );
    with_policy(lab, &bound, || {
        Sink::serve(|sink| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                for handler in [NOTIFIER, TRAFFIC] {
                    install(cluster, handler, &[])?;
                }
                let before = cluster.vm(VM)?;
                let host = host_of(cluster, VM)?;
                lab.hit(Hit::host(&host));
                let off = lab.power_off(&[&host])?;
                went_elsewhere(cluster, &before, off.at_ms)?;
                let fenced = sink.wait_for("host-fenced", &host, PATIENCE)?;
                let granted = sink.wait_for("vm-granted", VM, PATIENCE)?;
                expect(fenced < granted, || {
                    format!("{VM} is told to have moved before {host} was given up")
                })?;
                let now = host_of(cluster, VM)?;
                let site = &lab.layout().machine(&now)?.site;
                sink.wait_place(VM, (&now, site), PATIENCE)?;
                for handler in [NOTIFIER, TRAFFIC] {
                    let told = shown(cluster, handler)?;
                    expect(told["told"]["dropped"] == 0, || format!("{told:#}"))?;
                    remove(cluster, handler)?;
                }
                lab.power_on(&[&host])?;
                wait_host(cluster, &host, Membership::Online)
            })
        })
    })
}
