//! The contracts, as the kit carries them with it.

use std::path::{Path, PathBuf};

use wit_parser::{ParseError, Resolve, ResolveError, Span, WorldId};

use crate::{Folder, KitError, Result};

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
const HOST_VERSION: &str = "0.1.0";

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

/// The full name of an interface that hosts have.
pub(crate) fn of_host(interface: &str) -> String {
    format!("holdfast:host/{interface}@{HOST_VERSION}")
}

/// The interfaces that hosts have, by their full names.
pub(crate) fn host_interfaces() -> Vec<String> {
    let host = FILES.iter().filter(|file| file.package == "host");
    host.map(|file| of_host(file.name.trim_end_matches(".wit")))
        .collect()
}

/// Reads an extension's contracts from a folder that has `deps` in it.
pub fn resolve(wit: &Path) -> Result<(Resolve, WorldId)> {
    let mut resolve = Resolve::default();
    let pushed = resolve.push_dir(wit);
    let (package, _) = pushed.map_err(|error| {
        let syntax = error.downcast_ref::<ParseError>();
        let syntax = syntax.map(|error| (error.kind().span(), error.to_string()));
        let meaning = error.downcast_ref::<ResolveError>();
        let meaning = meaning.map(|error| (error.kind().span(), error.to_string()));
        let placed = syntax.or(meaning);
        let placed = placed.and_then(|(span, what)| Some((place(&resolve, span)?, what)));
        let (place, what) =
            placed.unwrap_or_else(|| (wit.display().to_string(), format!("{error:#}")));
        KitError::Wit { place, what }
    })?;
    let world = resolve
        .select_world(&[package], Some(WORLD))
        .map_err(|error| KitError::wit(wit, format!("{error:#}")))?;
    Ok((resolve, world))
}

/// As errors of other files name a place: `wit/world.wit, line 5, column 1`.
fn place(resolve: &Resolve, span: Span) -> Option<String> {
    let location = resolve.render_location(span);
    let mut parts = location.rsplitn(3, ':');
    let (column, line) = (parts.next()?, parts.next()?);
    Some(format!("{}, line {line}, column {column}", parts.next()?))
}

/// An extension's own contracts.
pub(crate) struct Contracts {
    /// Where they are, complete, for tools that read them by themselves.
    pub(crate) path: PathBuf,
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
}

/// The extension's own `wit/`, complete: where it carries no contracts of its own, ours are put beside its world
/// in `work`. What is wrong with it is told with its place in the extension's folder.
pub(crate) fn prepare(folder: &Folder, work: &Path) -> Result<Contracts> {
    let own = folder.path.join("wit");
    let path = complete(&own, work)?;
    let (resolve, world) = resolve(&path).map_err(|error| match error {
        KitError::Wit { place, what } => KitError::Wit {
            place: place.replace(&path.display().to_string(), &own.display().to_string()),
            what,
        },
        other => other,
    })?;
    Ok(Contracts {
        path,
        resolve,
        world,
    })
}

fn complete(own: &Path, work: &Path) -> Result<PathBuf> {
    if own.join("deps").is_dir() {
        return Ok(own.to_owned());
    }
    if !own.join("world.wit").is_file() {
        let what = "not there; it says what the extension exports and imports, and \
                    `holdfast ext new` writes one";
        return Err(KitError::wit(&own.join("world.wit"), what));
    }
    let made = work.join("wit");
    let mut world = String::new();
    std::fs::create_dir_all(&made).map_err(KitError::io("create", &made))?;
    for entry in std::fs::read_dir(own).map_err(KitError::io("read", own))? {
        let path = entry.map_err(KitError::io("read", own))?.path();
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

    /// With the contracts beside it and without, which are then put elsewhere.
    #[test]
    fn what_is_wrong_with_a_world_is_told_with_its_place() {
        for (world, wanted) in [
            (
                "package local:extension;\nworld extension {\n  import holdfast:host/log@0.1.0\n}\n",
                "wit/world.wit, line 4, column 1: expected ';', found '}'",
            ),
            (
                "package local:extension;\nworld extension {\n  import holdfast:host/lug@0.1.0;\n}\n",
                "wit/world.wit, line 3, column 24: interface 'lug' not found in package 'holdfast:host@0.1.0'",
            ),
        ] {
            for beside in [true, false] {
                let dir = tempfile::tempdir().expect("a directory");
                let put = |name: &str, text: &str| {
                    std::fs::write(dir.path().join(name), text).expect("a file");
                };
                let manifest =
                    "name = \"x\"\nversion = \"1.0.0\"\nkind = \"events\"\nsummary = \"Tells.\"\n";
                put("extension.toml", manifest);
                put("events.js", "");
                std::fs::create_dir(dir.path().join("wit")).expect("a directory");
                put("wit/world.wit", world);
                if beside {
                    write_deps_for(world, &dir.path().join("wit/deps")).expect("contracts");
                }
                let folder = Folder::open(dir.path()).expect("a folder");
                let work = tempfile::tempdir().expect("a directory");
                let refused = prepare(&folder, work.path()).err().expect("refused");
                let refused = refused.to_string();
                let own = format!("{}/", dir.path().display());
                assert_eq!(refused.replace(&own, ""), wanted, "beside: {beside}");
            }
        }
    }
}
