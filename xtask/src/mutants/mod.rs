//! `cargo xtask mutants`: does the simulation find what it should? Builds it once for each seeded bug
//! of `tests/mutants.toml`, in a copy of the tree, and runs the seeds within which it has to be found.

mod list;
mod place;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use holdfast_lab::{LabError, Progress, Result, catch_interrupts};

use list::{List, Mutant};
use place::{Place, Verdict};

#[derive(Args)]
pub(crate) struct MutantsArguments {
    /// Only this one
    #[arg(long, value_name = "NAME", conflicts_with = "quick")]
    only: Option<String>,
    /// Only the few that every full run of the tests tries
    #[arg(long)]
    quick: bool,
    /// Seeds for each, whatever the list says: to measure
    #[arg(long)]
    seeds: Option<u64>,
    /// Say which there are, and run nothing
    #[arg(long)]
    list: bool,
}

/// What came of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Found within their seeds.
    pub found: u32,
    /// Not, and they should have been.
    pub missed: u32,
    /// Not, as is known.
    pub holes: u32,
}

/// Seeds for a known hole: it may have been closed since.
const HOLE_SEEDS: u64 = 100;

/// The verb.
pub(crate) fn run(arguments: &MutantsArguments) -> Result<ExitCode> {
    catch_interrupts()?;
    let list = List::read()?;
    let wanted = |mutant: &&Mutant| match &arguments.only {
        Some(only) => mutant.name == *only,
        None => mutant.quick || !arguments.quick,
    };
    let mutants: Vec<&Mutant> = list.mutants.iter().filter(wanted).collect();
    if let (true, Some(only)) = (mutants.is_empty(), &arguments.only) {
        let text = format!("there is no mutant `{only}`; --list shows all");
        return Err(LabError::Refused(text));
    }
    if arguments.list {
        for mutant in &mutants {
            let bound = mutant
                .seeds
                .map_or("a hole".to_owned(), |n| format!("{n} seeds"));
            anstream::println!("  {:<38} {bound:<10} {}", mutant.name, mutant.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let count = try_all(&list, &mutants, arguments.seeds, &Progress::stderr())?;
    Ok(match count.missed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Those that every full run of the tests tries.
pub(crate) fn quick(progress: &Progress) -> Result<Count> {
    let list = List::read()?;
    let mutants: Vec<&Mutant> = list.mutants.iter().filter(|mutant| mutant.quick).collect();
    try_all(&list, &mutants, None, progress)
}

fn try_all(
    list: &List,
    mutants: &[&Mutant],
    seeds: Option<u64>,
    progress: &Progress,
) -> Result<Count> {
    let place = Place::new();
    progress.step("copy the tree", || place.copy())?;
    let mut count = Count::default();
    for mutant in mutants {
        let bound = seeds.or(mutant.seeds).unwrap_or(HOLE_SEEDS);
        let behind = mutant.behind.as_ref();
        let mut together = vec![*mutant];
        let others = behind.iter().flat_map(|behind| &behind.broken_by);
        together.extend(others.filter_map(|other| list.named(other)));
        let breaks = behind.map(|behind| behind.breaks.as_str());
        let verdict = progress.step(&mutant.name, || place.try_these(&together, bound, breaks))?;
        let (colour, words) = match verdict {
            Verdict::Found { seed, words } => {
                count.found += 1;
                let with = behind.map_or(String::new(), |behind| {
                    format!(" with {} ({})", behind.broken_by.join(", "), behind.rule)
                });
                let text = format!("found{with} by seed {seed} of {bound}: {words}");
                (AnsiColor::Green, text)
            }
            Verdict::Missed => match &mutant.hole {
                Some(why) => {
                    count.holes += 1;
                    (AnsiColor::Yellow, format!("a hole, as known: {why}"))
                }
                None => {
                    count.missed += 1;
                    let text = format!("MISSED by {bound} seeds: {}", mutant.what);
                    (AnsiColor::Red, text)
                }
            },
        };
        let style = Style::new().fg_color(Some(colour.into()));
        anstream::println!("  {:<38} {style}{words}{style:#}", mutant.name);
    }
    let Count {
        found,
        missed,
        holes,
    } = count;
    anstream::println!("{found} seeded bugs found, {missed} missed, {holes} known holes");
    Ok(count)
}
