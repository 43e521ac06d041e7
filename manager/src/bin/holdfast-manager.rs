//! The manager daemon. See `holdfast_manager::daemon`.

use clap::Parser;
use holdfast_manager::config::{Config, DEFAULT_PATH, load};
use holdfast_manager::daemon;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Serves the API from a watch of etcd; decides while it leads.
#[derive(Parser)]
#[command(name = "holdfast-manager", version)]
struct Arguments {
    /// Its configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Check the configuration and end
    #[arg(long = "check-config")]
    check: bool,
}

fn main() -> ExitCode {
    #[cfg(feature = "extensions")]
    if let Some(code) = holdfast_extension_ready::child() {
        return code;
    }
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let config = match load(&arguments.config) {
        Ok(config) => config,
        // As the agent and the guard do: what is wrong stands in the file, not in the world.
        Err(error) => {
            fail(&error);
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let (stop, stopped) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        // A second signal does not wait for the tasks to end.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(daemon::run(config, stopped).await?)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("holdfast-manager: {error}");
    ExitCode::FAILURE
}
