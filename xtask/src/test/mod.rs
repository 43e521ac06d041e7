//! `cargo xtask test`: everything CI runs, and one line at the end: N passed, N failed, N skipped.

mod lab;
mod stages;
mod tally;
mod tidy;

use std::process::ExitCode;
use std::time::Instant;

use anstyle::{AnsiColor, Reset, Style};
use clap::Args;
use holdfast_lab::{Progress, Result};

use tally::Tally;

#[derive(Args)]
pub(crate) struct TestArguments {
    /// Only what needs neither root nor the lab: formatting, lints, unit and scenario tests
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Only this stage, or this lab test; `list` names them
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// This many times, one after the other, or until something fails
    #[arg(long, value_name = "TIMES", default_value_t = 1, requires = "only", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
}

/// One part of the tests.
struct Stage {
    name: &'static str,
    what: &'static str,
    quick: bool,
    run: fn(&Progress) -> Result<Tally>,
    /// With `--quick`, this instead.
    shorter: Option<fn(&Progress) -> Result<Tally>>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "fmt",
        what: "formatting",
        quick: true,
        run: stages::formatting,
        shorter: None,
    },
    Stage {
        name: "clippy",
        what: "lints, warnings denied",
        quick: true,
        run: stages::clippy,
        shorter: None,
    },
    Stage {
        name: "tidy",
        what: "long files, leftovers",
        quick: true,
        run: tidy::tidy,
        shorter: None,
    },
    Stage {
        name: "units",
        what: "unit, property, scenario and integration tests of all crates",
        quick: true,
        run: stages::units,
        shorter: None,
    },
    Stage {
        name: "sim",
        what: "the whole cluster under random faults",
        quick: true,
        run: stages::simulation,
        shorter: Some(stages::short_simulation),
    },
    Stage {
        name: "mutants",
        what: "does the simulation find seeded bugs? The quickest; all: cargo xtask mutants",
        quick: false,
        run: stages::mutants,
        shorter: None,
    },
    Stage {
        name: "extensions",
        what: "extensions in all languages, and their own tests",
        quick: false,
        run: stages::extensions,
        shorter: None,
    },
    Stage {
        name: "install",
        what: "production install script",
        quick: true,
        run: stages::install,
        shorter: None,
    },
    Stage {
        name: "vagrant",
        what: "Vagrant lab's files",
        quick: true,
        run: stages::vagrant,
        shorter: None,
    },
    Stage {
        name: "lab",
        what: "the two-site lab",
        quick: false,
        run: lab::all,
        shorter: None,
    },
];

pub(crate) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    if arguments.only.as_deref() == Some("list") {
        for stage in STAGES {
            anstream::println!("{:<10} {}", stage.name, stage.what);
        }
        for scenario in holdfast_lab::scenarios::ALL {
            anstream::println!("  {:<24} {}", scenario.name, scenario.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    holdfast_lab::catch_interrupts()?;
    let progress = Progress::stderr();
    crate::setup::ensure(&progress)?;
    let total = match &arguments.only {
        Some(name) => repeated(name, arguments.repeat, &progress)?,
        None => stages(arguments.quick, |_| true, &progress)?,
    };
    // Whoever counts tests reads this line.
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    Ok(if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn repeated(name: &str, times: u32, progress: &Progress) -> Result<Tally> {
    let mut total = Tally::default();
    for round in 1..=times {
        if times > 1 {
            let bold = Style::new().bold();
            anstream::println!("\n{bold}══ {name}, {round} of {times}{Reset}");
        }
        total.add(only(name, progress)?);
        if total.failed > 0 {
            break;
        }
    }
    Ok(total)
}

fn only(name: &str, progress: &Progress) -> Result<Tally> {
    if STAGES.iter().any(|stage| stage.name == name) {
        return stages(false, |stage| stage.name == name, progress);
    }
    lab::one(name, progress)
}

fn stages(quick: bool, wanted: impl Fn(&Stage) -> bool, progress: &Progress) -> Result<Tally> {
    let mut total = Tally::default();
    let mut lines = Vec::new();
    let asked = |stage: &&Stage| wanted(stage) && (stage.quick || !quick);
    for stage in STAGES.iter().filter(asked) {
        let bold = Style::new().bold();
        anstream::println!("\n{bold}── {}: {}{Reset}", stage.name, stage.what);
        let start = Instant::now();
        let run = stage.shorter.filter(|_| quick).unwrap_or(stage.run);
        let tally = match run(progress) {
            Ok(tally) => tally,
            Err(holdfast_lab::LabError::Interrupted) => {
                return Err(holdfast_lab::LabError::Interrupted);
            }
            Err(error) => {
                let red = AnsiColor::Red.on_default().bold();
                anstream::eprintln!("{red}error:{Reset} {}", error.chain());
                Tally::failed(1)
            }
        };
        let style = match tally.failed {
            0 => AnsiColor::Green.on_default(),
            _ => AnsiColor::Red.on_default().bold(),
        };
        lines.push(format!(
            "  {style}{:<9}{Reset} {:>4} passed {:>3} failed {:>3} skipped  {:>6.1} s",
            stage.name,
            tally.passed,
            tally.failed,
            tally.skipped,
            start.elapsed().as_secs_f64()
        ));
        total.add(tally);
    }
    anstream::println!("\n{}", lines.join("\n"));
    Ok(total)
}
