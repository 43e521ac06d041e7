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
        .with_env_filter(without_secrets(filter))
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

/// Where these log more, they show what they send, passwords among it; whatever is asked for, they do not.
fn without_secrets(filter: EnvFilter) -> EnvFilter {
    let quiet = ["ureq=info", "ureq_proto=info"];
    let quiet = quiet.into_iter().filter_map(|each| each.parse().ok());
    quiet.fold(filter, EnvFilter::add_directive)
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

#[cfg(test)]
mod tests {
    use super::without_secrets;
    use tracing_subscriber::EnvFilter;

    #[test]
    fn who_sends_passwords_never_logs_what_it_sends() {
        for asked in ["trace", "info", "ureq_proto=trace,ureq=debug", "off"] {
            let filter = without_secrets(EnvFilter::new(asked)).to_string();
            let directives: Vec<&str> = filter.split(',').collect();
            for wanted in ["ureq=info", "ureq_proto=info"] {
                assert!(directives.contains(&wanted), "{asked}: {filter}");
            }
            let named = directives.iter().filter(|each| each.starts_with("ureq"));
            assert_eq!(named.count(), 2, "{asked}: {filter}");
        }
    }
}
