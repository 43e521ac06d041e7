//! How soon a lost host is noticed, proven and replaced, by what its fencing device does.

use holdfast_lab::boards::{Boards, Mode};
use holdfast_lab::scenarios::{DEVICES, with_policy};
use holdfast_lab::trial::{Cluster, Failover, lose, move_vm};
use holdfast_lab::{Progress, Result, notice_soon, wait_until};

use super::Measured;
use super::planes::all_well;
use super::runs::{PATIENCE, Plan, gather, tidied_up, wishes};
use super::series::{Series, healed};

/// The host that is lost.
const LOST: &str = "a1";

/// What a host's device does, and what that is called.
const ROWS: [(&str, Mode); 5] = [
    ("device answers at once", Mode::Answers),
    ("device takes 4 s", Mode::Slow),
    ("device lies (too late)", Mode::Lies),
    ("device hangs", Mode::Hangs),
    ("no way to the device", Mode::Dead),
];

/// Devices that are no help get this part of the runs only: the leases decide then, which are measured beside.
const FEWER: usize = 5;

/// All of them in one lab, the runs of each in turn.
pub(super) fn detect(plan: &Plan, progress: &Progress) -> Result<Measured> {
    let count = plan.vms.unwrap_or(1);
    plan.in_lab(progress, |cluster| {
        let wishes = wishes(count, "a");
        let names: Vec<&str> = wishes.iter().map(|wish| wish.name.as_str()).collect();
        gather(cluster, &wishes)?;
        // Otherwise what is measured is when the storage lets go of a lost host's image locks: 3 s.
        notice_soon(cluster.lab)?;
        let mut measured = Measured::default();
        let alone = losses(plan.runs, cluster, progress, "leases only", &names);
        if !measured.take("leases only", alone, cluster, progress) {
            return Ok(measured);
        }
        let with_devices = with_policy(cluster.lab, DEVICES, || {
            Boards::serve(cluster.lab, |boards| {
                for (name, mode) in ROWS {
                    let runs = match mode {
                        Mode::Answers => plan.runs,
                        _ => plan.runs.div_ceil(FEWER),
                    };
                    let lose = || {
                        boards.set(LOST, mode);
                        let failover = loses(cluster, progress)?;
                        // What was held back is of no more use to anybody.
                        boards.tell_lies();
                        Ok(failover)
                    };
                    let home = || comes_home(cluster, progress, &names);
                    let all = Series::of(runs, progress, name, lose, home);
                    if !measured.take(name, all, cluster, progress) {
                        break;
                    }
                }
                Ok(())
            })
        });
        if let Err(error) = with_devices {
            // Of a cluster that is not well, the policy may not be taken back either.
            measured.cut_short.get_or_insert(error);
        }
        Ok(measured)
    })
}

/// So many losses of the host, one after the other.
pub(super) fn losses(
    runs: usize,
    cluster: &Cluster,
    progress: &Progress,
    name: &str,
    vms: &[&str],
) -> Series {
    let lose = || loses(cluster, progress);
    Series::of(runs, progress, name, lose, || {
        comes_home(cluster, progress, vms)
    })
}

/// The host loses its power with its VMs.
fn loses(cluster: &Cluster, progress: &Progress) -> Result<Failover> {
    healed(progress, "the cluster", || all_well(cluster))?;
    healed(progress, "its probing", || answers(cluster))?;
    // Where it came from, libvirtd finishes the move a moment after it is done, and starts nothing until then.
    for host in cluster.lab.layout().hypervisors() {
        if host.name != LOST {
            healed(progress, &host.name, || tidied_up(cluster, &host.name))?;
        }
    }
    lose(cluster, &[LOST], PATIENCE)
}

/// It is well again, and has its VMs back.
fn comes_home(cluster: &Cluster, progress: &Progress, vms: &[&str]) -> Result<()> {
    cluster.lab.power_on(&[LOST])?;
    healed(progress, "the storage", || {
        cluster.lab.wait_storage_in_sync(PATIENCE)
    })?;
    healed(progress, "the cluster", || all_well(cluster))?;
    healed(progress, LOST, || tidied_up(cluster, LOST))?;
    for vm in vms {
        move_vm(cluster, vm, LOST, PATIENCE)?;
    }
    Ok(())
}

/// Managers at two sites have had answers of it, as they have of any host that is up for more than a moment:
/// each manager tells of its own.
fn answers(cluster: &Cluster) -> Result<()> {
    let what = format!("{LOST} to answer its managers");
    wait_until(&what, PATIENCE, "", || {
        let status = cluster.status().map_err(|error| error.to_string())?;
        let host = status.hosts.iter().find(|host| host.name.as_str() == LOST);
        match host.map(|host| &host.probes[..]) {
            Some([]) | None => Err("no manager has had an answer".to_owned()),
            Some(probes) if probes.iter().any(|each| each.silent) => Err(format!("{probes:?}")),
            Some(_) => Ok(()),
        }
    })
}
