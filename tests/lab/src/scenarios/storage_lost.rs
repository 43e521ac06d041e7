//! Storage that fails under VMs whose host is there.

use std::time::Duration;

use holdfast_model::host::Membership;
use holdfast_model::status::VmState;

use super::checks::{proven, same_grant, wait_host, wait_told, went_elsewhere};
use super::watch::never_twice;
use super::{PATIENCE, expect, host_of, remove, small, wish, with_policy, with_vms};
use crate::clock;
use crate::error::{LabError, Result};
use crate::guest::{GuestKind, GuestSpec};
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::wait_until;
use crate::trial::{Cluster, move_vm};

/// libvirt's word for a guest that was stopped by its own disk.
const PAUSED: &str = "paused (I/O error)";
/// `[storage] grace_ms` of these scenarios.
const GRACE_MS: u64 = 5_000;

/// How often a fault is tried that another one may get mixed up with.
const ATTEMPTS: u32 = 3;

/// Runs a body under a policy that waits for that long, and then does that with a VM that is paused while
/// its host's storage is good.
fn under(lab: &Lab, on_io_error: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let added = format!("[storage]\ngrace_ms = {GRACE_MS}\non_io_error = \"{on_io_error}\"\n");
    with_policy(lab, &added, body)
}

/// One VM that writes and is paused, one that never writes and runs on: both have to leave.
pub(super) fn host_loses_storage(lab: &Lab) -> Result<()> {
    let wishes = [wish("sto-w", "a", GuestKind::Linux), small("sto-r", "a")];
    let body = |cluster: &Cluster| {
        let host = host_of(cluster, "sto-w")?;
        if host_of(cluster, "sto-r")? != host {
            move_vm(cluster, "sto-r", &host, PATIENCE)?;
        }
        let before = [cluster.vm("sto-w")?, cluster.vm("sto-r")?];
        let life = life_of(cluster, &host)?;
        lab.hit(Hit::host(&host));
        let cut = cluster.lab.cut(&host, "storage", false)?;
        proven(cluster)?;
        wait_domain(cluster, &host, "sto-w", PAUSED)?;
        wait_told(
            cluster,
            "storage",
            &format!("storage on host {host} is not usable"),
        )?;
        for vm in &before {
            let first = went_elsewhere(cluster, vm, cut.at_ms)?.first_ms;
            expect(first > cut.at_ms + GRACE_MS, || {
                format!("{} was taken away before the grace was over", vm.name)
            })?;
            let now = cluster.vm(vm.name.as_str())?;
            expect(now.generation.0 == vm.generation.0 + 1, || {
                format!("{} was granted more than once: {}", vm.name, now.generation)
            })?;
        }
        cluster.lab.heal("all", "all")?;
        wait_storage(cluster, &host, "synced")?;
        wait_host(cluster, &host, Membership::Online)?;
        expect(life_of(cluster, &host)? == life, || {
            format!("{host} was there all the time and was given up")
        })
    };
    under(lab, "restart", || with_vms(lab, &wishes, body))
}

/// The storage client of a host dies and is started again. The host's storage is good at once; what had
/// its disk open before never gets at it again.
pub(super) fn io_error(lab: &Lab) -> Result<()> {
    let body = |cluster: &Cluster| {
        for _ in 0..ATTEMPTS {
            if io_error_alone(cluster)? {
                return Ok(());
            }
        }
        Err(LabError::Refused(format!(
            "{ATTEMPTS} times the storage client was away for so long that the storage check saw it"
        )))
    };
    let wishes = [wish("ioe", "a", GuestKind::Linux)];
    under(lab, "restart", || with_vms(lab, &wishes, body))
}

/// False: the host's storage check came just then, and its VMs were evacuated for that.
fn io_error_alone(cluster: &Cluster) -> Result<bool> {
    let before = cluster.vm("ioe")?;
    let host = host_of(cluster, "ioe")?;
    cluster.lab.hit(Hit::host(&host));
    let killed = cluster.lab.kill(&host, "storage")?;
    wait_domain(cluster, &host, "ioe", PAUSED)?;
    let paused = format!("it was paused on an I/O error on {host}");
    let alone = cluster.wait("ioe to be told paused", PATIENCE, |status| {
        let vm = status.vms.iter().find(|vm| vm.name.as_str() == "ioe");
        let vm = vm.ok_or("it is gone")?;
        let evacuated = vm.reason.contains("storage is not usable");
        match vm.state {
            VmState::Paused if vm.reason.contains(&paused) => Ok(true),
            _ if vm.generation > before.generation && evacuated => Ok(false),
            state => Err(format!("{state:?}: {}", vm.reason)),
        }
    })?;
    if !alone {
        let log = cluster.lab.observer_log();
        log?.wait_for_beat("ioe", clock::now_ms(), PATIENCE)?;
        cluster.wait_running(&["ioe"], PATIENCE)?;
        return Ok(false);
    }
    let done = went_elsewhere(cluster, &before, killed.at_ms)?;
    let (last, first) = (done.last_ms, done.first_ms);
    expect(first > last + GRACE_MS, || {
        format!(
            "it was started again {} ms after it stood still",
            first - last
        )
    })?;
    let now = cluster.vm("ioe")?;
    expect(now.generation.0 == before.generation.0 + 1, || {
        format!("it was granted more than once: {}", now.generation)
    })?;
    wait_host(cluster, &host, Membership::Online)?;
    Ok(true)
}

