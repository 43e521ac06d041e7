//! What extensions had a machine send and run, as it is shown to operators: requests to targets, and programs.

use crate::id::{DeviceName, ExtensionName};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// When it was written down, by that machine's clock: before it was sent.
    pub at: UnixMs,
    /// What it was sent for.
    pub about: String,
    /// The operator's name of where it went.
    pub target: String,
    /// Scheme, host and port of that.
    pub place: String,
    /// GET, POST, …
    pub method: String,
    /// Without a query.
    pub path: String,
    /// What is known of its end.
    pub outcome: Ended,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Ended {
    /// It is under way.
    UnderWay,
    /// It was answered.
    Answered {
        /// HTTP's number.
        status: u16,
    },
    /// It was certainly not done.
    NotDone {
        /// Why, in words.
        why: String,
    },
    /// It may have been done.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// One run of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRun {
    /// When it was written down, by that machine's clock: before it was started.
    pub at: UnixMs,
    /// What it was run for.
    pub about: String,
    /// Which extension had it run; none: the machine itself, to read back what an extension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionName>,
    /// The operator's name of it.
    pub program: DeviceName,
    /// off, on, status.
    pub action: String,
    /// What it was told besides, each as `name=value`, without secrets.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// What is known of its end.
    pub outcome: ProgramEnd,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
    /// How long it ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum ProgramEnd {
    /// It runs.
    UnderWay,
    /// It has ended by itself.
    Exited {
        /// With this code; what it means is the program's matter.
        exit_code: i32,
    },
    /// It was not started: nothing was done.
    NotStarted {
        /// Why, in words.
        why: String,
    },
    /// It was killed, or nobody saw its end: it may have been done.
    Unknown {
        /// Why, in words.
        why: String,
    },
}
