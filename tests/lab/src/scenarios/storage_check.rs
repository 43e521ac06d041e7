//! Storage that is checked by an extension: a copy is lost, and the check itself is.

use std::path::Path;

use super::checks::{runs_on, same_grant, wait_told};
use super::{PATIENCE, THREE_TTLS, extension, small, with_vms};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::{Machine, Role};
use crate::trial::Cluster;
use crate::{clock, configs, state, storage_checks};

/// The hosts' checks: GlusterFS's own in Rust, and on one host what any storage can be asked, in Python.
const CHECK: &str = "gluster-check";
const PROBE: &str = "storage-probe";
const PROBES: &str = "b2";
const VM: &str = "stx";
/// The server whose brick is lost: the VM is at the other site.
const SERVER: &str = "b-ctl";
/// Where distributions put GlusterFS's own heal reader. All machines of a lab share the real one's /usr.
const GLFSHEAL: [&str; 3] = [
    "/usr/libexec/glusterfs/glfsheal",
    "/usr/lib/x86_64-linux-gnu/glusterfs/glfsheal",
    "/usr/lib/aarch64-linux-gnu/glusterfs/glfsheal",
];

/// It sees what the built-in check sees; without it nobody knows how the storage is, and nothing stops for that.
pub(super) fn by_extension(lab: &Lab) -> Result<()> {
    let glfsheal = GLFSHEAL.into_iter().find(|path| Path::new(path).exists());
    let Some(glfsheal) = glfsheal.filter(|_| lab.options().storage) else {
        let text = "this needs a lab with GlusterFS, and its glfsheal";
        return Err(LabError::Refused(text.into()));
    };
    with_vms(lab, &[small(VM, "a")], |cluster| {
        agents_with(lab, |machine| {
            let (layout, options) = (lab.layout(), lab.options());
            let check = match machine.name.as_str() {
                PROBES => storage_checks::by_storage_probe(layout),
                _ => storage_checks::by_gluster_check(layout, glfsheal),
            };
            configs::host_toml_with(layout, machine, options, &check)
        })?;
        let done = body(cluster);
        // Also after a failure: the next scenario finds the lab as it was.
        agents_with(lab, |machine| {
            configs::host_toml(lab.layout(), machine, lab.options())
        })?;
        done?;
        for check in [CHECK, PROBE] {
            extension::remove(cluster, check)?;
        }
        wait_storage(cluster, "synced")
    })
}

fn body(cluster: &Cluster) -> Result<()> {
    let before = cluster.vm(VM)?;
    wait_storage(cluster, "unknown: extension ")?;
    wait_told(cluster, "extension-not-ready", "is not installed")?;
    extension::put(cluster, CHECK, &[])?;
    // Python comes with all of its interpreter.
    extension::put(cluster, PROBE, &["--allow-large"])?;
    wait_storage(cluster, "synced")?;
    // Kept down, so that nobody starts the brick again.
    cluster.lab.stop_service(SERVER, "storage")?;
    cluster.lab.kill(SERVER, "storage")?;
    wait_storage(cluster, "degraded: ")?;
    same_grant(cluster, &before)?;
    cluster.lab.start_service(SERVER, "storage")?;
    cluster.lab.wait_storage_in_sync(PATIENCE)?;
    wait_storage(cluster, "synced")?;
    let since_ms = clock::now_ms();
    extension::remove(cluster, CHECK)?;
    wait_storage_by(cluster, |host| match host {
        PROBES => "synced",
        _ => "unknown: extension gluster-check",
    })?;
    wait_told(cluster, "extension-not-ready", "is not installed")?;
    runs_on(cluster, &before, since_ms, THREE_TTLS)?;
    same_grant(cluster, &before)?;
    extension::put(cluster, CHECK, &[])?;
    wait_storage(cluster, "synced")
}

/// Gives every agent another file, and starts it with that.
fn agents_with(lab: &Lab, text: impl Fn(&Machine) -> String) -> Result<()> {
    let all = &lab.layout().machines;
    for machine in all.iter().filter(|each| each.role == Role::Hypervisor) {
        let file = lab
            .state()
            .private(&machine.name, "/etc/holdfast/host.toml");
        state::write(&file, text(machine))?;
        lab.stop_service(&machine.name, "agent")?;
        lab.start_service(&machine.name, "agent")?;
    }
    Ok(())
}

/// Every host's own check of its storage begins so.
fn wait_storage(cluster: &Cluster, wanted: &'static str) -> Result<()> {
    wait_storage_by(cluster, |_| wanted)
}

/// What each host's own check of its storage says begins so.
fn wait_storage_by(cluster: &Cluster, wanted: impl Fn(&str) -> &'static str) -> Result<()> {
    cluster.wait("the storage of every host", PATIENCE, |status| {
        let mut hosts = status.hosts.iter();
        match hosts.find(|host| !host.storage.starts_with(wanted(host.name.as_str()))) {
            None => Ok(()),
            Some(host) => {
                let wanted = wanted(host.name.as_str());
                Err(format!("{}: {}, not {wanted}", host.name, host.storage))
            }
        }
    })
}
