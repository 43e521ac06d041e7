//! What can go wrong in the lab, in words that say what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Result of every lab function.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// Why a lab operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Namespaces, mounts and nftables need root.
    #[error("the lab needs root (namespaces, mounts, nftables): run it again with sudo")]
    NotRoot,
    /// Programs the lab drives are not installed.
    #[error("not installed: {}; run `cargo xtask setup`", .missing.join(", "))]
    MissingTools {
        /// Their names.
        missing: Vec<String>,
    },
    /// A Holdfast program has not been built.
    #[error("{path} does not exist: build it (`cargo build -p {package}`) or pass --no-daemons")]
    MissingDaemon {
        /// Where it was expected.
        path: PathBuf,
        /// The package that makes it.
        package: &'static str,
    },
    /// Another command is changing the lab.
    #[error("another lab command holds {lock}; wait for it to end, or end it")]
    Busy {
        /// The lock file.
        lock: PathBuf,
    },
    /// There is no lab to act on.
    #[error("no lab is up under {state}; start one with `cargo xtask lab up`")]
    NoLab {
        /// Where its state would be.
        state: PathBuf,
    },
    /// The argument names no machine, site or process.
    #[error("no such {kind}: {name:?}; known: {known}")]
    Unknown {
        /// "machine", "site", "process", …
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What exists.
        known: String,
    },
    /// The request cannot be carried out as things are.
    #[error("{0}")]
    Refused(String),
    /// A program failed.
    #[error("`{command}` {status}{}", detail(.stderr))]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {:.1} s{}{}", .waited.as_secs_f64(), detail(.last), in_brackets(.hint))]
    TimedOut {
        /// The condition.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// What was seen last.
        last: String,
        /// Where to look, what to do.
        hint: String,
    },
    /// A file or socket operation failed.
    #[error("{what} {path}", path = .path.display())]
    Io {
        /// "read", "create", …
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the lab does not parse.
    #[error("{path} is not what the lab wrote", path = .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

fn detail(text: &str) -> String {
    if text.trim().is_empty() {
        String::new()
    } else {
        format!(": {}", text.trim())
    }
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

impl LabError {
    /// Wraps an I/O error with what was tried on which path.
    pub fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> LabError {
        let path = path.into();
        move |source| LabError::Io { what, path, source }
    }

    /// The whole chain in one line, for a terminal.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
