//! `holdfast ext check`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Line, Tone};
use super::super::super::{print, print_json};
use super::super::arguments::WhichArguments;
use super::examine::{Examined, Finding, examine};
use super::{listed, size};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Checked<'a> {
    manifest: &'a Path,
    component: Option<&'a Path>,
    name: Option<&'a str>,
    version: Option<&'a str>,
    kind: Option<&'static str>,
    /// The version of its kind's contract that it was built with.
    contract: Option<String>,
    bytes: usize,
    exports: Vec<String>,
    imports: Vec<String>,
    rights: Vec<String>,
    findings: &'a [Finding],
}

/// Everything that is wrong, and what it is if nothing is.
pub(in super::super) fn check(which: &WhichArguments, output: Output) -> Result<(), CliError> {
    let found = examine(which)?;
    if output == Output::Json {
        print_json(&checked(&found))?;
    } else if found.findings.is_empty() {
        print(&summary(&checked(&found)))?;
    } else {
        print(&findings(&found.findings))?;
    }
    match found.findings.is_empty() {
        true => Ok(()),
        false => Err(CliError::Sick),
    }
}

fn checked(found: &Examined) -> Checked<'_> {
    let manifest = found.manifest.as_ref();
    let surface = found.loaded.as_ref().map(|loaded| loaded.surface());
    let names = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect();
    Checked {
        manifest: &found.manifest_path,
        component: found.component_path.as_deref(),
        name: manifest.map(|manifest| manifest.name.as_str()),
        version: manifest.map(|manifest| manifest.version.as_str()),
        kind: manifest.map(|manifest| manifest.kind.word()),
        contract: surface.map(|surface| surface.version.to_string()),
        bytes: found.wasm.len(),
        exports: surface.map_or_else(Vec::new, |surface| names(&surface.hooks)),
        imports: surface.map_or_else(Vec::new, |surface| names(&surface.imports)),
        rights: manifest.map_or_else(Vec::new, |manifest| manifest.rights.lines()),
        findings: &found.findings,
    }
}

fn summary(checked: &Checked<'_>) -> String {
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "{} {}, kind {}: {}, {} of contract {}, imports {}; asks for {}",
        checked.name.unwrap_or_default(),
        checked.version.unwrap_or_default(),
        checked.kind.unwrap_or_default(),
        size(checked.bytes as u64),
        checked.exports.join(" and "),
        checked.contract.as_deref().unwrap_or_default(),
        listed(&checked.imports),
        listed(&checked.rights),
    ));
    line.draw() + "\n"
}

/// One line each.
pub(super) fn findings(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let line = Line::new()
            .add(Tone::Bad, format!("✘ {}: ", finding.about))
            .text(&finding.text);
        line.draw() + "\n"
    };
    findings.iter().map(line).collect()
}
