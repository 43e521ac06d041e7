//! `holdfast ext check`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Line, Tone};
use super::super::super::{print, print_json};
use super::super::arguments::WhichArguments;
use super::super::package::text;
use super::examine::{Examined, Finding, examine};
use super::{listed, size};
use holdfast_extension_signature::{FILE, SignatureFile, fits};
use holdfast_model::component::digest;
use holdfast_model::signature::PublicKey;
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
    /// Whose signature is beside it, if it fits.
    signed: Option<PublicKey>,
    findings: &'a [Finding],
}

/// Everything that is wrong, and what it is if nothing is.
pub(in super::super) fn check(which: &WhichArguments, output: Output) -> Result<(), CliError> {
    let mut found = examine(which)?;
    let signed = signature(&mut found)?;
    if output == Output::Json {
        print_json(&checked(&found, signed))?;
    } else if found.findings.is_empty() {
        print(&summary(&checked(&found, signed)))?;
    } else {
        print(&findings(&found.findings))?;
    }
    match found.findings.is_empty() {
        true => Ok(()),
        false => Err(CliError::Sick),
    }
}

/// Who vouches for it, if it is signed. One that was built again since is refused wherever it is installed.
fn signature(found: &mut Examined) -> Result<Option<PublicKey>, CliError> {
    let path = found.manifest_path.with_file_name(FILE);
    let Some(manifest) = &found.manifest else {
        return Ok(None);
    };
    if found.wasm.is_empty() || !path.exists() {
        return Ok(None);
    }
    let shown = path.display();
    let fitting = SignatureFile::read(&text(&path)?, &shown.to_string())
        .map_err(|error| error.to_string())
        .and_then(|file| {
            let signed = file.over(text(&found.manifest_path).map_err(|error| error.to_string())?);
            let fits = fits(&signed, &digest(&found.wasm), manifest);
            fits.map(|()| signed.key)
                .map_err(|error| format!("{shown}: {error}"))
        });
    match fitting {
        Ok(key) => Ok(Some(key)),
        Err(why) => {
            found.find(
                "signature",
                format!("{why}. As it stands no cluster takes it"),
            );
            Ok(None)
        }
    }
}

fn checked(found: &Examined, signed: Option<PublicKey>) -> Checked<'_> {
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
        signed,
        findings: &found.findings,
    }
}

fn summary(checked: &Checked<'_>) -> String {
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "{} {}, kind {}: {}, {} of contract {}, imports {}; asks for {}{}",
        checked.name.unwrap_or_default(),
        checked.version.unwrap_or_default(),
        checked.kind.unwrap_or_default(),
        size(checked.bytes as u64),
        checked.exports.join(" and "),
        checked.contract.as_deref().unwrap_or_default(),
        listed(&checked.imports),
        listed(&checked.rights),
        checked
            .signed
            .map_or_else(String::new, |key| format!("; signed with {}", key.short())),
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
