//! `holdfast ext chaos`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Tone, table};
use super::super::super::{print, print_json};
use super::super::arguments::TryArguments;
use super::examine::sound;
use super::log::{below, drawn};
use super::setup::setup;
use super::{host, mark, say};
use holdfast_extension_host::conformance::chaos::{Drill, run};
use holdfast_extension_host::conformance::{Log, Outcome};

/// Misbehaves at it, and tells what happened.
pub(in super::super) fn chaos(arguments: &TryArguments, output: Output) -> Result<(), CliError> {
    let sound = sound(&arguments.which, output)?;
    let setup = setup(&arguments.which, sound.manifest.kind)?;
    say(&format!("misbehaving at {}", sound.manifest.name));
    let drills = run(&sound.loaded, &sound.manifest, &setup).map_err(host)?;
    match output {
        Output::Json => print_json(&drills)?,
        Output::Table => {
            let rows = drills.iter().map(row).collect();
            print(&table(&["", "DRILL", "THE HOST"], rows))?;
        }
        Output::Wide => {
            let heads = ["", "DRILL", "THE HOST", "WHAT HAPPENED"];
            print(&table(&heads, drills.iter().map(wide_row).collect()))?;
        }
    }
    if arguments.log && output != Output::Json {
        let logs: Vec<&Log> = drills.iter().map(|drill| &drill.log).collect();
        print(&format!("\n{}", drawn(&logs)))?;
    }
    match drills.iter().all(|drill| drill.held) {
        true => Ok(()),
        false => Err(CliError::Sick),
    }
}

fn held(drill: &Drill) -> (Tone, String) {
    mark(match (drill.held, drill.drilled) {
        (true, true) => Outcome::Passed,
        (true, false) => Outcome::Skipped,
        (false, _) => Outcome::Failed,
    })
}

/// What became of it; if it failed, with what it wrote last.
fn happened(drill: &Drill) -> String {
    match (drill.held, drill.drilled) {
        (true, true) => drill.happened.clone(),
        (true, false) => format!("not drilled: {}", drill.happened),
        (false, _) => below(&drill.happened, drill.log.last()),
    }
}

/// As one sentence, which a terminal wraps.
fn row(drill: &Drill) -> Vec<(Tone, String)> {
    let text = match drill.drilled {
        true => format!("{}: {}", drill.did, happened(drill)),
        false => happened(drill),
    };
    vec![
        held(drill),
        (Tone::Plain, drill.name.to_owned()),
        (Tone::Plain, text),
    ]
}

fn wide_row(drill: &Drill) -> Vec<(Tone, String)> {
    vec![
        held(drill),
        (Tone::Plain, drill.name.to_owned()),
        (Tone::Plain, drill.did.to_owned()),
        (Tone::Plain, happened(drill)),
    ]
}
