//! Twenty extensions at once, five of which do nothing right, and two more that do worse: what a cluster has to bear.

use std::path::Path;
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::programs::own_bin_dir;
use crate::run::wait_until;
use crate::state;
use crate::trial::Cluster;

/// What is measured, and how many of each: fifteen that answer, and of the five others one traps, one computes without
/// end, one takes all the memory there is, one ranks by what is no number, and one never comes back from an event. A name
/// of its own for each.
pub const CROWD: [(&str, usize); 8] = [
    ("site-affinity", 8),
    ("label-match", 5),
    ("free-memory", 2),
    ("bad-traps", 1),
    ("bad-loops", 1),
    ("bad-grows", 1),
    ("bad-not-a-number", 1),
    ("bad-spins", 1),
];

/// These do worse: one answers with 10 MB, and one wants a thousand requests for each batch of events.
pub const WORSE: [(&str, usize); 2] = [("bad-talks", 1), (FLOODS, 1)];

/// It takes whatever comes of its requests for a good answer: it never fails.
const FLOODS: &str = "bad-floods";

/// Compiling takes seconds each.
const PATIENCE: Duration = Duration::from_secs(300);

/// Installs them, and waits until every manager has tried to get each ready. Their names.
pub fn install(cluster: &Cluster, which: &[(&str, usize)]) -> Result<Vec<String>> {
    let root = cluster.lab.state().root().join("crowd");
    let mut names = Vec::new();
    for &(base, copies) in which {
        for copy in 1..=copies {
            let name = format!("{base}-{copy}");
            copied(base, &root.join(&name), &name)?;
            let dir = root.join(&name);
            let dir = dir.to_string_lossy();
            let argv = ["ext", "install", &*dir, "--yes", "--on-failure", "open"];
            cluster.lab.cli(&argv)?.ok("holdfast ext install")?;
            names.push(name);
        }
    }
    let controls = cluster.lab.layout().controls().count();
    wait_until("all of them to be ready", PATIENCE, "", || {
        let all = cluster.lab.cli_json(&["ext", "list"]);
        let all = all.map_err(|error| error.to_string())?;
        let loading = all.as_array().into_iter().flatten().find(|each| {
            let managers = each["managers"].as_object();
            let there = managers.into_iter().flatten();
            let done = there
                .filter(|(_, there)| matches!(there["state"].as_str(), Some("ready" | "resting")));
            done.count() < controls
        });
        loading.map_or(Ok(()), |each| {
            Err(format!(
                "{}: {}",
                each["installed"]["manifest"]["name"], each["managers"]
            ))
        })
    })?;
    Ok(names)
}

/// The bad ones have failed, and all that came of it are lines about them: no VM ran twice, no plan was refused,
/// nothing else is out of order.
pub fn disturbs_nothing(cluster: &Cluster, names: &[String]) -> Result<()> {
    for bad in names.iter().filter(|name| name.starts_with("bad-")) {
        let calls = cluster.calls_of(bad)?;
        let harm = match bad.starts_with(FLOODS) {
            true => calls.asked,
            false => calls.failed,
        };
        if harm == 0 {
            let text = format!("{bad} was asked by nobody, or did no harm: nothing is shown");
            return Err(LabError::Refused(text));
        }
    }
    wait_until("lines about them, and no others", PATIENCE, "", || {
        let status = cluster.status().map_err(|error| error.to_string())?;
        let mut others = status.conditions.iter();
        let other = others.find(|each| !each.code.starts_with("extension-"));
        other.map_or(Ok(()), |each| Err(format!("{}: {}", each.code, each.text)))
    })?;
    let proof = cluster.lab.proof()?;
    match proof.overlaps {
        0 => Ok(()),
        overlaps => Err(LabError::Refused(format!("{overlaps} VMs ran twice"))),
    }
}

/// Removes them.
pub fn remove(cluster: &Cluster, names: &[String]) -> Result<()> {
    names.iter().try_for_each(|name| {
        let argv = ["ext", "remove", name, "--yes"];
        cluster.lab.cli(&argv)?.ok("holdfast ext remove").map(drop)
    })
}

/// The same extension under another name.
fn copied(base: &str, to: &Path, name: &str) -> Result<()> {
    let target = own_bin_dir();
    let from = target
        .parent()
        .unwrap_or(&target)
        .join("extensions")
        .join(base);
    let file = |name: &str| {
        let path = from.join(name);
        std::fs::read(&path).map_err(|error| {
            let text = format!("{}: {error}; run `cargo xtask extensions`", path.display());
            LabError::Refused(text)
        })
    };
    let manifest = String::from_utf8_lossy(&file("extension.toml")?).into_owned();
    let own = format!("name = \"{base}\"");
    if !manifest.contains(&own) {
        let text = format!("{}: its manifest has no line `{own}`", from.display());
        return Err(LabError::Refused(text));
    }
    let manifest = manifest.replacen(&own, &format!("name = \"{name}\""), 1);
    std::fs::create_dir_all(to).map_err(LabError::io("create", to))?;
    state::write(&to.join("extension.toml"), &manifest)?;
    let component = to.join("component.wasm");
    let written = std::fs::write(&component, file("component.wasm")?);
    written.map_err(LabError::io("write", &component))
}
