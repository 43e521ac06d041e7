//! The requests that extensions had this daemon send, as the API and the command line show them.

use holdfast_model::time::UnixMs;
use serde::{Deserialize, Serialize};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// When it was written down, by the manager's clock: before it was sent.
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

/// How many, since the manager started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Written down to be sent.
    pub sent: u64,
    /// Of them answered, whatever the answer.
    pub answered: u64,
    /// Certainly not done.
    pub not_done: u64,
    /// They may have been done.
    pub unknown: u64,
}

/// Who knows them.
pub trait Requests: Send + Sync {
    /// The newest, oldest first.
    fn newest(&self) -> Vec<Requested>;

    /// How many there were.
    fn counts(&self) -> RequestCounts;
}
