//! What can be found out about an extension without running it: its manifest, its size, its contract, and whether
//! these fit each other.

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::hint;
use super::super::super::paint::{Line, Tone};
use super::super::arguments::WhichArguments;
use super::super::package::no_manifest;
use super::test::tell_unsound;
use super::{say, size};
use holdfast_extension_host::contract::mismatches;
use holdfast_extension_host::{EngineKind, ExtensionError, Loaded, Runtime};
use holdfast_extension_kit::{fits, sources};
use holdfast_model::extension::{
    COMPONENT_BYTES_LARGE_MAX, COMPONENT_BYTES_MAX, MANIFEST, Manifest,
};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Something that is wrong, with what to do.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// What it is about.
    pub about: &'static str,
    /// In one line.
    pub text: String,
}

/// What was found out.
pub(super) struct Examined {
    pub manifest_path: PathBuf,
    pub component_path: Option<PathBuf>,
    pub manifest: Option<Manifest>,
    pub wasm: Vec<u8>,
    pub loaded: Option<Loaded>,
    pub findings: Vec<Finding>,
}

/// An extension that has nothing wrong with it, as far as can be told without running it.
pub(super) struct Sound {
    pub manifest: Manifest,
    pub wasm: Vec<u8>,
    pub loaded: Loaded,
}

impl Examined {
    /// What there is to run; none if anything is wrong.
    fn sound(self) -> Option<Sound> {
        match (self.manifest, self.loaded, self.findings.is_empty()) {
            (Some(manifest), Some(loaded), true) => Some(Sound {
                manifest,
                wasm: self.wasm,
                loaded,
            }),
            _ => None,
        }
    }

    pub(super) fn find(&mut self, about: &'static str, text: impl ToString) {
        self.findings.push(Finding {
            about,
            text: text.to_string(),
        });
    }
}

/// Compiling takes long for what is larger than this.
const SOON_BYTES: usize = 1_000_000;

/// Looks at it. An error is only what keeps it from being looked at: no such file or folder.
pub(super) fn examine(which: &WhichArguments) -> Result<Examined, CliError> {
    let of_folder = which.path.is_dir();
    let missing = |source| CliError::Read {
        path: which.path.display().to_string(),
        source,
    };
    std::fs::metadata(&which.path).map_err(missing)?;
    let folder = match of_folder {
        true => which.path.as_path(),
        false => which.path.parent().unwrap_or(Path::new(".")),
    };
    let manifest_path = which.manifest.clone();
    let mut found = Examined {
        manifest_path: manifest_path.unwrap_or_else(|| folder.join(MANIFEST)),
        component_path: (!of_folder).then(|| which.path.clone()),
        manifest: None,
        wasm: Vec::new(),
        loaded: None,
        findings: Vec::new(),
    };
    manifest(&mut found);
    if let (true, Some(manifest)) = (of_folder, &found.manifest) {
        found.component_path = Some(folder.join(format!("{}.wasm", manifest.name)));
    }
    if let Some(path) = found.component_path.clone() {
        component(&mut found, &path, which)?;
    }
    if of_folder {
        stale(&found, folder);
    }
    Ok(found)
}

/// What there is to run; if anything is wrong with it, that is told, and is the end.
pub(super) fn sound(which: &WhichArguments, output: Output) -> Result<Sound, CliError> {
    let found = examine(which)?;
    if !found.findings.is_empty() {
        tell_unsound(&found.findings, output)?;
    }
    found.sound().ok_or(CliError::Sick)
}

fn manifest(found: &mut Examined) {
    let path = found.manifest_path.clone();
    if !path.is_file() {
        let folder = path.parent().unwrap_or(Path::new("."));
        return match path.file_name().is_some_and(|name| name == MANIFEST) {
            true => found.find("manifest", no_manifest(folder)),
            false => found.find("manifest", format!("{}: no such file", path.display())),
        };
    }
    let read = holdfast_strict::load(&path, |text, name| {
        holdfast_strict::read_checked(text, name, Manifest::fault)
    });
    match read {
        Ok(manifest) => found.manifest = Some(manifest),
        Err(error) => found.find("manifest", error),
    }
}

fn component(found: &mut Examined, path: &Path, which: &WhichArguments) -> Result<(), CliError> {
    let place = path.display();
    if !path.is_file() {
        let folder = which.path.display();
        let text = format!("{place}: not there; build it with `holdfast ext build {folder}`");
        found.find("component", text);
        return Ok(());
    }
    let failed = |source| CliError::Read {
        path: place.to_string(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > COMPONENT_BYTES_LARGE_MAX {
        // Not even read.
        let text = format!(
            "{place}: {}; no cluster takes more than {} MiB: leave out what it does not use",
            size(bytes),
            COMPONENT_BYTES_LARGE_MAX >> 20
        );
        found.find("size", text);
        return Ok(());
    }
    if bytes > COMPONENT_BYTES_MAX && !which.large {
        let text = format!(
            "{place}: {}; at most {} MiB are taken without being asked: make it smaller, or add --large here and \
             where it is installed",
            size(bytes),
            COMPONENT_BYTES_MAX >> 20
        );
        found.find("size", text);
        // To compile it takes half a minute.
        return Ok(());
    }
    found.wasm = std::fs::read(path).map_err(failed)?;
    let runtime = Runtime::new(EngineKind::Native).map_err(super::host)?;
    match compiled(&runtime, &found.wasm) {
        Err(error) => found.find("contract", format!("{place}: {error}")),
        Ok(loaded) => contract(found, loaded, path),
    }
    Ok(())
}

/// Machine code of it, for this process.
pub(super) fn compiled(runtime: &Runtime, wasm: &[u8]) -> Result<Loaded, ExtensionError> {
    if wasm.len() > SOON_BYTES {
        let what = match runtime.is_metered() {
            true => "compiling it again, to count what it executes",
            false => "compiling it",
        };
        say(&format!("{what}: {}", size(wasm.len() as u64)));
    }
    Loaded::compile(runtime, wasm)
}

fn contract(found: &mut Examined, loaded: Loaded, path: &Path) {
    let kind = loaded.surface().kind;
    if let Err(error) = fits(&found.wasm, kind, path) {
        found.find("contract", error);
    } else if let Some(manifest) = &found.manifest
        && let Err(error) = loaded.fits_here(manifest.limits())
    {
        // What the contract has and this host has not would be a defect of the host: better told here than later.
        found.find("contract", error);
    }
    let mismatches = found
        .manifest
        .as_ref()
        .map_or_else(Vec::new, |manifest| mismatches(loaded.surface(), manifest));
    for text in mismatches {
        found.find("rights", text);
    }
    found.loaded = Some(loaded);
}

/// Nothing is wrong with an old component, but it is seldom the one that is meant.
fn stale(found: &Examined, folder: &Path) {
    let modified = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|found| found.modified())
            .ok()
    };
    let component = found.component_path.as_deref().and_then(modified);
    if let (Some(component), Some(newest)) = (component, sources::newest(folder))
        && newest > component
    {
        let text = format!(
            "the component is older than its sources; `holdfast ext build {}` makes it anew",
            folder.display()
        );
        hint(&Line::new().add(Tone::Warn, "note: ").text(text).draw());
    }
}
