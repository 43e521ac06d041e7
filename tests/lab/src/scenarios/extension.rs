//! Placement extensions, good and bad ones, while hosts are lost.

use std::path::PathBuf;

use holdfast_model::status::{Status, VmState};

use super::checks::wait_told;
use super::{PATIENCE, expect, host_of, small, with_vms};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::programs::own_bin_dir;
use crate::run::wait_until;
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
    runs_since(cluster, "exa", gone_ms)
}

/// It beats after that, and is said to run.
pub(super) fn runs_since(cluster: &Cluster, vm: &str, since_ms: u64) -> Result<()> {
    cluster
        .lab
        .observer_log()?
        .wait_for_beat(vm, since_ms, PATIENCE)?;
    cluster.wait(&format!("{vm} to run"), PATIENCE, |status: &Status| {
        let mut vms = status.vms.iter();
        match vms.find(|each| each.name.as_str() == vm).map(|vm| vm.state) {
            Some(VmState::Running) => Ok(()),
            state => Err(format!("{state:?}")),
        }
    })
}

/// Installs one; nobody may have it ready yet.
pub(super) fn put(cluster: &Cluster, name: &str, more: &[&str]) -> Result<()> {
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
    cluster.lab.cli(&argv)?.ok("holdfast ext install").map(drop)
}

pub(super) fn install(cluster: &Cluster, name: &str, more: &[&str]) -> Result<()> {
    put(cluster, name, more)?;
    ready(cluster, name)
}

/// Waits until every manager has it ready.
pub(super) fn ready(cluster: &Cluster, name: &str) -> Result<()> {
    let controls = cluster.lab.layout().controls().count();
    wait_until(
        &format!("{name} to be ready everywhere"),
        PATIENCE,
        "",
        || {
            let shown = shown(cluster, name).map_err(|error| error.to_string())?;
            let managers = shown["managers"].as_object();
            let mut there = managers.into_iter().flatten();
            let ready = there
                .by_ref()
                .filter(|(_, each)| each["state"] == "ready")
                .count();
            match ready == controls {
                true => Ok(()),
                false => Err(format!("{}", shown["managers"])),
            }
        },
    )
}

pub(super) fn remove(cluster: &Cluster, name: &str) -> Result<()> {
    let argv = ["ext", "remove", name, "--yes"];
    cluster.lab.cli(&argv)?.ok("holdfast ext remove").map(drop)
}

pub(super) fn shown(cluster: &Cluster, name: &str) -> Result<serde_json::Value> {
    cluster.lab.cli_json(&["ext", "show", name])
}
