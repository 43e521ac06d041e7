//! `holdfast ext test`

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::paint::{Line, Tone, table};
use super::super::super::{print, print_json};
use super::super::arguments::TryArguments;
use super::check::findings;
use super::examine::{Finding, compiled, sound};
use super::log::{below, drawn};
use super::setup::setup;
use super::{host, mark, say};
use holdfast_extension_host::conformance::{
    Check, Fuel, Headroom, Outcome, Report, counts_fuel, run,
};
use holdfast_extension_host::{EngineKind, Runtime};
use holdfast_model::extension::ExtensionKind;
use serde::Serialize;

/// What was found, and why not all of it was looked for.
#[derive(Serialize)]
struct Tested<'a> {
    /// What is wrong before anything is run.
    findings: &'a [Finding],
    /// It was not run.
    contract_only: bool,
    #[serde(flatten)]
    report: Option<&'a Report>,
}

/// Checks it, runs it, and tells what of its contract it keeps.
pub(in super::super) fn test(arguments: &TryArguments, output: Output) -> Result<(), CliError> {
    let which = &arguments.which;
    let sound = sound(which, output)?;
    let (name, kind) = (&sound.manifest.name, sound.manifest.kind);
    let setup = setup(which, kind)?;
    let metered = match counts_fuel(kind, sound.wasm.len()) {
        true => {
            let runtime = Runtime::metered(EngineKind::Native).map_err(host)?;
            Some(compiled(&runtime, &sound.wasm).map_err(host)?)
        }
        false => None,
    };
    say(&format!("asking {name} about {}", asked_about(kind)));
    let report = run(&sound.loaded, metered.as_ref(), &sound.manifest, &setup).map_err(host)?;
    match output {
        Output::Json => print_json(&Tested {
            findings: &[],
            contract_only: false,
            report: Some(&report),
        })?,
        Output::Table | Output::Wide => {
            let mut out = draw(&report, output == Output::Wide);
            if arguments.log {
                out += &format!("\n{}", drawn(&[&report.log]));
            }
            print(&(out + &notes(&report)))?;
        }
    }
    match report.failed() {
        true => Err(CliError::Sick),
        false => Ok(()),
    }
}

fn asked_about(kind: ExtensionKind) -> &'static str {
    match kind {
        ExtensionKind::Placement => "made-up clusters",
        ExtensionKind::StorageCheck => "made-up storage",
        ExtensionKind::Fencing => "made-up devices",
        ExtensionKind::Events => "made-up events",
    }
}

/// What is not even run.
pub(super) fn tell_unsound(found: &[Finding], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return print_json(&Tested {
            findings: found,
            contract_only: true,
            report: None,
        });
    }
    print(&findings(found))
}

fn draw(report: &Report, wide: bool) -> String {
    let mut out = match wide {
        true => table(
            &["", "CHECK", "WHAT HAS TO BE TRUE", "FOUND"],
            report.checks.iter().map(wide_row).collect(),
        ),
        false => table(
            &["", "CHECK", "FOUND"],
            report.checks.iter().map(row).collect(),
        ),
    };
    if !report.headroom.is_empty() {
        let heads = ["COST", "USED", "LIMIT", "SHARE"];
        let rows = report.headroom.iter().map(headroom).collect();
        out += &format!("\n{}", table(&heads, rows));
    }
    if let Some(fuel) = report.fuel {
        out += &format!("\n{}", fuel_line(fuel));
    }
    out
}

/// What could not be found out, at the end.
fn notes(report: &Report) -> String {
    let notes = report.notes.iter().map(|text| {
        let line = Line::new().add(Tone::Warn, "note: ").text(text);
        format!("\n{}\n", line.draw())
    });
    notes.collect()
}

/// What has to be true if it is, what was found if it is not.
fn row(check: &Check) -> Vec<(Tone, String)> {
    let text = match check.outcome {
        Outcome::Passed => check.what.to_owned(),
        Outcome::Skipped => format!("not looked at: {}", check.words),
        Outcome::Warned | Outcome::Failed => below(&check.words, &check.log),
    };
    let name = (Tone::Plain, check.name.to_owned());
    vec![mark(check.outcome), name, (Tone::Plain, text)]
}

fn wide_row(check: &Check) -> Vec<(Tone, String)> {
    vec![
        mark(check.outcome),
        (Tone::Plain, check.name.to_owned()),
        (Tone::Plain, check.what.to_owned()),
        (Tone::Plain, below(&check.words, &check.log)),
    ]
}

fn headroom(each: &Headroom) -> Vec<(Tone, String)> {
    let (tone, _) = mark(each.outcome());
    vec![
        (Tone::Plain, each.of.clone()),
        (Tone::Plain, format!("{:.2} {}", each.used, each.unit)),
        (Tone::Plain, format!("{} {}", each.limit, each.unit)),
        (tone, share(each.share_percent())),
    ]
}

fn share(percent: f64) -> String {
    match percent < 1.0 {
        true => "< 1 %".to_owned(),
        false => format!("{percent:.0} %"),
    }
}

/// The same on every machine: a change of it is one of the extension.
fn fuel_line(fuel: Fuel) -> String {
    let text = match fuel {
        Fuel::Question {
            one_candidate,
            hundred_candidates,
            each_candidate,
        } => format!(
            "{each_candidate} for each candidate; {one_candidate} for one, {hundred_candidates} for a hundred"
        ),
        Fuel::Call { of, call } => format!("{call} for {of}"),
    };
    Line::new().add(Tone::Bold, "fuel ").text(text).draw() + "\n"
}
