//! Live migrations: one on request, and a whole site going home.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::cluster::Cluster;
use crate::clock;
use crate::error::{LabError, Result};
use crate::proof::Began;
use crate::run::wait_until;

/// One live migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmMove {
    /// From there.
    pub from: String,
    /// To there.
    pub to: String,
    /// From the last sign at the source to the first at the destination, as the observer heard
    /// them. Includes up to one beat of the guest, 55 ms.
    pub downtime_ms: u64,
    /// When the guest was first heard at the destination (CLOCK_BOOTTIME).
    pub arrived_at: u64,
    /// From the request to that moment, where somebody asked.
    pub total_ms: Option<u64>,
}

/// A site's VMs that went home.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Homecoming {
    /// Live migrations.
    pub moves: BTreeMap<String, VmMove>,
    /// VMs that booted anew instead.
    pub restarted: Vec<String>,
}

/// `holdfast vm move`, until the guest beats at the destination.
pub fn move_vm(cluster: &Cluster, vm: &str, to: &str, limit: Duration) -> Result<VmMove> {
    let from = cluster
        .vm(vm)?
        .host
        .map(|host| host.to_string())
        .unwrap_or_default();
    let asked_at = clock::now_ms();
    let argv = ["vm", "move", vm, "--to", to];
    cluster.lab.cli(&argv)?.ok("holdfast vm move")?;
    let mut log = cluster.lab.observer_log()?;
    log.wait_for_beat_on(vm, to, asked_at, limit)?;
    cluster.wait(&format!("{vm} to run on {to}"), limit, |status| {
        let found = status.vms.iter().find(|each| each.name.as_str() == vm);
        match found {
            Some(found)
                if found.host.as_ref().is_some_and(|host| host.as_str() == to)
                    && found.state == holdfast_model::status::VmState::Running =>
            {
                Ok(())
            }
            Some(found) => Err(format!(
                "{:?} on {:?}: {}",
                found.state, found.host, found.reason
            )),
            None => Err("it is gone".into()),
        }
    })?;
    let mut done = last_stay(cluster, vm)?.ok_or_else(|| {
        LabError::Refused(format!(
            "{vm} booted anew instead of moving live from {from} to {to}"
        ))
    })?;
    done.total_ms = Some(done.arrived_at.saturating_sub(asked_at));
    Ok(done)
}

/// The last change of place of a VM, if it was a live one.
fn last_stay(cluster: &Cluster, vm: &str) -> Result<Option<VmMove>> {
    let proof = cluster.lab.proof()?;
    let stays = proof
        .vms
        .into_iter()
        .find(|each| each.vm == vm)
        .map(|each| each.stays);
    let stays = stays.unwrap_or_default();
    let [.., before, now] = stays.as_slice() else {
        return Ok(None);
    };
    if now.began != Began::Moved {
        return Ok(None);
    }
    Ok(Some(VmMove {
        from: before.host.clone(),
        to: now.host.clone(),
        downtime_ms: now.first_ms.saturating_sub(before.last_ms),
        arrived_at: now.first_ms,
        total_ms: None,
    }))
}

/// Waits until these VMs are heard from hosts of `site` again, and says how each came.
pub fn watch_homecoming(
    cluster: &Cluster,
    site: &str,
    vms: &[&str],
    limit: Duration,
    mut seen: impl FnMut(usize),
) -> Result<Homecoming> {
    let machines = cluster.lab.layout().site(site)?;
    let hosts: Vec<&str> = machines
        .iter()
        .map(|machine| machine.name.as_str())
        .collect();
    let mut log = cluster.lab.observer_log()?;
    let hint = "`cargo xtask lab cli why vm NAME`, `cargo xtask lab cli failback status`";
    wait_until(
        &format!("{} VMs to go home to site {site}", vms.len()),
        limit,
        hint,
        || {
            log.refresh().map_err(|error| error.to_string())?;
            let home: Vec<&&str> = vms
                .iter()
                .filter(|vm| {
                    log.last_beat(vm)
                        .is_some_and(|beat| hosts.contains(&beat.host.as_str()))
                })
                .collect();
            seen(home.len());
            if home.len() == vms.len() {
                return Ok(());
            }
            let late: Vec<&str> = vms
                .iter()
                .filter(|vm| !home.contains(vm))
                .copied()
                .collect();
            Err(format!("still away: {}", late.join(" ")))
        },
    )?;
    cluster.wait_running(vms, limit)?;
    let mut homecoming = Homecoming::default();
    for vm in vms {
        match last_stay(cluster, vm)? {
            Some(done) => drop(homecoming.moves.insert((*vm).to_owned(), done)),
            None => homecoming.restarted.push((*vm).to_owned()),
        }
    }
    Ok(homecoming)
}
