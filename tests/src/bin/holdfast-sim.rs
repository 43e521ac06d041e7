//! The random-fault simulation: `cargo xtask sim [--seeds N] [--seed S] [--trace FILE]`.

use clap::Parser;
use holdfast_tests::random::run;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the simulated cluster under random faults.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, from the first one on.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; alone, only this one is run.
    #[arg(long)]
    seed: Option<u64>,
    /// Where to write the log of a failed run (or of the only one); the scenario that repeats it
    /// goes beside it, as `.txt`.
    #[arg(long)]
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(1);
    let count = match arguments.seed {
        Some(_) => 1,
        None => arguments.seeds,
    };
    for seed in first..first.saturating_add(count) {
        let done = run(seed);
        let failed = !done.run.errors.is_empty();
        if failed || count == 1 {
            write_trace(arguments.trace.as_deref(), &done.text, &done.run.log);
        }
        if failed {
            for error in &done.run.errors {
                eprintln!("seed {seed}: {error}");
            }
            eprintln!("repeat it with --seed {seed} --trace FILE");
            return ExitCode::FAILURE;
        }
    }
    println!("{count} seeds from {first} on: no invariant broken, everything runs in the end");
    ExitCode::SUCCESS
}

fn write_trace(trace: Option<&std::path::Path>, text: &str, log: &str) {
    let Some(trace) = trace else { return };
    for (path, content) in [
        (trace.to_path_buf(), log),
        (trace.with_extension("txt"), text),
    ] {
        match std::fs::write(&path, content) {
            Ok(()) => eprintln!("written: {}", path.display()),
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
}
