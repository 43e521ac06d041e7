//! The contracts, as the kit carries them with it.

use std::path::Path;

use wit_parser::{Resolve, WorldId};

use crate::{KitError, Result};

/// One file of a contract.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Its package's name.
    pub package: &'static str,
    /// Its package's version.
    pub version: &'static str,
    /// Its own name.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

macro_rules! file {
    ($package:literal, $version:literal, $name:literal) => {
        File {
            package: $package,
            version: $version,
            name: $name,
            text: include_str!(concat!(
                "../../../wit/",
                $package,
                "/",
                $version,
                "/",
                $name
            )),
        }
    };
}

/// Every file of every contract.
pub const FILES: &[File] = &[
    file!("host", "0.1.0", "log.wit"),
    file!("host", "0.1.0", "http.wit"),
    file!("host", "0.1.0", "agent.wit"),
    file!("host", "0.1.0", "state.wit"),
    file!("host", "0.1.0", "probe.wit"),
    file!("placement", "0.1.0", "placement.wit"),
    file!("placement", "0.2.0", "placement.wit"),
    file!("fencing", "0.1.0", "fencing.wit"),
    file!("storage-check", "0.1.0", "storage-check.wit"),
    file!("events", "0.1.0", "events.wit"),
];

/// Of the interfaces that hosts have.
pub(crate) const HOST_VERSION: &str = "0.1.0";

/// The world of an extension's own `wit/`.
pub const WORLD: &str = "extension";

/// Writes all contracts where the tools of all languages look for them: one folder for each package under `deps`.
pub fn write_deps(deps: &Path) -> Result<()> {
    write(deps, FILES.iter())
}

/// The same for a world, of which this is the text: of packages with several versions those that it names, or the newest
/// if it names none. With two versions of one package beside each other, generated names of some languages would be
/// others than with one.
pub fn write_deps_for(world: &str, deps: &Path) -> Result<()> {
    write(deps, FILES.iter().filter(|file| is_for(world, file)))
}

fn is_for(world: &str, file: &File) -> bool {
    let names = |version: &str| {
        let (package, version) = (format!("holdfast:{}/", file.package), format!("@{version}"));
        // `export holdfast:placement/rule@0.2.0;`, `use holdfast:placement/types@0.2.0.{vm};`
        let mut words = world.split(|c: char| c.is_whitespace() || matches!(c, ';' | '{'));
        words.any(|word| {
            let word = word.trim_end_matches('.');
            word.starts_with(&package) && word.ends_with(&version)
        })
    };
    let mut versions = FILES.iter().filter(|each| each.package == file.package);
    let newest = versions.clone().map(|each| each.version).max();
    match versions.any(|each| names(each.version)) {
        true => names(file.version),
        false => newest == Some(file.version),
    }
}

fn write<'f>(deps: &Path, files: impl Iterator<Item = &'f File>) -> Result<()> {
    for file in files {
        let dir = deps.join(format!("{}-{}", file.package, file.version));
        std::fs::create_dir_all(&dir).map_err(KitError::io("create", &dir))?;
        let path = dir.join(file.name);
        std::fs::write(&path, file.text).map_err(KitError::io("write", &path))?;
    }
    Ok(())
}

/// Reads an extension's contracts from a folder that has `deps` in it.
pub fn resolve(wit: &Path) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let refused = |error: &dyn std::fmt::Display| KitError::wit(wit, error);
    let (package, _) = resolve
        .push_dir(wit)
        .map_err(|error| refused(&format!("{error:#}")))?;
    let world = resolve
        .select_world(&[package], Some(WORLD))
        .map_err(|error| refused(&format!("{error:#}")))?;
    Ok((resolve, world))
}

/// The extension's own `wit/`, complete: where it carries no contracts of its own, ours are put beside its world
/// in `work`.
pub(crate) fn prepare(folder: &Path, work: &Path) -> Result<std::path::PathBuf> {
    let own = folder.join("wit");
    if own.join("deps").is_dir() {
        return Ok(own);
    }
    if !own.join("world.wit").is_file() {
        let what = "not there; it says what the extension exports and imports, and \
                    `holdfast ext new` writes one";
        return Err(KitError::wit(&own.join("world.wit"), what));
    }
    let made = work.join("wit");
    let mut world = String::new();
    std::fs::create_dir_all(&made).map_err(KitError::io("create", &made))?;
    for entry in std::fs::read_dir(&own).map_err(KitError::io("read", &own))? {
        let path = entry.map_err(KitError::io("read", &own))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            world += &std::fs::read_to_string(&path).map_err(KitError::io("read", &path))?;
            std::fs::copy(&path, made.join(name)).map_err(KitError::io("copy", &path))?;
        }
    }
    write_deps_for(&world, &made.join("deps"))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_gets_the_versions_that_it_names() {
        let of = |world: &str| -> Vec<&str> {
            let files = FILES.iter().filter(|file| file.package == "placement");
            files
                .filter(|file| is_for(world, file))
                .map(|file| file.version)
                .collect()
        };
        assert_eq!(
            of("world w {\n  export holdfast:placement/score@0.1.0;\n}"),
            ["0.1.0"]
        );
        assert_eq!(of("use holdfast:placement/types@0.1.0.{vm};"), ["0.1.0"]);
        assert_eq!(of("export holdfast:placement/rule@0.2.0;"), ["0.2.0"]);
        assert_eq!(of("export holdfast:fencing/fence@0.1.0;"), ["0.2.0"]);
    }
}
