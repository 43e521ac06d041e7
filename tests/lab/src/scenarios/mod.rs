//! Acceptance scenarios on the real lab. Each leaves the lab as it found it: all power on, no cut,
//! no VM. The numbers are those of the project's list of scenarios.

mod agent_errand;
mod author;
mod checks;
mod clocks;
mod cut;
mod cut_short;
mod errand;
mod etcd_disk;
mod etcd_set_back;
mod extension;
mod fence;
mod foreign_board;
mod lease;
mod lease_damage;
mod life;
mod migration;
mod notifier;
mod power;
mod site;
mod storage_check;
mod storage_lost;
mod witness;

pub use fence::DEVICES;

use std::time::Duration;

use crate::configs;
use crate::error::{LabError, Result};
use crate::guest::GuestKind;
use crate::lab::Lab;
use crate::run::wait_until;
use crate::state;
use crate::trial::{Cluster, VmWish};

/// One scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub what: &'static str,
    /// Runs it; an error says what was expected and what was seen.
    pub run: fn(&Lab) -> Result<()>,
}

/// All of them, in the order in which they are run.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "start-stop",
        what: "28: a VM is started, stopped, restarted and removed on request",
        run: life::start_stop,
    },
    Scenario {
        name: "disk-missing",
        what: "a VM whose disk is not there starts nowhere, and says which file is missing",
        run: life::disk_missing,
    },
    Scenario {
        name: "qemu-killed",
        what: "22: a killed QEMU is restarted on its host, after three times elsewhere",
        run: life::qemu_killed,
    },
    Scenario {
        name: "drain",
        what: "29: a drained host gives its VMs away live, none restarts",
        run: migration::drain,
    },
    Scenario {
        name: "migration-source-dies",
        what: "30: the source loses power in mid-migration: started once, from its disk",
        run: migration::source_dies,
    },
    Scenario {
        name: "migration-destination-dies",
        what: "30: the destination loses power in mid-migration: the VM runs on",
        run: migration::destination_dies,
    },
    Scenario {
        name: "migration-agent-dies",
        what: "30: the source's agent is killed in mid-migration: one copy survives",
        run: migration::agent_dies,
    },
    Scenario {
        name: "migration-link-lost",
        what: "30: the link is cut in mid-migration: the VM runs on where it was",
        run: migration::link_lost,
    },
    Scenario {
        name: "migration-finish-lost",
        what: "30: the last answer of a migration is lost with the link: one copy goes on",
        run: migration::finish_lost,
    },
    Scenario {
        name: "cut-witness-sees-both",
        what: "14: the inter-site link is cut, the witness sees both: nothing stops",
        run: cut::witness_sees_both,
    },
    Scenario {
        name: "cut-witness-sees-a",
        what: "14: site b is alone: its VMs stop there before they start at a",
        run: cut::witness_sees_a,
    },
    Scenario {
        name: "cut-witness-sees-b",
        what: "14: site a is alone: its VMs stop there before they start at b",
        run: cut::witness_sees_b,
    },
    Scenario {
        name: "cut-of-one-deadline",
        what: "15: a host, then a site is cut off for just one deadline: each VM runs on or once anew",
        run: cut_short::one_deadline,
    },
    Scenario {
        name: "cut-one-way",
        what: "15: the inter-site link loses one direction, then the other: nothing stops",
        run: cut_short::sites_one_way,
    },
    Scenario {
        name: "host-cut-one-way",
        what: "15: a host is not heard, then hears nothing: its VM stops before it starts elsewhere",
        run: cut_short::host_one_way,
    },
    Scenario {
        name: "host-isolated",
        what: "3: a host loses etcd and keeps its storage: released through its mailbox, once elsewhere",
        run: lease::isolated,
    },
    Scenario {
        name: "host-loses-both",
        what: "5: a host loses etcd and its storage: its VMs stop before they start elsewhere",
        run: lease::both_lost,
    },
    Scenario {
        name: "host-loses-storage",
        what: "4: a host loses its storage and keeps its network: its VMs run where storage is good",
        run: storage_lost::host_loses_storage,
    },
    Scenario {
        name: "io-error",
        what: "24: a VM is paused by its disk while the storage is good: started elsewhere",
        run: storage_lost::io_error,
    },
    Scenario {
        name: "storage-full",
        what: "24: the storage is full: a VM is paused, nothing is stopped, and it goes on once there is room",
        run: storage_lost::full,
    },
    Scenario {
        name: "agent-away",
        what: "6: the agent is killed, and stopped for three deadlines: no VM stops",
        run: lease::agent_away,
    },
    Scenario {
        name: "guard-away",
        what: "7: the guard is killed, and stopped for three deadlines: no VM stops",
        run: lease::guard_away,
    },
    Scenario {
        name: "libvirtd-away",
        what: "8: libvirtd is killed, and stopped: VMs run on, and it is told",
        run: lease::libvirtd_away,
    },
    Scenario {
        name: "etcd-away",
        what: "17: etcd has no majority for ten deadlines: no VM stops, no host is given up",
        run: lease::etcd_away,
    },
    Scenario {
        name: "clocks-apart",
        what: "35: hosts whose steady clocks are an hour apart, and begin anew: moves and losses as ever",
        run: clocks::apart,
    },
    Scenario {
        name: "etcd-slow",
        what: "36: the leader's disk, then all of etcd's, take 500 ms for a sync: nothing stops, and it is told",
        run: etcd_disk::slow,
    },
    Scenario {
        name: "etcd-full",
        what: "36: the disk of etcd's leader, then of all members is full: nothing stops, and it is told",
        run: etcd_disk::full,
    },
    Scenario {
        name: "etcd-set-back",
        what: "37: etcd is restored from a backup: what runs runs on, nothing twice, and the records are put right",
        run: etcd_set_back::restored,
    },
    Scenario {
        name: "lease-volume-damaged",
        what: "38: slots are zeroed, foreign, flipped, torn, the file is cut short, is gone: nothing stops",
        run: lease_damage::damaged,
    },
    Scenario {
        name: "placement-rules",
        what: "40: an extension that loops delays nothing, rules in Rust, JavaScript and C are asked, heeded, explained",
        run: extension::extensions,
    },
    Scenario {
        name: "javascript-author",
        what: "the guide's commands, word for word: a rule in JavaScript is written, tried, seen at work and removed",
        run: author::in_javascript,
    },
    Scenario {
        name: "notifier",
        what: "a host loses power: a webhook is told that it was given up, and a router where its VM is",
        run: notifier::tells,
    },
    Scenario {
        name: "storage-check-extension",
        what: "40: extensions in Rust and Python check the storage: a copy is lost, then the checks: nothing stops",
        run: storage_check::by_extension,
    },
    Scenario {
        name: "fence-device",
        what: "39: a fencing device answers, lies, hangs, refuses, is not there: never twice, never held up",
        run: fence::devices,
    },
    Scenario {
        name: "fence-redfish",
        what: "39: the same boards over Redfish, asked by an extension that is believed with a read-back only",
        run: fence::redfish,
    },
    Scenario {
        name: "fence-redfish-foreign",
        what: "39: a Redfish service that is not ours, over TLS, with a password, switches a host off: it is believed",
        run: foreign_board::redfish,
    },
    Scenario {
        name: "host-loss-instant-device",
        what: "44: a host loses power, two sites ask it in vain, its device answers: its VM is elsewhere at once",
        run: fence::instant,
    },
    Scenario {
        name: "fence-errand",
        what: "39: only site a's manager can ask the boards, by an extension, and the witness leads: it is asked there",
        run: errand::by_the_site,
    },
    Scenario {
        name: "fence-agent",
        what: "39: no manager can ask the boards, and the witness leads: the agent of another host is asked to",
        run: agent_errand::by_the_other_host,
    },
    Scenario {
        name: "witness-lost-then-a-site",
        what: "16: without the witness a site is lost: nobody decides, it is told, and the witness ends it",
        run: witness::then_a_site,
    },
    Scenario {
        name: "power-cut-of-all",
        what: "11, 41: all machines lose power in the middle of writes: all comes back by itself, once",
        run: power::everything,
    },
    Scenario {
        name: "site-loss-and-return",
        what: "13, 20: a site dies with both leaders in it; its VMs run elsewhere and go home live",
        run: site::loss_and_return,
    },
    Scenario {
        // The last one: what was told in it stands an hour away from what is told next.
        name: "wall-clock-stepped",
        what: "35: the wall clocks of a host and of the managers jump by an hour: nothing comes of it",
        run: clocks::stepped,
    },
];

