//! The operator's command line. See `holdfast_manager::cli`.

use clap::Parser;
use holdfast_manager::cli::{args::Cli, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(&Cli::parse())
}
