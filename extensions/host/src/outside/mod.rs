//! What a guest can reach besides computing, and who does it for it.
//!
//! ```text
//! guest ── name, words ──> rights: granted? counted? ──> the operator's name ──> Web, Programs, Probes ──> the world
//!                                                                                 (the daemons', or a mock's)
//! ```
//! The names in a manifest are roles; the operator's names are bound to them where the extension is used, and a
//! role that is bound to nothing is taken for the operator's name itself. Where something is, with which
//! password, and what it trusts is known to whoever does it, and never to a guest.
//!
//! All calls wait on the guest's own thread, until [`Guest::until`] and no longer: a part of the time that its
//! call has, so that a guest learns that there was no answer and can say so. What was sent goes on then: it is
//! the doer's to write down what becomes of it.
//!
//! [`Guest::until`]: crate::instance::Guest::until

mod pattern;
mod records;
mod rights;
mod v0_1;

use holdfast_model::extension::Rights;
use holdfast_model::id::TargetName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub use records::{Entry, Records};
pub(crate) use v0_1::{add_to, bindings};

/// Longest path of a request, in bytes.
const PATH_BYTES_MAX: usize = 2_048;

/// What one guest can reach.
#[derive(Clone, Default)]
pub struct Reach {
    /// What it is called for, in words: stands beside each request that is written down.
    pub about: String,
    /// What it was granted of what it asked for.
    pub rights: Rights,
    /// The operator's name for each role that is bound.
    pub bound: BTreeMap<TargetName, TargetName>,
    /// Sends its requests.
    pub web: Option<Arc<dyn Web>>,
    /// Runs programs.
    pub programs: Option<Arc<dyn Programs>>,
    /// Looks at storage.
    pub probes: Option<Arc<dyn Probes>>,
    /// What the cluster looks like.
    pub records: Option<Arc<dyn Records>>,
}

impl Reach {
    /// Its log and nothing else.
    pub fn log_only(may_log: bool) -> Self {
        Self {
            rights: Rights {
                log: may_log,
                ..Rights::default()
            },
            ..Self::default()
        }
    }

    /// The operator's name for what a guest calls so.
    fn bound(&self, role: &TargetName) -> TargetName {
        self.bound.get(role).unwrap_or(role).clone()
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Sends.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// As HTTP spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it is sent for, in words.
    pub about: String,
    /// The operator's name.
    pub target: TargetName,
    /// What it does.
    pub method: Method,
    /// Begins with a slash; no way up in it.
    pub path: String,
    /// JSON, if there is any.
    pub body: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP's number.
    pub status: u16,
    /// As it came.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebError {
    /// There is no such target.
    NoTarget(String),
    /// It could not be reached: nothing was done.
    Unreachable(String),
    /// It may have been done.
    Unanswered(String),
}

/// Sends requests to named targets.
pub trait Web: Send + Sync {
    /// Sends one and waits for its answer, until then at most.
    ///
    /// # Errors
    /// In words for operators.
    fn send(&self, request: &Request, until: Instant) -> Result<Response, WebError>;
}

/// What a program is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Switch the power off.
    Off,
    /// Switch it on.
    On,
    /// Say how it stands.
    Status,
}

impl Action {
    /// As fence agents know it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Status => "status",
        }
    }
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// None: a signal ended it.
    pub exit_code: Option<i32>,
    /// Its last words.
    pub said: String,
}

/// Why a program has not ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramError {
    /// There is no such program.
    NoProgram(String),
    /// By this argument it would run or write something.
    NotAllowed(String),
    /// It could not be started: nothing was done.
    NotStarted(String),
    /// It was killed: it may have been done.
    Unanswered(String),
}

/// Runs named programs.
pub trait Programs: Send + Sync {
    /// Runs one and waits for its end, until then at most.
    ///
    /// # Errors
    /// In words for operators.
    fn run(
        &self,
        program: &TargetName,
        action: Action,
        arguments: &[(String, String)],
        until: Instant,
    ) -> Result<Ended, ProgramError>;
}

/// The room of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total_bytes: u64,
    /// What others than root could still write.
    pub free_bytes: u64,
    /// Nothing can be written.
    pub read_only: bool,
    /// As the kernel calls it.
    pub kind: String,
}

/// What a status command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// None: a signal ended it.
    pub exit_code: Option<i32>,
    /// Its answer.
    pub stdout: String,
    /// Its complaints.
    pub stderr: String,
    /// One of them was too long.
    pub cut: bool,
}

/// Why a look has found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// There is nothing of that name.
    NoName(String),
    /// It was tried, and this came of it.
    Failed(String),
    /// No answer in time.
    TimedOut(String),
}

/// Looks at storage by named paths and commands.
pub trait Probes: Send + Sync {
    /// The file system of a path.
    ///
    /// # Errors
    /// In words for operators.
    fn usage(&self, path: &TargetName, until: Instant) -> Result<Space, ProbeError>;

    /// How long reading 4 KiB past all caches takes, in microseconds.
    ///
    /// # Errors
    /// In words for operators.
    fn read_latency(&self, path: &TargetName, until: Instant) -> Result<u64, ProbeError>;

    /// Runs a status command.
    ///
    /// # Errors
    /// In words for operators.
    fn command(&self, command: &TargetName, until: Instant) -> Result<Output, ProbeError>;
}
