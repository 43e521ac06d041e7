//! etcd restored from a backup, as its operators do it: all its clients are stopped first.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_model::host::Membership;
use holdfast_model::status::{Plane, Vm};
use holdfast_model::vm::Owner;
use serde_json::Value;

use super::checks::{wait_host, wait_lease, went_elsewhere};
use super::fence::wait_event;
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::blueprint::ETCD_DIR;
use crate::clock;
use crate::configs::LEASE_VOLUME;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::{API_PORT, Machine};
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::{Cluster, move_vm};

const LIMIT: Duration = Duration::from_secs(30);
const BACKUP: &str = "/var/lib/holdfast/etcd/backup.db";
/// Longer than any wait that ends in a start elsewhere.
const PAST_EVERY_WAIT: Duration = Duration::from_secs(10);

/// Since the backup one VM moved, the other's host was lost and has begun another life, in which it runs
/// a VM again. The restored records know nothing of all that: while the host is away to which the first one moved,
/// it is to be started where the records have it, and the claim on the lease volume refuses that.
pub(super) fn restored(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("ra", "a"), small("rb", "b")], |cluster| {
        let names = ["ra", "rb"];
        for name in names {
            wait_lease(cluster, &host_of(cluster, name)?, Plane::Valid)?;
        }
        let save = ["etcdctl", "snapshot", "save", BACKUP];
        lab.exec("a-ctl", &save, LIMIT)?
            .ok("etcdctl snapshot save")?;
        let then = cluster.vm("rb")?;

        let peer = peer_of(lab, &host_of(cluster, "ra")?)?;
        move_vm(cluster, "ra", &peer, PATIENCE)?;
        let lost = host_of(cluster, "rb")?;
        lab.hit(Hit::host(&lost));
        let off = lab.power_off(&[lost.as_str()])?;
        went_elsewhere(cluster, &then, off.at_ms)?;
        lab.power_on(&[lost.as_str()])?;
        wait_host(cluster, &lost, Membership::Online)?;
        move_vm(cluster, "rb", &lost, PATIENCE)?;
        wait_lease(cluster, &lost, Plane::Valid)?;
        let before: Vec<Vm> = names
            .iter()
            .map(|name| cluster.vm(name))
            .collect::<Result<_>>()?;
        let stays: Vec<usize> = before
            .iter()
            .map(|vm| self::stays(cluster, vm))
            .collect::<Result<_>>()?;

        lab.hit(Hit::Records);
        restore(lab)?;
        for vm in &before {
            let owner = owner_in_etcd(lab, vm)?;
            expect(owner.generation < vm.generation, || {
                format!(
                    "etcd was not set back: {} is at {}",
                    vm.name, owner.generation
                )
            })?;
        }
        start(lab, lab.layout().controls(), "manager")?;
        wait_verdicts(cluster, &peer, names, "set-back")?;
        // All hosts but the one that really has it: nobody tells of its claim, and the storage refuses to be taken.
        let others = || lab.layout().hypervisors().filter(|host| host.name != peer);
        let told = words_of(lab)?;
        start(lab, others(), "agent")?;
        refused(cluster, "ra", &peer, &told)?;
        let back_ms = clock::now_ms();
        start(lab, [lab.layout().machine(&peer)?].into_iter(), "agent")?;
        cluster.wait_sites_online(PATIENCE)?;
        cluster.wait(
            "the forgotten grants to be taken back",
            PATIENCE,
            |status| {
                let found = |was: &Vm| status.vms.iter().find(|vm| vm.name == was.name).cloned();
                let late = before.iter().find(|was| {
                    found(was).is_none_or(|now| {
                        (now.generation, &now.host) != (was.generation, &was.host)
                    })
                });
                match late {
                    None => Ok(()),
                    Some(was) => Err(format!("{:?}, and it was {was:?}", found(was))),
                }
            },
        )?;
        for (vm, before) in before.iter().zip(stays) {
            let host = host_of(cluster, vm.name.as_str())?;
            let until = back_ms + PAST_EVERY_WAIT.as_millis() as u64;
            let mut log = cluster.lab.observer_log()?;
            log.wait_for_beat_on(vm.name.as_str(), &host, until, PATIENCE)?;
            let now = self::stays(cluster, vm)?;
            expect(now == before, || {
                format!(
                    "{} had {before} stays and has {now}: it did not just run on",
                    vm.name
                )
            })?;
        }
        wait_verdicts(cluster, &peer, names, "agrees")
    })
}

/// How often it began anew somewhere, by its own signs.
fn stays(cluster: &Cluster, vm: &Vm) -> Result<usize> {
    let proof = cluster.lab.proof()?;
    let found = proof.vms.iter().find(|each| each.vm == vm.name.as_str());
    Ok(found.map_or(0, |each| each.stays.len()))
}

/// The other host of its site.
fn peer_of(lab: &Lab, host: &str) -> Result<String> {
    let site = lab.layout().machine(host)?.site.clone();
    let mut peers = lab.layout().hypervisors();
    let peer = peers.find(|each| each.site == site && each.name != host);
    peer.map(|peer| peer.name.clone())
        .ok_or_else(|| LabError::Refused(format!("{host} is the only host of its site")))
}

