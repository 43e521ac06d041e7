//! Whether a component fits the contract of its kind, types and all. Nothing of it is run or compiled for that.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_model::extension::ExtensionKind;
use wit_parser::{Resolve, WorldId};

use crate::{KitError, Result, Surface, wit};

/// An error says what does not fit. `place` names the component in errors.
pub fn fits(component: &[u8], kind: ExtensionKind, place: &Path) -> Result<()> {
    let found = crate::surface(component, place)?;
    let refused = |what: String| KitError::Contract {
        place: place.to_owned(),
        what,
    };
    let work = tempfile::tempdir()
        .map_err(KitError::io("create a directory in", &std::env::temp_dir()))?;
    let package = format!("holdfast:{kind}/");
    let exports = found
        .exports
        .iter()
        .filter(|name| name.starts_with(&package));
    let exports: Vec<String> = exports.map(|name| format!("export {name};")).collect();
    let (resolve, _) = world(work.path(), &exports).map_err(|error| refused(error.to_string()))?;
    let offered = offered(&resolve, kind);
    if let Some(missing) = missing(&found, &offered, &package) {
        return Err(refused(format!(
            "it imports {missing}, which extensions of kind {kind} do not get"
        )));
    }
    let imports = offered.iter().map(|name| format!("import {name};"));
    let items: Vec<String> = imports.chain(exports).collect();
    let (resolve, world) =
        world(work.path(), &items).map_err(|error| refused(error.to_string()))?;
    wit_component::targets(&resolve, world, component).map_err(|error| {
        let what = one_line(&error.root_cause().to_string());
        refused(format!("its types are others than in the contract: {what}"))
    })
}

/// The validator's words, without what is only true of the component that was made to ask it. Which of the two sides
/// it "expected" depends on whether a type is imported or exported, so that is left open.
fn one_line(words: &str) -> String {
    let words = words.split(" (at offset").next().unwrap_or(words);
    let own = format!("type mismatch for import `{}`", wit::WORLD);
    let lines = words.lines().filter(|line| *line != own);
    let lines: Vec<String> = lines
        .map(|line| match line.strip_prefix("expected ") {
            Some(rest) => format!("one has {}", rest.replace(", found ", ", the other ")),
            None => line.replace("type mismatch ", ""),
        })
        .collect();
    lines.join(": ")
}

/// A world of these items, beside our contracts.
fn world(work: &Path, items: &[String]) -> Result<(Resolve, WorldId)> {
    wit::write_deps(&work.join("deps"))?;
    let path = work.join("world.wit");
    let text = format!(
        "package local:extension;\nworld {} {{\n{}\n}}\n",
        wit::WORLD,
        items.join("\n")
    );
    std::fs::write(&path, text).map_err(KitError::io("write", &path))?;
    wit::resolve(work)
}

/// What the host has for this kind: what its worlds import, all together, and what is in none of them.
fn offered(resolve: &Resolve, kind: ExtensionKind) -> BTreeSet<String> {
    let packages = resolve.packages.iter();
    let of_kind = packages
        .filter(|(_, package)| package.name.namespace == "holdfast")
        .filter(|(_, package)| package.name.name == kind.word());
    let worlds = of_kind.flat_map(|(_, package)| package.worlds.values());
    let imports = worlds.flat_map(|world| resolve.worlds[*world].imports.keys());
    let more = kind.offered().iter();
    let more = more.map(|interface| wit::of_host(interface));
    let imports = imports.map(|key| resolve.name_world_key(key));
    imports.chain(more).collect()
}

fn missing(found: &Surface, offered: &BTreeSet<String>, package: &str) -> Option<String> {
    let mut imports = found.imports.iter();
    let missing = imports.find(|name| !offered.contains(*name) && !name.starts_with(package));
    missing.cloned()
}