/// How long anything may take on a loaded machine: libvirt alone takes 100 s to give a migration up whose
/// peer is just gone.
const PATIENCE: Duration = Duration::from_secs(240);
/// More than three times the default profile's deadline.
const THREE_TTLS: Duration = Duration::from_secs(14);

/// A VM of a scenario.
fn wish(name: &str, site: &'static str, kind: GuestKind) -> VmWish {
    VmWish {
        name: name.to_owned(),
        site,
        priority: 10,
        kind,
    }
}

fn small(name: &str, site: &'static str) -> VmWish {
    wish(name, site, GuestKind::BootSector)
}

/// Runs a scenario's body between a known beginning and a known end.
fn with_vms(lab: &Lab, wishes: &[VmWish], body: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let cluster = Cluster::of(lab);
    cluster.wait_sites_online(PATIENCE)?;
    // A second fault while a copy is behind is more than such storage promises to bear: what was written
    // in between may be refused to everybody until somebody says which copy is right.
    lab.wait_storage_in_sync(PATIENCE)?;
    cluster.run_vms(wishes, PATIENCE)?;
    body(&cluster)?;
    for wish in wishes {
        never_twice(&cluster, &wish.name)?;
    }
    for wish in wishes {
        remove(&cluster, &wish.name)?;
    }
    cluster.wait_sites_online(PATIENCE)
}

