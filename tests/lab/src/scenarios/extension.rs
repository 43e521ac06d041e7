//! Placement extensions, good and bad ones, while hosts are lost.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_model::status::{Status, VmState};

use super::checks::{runs_on, same_grant, wait_told};
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::needless::Hit;
use crate::programs::own_bin_dir;
use crate::run::{Output, wait_until};
use crate::trial::Cluster;
use crate::{clock, state};

/// It costs the most: all of its time.
const LOOPS: &str = "bad-loops";
/// All of them: they trap, ask for all memory, and answer what is no number.
const BAD: [&str; 4] = [LOOPS, "bad-traps", "bad-grows", "bad-not-a-number"];
const RULE: &str = "label-match";
/// In Rust, and in JavaScript.
const RANKS: [&str; 2] = ["site-affinity", "free-memory"];

/// Bad ones hold a failover up by no more than their budgets and are told of, while good ones are heeded; a hard rule
/// holds a VM back, and says so, until it is gone; all managers have what is installed.
pub(super) fn extensions(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("exa", "a")], |cluster| {
        among_bad_ones(cluster)?;
        rule(cluster)
    })
}

fn among_bad_ones(cluster: &Cluster) -> Result<()> {
    for rank in RANKS {
        install(cluster, rank, &[])?;
    }
    for bad in BAD {
        install(cluster, bad, &["--on-failure", "open"])?;
    }
    let host = host_of(cluster, "exa")?;
    cluster.lab.hit(Hit::host(&host));
    let off = cluster.lab.power_off(&[&host])?;
    let mut log = cluster.lab.observer_log()?;
    log.wait_for_beat("exa", off.gone_ms, PATIENCE)?;
    let there = host_of(cluster, "exa")?;
    expect(there != host, || {
        format!("exa is still said to be on {host}")
    })?;
    // They were asked, and failed: without that nothing is shown.
    for bad in BAD {
        let calls = cluster.calls_of(bad)?;
        expect(calls.failed > 0, || {
            format!("{bad} was asked by nobody, or did no harm: {calls:?}")
        })?;
    }
    let events = cluster.lab.cli(&["events", "-n", "200"])?.stdout;
    expect(
        events.contains(&format!("extension {LOOPS}: it used")),
        || format!("no decision tells that it was made without {LOOPS}:\n{events}"),
    )?;
    for rank in RANKS {
        let calls = cluster.calls_of(rank)?;
        expect(calls.asked > 0 && calls.failed == 0, || {
            format!("{rank} was asked by nobody, or failed: {calls:?}")
        })?;
        remove(cluster, rank)?;
    }
    for bad in BAD {
        remove(cluster, bad)?;
    }
    cluster.lab.power_on(&[&host])?;
    cluster.wait_sites_online(PATIENCE)
}

fn rule(cluster: &Cluster) -> Result<()> {
    install(cluster, RULE, &["--on-failure", "closed"])?;
    let file = cluster.lab.state().root().join("scenario-labels.toml");
    state::write(&file, "name = \"exa\"\n[labels]\nneeds = \"gpu\"\n")?;
    let file = file.to_string_lossy();
    cluster
        .lab
        .cli(&["vm", "apply", "-f", &file])?
        .ok("holdfast vm apply")?;
    // A rule that holds later does not stop what runs now.
    let since_ms = clock::now_ms();
    cluster
        .lab
        .observer_log()?
        .wait_for_beat("exa", since_ms, PATIENCE)?;
    cluster.lab.hit(Hit::vm("exa"));
    cluster
        .lab
        .cli(&["vm", "restart", "exa"])?
        .ok("holdfast vm restart")?;
    wait_until("the rule's words", PATIENCE, "", || {
        let why = cluster.lab.cli(&["why", "vm", "exa"]);
        let why = why.map_err(|error| error.to_string())?.stdout;
        match why.contains(&format!("extension {RULE}")) {
            true => Ok(()),
            false => Err(why),
        }
    })?;
    wait_told(cluster, "vm-waiting", "exa")?;
    let gone_ms = clock::now_ms();
    remove(cluster, RULE)?;
    cluster
        .lab
        .observer_log()?
        .wait_for_beat("exa", gone_ms, PATIENCE)?;
    cluster.wait("exa to run", PATIENCE, |status: &Status| {
        let mut vms = status.vms.iter();
        match vms.find(|vm| vm.name.as_str() == "exa").map(|vm| vm.state) {
            Some(VmState::Running) => Ok(()),
            state => Err(format!("{state:?}")),
        }
    })
}

