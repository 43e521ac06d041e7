//! `holdfast ext chaos`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Tone, table};
use super::super::super::{print, print_json};
use super::super::arguments::WhichArguments;
use super::examine::sound;
use super::{host, mark, say};
use holdfast_extension_host::conformance::Outcome;
use holdfast_extension_host::conformance::chaos::{Drill, run};

/// Misbehaves at it, and tells what happened.
pub(in super::super) fn chaos(which: &WhichArguments, output: Output) -> Result<(), CliError> {
    let sound = sound(which, output)?;
    say(&format!("misbehaving at {}", sound.manifest.name));
    let drills = run(&sound.loaded, &sound.manifest).map_err(host)?;
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
    match drills.iter().all(|drill| drill.held) {
        true => Ok(()),
        false => Err(CliError::Sick),
    }
}

fn held(drill: &Drill) -> (Tone, String) {
    mark(match drill.held {
        true => Outcome::Passed,
        false => Outcome::Failed,
    })
}

/// As one sentence, which a terminal wraps.
fn row(drill: &Drill) -> Vec<(Tone, String)> {
    vec![
        held(drill),
        (Tone::Plain, drill.name.to_owned()),
        (Tone::Plain, format!("{}: {}", drill.did, drill.happened)),
    ]
}

fn wide_row(drill: &Drill) -> Vec<(Tone, String)> {
    vec![
        held(drill),
        (Tone::Plain, drill.name.to_owned()),
        (Tone::Plain, drill.did.to_owned()),
        (Tone::Plain, drill.happened.clone()),
    ]
}
