//! Developer commands: `cargo xtask …`.

mod bench;
mod demo;
mod extensions;
mod lab;
mod mutants;
mod released;
mod root;
mod setup;
mod simulated;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Holdfast developer commands"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on this machine (Debian 12, Ubuntu); idempotent
    Setup(setup::SetupArguments),
    /// Everything CI runs; ends in one line: N passed, N failed, N skipped
    Test(test::TestArguments),
    /// The main thing: a two-site cluster loses a site, recovers, heals and moves back
    Demo(demo::DemoArguments),
    /// Figures: failover, site, manager, migration, isolation, cut, agent, etcd, sanlock, planner, extensions
    Bench(bench::BenchArguments),
    /// Small troubles for a long time, on the lab: nothing may come of it
    Soak(soak::SoakArguments),
    /// Run scenario files and print their logs; `--check` compares with the golden file
    #[command(disable_help_flag = true)]
    Scenario(simulated::PassedOn),
    /// Random-fault simulation of the whole cluster
    #[command(disable_help_flag = true)]
    Sim(simulated::PassedOn),
    /// Does the simulation find seeded bugs? One build for each; takes a while
    Mutants(mutants::MutantsArguments),
    /// Build the extensions of this checkout into components; or put contracts on record as released
    Extensions(extensions::ExtensionsArguments),
    /// The two-site lab on this machine
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// First process of a machine of the lab
    #[command(hide = true)]
    LabInit {
        /// What the machine is
        spec: std::path::PathBuf,
    },
    /// Asks the boards of the lab, as a fence agent
    #[command(hide = true)]
    LabFence {
        /// Where they listen
        socket: std::path::PathBuf,
    },
    /// The lab's observer
    #[command(hide = true)]
    LabObserver {
        /// Its directory
        dir: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Scenario(passed) => simulated::run("holdfast-scenario", "dev", &passed),
        Command::Sim(passed) => simulated::run("holdfast-sim", "sim", &passed),
        Command::Mutants(arguments) => mutants::run(&arguments),
        Command::Extensions(arguments) => extensions::run(&arguments),
        Command::Lab(command) => lab::run(command),
        Command::LabInit { spec } => holdfast_lab::init::run(&spec).map(|()| ExitCode::FAILURE),
        Command::LabFence { socket } => holdfast_lab::boards::run(&socket),
        Command::LabObserver { dir } => {
            holdfast_lab::observer::server::run(&dir).map(|()| ExitCode::FAILURE)
        }
    };
    match result {
        Ok(code) => code,
        Err(holdfast_lab::LabError::Interrupted) => {
            anstream::eprintln!("interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            let (red, plain) = (anstyle::AnsiColor::Red.on_default().bold(), anstyle::Reset);
            anstream::eprintln!("{red}error:{plain} {}", error.chain());
            ExitCode::FAILURE
        }
    }
}
