//! libvirt's event loop: one per process, on a thread of its own, running before the first
//! connection is opened (keepalives and events both need it).

use std::sync::OnceLock;
use std::time::Duration;
use virt::event;

/// The loop wakes at least this often, so that it never sleeps past something that was added
/// without a wake-up.
const WAKE_MS: i32 = 500;

static STARTED: OnceLock<Result<(), String>> = OnceLock::new();

/// Starts the loop if it is not running. Also silences libvirt's own printing to stderr: errors
/// come back as values and are logged where they are understood.
pub fn start() -> Result<(), String> {
    STARTED.get_or_init(start_once).clone()
}

fn start_once() -> Result<(), String> {
    virt::error::clear_error_callback();
    event::event_register_default_impl().map_err(|e| e.message().to_owned())?;
    event::event_add_timeout(WAKE_MS, |_, _| {}, std::ptr::null_mut())
        .map_err(|e| e.message().to_owned())?;
    std::thread::Builder::new()
        .name("libvirt-events".into())
        .spawn(run)
        .map_err(|e| format!("no thread for libvirt's events: {e}"))?;
    Ok(())
}

fn run() {
    loop {
        if let Err(error) = event::event_run_default_impl() {
            tracing::error!(
                reason = error.message(),
                "libvirt's event loop failed; going on"
            );
            // Only so that a loop that fails at once does not burn a CPU.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
