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
/// holds a VM back, and says so, until it is gone; all managers have what is installed. One that was built for a
/// contract of a later version is refused.
pub(super) fn extensions(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("exa", "a")], |cluster| {
        of_a_later_contract(cluster)?;
        among_bad_ones(cluster)?;
        rule(cluster)
    })
}

/// Whole, and its rule is of a version that no Holdfast has yet.
fn of_a_later_contract(cluster: &Cluster) -> Result<()> {
    let built = folder(RULE)?.join("component.wasm");
    let wasm = std::fs::read(&built).map_err(LabError::io("read", &built))?;
    let later = dated(
        wasm,
        b"holdfast:placement/rule@0.2.0",
        b"holdfast:placement/rule@0.3.0",
    );
    let later = later.ok_or_else(|| {
        let text = format!("{}: no rule of version 0.2.0 is in it", built.display());
        LabError::Refused(text)
    })?;
    let file = cluster.lab.state().root().join("scenario-later.wasm");
    state::write(&file, later)?;
    let manifest = folder(RULE)?.join("extension.toml");
    let (file, manifest) = (file.to_string_lossy(), manifest.to_string_lossy());
    let argv = ["ext", "install", &*file, "--manifest", &*manifest, "--yes"];
    let said = cluster.lab.cli(&argv)?;
    let words = "it was built for `holdfast:placement/rule@0.3.0`";
    expect(
        !said.status.success() && said.stderr.contains(words),
        || format!("a component of another contract: {said:?}"),
    )?;
    let installed = cluster.lab.cli_json(&["ext", "list"])?;
    expect(installed.as_array().is_some_and(Vec::is_empty), || {
        format!("something is installed: {installed}")
    })
}

/// With another version in a name that stands in it; the binary says how long names are, so both are as long. None if
/// it is not there.
fn dated(mut wasm: Vec<u8>, from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut found = false;
    for at in 0..wasm.len() {
        if wasm[at..].starts_with(from) {
            wasm[at..at + from.len()].copy_from_slice(to);
            found = true;
        }
    }
    found.then_some(wasm)
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
    let dir = folder(name)?;
    let dir = dir.to_string_lossy();
    let argv = [&["ext", "install", &*dir, "--yes"], more].concat();
    cluster.lab.cli(&argv)?.ok("holdfast ext install")
}

/// Where one was built.
fn folder(name: &str) -> Result<PathBuf> {
    let dir: PathBuf = match own_bin_dir().parent() {
        Some(target) => target.join("extensions").join(name),
        None => name.into(),
    };
    match dir.is_dir() {
        true => Ok(dir),
        false => {
            let text = format!("{}: not built; run `cargo xtask extensions`", dir.display());
            Err(LabError::Refused(text))
        }
    }
}

pub(super) fn install(cluster: &Cluster, name: &str, more: &[&str]) -> Result<()> {
    put(cluster, name, more)?;
    ready(cluster, name)
}

/// Waits until every manager has it ready.
pub(super) fn ready(cluster: &Cluster, name: &str) -> Result<()> {
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
