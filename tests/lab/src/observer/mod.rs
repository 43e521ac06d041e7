//! The observer: hears the guests, and answers who beat where and when.

mod log;
pub mod record;
pub mod server;

pub use log::{Beat, ObserverLog};

use std::path::{Path, PathBuf};

/// First of the observer's ports, one per VM.
pub const FIRST_PORT: u16 = 20_000;
/// How many VMs it can hear.
pub const PORTS: u16 = 512;

/// The log, one JSON record per line.
pub fn log_file(dir: &Path) -> PathBuf {
    dir.join("beats.jsonl")
}

/// Which VM has which port.
pub fn ports_file(dir: &Path) -> PathBuf {
    dir.join("ports.json")
}

/// Exists once the observer listens.
pub(crate) fn ready_file(dir: &Path) -> PathBuf {
    dir.join("ready")
}
