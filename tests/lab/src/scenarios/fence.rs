//! Fencing devices: one that answers is the fast rung, and one that does not, or lies, holds nothing up.

use holdfast_model::host::Membership;

use super::checks::{given_up, moved_over, same_grant, wait_host, went_elsewhere};
use super::extension::{install, remove};
use super::{PATIENCE, expect, host_of, small, with_policy, with_vms};
use crate::boards::{Boards, Mode};
use crate::error::{LabError, Result};
use crate::faults::FaultProof;
use crate::lab::Lab;
use crate::machine::Power;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::Cluster;

const VM: &str = "fenced";
pub(super) const REDFISH: &str = "redfish";
/// Well below the silence that makes a host suspect, with every profile.
const HEARD_MS: u64 = 1_000;
/// One device for all hosts, which tells them apart by their names.
pub const DEVICES: &str = "[fencing]\non_suspicion = true\n\n[fencing.devices.boards]\n\
                       hosts = [\"a1\", \"a2\", \"b1\", \"b2\"]\nagent = \"fence_lab\"\ntimeout_ms = 60000\n";

pub(super) fn devices(lab: &Lab) -> Result<()> {
    with_policy(lab, DEVICES, || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                answers(cluster, boards, By::Program)?;
                lies(cluster, boards)?;
                for mode in [Mode::Hangs, Mode::Refuses, Mode::Dead] {
                    holds_nothing_up(cluster, boards, (mode, "off"), By::Program)?;
                }
                Ok(())
            })
        })
    })
}

/// The same boards over Redfish, asked by an extension; each request is in the journal.
pub(super) fn redfish(lab: &Lab) -> Result<()> {
    let cluster = Cluster::of(lab);
    cluster.wait_sites_online(PATIENCE)?;
    install(&cluster, REDFISH, &[])?;
    with_policy(lab, &redfish_devices(lab), || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                answers(cluster, boards, By::Redfish)?;
                wait_journal(cluster, "POST")?;
                // It looks before it orders: from one that hangs it hears nothing, and orders nothing.
                for (mode, asked) in [
                    (Mode::Refuses, "status"),
                    (Mode::Hangs, "status"),
                    (Mode::Dead, "status"),
                ] {
                    holds_nothing_up(cluster, boards, (mode, asked), By::Redfish)?;
                }
                Ok(())
            })
        })
    })?;
    remove(&cluster, REDFISH)
}

/// A site is lost, and its boards with it: nobody answers for a host there, and the leases decide.
pub(super) fn dead_with_the_site(lab: &Lab) -> Result<()> {
    let vms = [
        small("dws-1", "a"),
        small("dws-2", "a"),
        small("dws-b", "b"),
    ];
    with_policy(lab, DEVICES, || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &vms, |cluster| {
                let untouched = cluster.vm("dws-b")?;
                let lost = [cluster.vm("dws-1")?, cluster.vm("dws-2")?];
                let hosts: Vec<&str> = lab
                    .layout()
                    .hypervisors()
                    .filter(|host| host.site == "a")
                    .map(|host| host.name.as_str())
                    .collect();
                for host in &hosts {
                    boards.set(host, Mode::Dead);
                }
                lab.hit_site("a")?;
                let off = lab.power_off_site("a")?;
                for vm in &lost {
                    let from = vm.host.as_ref().map(ToString::to_string);
                    boards.wait_asked(&from.unwrap_or_default(), "off", off.at_ms, PATIENCE)?;
                    let to = went_elsewhere(cluster, vm, off.at_ms)?.to;
                    expect(to.starts_with('b'), || format!("{} is on {to}", vm.name))?;
                }
                for host in &hosts {
                    wait_fenced(cluster, host, By::Program, false)?;
                }
                same_grant(cluster, &untouched)?;
                lab.power_on_site("a")?;
                for host in &hosts {
                    boards.set(host, Mode::Answers);
                    wait_host(cluster, host, Membership::Online)?;
                }
                lab.wait_storage_in_sync(PATIENCE)
            })
        })
    })
}

/// What talks to the boards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Program,
    Redfish,
}

