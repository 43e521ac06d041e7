//! `cargo xtask scenario` and `cargo xtask sim`: programs of the tests package, with their own help.

use std::process::{Command, ExitCode};

use clap::Args;
use holdfast_lab::{LabError, Result};

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct PassedOn {
    /// Arguments of the program; `--help` shows them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds and runs a program of the tests package; its exit status becomes ours. Relative file
/// names mean what they mean to the caller.
pub(crate) fn run(program: &str, profile: &str, passed: &PassedOn) -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = crate::root::root().join("Cargo.toml");
    let status = Command::new(&cargo)
        .args([
            "run",
            "--quiet",
            "--profile",
            profile,
            "--package",
            "holdfast-tests",
            "--bin",
            program,
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--")
        .args(&passed.arguments)
        .status()
        .map_err(LabError::io("start", &cargo))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
