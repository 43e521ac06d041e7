//! `holdfast-host`: the agent.

#[cfg(feature = "extensions")]
mod check;
mod errands;

use clap::Parser;
use holdfast_host::agent::errands::Errands;
use holdfast_host::agent::error::AgentError;
use holdfast_host::agent::storage::Check;
use holdfast_host::agent::{Parts, run};
use holdfast_host::config::{Config, DEFAULT_PATH, load};
use holdfast_host::driver::libvirt::{LibvirtConfig, LibvirtDriver};
use holdfast_model::files::FenceFile;
use holdfast_store::clock::boottime;
use holdfast_store::etcd::{EtcdConfig, EtcdStore};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Runs on every hypervisor: keeps the host's session, runs the VMs it is granted, reports.
/// Ending or upgrading it stops no VM.
#[derive(Parser)]
#[command(name = "holdfast-host", version)]
struct Args {
    /// The host's configuration, shared with the guard.
    #[arg(long, default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Check the configuration and exit.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    #[cfg(feature = "extensions")]
    if let Some(code) = holdfast_extension_ready::child() {
        return code;
    }
    let args = Args::parse();
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("holdfast-host: {error}");
            return ExitCode::from(2);
        }
    };
    let fencing = match errands::file::load_beside(&args.config) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("holdfast-host: {error}");
            return ExitCode::from(2);
        }
    };
    if args.check_config {
        println!("{} is good", args.config.display());
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdfast-host: no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(agent(config, fencing));
    // Calls to a libvirtd that stands still do not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-host: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn agent(config: Config, fencing: Option<FenceFile>) -> Result<(), AgentError> {
    let store = EtcdStore::new(EtcdConfig {
        endpoints: config.etcd.endpoints.clone(),
        call_timeout_ms: config.etcd.call_timeout_ms,
    });
    let (driver, events) = LibvirtDriver::start(LibvirtConfig {
        uri: config.libvirt.uri.clone(),
        cluster: config.cluster.clone(),
        run_dir: config.libvirt.run_dir.clone(),
    })
    .map_err(AgentError::Driver)?;
    let (stopper, stop) = watch::channel(false);
    tokio::spawn(on_signal(stopper));
    let asking = fencing.and_then(|file| errands::Asking::of(&config, file));
    let parts = Parts {
        storage_check: storage_check(&config),
        errands: asking.map(|asking| Arc::new(asking) as Arc<dyn Errands>),
        config,
        store: Arc::new(store.map_err(AgentError::Store)?),
        driver: Arc::new(driver),
        events,
        clock: Arc::new(boottime),
        stop,
    };
    run(parts).await
}

/// By the extension that the file names, if it names one.
#[cfg(feature = "extensions")]
fn storage_check(config: &Config) -> Option<Arc<dyn Check>> {
    let checker = check::Checker::of(config)?;
    Some(Arc::new(checker))
}

/// This program was built without extensions.
#[cfg(not(feature = "extensions"))]
fn storage_check(_: &Config) -> Option<Arc<dyn Check>> {
    None
}

/// SIGTERM and SIGINT end the agent; VMs run on.
async fn on_signal(stop: watch::Sender<bool>) {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be handled; the agent ends at once when asked to");
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("asked to end; VMs run on");
    stop.send_replace(true);
    // Whoever asks twice means it.
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    std::process::exit(1);
}
