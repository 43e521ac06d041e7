//! `holdfast ext build`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Line, Tone};
use super::super::super::{print, print_json};
use super::super::arguments::BuildArguments;
use super::super::package::no_manifest;
use super::{host_imports, kit, listed, say, size};
use holdfast_extension_kit::{Folder, Options, Tools};
use holdfast_model::extension::{COMPONENT_BYTES_MAX, MANIFEST};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Serialize)]
struct Component {
    name: String,
    version: String,
    language: &'static str,
    component: PathBuf,
    bytes: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    took_ms: u64,
}

/// Makes a component of a folder.
pub(in super::super) fn build(arguments: &BuildArguments, output: Output) -> Result<(), CliError> {
    if !arguments.dir.join(MANIFEST).is_file() {
        return Err(CliError::Extension(no_manifest(&arguments.dir)));
    }
    let folder = Folder::open(&arguments.dir).map_err(kit)?;
    let manifest = &folder.manifest;
    say(&format!(
        "building {} {} from {}",
        manifest.name, manifest.version, folder.language
    ));
    let options = Options {
        output: arguments.out.clone(),
        cargo_target: None,
        tools: Tools::of_user(),
        say: &|text| say(&format!("  {text}")),
    };
    let built = holdfast_extension_kit::build(&folder, &options).map_err(kit)?;
    let made = Component {
        name: manifest.name.to_string(),
        version: manifest.version.clone(),
        language: folder.language.word(),
        component: built.path,
        bytes: built.bytes,
        imports: built.surface.imports,
        exports: built.surface.exports,
        took_ms: u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
    };
    if output == Output::Json {
        return print_json(&made);
    }
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "{} {}: {}, {}, imports {}",
        made.name,
        made.version,
        made.component.display(),
        size(made.bytes as u64),
        listed(&host_imports(&made.imports))
    ));
    print(&(line.draw() + "\n"))?;
    let dir = arguments.dir.display();
    let large = match made.bytes as u64 > COMPONENT_BYTES_MAX {
        true => "--large ",
        false => "",
    };
    say(&format!(
        "took {:.1} s; next: holdfast ext test {large}{dir}",
        built.took.as_secs_f64()
    ));
    Ok(())
}
