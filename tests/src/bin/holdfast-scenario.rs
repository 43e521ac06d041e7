//! Runs scenario files and prints their logs: `cargo xtask scenario FILE… [--check | --steps]`.

use anstyle::{AnsiColor, Reset, Style};
use clap::Parser;
use holdfast_tests::scenario::steps::{Step, walk};
use holdfast_tests::scenario::{check, run};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs scenario files in the simulated cluster.
#[derive(Parser)]
struct Arguments {
    /// Scenario files, from anywhere.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Compare each log with the golden file beside it instead of printing it.
    #[arg(long, conflicts_with = "steps")]
    check: bool,
    /// Step by step: each line of the file, the log, and what changed in the cluster. On a terminal Enter
    /// goes on.
    #[arg(long)]
    steps: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut failed = false;
    for file in &arguments.files {
        let problems = if arguments.check {
            check(file, false).problems
        } else {
            match std::fs::read_to_string(file) {
                Ok(text) if arguments.steps => {
                    let well = walk(&text, show);
                    failed |= !well;
                    Vec::new()
                }
                Ok(text) => {
                    let run = run(&text);
                    print!("{}", run.log);
                    run.errors
                }
                Err(error) => vec![error.to_string()],
            }
        };
        for problem in &problems {
            eprintln!("{}: {problem}", file.display());
        }
        if arguments.check && problems.is_empty() {
            println!("{}: as golden", file.display());
        }
        failed |= !problems.is_empty();
    }
    match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn show(step: &Step) {
    let bold = Style::new().bold();
    let (green, red) = (AnsiColor::Green.on_default(), AnsiColor::Red.on_default());
    let at = format!("{}.{:03}", step.now_ms / 1_000, step.now_ms % 1_000);
    let (number, line) = &step.line;
    anstream::println!("{bold}line {number}: {line}{Reset} (at {at})");
    for line in &step.log {
        anstream::println!("{line}");
    }
    for (what, was, is) in &step.changes {
        if let Some(was) = was {
            anstream::println!("      {red}- {what}: {was}{Reset}");
        }
        if let Some(is) = is {
            anstream::println!("      {green}+ {what}: {is}{Reset}");
        }
    }
    if let Some(error) = &step.error {
        anstream::println!("      {red}{error}{Reset}");
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        // At the end of the input there is nobody to wait for.
        let _ = std::io::stdin().read_line(&mut String::new());
    }
}
