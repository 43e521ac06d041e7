//! `holdfast ext replay`: what was asked in decisions is asked again, here, of another version.

mod run;

use super::super::super::args::Output;
use super::super::super::error::CliError;
use super::super::super::files::text_of;
use super::super::super::paint::{Line, Tone, table};
use super::super::super::{print, print_json};
use super::super::arguments::ReplayArguments;
use super::super::installed::share;
use super::examine::sound;
use super::{host, say};
use crate::extensions::Decided;
use crate::wall::moment;
use holdfast_model::extension::{ExtensionKind, LimitsAsked};
use holdfast_model::id::ExtensionName;
use run::{Counts, Outcome, Replay, Replayed, replay as ask};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Hosts of one question that are shown, unless all are asked for.
const HOSTS_MAX: usize = 4;

/// What is read of `holdfast ext decisions NAME -o json`, or of a manager's own answer.
#[derive(Deserialize)]
struct Recorded {
    decisions: Vec<Decided>,
}

/// What is told.
#[derive(Serialize)]
struct Told<'r> {
    /// Who was asked now.
    extension: &'r ExtensionName,
    version: &'r str,
    /// With whose answers its own were compared.
    of: &'r ExtensionName,
    #[serde(flatten)]
    replay: &'r Replay,
}

/// Asks, compares, tells; an error if anything failed or differs.
pub(in super::super) fn replay(
    arguments: &ReplayArguments,
    output: Output,
) -> Result<(), CliError> {
    let (text, file) = text_of(&arguments.decisions)?;
    let content = |what: String| CliError::Content {
        path: file.clone(),
        what,
    };
    let Recorded { decisions } = serde_json::from_str(&text).map_err(|error| {
        content(format!(
            "{error}; it has to be what `holdfast ext decisions NAME -o json` prints"
        ))
    })?;
    let sound = sound(&arguments.which, output)?;
    let manifest = &sound.manifest;
    if manifest.kind != ExtensionKind::Placement {
        return Err(CliError::Extension(format!(
            "{} is for {}: only those for placement are asked in decisions",
            manifest.name, manifest.kind
        )));
    }
    let of = arguments.of.as_ref().unwrap_or(&manifest.name);
    is_there(of, &decisions).map_err(content)?;
    let own = LimitsAsked {
        cpu_ms: arguments.cpu_ms,
        memory_mib: arguments.memory_mib,
        ..LimitsAsked::default()
    };
    let limits = own.over(manifest.limits());
    if let Some((_, text)) = limits.fault() {
        return Err(CliError::Usage(text));
    }
    say(&format!(
        "asking {} {} what {of} was asked",
        manifest.name, manifest.version
    ));
    let may_log = manifest.rights.log;
    let replay = ask(&sound.loaded, (limits, may_log), of, &decisions).map_err(host)?;
    match output {
        Output::Json => print_json(&Told {
            extension: &manifest.name,
            version: &manifest.version,
            of,
            replay: &replay,
        })?,
        Output::Table | Output::Wide => print(&drawn(&replay, output == Output::Wide))?,
    }
    let Counts {
        failed, different, ..
    } = replay.counts;
    match (failed, different) {
        (0, 0) => Ok(()),
        (0, _) => Err(CliError::Differs),
        _ => Err(CliError::Sick),
    }
}

/// Whether there is anything to compare with; in words if there is not.
fn is_there(of: &ExtensionName, decisions: &[Decided]) -> Result<(), String> {
    let advice = decisions.iter().flat_map(|decided| &decided.advice);
    let asked: BTreeSet<&ExtensionName> = advice.map(|each| &each.extension).collect();
    if asked.contains(of) {
        return Ok(());
    }
    let asked: Vec<&str> = asked.into_iter().map(ExtensionName::as_str).collect();
    Err(match asked.is_empty() {
        true => "no decision is in it; let the cluster decide something first".to_owned(),
        false => format!(
            "{of} was not asked in these decisions; compare with one that was: --of {}",
            asked.join(", or --of ")
        ),
    })
}

