//! `cargo xtask setup`
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct SetupArguments {}

pub(crate) fn run(_: &SetupArguments) -> holdfast_lab::Result<ExitCode> {
    holdfast_lab::guest::linux::fetch()?;
    Ok(ExitCode::SUCCESS)
}
