//! `test.toml`: what its author says of what an extension is to be tried with.

use super::super::super::error::CliError;
use super::super::arguments::WhichArguments;
use super::say;
use holdfast_extension_host::conformance::TestSetup;
use holdfast_model::extension::{ExtensionKind, MANIFEST};
use std::path::{Path, PathBuf};

/// Its name, beside the manifest. It is not part of the extension: what is signed and installed is without it.
pub(super) const SETUP: &str = "test.toml";

/// What is said there; nothing if there is no such file.
///
/// # Errors
/// If it cannot be read, or has something in it that cannot work: where, and what to do.
pub(super) fn setup(which: &WhichArguments, kind: ExtensionKind) -> Result<TestSetup, CliError> {
    let path = beside(which);
    if !path.exists() {
        return Ok(TestSetup::default());
    }
    let text = std::fs::read_to_string(&path).map_err(|source| CliError::Read {
        path: path.display().to_string(),
        source,
    })?;
    let name = path.display().to_string();
    let read = holdfast_strict::read_checked(&text, &name, |setup: &TestSetup| setup.fault(kind));
    let setup = read.map_err(|error| CliError::Extension(error.to_string()))?;
    say(&format!("as {name} has it"));
    Ok(setup)
}

fn beside(which: &WhichArguments) -> PathBuf {
    let manifest = match (&which.manifest, which.path.is_dir()) {
        (Some(manifest), _) => manifest.clone(),
        (None, true) => which.path.join(MANIFEST),
        (None, false) => which.path.clone(),
    };
    let folder = manifest.parent().unwrap_or(Path::new("."));
    folder.join(SETUP)
}