fn drawn(replay: &Replay, wide: bool) -> String {
    let heads = ["", "ASKED", "VM", "HOST", "WAS", "IS"];
    let told = replay.questions.iter().filter(|each| match each.outcome {
        Outcome::Different | Outcome::Failed => true,
        Outcome::New => wide,
        Outcome::Same => false,
    });
    let most = if wide { usize::MAX } else { HOSTS_MAX };
    let rows: Vec<_> = told.flat_map(|each| rows(each, most)).collect();
    let mut out = match rows.is_empty() {
        true => String::new(),
        false => table(&heads, rows) + "\n",
    };
    for line in summary(replay) {
        out += &(line.draw() + "\n");
    }
    out
}

fn rows(replayed: &Replayed, most: usize) -> Vec<Vec<(Tone, String)>> {
    let (tone, mark) = match replayed.outcome {
        Outcome::Same => (Tone::Good, "✔"),
        Outcome::New => (Tone::Dim, "-"),
        Outcome::Different => (Tone::Warn, "≠"),
        Outcome::Failed => (Tone::Bad, "✘"),
    };
    let row = |host: &str, was: String, is: String| {
        let plain = |text: &str| (Tone::Plain, one_line(text));
        vec![
            (tone, mark.to_owned()),
            (Tone::Dim, moment(replayed.at)),
            plain(replayed.vm.as_str()),
            plain(host),
            plain(&was),
            plain(&is),
        ]
    };
    let nothing = |why: &Option<String>| match why {
        Some(why) => format!("nothing: {why}"),
        None => "an answer".to_owned(),
    };
    let shown = replayed.hosts.iter().take(most);
    let shown = shown.map(|of| row(of.host.as_str(), of.was.to_string(), of.is.to_string()));
    let mut all: Vec<_> = shown.collect();
    match replayed.hosts.len().saturating_sub(most) {
        0 if all.is_empty() => {
            let was = nothing(&replayed.nothing_then);
            all.push(row("", was, nothing(&replayed.failure)));
        }
        0 => {}
        more => all.push(row(&format!("{more} more"), String::new(), String::new())),
    }
    all
}

/// A file is no terminal's friend.
fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(clean).collect()
}

fn summary(replay: &Replay) -> Vec<Line> {
    let Replay {
        counts,
        versions,
        costs,
        ..
    } = replay;
    let toned = |tone: Tone, count: u64| if count == 0 { Tone::Plain } else { tone };
    let versions: Vec<String> = versions
        .iter()
        .map(|(version, count)| format!("{} ({count})", one_line(version)))
        .collect();
    let mut lines = vec![
        Line::new()
            .text(format!(
                "{} questions: {} the same, of them {} to the letter; ",
                counts.asked, counts.same, counts.to_the_letter
            ))
            .add(
                toned(Tone::Warn, counts.different),
                format!("{} different", counts.different),
            )
            .text("; ")
            .add(
                toned(Tone::Bad, counts.failed),
                format!("{} without an answer", counts.failed),
            ),
        Line::new().text(format!("answered then by version {}", versions.join(", "))),
    ];
    if counts.different > 0 {
        lines.push(Line::new().text(format!(
            "of what is different: other verdicts {}, another order {}, another first choice {}",
            counts.other_verdicts, counts.other_order, counts.other_first
        )));
    }
    if counts.new > 0 {
        lines.push(Line::new().text(format!(
            "{} have an answer now and had none then (-o wide shows them)",
            counts.new
        )));
    }
    lines.push(Line::new().text(format!(
        "CPU {:.1} ms in the middle, {} at most (p99); {} KiB ({} %)",
        costs.cpu_p50_us as f64 / 1_000.0,
        share(costs.cpu_p99_us, costs.cpu_p99_percent),
        costs.memory_kib,
        costs.memory_percent
    )));
    lines
}
