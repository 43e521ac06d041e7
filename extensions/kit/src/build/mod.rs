//! Builds an extension's folder into a component.

pub(crate) mod c;
mod functions;
mod javascript;
mod python;
mod rust;

pub use rust::ensure_compiler;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::componentize::{Surface, surface};
use crate::{Folder, KitError, Language, Result, Tools};

/// How to build.
pub struct Options<'a> {
    /// The component's file; if none is given, `NAME.wasm` in the extension's folder.
    pub output: Option<PathBuf>,
    /// Cargo's directory, for extensions in Rust; if none is given, what cargo takes.
    pub cargo_target: Option<PathBuf>,
    /// Tools that the kit fetches.
    pub tools: Tools,
    /// Is told what takes long.
    pub say: &'a dyn Fn(&str),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            output: None,
            cargo_target: None,
            tools: Tools::of_user(),
            say: &|_| {},
        }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Its size.
    pub bytes: usize,
    /// What it imports and exports.
    pub surface: Surface,
    /// How long it took.
    pub took: Duration,
}

/// Builds an extension. One that imports anything that is not Holdfast's is refused: it could not be loaded.
pub fn build(folder: &Folder, options: &Options<'_>) -> Result<Built> {
    let start = Instant::now();
    let component = match folder.language {
        Language::Rust => rust::build(folder, options)?,
        Language::JavaScript => javascript::build(folder, options)?,
        Language::Python => python::build(folder, options)?,
        Language::C => c::build(folder, options)?,
    };
    let name = folder.manifest.name.to_string();
    let own = || folder.path.join(format!("{name}.wasm"));
    let path = options.output.clone().unwrap_or_else(own);
    let surface = surface(&component, &path)?;
    let imports = surface.foreign();
    if !imports.is_empty() {
        return Err(KitError::Imports { name, imports });
    }
    std::fs::write(&path, &component).map_err(KitError::io("write", &path))?;
    Ok(Built {
        path,
        bytes: component.len(),
        surface,
        took: start.elapsed(),
    })
}

/// A directory for what is needed only while building.
fn work() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(KitError::io("create a directory in", &std::env::temp_dir()))
}

/// The component that a tool has written.
fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(KitError::io("read", path))
}

/// What a guard says is for the author. Of all else that goes wrong in a tool its last words are, which say why.
fn refused(error: KitError, source: &Path) -> KitError {
    let KitError::Command { said, .. } = &error else {
        return error;
    };
    let own = said.split_once("<holdfast>");
    let own = own.and_then(|(_, rest)| rest.split_once("</holdfast>"));
    let last = said
        .rsplit_once("Caused by:\n")
        .map(|(_, last)| last.trim());
    match own.map(|(what, _)| what).or(last) {
        Some(what) => KitError::Source {
            place: source.to_owned(),
            what: what.to_owned(),
        },
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_author_is_told_alone() {
        let failed = |said: &str| KitError::Command {
            command: "tool".to_owned(),
            ended: "ended with exit status: 1".to_owned(),
            said: said.to_owned(),
        };
        let own = "Failed: Error: <holdfast>it exports nothing</holdfast>\n    at told (/x:1:1)";
        let told = refused(failed(own), Path::new("a.js")).to_string();
        assert_eq!(told, "a.js: it exports nothing");
        let told = refused(failed("out of memory"), Path::new("a.js")).to_string();
        assert!(told.contains("out of memory"), "{told}");
        let caused = "Traceback (most recent call last):\n  …\nCaused by:\n    it is full\n";
        let told = refused(failed(caused), Path::new("a.js")).to_string();
        assert_eq!(told, "a.js: it is full");
    }
}
