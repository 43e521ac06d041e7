//! `cargo xtask demo`: a two-site cluster with real VMs loses a site, recovers, heals, moves back.

mod figures;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use holdfast_lab::{
    DEFAULT_STATE, Lab, LabError, LabOptions, Progress, Result, catch_interrupts, interrupted,
};

pub(crate) use figures::Figures;
pub(crate) use story::site_story;

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Leave the lab up afterwards, to look around in
    #[arg(long)]
    keep: bool,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Timing profile of the cluster: fast, default or patient
    #[arg(long, default_value = "default", value_parser = ["fast", "default", "patient"])]
    profile: String,
    /// Directory of the lab's files
    #[arg(long, env = "HOLDFAST_LAB_STATE", default_value = DEFAULT_STATE)]
    state: PathBuf,
}

pub(crate) fn run(arguments: &DemoArguments) -> Result<ExitCode> {
    catch_interrupts()?;
    // Before anything is installed or built for nothing.
    Lab::require_root()?;
    let progress = Progress::stderr();
    crate::setup::ensure(&progress)?;
    progress.step("build the daemons", crate::lab::build_daemons)?;
    let options = LabOptions {
        state: arguments.state.clone(),
        vms: 0,
        linux_vms: 0,
        profile: arguments.profile.clone(),
        ..LabOptions::default()
    };
    progress.line("\nTwo sites with two hosts each, a witness between them.");
    let lab = Lab::up(options, &progress)?;
    let told = site_story(&lab, &progress, &mut |text| anstream::print!("{text}"));
    let figures = match told {
        Ok(figures) => figures,
        Err(error) => return Err(failed(lab, arguments.keep, &progress, error)),
    };
    if let Some(file) = &arguments.json {
        write_json(file, &figures)?;
    }
    anstream::print!("{}", figures.summary());
    if arguments.keep {
        progress.line("  the lab is still up: cargo xtask lab status | cli status | proof | down");
    } else {
        progress.step("take down the lab", || lab.down())?;
    }
    Ok(if figures.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends the lab after an error, but not what tells about it.
fn failed(lab: Lab, keep: bool, progress: &Progress, error: LabError) -> LabError {
    if keep && !interrupted() {
        progress.line("  the lab is left as it is: cargo xtask lab status | logs | down");
        return error;
    }
    if interrupted() || matches!(error, LabError::Interrupted) {
        // Cleaning up must not be interrupted by the very signal that asked for it.
        let cleaned = progress.step("interrupted: take down the lab", || lab.down());
        return cleaned.err().unwrap_or(error);
    }
    let logs = lab.state().root().to_owned();
    if progress
        .step("stop the lab, keep its logs", || lab.stop())
        .is_ok()
    {
        progress.line(&format!("  logs: {}/machines/*/log", logs.display()));
    }
    error
}

fn write_json(file: &PathBuf, figures: &Figures) -> Result<()> {
    let text = serde_json::to_string_pretty(figures).map_err(|source| LabError::Parse {
        path: file.clone(),
        source,
    })?;
    std::fs::write(file, text + "\n").map_err(LabError::io("write", file))
}
