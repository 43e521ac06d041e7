//! `holdfast ext new`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Line, Tone};
use super::super::super::{print, print_json};
use super::super::arguments::NewArguments;
use super::{kit, say};
use holdfast_extension_kit::{Language, Start};
use holdfast_model::id::ExtensionName;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Serialize)]
struct Started {
    name: ExtensionName,
    kind: &'static str,
    language: &'static str,
    folder: PathBuf,
    source: PathBuf,
}

/// Writes a folder to begin with.
pub(in super::super) fn new(arguments: &NewArguments, output: Output) -> Result<(), CliError> {
    let language: Language = arguments.lang.parse().map_err(CliError::Usage)?;
    let start = Start {
        name: name(arguments)?,
        kind: arguments.kind,
        language,
    };
    let source = holdfast_extension_kit::new(&arguments.dir, &start).map_err(kit)?;
    if output == Output::Json {
        return print_json(&Started {
            name: start.name,
            kind: start.kind.word(),
            language: language.word(),
            folder: arguments.dir.clone(),
            source,
        });
    }
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "extension {} of kind {} in {language}; its code is in {}",
        start.name,
        start.kind,
        source.display()
    ));
    print(&(line.draw() + "\n"))?;
    say(&format!(
        "next: holdfast ext build {}",
        arguments.dir.display()
    ));
    Ok(())
}

fn name(arguments: &NewArguments) -> Result<ExtensionName, CliError> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let last = arguments.dir.file_name().unwrap_or_default();
    let read = last.to_string_lossy().parse();
    read.map_err(|error| {
        CliError::Usage(format!(
            "{error}; the folder's name is the extension's: give another, or --name NAME"
        ))
    })
}