/// Every client is stopped, every member begins anew with the backup.
fn restore(lab: &Lab) -> Result<()> {
    let controls: Vec<&Machine> = lab.layout().controls().collect();
    for host in lab.layout().hypervisors() {
        lab.stop_service(&host.name, "agent")?;
    }
    for member in &controls {
        lab.stop_service(&member.name, "manager")?;
        lab.stop_service(&member.name, "etcd")?;
    }
    let from = lab.state().etcd("a-ctl").join("backup.db");
    // Each member removes its own once it has begun anew with it.
    for member in &controls {
        let to = lab.state().etcd(&member.name).join("backup.db");
        if to != from {
            std::fs::copy(&from, &to).map_err(LabError::io("copy to", &to))?;
        }
    }
    let peers: Vec<String> = controls
        .iter()
        .map(|each| format!("{}=http://{}:2380", each.name, each.address))
        .collect();
    for member in &controls {
        let old = format!("{ETCD_DIR}/member");
        lab.exec(&member.name, &["rm", "-r", &old], LIMIT)?
            .ok("rm")?;
        let dir = format!("{ETCD_DIR}/restored");
        let own = format!("http://{}:2380", member.address);
        let argv = [
            "etcdctl",
            "snapshot",
            "restore",
            BACKUP,
            "--data-dir",
            &dir,
            "--name",
            &member.name,
            "--initial-cluster",
            &peers.join(","),
            "--initial-cluster-token",
            "holdfast-lab",
            "--initial-advertise-peer-urls",
            &own,
        ];
        lab.exec(&member.name, &argv, LIMIT)?
            .ok("etcdctl snapshot restore")?;
        let restored = format!("{dir}/member");
        lab.exec(&member.name, &["mv", &restored, ETCD_DIR], LIMIT)?
            .ok("mv")?;
        lab.exec(&member.name, &["rm", "-r", &dir, BACKUP], LIMIT)?
            .ok("rm")?;
    }
    for member in &controls {
        lab.start_service(&member.name, "etcd")?;
    }
    crate::ready::etcd(lab)
}

fn start<'l>(lab: &Lab, machines: impl Iterator<Item = &'l Machine>, service: &str) -> Result<()> {
    let mut machines = machines;
    machines.try_for_each(|machine| lab.start_service(&machine.name, service))
}

/// Waits until `holdfast doctor`, on a host that has the volume, says so of these VMs.
fn wait_verdicts(cluster: &Cluster, host: &str, vms: [&str; 2], wanted: &str) -> Result<()> {
    let lab = cluster.lab;
    let program = lab.options().bin_dir.join("holdfast");
    let (program, urls) = (
        program.to_string_lossy(),
        lab.layout().control_urls("a", API_PORT).join(","),
    );
    let argv = [
        &*program,
        "--api",
        &urls,
        "-o",
        "json",
        "doctor",
        LEASE_VOLUME,
    ];
    let what = format!("`holdfast doctor` to say {wanted} of {vms:?}");
    wait_until(&what, PATIENCE, "", || {
        // What is bad ends it with a failure; it is told all the same.
        let said = lab
            .exec(host, &argv, LIMIT)
            .map_err(|error| error.chain())?;
        let found: Value = serde_json::from_str(&said.stdout)
            .map_err(|error| format!("{error}: {}{}", said.stdout, said.stderr))?;
        let compared = found["vms"].as_array().cloned().unwrap_or_default();
        let says = |vm: &&str| {
            let mut of_vm = compared.iter().filter(|each| each["vm"] == **vm);
            of_vm.next().is_some_and(|each| each["verdict"] == wanted)
        };
        match vms.iter().all(says) {
            true => Ok(()),
            false => Err(format!("{}", found["vms"])),
        }
    })
}

/// What every agent has told so far, by host.
fn words_of(lab: &Lab) -> Result<BTreeMap<String, usize>> {
    let hosts = lab.layout().hypervisors();
    hosts
        .map(|host| Ok((host.name.clone(), log_of(lab, &host.name)?.len())))
        .collect()
}

fn log_of(lab: &Lab, host: &str) -> Result<String> {
    let path = lab.log_path(host, "agent")?;
    std::fs::read_to_string(&path).map_err(LabError::io("read", &path))
}

/// A start of a VM was refused by what stands on the lease volume, an agent says so, and the record is put right
/// by that.
fn refused(
    cluster: &Cluster,
    vm: &str,
    holder: &str,
    told: &BTreeMap<String, usize>,
) -> Result<()> {
    const WORDS: &str = "the storage knows an owner that the control plane does not";
    wait_event(
        cluster,
        &format!("{vm}: the lease volume has a claim by {holder} "),
    )?;
    for (host, known) in told {
        let log = log_of(cluster.lab, host)?;
        let news = log.get(*known..).unwrap_or_default();
        let of_vm = |line: &str| line.contains(WORDS) && line.contains(&format!("vm={vm} "));
        if news.lines().any(of_vm) {
            return Ok(());
        }
    }
    Err(LabError::Refused(format!(
        "no agent says that it was refused {vm} on the storage"
    )))
}

fn owner_in_etcd(lab: &Lab, vm: &Vm) -> Result<Owner> {
    // No manager is there to be asked, and how keys are spelled is the store's own business.
    let keys = ["etcdctl", "get", "--prefix", "--keys-only", "/"];
    let keys = lab.exec("a-ctl", &keys, LIMIT)?.ok("etcdctl get")?.stdout;
    let of_vm = format!("/vms/{}/owner", vm.name);
    let key = keys.lines().find(|key| key.ends_with(&of_vm));
    let key = key.unwrap_or(&of_vm).to_owned();
    let argv = ["etcdctl", "get", "--print-value-only", &key];
    let value = lab.exec("a-ctl", &argv, LIMIT)?.ok("etcdctl get")?.stdout;
    serde_json::from_str(&value).map_err(|error| {
        LabError::Refused(format!("{key} in etcd cannot be read: {error}: {value}"))
    })
}
