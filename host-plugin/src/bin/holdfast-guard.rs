//! `holdfast-guard`: kills this host's VMs at the runner's deadline.

use clap::Parser;
use holdfast_host::config::{Config, DEFAULT_PATH, load};
use holdfast_host::guard::log::Lines;
use holdfast_host::guard::server::Server;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Kills this host's VMs when its session could not be renewed in time, so that they may be started
/// elsewhere. Independent of the agent and of libvirtd; keep it running.
#[derive(Parser)]
#[command(name = "holdfast-guard", version)]
struct Args {
    /// The host's configuration, shared with the agent.
    #[arg(long, default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Check the configuration and exit.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("holdfast-guard: {error}");
            return ExitCode::from(2);
        }
    };
    if args.check_config {
        println!("{} is good", args.config.display());
        return ExitCode::SUCCESS;
    }
    match run(&config) {
        Ok(last_words) => {
            // Not through the log's thread, which ends with this one.
            eprintln!("holdfast-guard: {last_words}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("holdfast-guard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> Result<String, Box<dyn std::error::Error>> {
    // Levels, for all or by module, as the agent's filter has them; its fields and spans would cost a
    // regular expression engine, locked into memory.
    let wanted = std::env::var("HOLDFAST_LOG").ok();
    let filter = wanted.and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Lines::start()?);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    let mut server = Server::start(config)?;
    server.end_by_signal()?;
    server.harden();
    tracing::info!(host = %config.name, socket = %config.guard.socket.display(), "guarding");
    Ok(server.run()?)
}