/// The storage is full: what writes anew is paused everywhere, nothing is stopped for it, and with
/// `on_io_error = "resume"` it goes on where it stands once there is room.
pub(super) fn full(lab: &Lab) -> Result<()> {
    const VM: &str = "full";
    // Its disk has no blocks yet: each of its writes needs room.
    let guest = lab.add_guest(GuestSpec::new(VM, GuestKind::Linux, "a"), false)?;
    let image = guest.spec.image();
    for size in ["0", "16M"] {
        let argv = ["truncate", "--size", size, &image];
        lab.exec("a1", &argv, Duration::from_secs(10))?
            .ok("truncate")?;
    }
    under(lab, "resume", || {
        let file = guest.spec_file.to_string_lossy();
        lab.cli(&["vm", "apply", "-f", &file])?
            .ok("holdfast vm apply")?;
        with_vms(lab, &[small("roomy", "a")], |cluster| {
            cluster.wait_running(&[VM], PATIENCE)?;
            cluster.lab.observer_log()?.wait_for_beat(VM, 0, PATIENCE)?;
            let before = [cluster.vm(VM)?, cluster.vm("roomy")?];
            let host = host_of(cluster, VM)?;
            reserve(lab, "99")?;
            wait_domain(cluster, &host, VM, PAUSED)?;
            let paused_ms = clock::now_ms();
            wait_told(cluster, "storage", "the file system is full")?;
            // Well after the grace it stands where it stood.
            let later_ms = paused_ms + 2 * GRACE_MS;
            let mut log = cluster.lab.observer_log()?;
            let other = host_of(cluster, "roomy")?;
            log.wait_for_beat_on("roomy", &other, later_ms, PATIENCE)?;
            wait_paused(cluster, VM, "it is left as it is")?;
            reserve(lab, "1")?;
            log.wait_for_beat_on(VM, &host, later_ms, PATIENCE)?;
            cluster.wait_running(&[VM], PATIENCE)?;
            for vm in &before {
                same_grant(cluster, vm)?;
            }
            never_twice(&lab.proof()?, VM)?;
            remove(cluster, VM)
        })
    })
}

/// How much of each brick's file system nobody may write to, in per cent (100 counts as none). GlusterFS
/// refuses further blocks with ENOSPC and says that the file system is full.
fn reserve(lab: &Lab, per_cent: &str) -> Result<()> {
    let volume = crate::storage::VOLUME;
    let argv = [
        "gluster",
        "--mode=script",
        "volume",
        "set",
        volume,
        "storage.reserve",
        per_cent,
    ];
    lab.exec("a-ctl", &argv, Duration::from_secs(30))?
        .ok("gluster volume set")
        .map(drop)
}

/// Waits until libvirt itself says so of a VM, in the words of `virsh domstate --reason`.
fn wait_domain(cluster: &Cluster, host: &str, vm: &str, says: &str) -> Result<()> {
    let argv = ["virsh", "-q", "domstate", vm, "--reason"];
    wait_until(
        &format!("{vm} to be {says} on {host}"),
        PATIENCE,
        "",
        || {
            let state = cluster.lab.exec(host, &argv, Duration::from_secs(10));
            let state = state.map_err(|error| error.to_string())?;
            match state.stdout.trim() == says {
                true => Ok(()),
                false => Err(format!("{}{}", state.stdout, state.stderr)),
            }
        },
    )
}

/// A status says that a VM stands paused, and why.
fn wait_paused(cluster: &Cluster, vm: &str, says: &str) -> Result<()> {
    cluster.wait(
        &format!("{vm} to be told paused"),
        PATIENCE,
        |status| match status.vms.iter().find(|each| each.name.as_str() == vm) {
            Some(found) if found.state == VmState::Paused && found.reason.contains(says) => Ok(()),
            Some(found) => Err(format!("{:?}: {}", found.state, found.reason)),
            None => Err("it is gone".into()),
        },
    )
}

/// A host's own check of its storage says so.
fn wait_storage(cluster: &Cluster, host: &str, wanted: &str) -> Result<()> {
    let what = format!("{host}'s storage to be {wanted}");
    cluster.wait(&what, PATIENCE, |status| {
        match status.hosts.iter().find(|each| each.name.as_str() == host) {
            Some(found) if found.storage == wanted => Ok(()),
            Some(found) => Err(found.storage.clone()),
            None => Err("it is not known".into()),
        }
    })
}

/// The life of a host.
fn life_of(cluster: &Cluster, host: &str) -> Result<String> {
    let hosts = cluster.status()?.hosts.into_iter();
    let mut found = hosts.filter(|each| each.name.as_str() == host);
    let life = found.next().and_then(|each| each.incarnation);
    Ok(life.map(|life| life.to_string()).unwrap_or_default())
}