/// Runs a scenario's body under the lab's policy with something added to it.
pub fn with_policy<T>(lab: &Lab, added: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = configs::policy_toml(lab.options());
    with_whole_policy(lab, &format!("{own}\n{added}"), body)
}

/// With another policy than the lab's.
fn with_whole_policy<T>(lab: &Lab, text: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    apply_policy(lab, text)?;
    let value = body()?;
    apply_policy(lab, &configs::policy_toml(lab.options()))?;
    Ok(value)
}

fn apply_policy(lab: &Lab, text: &str) -> Result<()> {
    let file = lab.state().root().join("scenario-policy.toml");
    state::write(&file, text)?;
    let file = file.to_string_lossy();
    lab.cli(&["config", "apply", "-f", &file])?
        .ok("holdfast config apply")
        .map(drop)
}

/// The guests' own signs show no moment in which a VM ran twice.
fn never_twice(cluster: &Cluster, vm: &str) -> Result<()> {
    let proof = cluster.lab.proof()?;
    let Some(found) = proof.vms.iter().find(|each| each.vm == vm) else {
        return Err(LabError::Refused(format!("nothing was ever heard of {vm}")));
    };
    expect(found.overlaps.is_empty(), || {
        format!("{vm} ran twice: {:?}", found.overlaps)
    })?;
    expect(found.lost_writes == 0, || {
        format!(
            "{vm} lost {} writes that it was told were durable",
            found.lost_writes
        )
    })
}

fn remove(cluster: &Cluster, vm: &str) -> Result<()> {
    cluster
        .lab
        .cli(&["vm", "delete", vm, "--yes"])?
        .ok("holdfast vm delete")?;
    cluster.wait(&format!("{vm} to be gone"), PATIENCE, |status| match status
        .vms
        .iter()
        .find(|each| each.name.as_str() == vm)
    {
        None => Ok(()),
        Some(left) => Err(format!("{:?}: {}", left.state, left.reason)),
    })
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(LabError::Refused(otherwise()))
    }
}

/// Where a VM is.
fn host_of(cluster: &Cluster, vm: &str) -> Result<String> {
    Ok(cluster
        .vm(vm)?
        .host
        .map(|host| host.to_string())
        .unwrap_or_default())
}

/// Waits until a VM has no QEMU on a machine.
fn wait_gone(cluster: &Cluster, machine: &str, vm: &str) -> Result<()> {
    let process = format!("qemu:{vm}");
    wait_until(
        &format!("{vm} to have no QEMU on {machine}"),
        PATIENCE,
        "",
        || {
            // No process of that word is an error of its own kind: that is what is waited for.
            match cluster.lab.pids(machine, &process) {
                Ok(pids) if pids.is_empty() => Ok(()),
                Ok(pids) => Err(format!("pids {pids:?}")),
                Err(LabError::Unknown { .. } | LabError::Refused(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        },
    )
}
