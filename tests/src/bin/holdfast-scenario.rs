//! Runs scenario files and prints their logs: `cargo xtask scenario FILE… [--check]`.

use clap::Parser;
use holdfast_tests::scenario::{check, run};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs scenario files in the simulated cluster.
#[derive(Parser)]
struct Arguments {
    /// Scenario files, from anywhere.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Compare each log with the golden file beside it instead of printing it.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut failed = false;
    for file in &arguments.files {
        let problems = if arguments.check {
            check(file, false).problems
        } else {
            match std::fs::read_to_string(file) {
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