/// Site b is down while a rank is installed at site a: it is told who lacks it, the others ask it, and the manager of
/// site b has the very same once it is back.
pub(super) fn install_without_a_site(lab: &Lab) -> Result<()> {
    const NAME: &str = "free-memory";
    const AWAY: &str = "b-ctl";
    with_vms(lab, &[small("isd", "a")], |cluster| {
        let before = cluster.vm("isd")?;
        lab.hit_site("b")?;
        let off = lab.power_off_site("b")?;
        cluster.wait(&format!("{AWAY} to be away"), PATIENCE, |status| {
            let mut managers = status.managers.iter();
            match managers.find(|each| each.name == AWAY) {
                Some(away) if !away.healthy => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })?;
        let told = put(cluster, NAME, &[])?;
        let told = format!("{}{}", told.stdout, told.stderr);
        let told: Vec<&str> = told.split_whitespace().collect();
        let told = told.join(" ");
        expect(told.contains(AWAY), || {
            format!("`holdfast ext install` does not say that {AWAY} lacks it: {told}")
        })?;
        let digest = wait_ready(cluster, NAME, &["a-ctl", "witness"])?;
        lab.power_on_site("b")?;
        let again = wait_ready(cluster, NAME, &["a-ctl", "b-ctl", "witness"])?;
        expect(again == digest, || {
            format!("{NAME} was {digest}, and is {again} with site b back")
        })?;
        runs_on(cluster, &before, off.at_ms, Duration::ZERO)?;
        same_grant(cluster, &before)?;
        remove(cluster, NAME)?;
        lab.wait_storage_in_sync(PATIENCE)
    })
}

/// Installs one; nobody may have it ready yet. What was said of it.
pub(super) fn put(cluster: &Cluster, name: &str, more: &[&str]) -> Result<Output> {
    let dir: PathBuf = match own_bin_dir().parent() {
        Some(target) => target.join("extensions").join(name),
        None => name.into(),
    };
    if !dir.is_dir() {
        let text = format!("{}: not built; run `cargo xtask extensions`", dir.display());
        return Err(LabError::Refused(text));
    }
    let dir = dir.to_string_lossy();
    let argv = [&["ext", "install", &*dir, "--yes"], more].concat();
    cluster.lab.cli(&argv)?.ok("holdfast ext install")
}

pub(super) fn install(cluster: &Cluster, name: &str, more: &[&str]) -> Result<()> {
    put(cluster, name, more)?;
    let controls = cluster.lab.layout().controls();
    let controls: Vec<&str> = controls.map(|each| each.name.as_str()).collect();
    wait_ready(cluster, name, &controls).map(drop)
}

/// Waits until these managers have ready what is installed; its digest.
fn wait_ready(cluster: &Cluster, name: &str, managers: &[&str]) -> Result<String> {
    let what = format!("{name} to be ready on {managers:?}");
    wait_until(&what, PATIENCE, "", || {
        let shown = shown(cluster, name).map_err(|error| error.to_string())?;
        let digest = &shown["installed"]["digest"];
        let ready = |manager: &&str| {
            let there = &shown["managers"][*manager];
            there["state"] == "ready" && there["digest"] == *digest
        };
        match (managers.iter().all(ready), digest.as_str()) {
            (true, Some(digest)) => Ok(digest.to_owned()),
            _ => Err(format!("{digest}: {}", shown["managers"])),
        }
    })
}

pub(super) fn remove(cluster: &Cluster, name: &str) -> Result<()> {
    let argv = ["ext", "remove", name, "--yes"];
    cluster.lab.cli(&argv)?.ok("holdfast ext remove").map(drop)
}

pub(super) fn shown(cluster: &Cluster, name: &str) -> Result<serde_json::Value> {
    cluster.lab.cli_json(&["ext", "show", name])
}
