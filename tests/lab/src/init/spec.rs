//! What the first process of a machine is told, and what it says about itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole of a machine from the inside; written by the lab, read at every power-on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InitSpec {
    /// Host name.
    pub hostname: String,
    /// Where to write [`Identity`].
    pub identity_file: PathBuf,
    /// Where to write the fresh boot id that is mounted over the kernel's.
    pub boot_id_file: PathBuf,
    /// Socket for [`Request`]s.
    pub control_socket: PathBuf,
    /// Directory of the services' logs.
    pub log_dir: PathBuf,
    /// Private directories and files: (from the state directory, to where).
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// Places that are read-only and empty until storage is mounted there; all that is in their
    /// parent directories is hidden.
    pub mount_points: Vec<PathBuf>,
    /// What to keep running, in order of starting.
    pub services: Vec<Service>,
}

/// One supervised program; it is restarted whenever it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// The name used by `lab kill`, `lab logs`, …
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment beyond PATH, HOME and LANG.
    pub env: BTreeMap<String, String>,
    /// Its wall clock can be another than the real machine's, see `wall`.
    #[serde(default)]
    pub own_wall_clock: bool,
    /// Start it without being asked.
    pub autostart: bool,
    /// A mount the program leaves behind when it dies, to be removed before it starts again.
    pub unmount_first: Option<PathBuf>,
}

/// Who the first process is, as seen from outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// Its process id on the real machine.
    pub pid: i32,
    /// Its start time (field 22 of `stat`): together with the id it is unique until a reboot.
    pub start_time: u64,
    /// Boot id the machine shows.
    pub boot_id: String,
}

/// A wish, one JSON object per connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Report all services.
    List,
    /// Start a service and keep it running.
    Start {
        /// Which.
        service: String,
    },
    /// End a service and keep it down.
    Stop {
        /// Which.
        service: String,
    },
}

/// The answer to every request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// Why the wish was not carried out.
    pub error: Option<String>,
    /// All services after it.
    pub services: Vec<ServiceState>,
}

/// How a service is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceState {
    /// Its name.
    pub name: String,
    /// Whether it is to run.
    pub wanted: bool,
    /// Its process id inside the machine, while it runs.
    pub pid: Option<i32>,
    /// How often it was started since power-on.
    pub starts: u32,
    /// How it ended last.
    pub last_exit: Option<String>,
}
