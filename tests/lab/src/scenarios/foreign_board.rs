//! A Redfish service that is not ours, as far from the cluster as a real board: TLS, a password, and time to switch.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use holdfast_model::host::Membership;

use super::checks::{given_up, proven, wait_host, went_elsewhere};
use super::extension::{install, remove};
use super::fence::{REDFISH, wait_heard, wait_journal};
use super::{PATIENCE, expect, host_of, small, with_vms, with_whole_policy};
use crate::configs;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::machine::Power;
use crate::needless::Hit;
use crate::state;
use crate::sushy::{Sushy, TARGET, system};
use crate::trial::Cluster;

const VM: &str = "boarded";

/// A host falls silent; its board switches it off, and that is what closes it.
pub(super) fn redfish(lab: &Lab) -> Result<()> {
    let cluster = Cluster::of(lab);
    cluster.wait_sites_online(PATIENCE)?;
    install(&cluster, REDFISH, &[])?;
    Sushy::serve(lab, |sushy| {
        with_target(&cluster, sushy, || {
            with_whole_policy(lab, &policy(lab), || {
                with_vms(lab, &[small(VM, "a")], |cluster| {
                    // A board that says what is not so explains what comes after: that first.
                    let outcome = switched_off(cluster, sushy);
                    sushy.expect_obeyed().and(outcome)
                })
            })
        })
    })?;
    remove(&cluster, REDFISH)
}

fn switched_off(cluster: &Cluster, sushy: &Sushy) -> Result<()> {
    let lab = cluster.lab;
    let before = cluster.vm(VM)?;
    let host = host_of(cluster, VM)?;
    wait_heard(cluster, &host)?;
    lab.hit(Hit::host(&host));
    let cut = lab.cut(&host, "all", false)?;
    proven(cluster)?;
    let power = sushy.wait_off(&host, cut.at_ms, PATIENCE)?;
    expect(power == Power::On, || {
        format!("{host} had no power before its board was told to switch it off")
    })?;
    went_elsewhere(cluster, &before, cut.at_ms)?;
    expect(lab.power(&host)? == Power::Off, || {
        format!("{host} still has power")
    })?;
    let told = given_up(cluster)?;
    let last = told.iter().rfind(|text| text.starts_with(&host));
    expect(
        last.is_some_and(|text| text.contains(&format!("powered off, says {host}"))),
        || format!("{host} was given up by the wrong evidence: {last:?}"),
    )?;
    wait_journal(cluster, "POST")?;
    lab.heal("all", "all")?;
    lab.power_on(&[&host])?;
    wait_host(cluster, &host, Membership::Online)
}

/// A device for each host. The leases wait for long: that the board is what closes the host is what is tried.
fn policy(lab: &Lab) -> String {
    let own = configs::policy_toml(lab.options());
    let profile = format!("profile = \"{}\"", lab.options().profile);
    let mut text = own.replacen(&profile, "profile = \"patient\"", 1);
    text.push_str("\n[fencing]\non_suspicion = true\n");
    for host in lab.layout().hypervisors() {
        let (name, id) = (&host.name, system(lab, &host.name));
        text.push_str(&format!(
            "\n[fencing.devices.{name}]\nextension = \"{REDFISH}\"\nbind = {{ board = \"{TARGET}\" }}\n\
             options = {{ system = \"{id}\" }}\ntimeout_ms = 60000\nread_back = {{ target = \"{TARGET}\", \
             path = \"/redfish/v1/Systems/{id}\", pointer = \"/PowerState\", off = \"Off\", on = \"On\" }}\n"
        ));
    }
    text
}

/// Managers know the service while the body runs: they are started again for that, one after the other.
fn with_target<T>(cluster: &Cluster, sushy: &Sushy, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = |name: &str, dir: &str| cluster.lab.state().private(name, dir);
    let controls: Vec<String> = cluster
        .lab
        .layout()
        .controls()
        .map(|each| each.name.clone())
        .collect();
    let mut before: Vec<(PathBuf, String)> = Vec::new();
    for name in &controls {
        let file = own(name, "/etc/holdfast").join("manager.toml");
        let text = std::fs::read_to_string(&file).map_err(LabError::io("read", &file))?;
        let secrets = own(name, "/etc/holdfast").join("fence");
        state::make_dir(&secrets)?;
        let secret = secrets.join(format!("{TARGET}.password"));
        state::write(&secret, Sushy::password())?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&secret, private).map_err(LabError::io("protect", &secret))?;
        state::write(&file, format!("{text}{}", sushy.target()))?;
        before.push((file, text));
        restarted(cluster, name)?;
    }
    let value = body()?;
    for ((file, text), name) in before.iter().zip(&controls) {
        state::write(file, text)?;
        restarted(cluster, name)?;
    }
    Ok(value)
}

fn restarted(cluster: &Cluster, control: &str) -> Result<()> {
    cluster.lab.stop_service(control, "manager")?;
    cluster.lab.start_service(control, "manager")?;
    cluster.wait("all managers", PATIENCE, |status| {
        match status.managers.iter().find(|each| !each.healthy) {
            None => Ok(()),
            Some(away) => Err(format!("{} does not answer", away.name)),
        }
    })
}