/// A device for each host: each has a service, and so a target, of its own.
fn redfish_devices(lab: &Lab) -> String {
    let mut text = "[fencing]\non_suspicion = true\n".to_owned();
    for host in lab.layout().hypervisors() {
        let name = &host.name;
        text.push_str(&format!(
            "\n[fencing.devices.{name}]\nextension = \"{REDFISH}\"\nbind = {{ board = \"{name}-board\" }}\n\
             timeout_ms = 60000\nread_back = {{ target = \"{name}-board\", \
             path = \"/redfish/v1/Systems/1\", pointer = \"/PowerState\", off = \"Off\", on = \"On\" }}\n"
        ));
    }
    text
}

/// The journal of some manager has a request of this kind that was answered.
pub(super) fn wait_journal(cluster: &Cluster, method: &str) -> Result<()> {
    let what = format!("the journal to have a {method} that was answered");
    wait_noted(cluster, &what, "requests", |request| {
        request["method"] == method && request["outcome"]["state"] == "answered"
    })
}

/// The journal of this manager has a run of the boards' program that has done this.
pub(super) fn wait_journal_run(cluster: &Cluster, manager: &str, action: &str) -> Result<()> {
    let what = format!("the journal of {manager} to have a program that was told {action}");
    wait_noted(cluster, &what, "programs", |run| {
        run["manager"] == manager
            && run["program"] == "fence_lab"
            && run["action"] == action
            && run["outcome"]["state"] == "exited"
            && run["outcome"]["exit_code"] == 0
    })
}

fn wait_noted(
    cluster: &Cluster,
    what: &str,
    list: &str,
    is_it: impl Fn(&serde_json::Value) -> bool,
) -> Result<()> {
    let argv = ["ext", "requests"];
    wait_until(what, PATIENCE, "", || {
        let controls = cluster.lab.layout().controls();
        let mut seen = Vec::new();
        for control in controls {
            let here = cluster.lab.cli_json_of(&control.name, &argv);
            let here = here.map_err(|error| error.to_string())?;
            let noted = here[list].as_array().cloned().unwrap_or_default();
            let found = noted.iter().any(|each| {
                let about = each["about"].as_str().unwrap_or_default();
                about.starts_with("fencing of ") && is_it(each)
            });
            if found {
                return Ok(());
            }
            seen.push(format!("{}: {} {list}", control.name, noted.len()));
        }
        Err(seen.join(", "))
    })
}

/// A host is lost whose device answers at once: managers at two sites say so, and nothing was waited for.
pub(super) fn instant(lab: &Lab) -> Result<()> {
    with_policy(lab, DEVICES, || {
        Boards::serve(lab, |boards| {
            with_vms(lab, &[small(VM, "a")], |cluster| {
                let before = cluster.vm(VM)?;
                let host = host_of(cluster, VM)?;
                wait_heard(cluster, &host)?;
                boards.set(&host, Mode::Answers);
                lab.hit(Hit::host(&host));
                let off = lab.power_off(&[&host])?;
                boards.wait_asked(&host, "status", off.at_ms, PATIENCE)?;
                went_elsewhere(cluster, &before, off.at_ms)?;
                wait_fenced(cluster, &host, By::Program, true)?;
                wait_event(cluster, &format!("{host}: no heartbeat for"))?;
                wait_event(cluster, "no answer to probes of")?;
                lab.power_on(&[&host])?;
                wait_host(cluster, &host, Membership::Online)
            })
        })
    })
}

/// The manager that is asked has had answers of the host: only then can it miss them.
pub(super) fn wait_heard(cluster: &Cluster, host: &str) -> Result<()> {
    cluster.wait(&format!("{host} to answer probes"), PATIENCE, |status| {
        let found = status.hosts.iter().find(|each| each.name.as_str() == host);
        match found.map(|found| &found.probes[..]) {
            Some([]) | None => Err("nobody has had an answer of it".into()),
            Some(probes) if probes.iter().any(|each| each.silent) => Err(format!("{probes:?}")),
            Some(_) => Ok(()),
        }
    })
}

/// A host that hangs as a whole: with its guard alone at work it would be known to be there.
fn hang(lab: &Lab, host: &str) -> Result<FaultProof> {
    let frozen = lab.freeze(host, "agent")?;
    lab.freeze(host, "guard")?;
    Ok(frozen)
}

