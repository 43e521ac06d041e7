//! The record: `wit/released.toml`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use holdfast_lab::{LabError, Result};

use super::{Contract, Contracts, Items, RECORD};

const HEAD: &str = "\
# Versions of contracts that have been released, with the SHA-256 of each interface and world as it is printed without
# comments, and of each golden guest. Nothing in here is ever altered: `cargo xtask extensions --release-wit` adds to
# it, and a test says what is not as it was.
";

/// By package, then by version.
type File = BTreeMap<String, BTreeMap<String, Items>>;

/// What has been released so far.
pub(super) fn read(root: &Path) -> Result<Contracts> {
    let path = root.join(RECORD);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Contracts::new()),
        read => read.map_err(LabError::io("read", &path))?,
    };
    let file: File = toml::from_str(&text)
        .map_err(|error| LabError::Refused(format!("{RECORD}: {}", error.message())))?;
    let versions = file.into_iter().flat_map(|(package, versions)| {
        versions.into_iter().map(move |(version, items)| {
            let package = package.clone();
            (Contract { package, version }, items)
        })
    });
    Ok(versions.collect())
}

/// Takes the place of what was there.
pub(super) fn write(root: &Path, released: &Contracts) -> Result<()> {
    let path = root.join(RECORD);
    std::fs::write(&path, text(released)).map_err(LabError::io("write", &path))
}

fn text(released: &Contracts) -> String {
    let mut text = HEAD.to_owned();
    for (Contract { package, version }, items) in released {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n[{package}.\"{version}\"]");
        for (item, digest) in items {
            let _ = writeln!(text, "\"{item}\" = \"{digest}\"");
        }
    }
    text
}
