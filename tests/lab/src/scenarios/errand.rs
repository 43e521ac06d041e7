//! Fencing devices that only site a's manager can ask, by an extension, with the leader at the witness.

use holdfast_model::host::Membership;

use super::checks::{wait_host, went_elsewhere};
use super::extension::{install, remove};
use super::fence::{By, wait_event, wait_fenced, wait_journal_run};
use super::{PATIENCE, host_of, small, with_policy, with_vms};
use crate::boards::{Boards, Mode};
use crate::error::Result;
use crate::lab::Lab;
use crate::layout::Machine;
use crate::needless::Hit;
use crate::trial::{Cluster, lead_from};
use crate::{configs, state};

const VM: &str = "errand";
/// The only manager that has the program.
const REACHES: &str = "a-ctl";
/// Runs the program, where one of the other scenarios has the manager run it.
const BRIDGE: &str = "fence-agents";
/// As those of the other fencing scenarios, and asked from site a only.
const DEVICES: &str = "[fencing]\non_suspicion = true\n\n[fencing.devices.boards]\n\
                       hosts = [\"a1\", \"a2\", \"b1\", \"b2\"]\nextension = \"fence-agents\"\n\
                       bind = { agent = \"fence_lab\" }\nread_back_program = \"fence_lab\"\n\
                       from = [\"a\"]\ntimeout_ms = 60000\n";

/// A host at site a loses power: the manager there asks its board for the leader.
pub(super) fn by_the_site(lab: &Lab) -> Result<()> {
    let cluster = Cluster::of(lab);
    install(&cluster, BRIDGE, &[])?;
    with_policy(lab, DEVICES, || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                // The one that is not started again leads meanwhile: nobody else is taken for the leader afterwards.
                lead_from(cluster, REACHES)?;
                managers_with(cluster, Some(REACHES), configs::manager_toml_without_agents)?;
                let done = body(cluster, boards);
                // Also after a failure: the next scenario finds the lab as it was.
                managers_with(cluster, Some(REACHES), configs::manager_toml)?;
                done
            })
        })
    })?;
    remove(&cluster, BRIDGE)
}

fn body(cluster: &Cluster, boards: &Boards) -> Result<()> {
    let lab = cluster.lab;
    lead_from(cluster, "witness")?;
    all_present(cluster)?;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    boards.set(&host, Mode::Answers);
    lab.hit(Hit::host(&host));
    let off = lab.power_off(&[&host])?;
    boards.wait_asked(&host, "status", off.at_ms, PATIENCE)?;
    went_elsewhere(cluster, &before, off.at_ms)?;
    wait_fenced(cluster, &host, By::Program, true)?;
    wait_event(
        cluster,
        &format!("told by {REACHES} to switch it off: says off"),
    )?;
    wait_journal_run(cluster, REACHES, "off")?;
    lab.power_on(&[&host])?;
    wait_host(cluster, &host, Membership::Online)
}

/// Gives all managers but this one this file, and starts them with it.
pub(super) fn managers_with(
    cluster: &Cluster,
    except: Option<&str>,
    text: fn(&crate::layout::Layout, &Machine) -> String,
) -> Result<()> {
    let lab = cluster.lab;
    let layout = lab.layout();
    for machine in layout
        .controls()
        .filter(|each| Some(each.name.as_str()) != except)
    {
        let file = lab
            .state()
            .private(&machine.name, "/etc/holdfast/manager.toml");
        state::write(&file, text(layout, machine))?;
        lab.stop_service(&machine.name, "manager")?;
        lab.start_service(&machine.name, "manager")?;
    }
    all_present(cluster)
}

fn all_present(cluster: &Cluster) -> Result<()> {
    cluster.wait("all managers", PATIENCE, |status| {
        match status.managers.iter().find(|each| !each.healthy) {
            None => Ok(()),
            Some(away) => Err(format!("{} does not answer", away.name)),
        }
    })
}