/// The host is on and hangs: its board switches it off, and that is what closes it.
fn answers(cluster: &Cluster, boards: &Boards, by: By) -> Result<()> {
    let lab = cluster.lab;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    boards.set(&host, Mode::Answers);
    lab.hit(Hit::host(&host));
    let frozen = hang(lab, &host)?;
    let off = boards.wait_asked(&host, "off", frozen.at_ms, PATIENCE)?;
    expect(off.power == Power::On, || {
        format!("{host} had no power before its board was asked")
    })?;
    moved_over(cluster, &before, frozen.at_ms)?;
    expect(lab.power(&host)? == Power::Off, || {
        format!("{host} still has power")
    })?;
    wait_fenced(cluster, &host, by, true)?;
    lab.power_on(&[&host])?;
    wait_host(cluster, &host, Membership::Online)
}

/// The board says off, the host is on and renews its session before that is heard: nothing happens to it.
fn lies(cluster: &Cluster, boards: &Boards) -> Result<()> {
    let lab = cluster.lab;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    boards.set(&host, Mode::Lies);
    let frozen = hang(lab, &host)?;
    boards.wait_asked(&host, "off", frozen.at_ms, PATIENCE)?;
    lab.thaw(&host, "guard")?;
    let thawed = lab.thaw(&host, "agent")?;
    wait_back(cluster, &host)?;
    boards.wait_asked(&host, "status", frozen.at_ms, PATIENCE)?;
    wait_until("the lie to be told", PATIENCE, "", || {
        match boards.tell_lies() {
            0 => Err("nobody waits for an answer".into()),
            _ => Ok(()),
        }
    })?;
    wait_event(cluster, "not believed")?;
    boards.set(&host, Mode::Answers);
    runs_on_still(cluster, &before, thawed.done_ms)?;
    expect(lab.power(&host)? == Power::On, || {
        format!("{host} has no power: its board did not lie")
    })
}

fn runs_on_still(
    cluster: &Cluster,
    before: &holdfast_model::status::Vm,
    since_ms: u64,
) -> Result<()> {
    let host = before.host.as_ref().map(ToString::to_string);
    let later = since_ms + 8_000;
    let mut log = cluster.lab.observer_log()?;
    log.wait_for_beat_on(VM, &host.unwrap_or_default(), later, PATIENCE)?;
    same_grant(cluster, before)
}

/// The host loses its power and its board is of no use: the wait decides, as without one.
fn holds_nothing_up(
    cluster: &Cluster,
    boards: &Boards,
    (mode, asked): (Mode, &str),
    by: By,
) -> Result<()> {
    let lab = cluster.lab;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    boards.set(&host, mode);
    lab.hit(Hit::host(&host));
    let off = lab.power_off(&[&host])?;
    boards.wait_asked(&host, asked, off.at_ms, PATIENCE)?;
    went_elsewhere(cluster, &before, off.at_ms)?;
    wait_fenced(cluster, &host, by, false)?;
    lab.power_on(&[&host])?;
    boards.set(&host, Mode::Answers);
    // What was held is of no more use to anybody.
    boards.tell_lies();
    wait_host(cluster, &host, Membership::Online)
}

/// A heartbeat was seen that is younger than any on which its board could be asked: the lie will show.
fn wait_back(cluster: &Cluster, host: &str) -> Result<()> {
    cluster.wait(&format!("{host} to be back"), PATIENCE, |status| {
        let found = status.hosts.iter().find(|each| each.name.as_str() == host);
        match found.and_then(|found| found.silence_ms) {
            Some(silence_ms) if silence_ms < HEARD_MS => Ok(()),
            silence => Err(format!("silent for {silence:?} ms")),
        }
    })
}

/// The host was given up last by its device, or by something else.
pub(super) fn wait_fenced(cluster: &Cluster, host: &str, by: By, by_device: bool) -> Result<()> {
    wait_host(cluster, host, Membership::Fenced)?;
    let told = given_up(cluster)?;
    let last = told.iter().rfind(|text| text.starts_with(host));
    let last = last.cloned().unwrap_or_default();
    let device = match by {
        By::Program => "boards",
        By::Redfish => host,
    };
    expect(
        last.contains(&format!("powered off, says {device}")) == by_device,
        || format!("{host} was given up by the wrong evidence: {last}"),
    )
}

pub(super) fn wait_event(cluster: &Cluster, part: &str) -> Result<()> {
    wait_until(
        &format!("the journal to say `{part}`"),
        PATIENCE,
        "",
        || {
            let events = cluster
                .events()
                .map_err(|error: LabError| error.to_string())?;
            match events.iter().any(|event| event.text.contains(part)) {
                true => Ok(()),
                false => Err(format!("{:?}", events.last())),
            }
        },
    )
}
