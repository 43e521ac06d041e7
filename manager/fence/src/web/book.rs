//! What is written down: of requests, before each is sent and when it is answered; of programs that extensions have
//! run, before each is started and when it has ended.

use crate::requests::RequestCounts;
use holdfast_extension_host::outside::{Method, WebError};
use holdfast_model::id::{DeviceName, ExtensionName, TargetName};
use holdfast_model::target::Place;
use holdfast_model::time::UnixMs;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests that [`Recent`] keeps, and programs besides.
const KEPT: usize = 500;

/// One request, or one run of a program, different from every other of every manager.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// A request as it is written down: without its body, and without anything of the operator's but where it goes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Noted {
    /// What it was sent for: which host's power, which life of it.
    pub about: String,
    /// The operator's name.
    pub target: TargetName,
    /// Scheme, host and port; not the path, which is often a webhook's password.
    pub place: String,
    /// What it does.
    pub method: Method,
    /// As the extension gave it, without what follows a question mark.
    pub path: String,
    /// When, by this machine's clock.
    pub at: UnixMs,
}

impl Noted {
    pub(super) fn new(request: &super::Request, place: &Place, at: UnixMs) -> Self {
        Self {
            about: request.about.clone(),
            target: request.target.clone(),
            place: place.to_string(),
            method: request.method,
            path: path_of(&request.path),
            at,
        }
    }
}

fn path_of(path: &str) -> String {
    match path.split_once('?') {
        Some((path, _)) => format!("{path}?…"),
        None => path.to_owned(),
    }
}

/// What became of a request: HTTP's number, or why there is none.
pub type Outcome = Result<u16, WebError>;

/// A program as it is written down before it is started: without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NotedRun {
    /// What it is run for: which host's power, which life of it.
    pub about: String,
    /// Which extension has it run; none: this machine itself, to read back what an extension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionName>,
    /// By its name in `[fence_agents]`.
    pub program: DeviceName,
    /// What it is told to do, in its own word: off, on, status.
    pub action: String,
    /// What it is told besides, each as `name=value`.
    pub arguments: Vec<String>,
    /// When, by this machine's clock.
    pub at: UnixMs,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnd {
    /// It has ended by itself, with this code.
    ExitCode(i32),
    /// It was not started: nothing was done. Why, in words.
    NotStarted(String),
    /// It was killed, or has ended for nobody to see: it may have been done. Why, in words.
    Killed(String),
}

/// Writes requests and runs of programs down. It is called on a thread of its own for each and may take its time: what
/// is written down waits for it.
pub trait RequestBook: Send + Sync {
    /// A request is about to be sent. It is not sent if this fails, and why is told.
    ///
    /// # Errors
    /// In words for operators.
    fn before(&self, id: RequestId, request: &Noted) -> Result<(), String>;

    /// What became of it, whether or not anybody waits for its answer any more.
    fn after(&self, id: RequestId, outcome: &Outcome);

    /// A program is about to be started. It is not started if this fails, and why is told.
    ///
    /// # Errors
    /// In words for operators.
    fn before_run(&self, id: RequestId, run: &NotedRun) -> Result<(), String>;

    /// What became of it, and how long it ran, in milliseconds.
    fn after_run(&self, id: RequestId, end: &RunEnd, took_ms: u64);
}

/// Writes them to the manager's log, counts them, and keeps the newest.
#[derive(Default)]
pub struct Recent {
    requests: Kept<Noted, Outcome>,
    runs: Kept<NotedRun, RunEnd>,
    counts: Mutex<RequestCounts>,
}

/// A request, or a run of a program, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<N = Noted, O = Outcome> {
    /// Which.
    pub id: RequestId,
    /// What.
    pub request: N,
    /// None: it is under way.
    pub outcome: Option<O>,
    /// When that came, by this machine's clock.
    pub ended_at: Option<UnixMs>,
    /// How long it took, in milliseconds: of programs.
    pub took_ms: Option<u64>,
}

/// The newest, oldest first.
struct Kept<N, O>(Mutex<VecDeque<Entry<N, O>>>);

impl<N, O> Default for Kept<N, O> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<N: Clone, O: Clone> Kept<N, O> {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry<N, O>>> {
        // Each change is complete before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: RequestId, request: N) {
        let mut entries = self.entries();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry {
            id,
            request,
            outcome: None,
            ended_at: None,
            took_ms: None,
        });
    }

    fn end(&self, id: RequestId, outcome: &O, at: UnixMs, took_ms: Option<u64>) {
        let mut entries = self.entries();
        // The newest are at the end, and one that is over is most likely one of them.
        let found = entries.iter_mut().rev().find(|entry| entry.id == id);
        if let Some(entry) = found {
            entry.outcome = Some(outcome.clone());
            entry.ended_at = Some(at);
            entry.took_ms = took_ms;
        }
    }

    fn end_all(&self, outcome: &O) {
        let mut entries = self.entries();
        for entry in entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
            entry.outcome = Some(outcome.clone());
        }
    }

    fn newest(&self) -> Vec<Entry<N, O>> {
        self.entries().iter().cloned().collect()
    }
}

impl Recent {
    fn counting(&self) -> MutexGuard<'_, RequestCounts> {
        // Each change is one addition.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests were sent through it, and what became of them.
    pub fn counts(&self) -> RequestCounts {
        *self.counting()
    }

    pub(super) fn add(&self, id: RequestId, request: Noted) {
        self.requests.add(id, request);
    }

    pub(super) fn end(&self, id: RequestId, outcome: &Outcome, at: UnixMs) {
        self.requests.end(id, outcome, at, None);
    }

    pub(super) fn add_run(&self, id: RequestId, run: NotedRun) {
        self.runs.add(id, run);
    }

    pub(super) fn end_run(&self, id: RequestId, end: &RunEnd, at: UnixMs, took_ms: u64) {
        self.runs.end(id, end, at, Some(took_ms));
    }

    /// Nobody will hear of those that are under way any more.
    pub(super) fn end_all(&self, request: &Outcome, run: &RunEnd) {
        self.requests.end_all(request);
        self.runs.end_all(run);
    }

    /// The newest requests, oldest first.
    pub fn newest(&self) -> Vec<Entry> {
        self.requests.newest()
    }

    /// The newest programs, oldest first.
    pub fn newest_runs(&self) -> Vec<Entry<NotedRun, RunEnd>> {
        self.runs.newest()
    }
}

impl RequestBook for Recent {
    fn before(&self, id: RequestId, request: &Noted) -> Result<(), String> {
        let Noted {
            target,
            place,
            method,
            path,
            ..
        } = request;
        tracing::info!(%id, %target, place, method = method.word(), path, "sending a request");
        self.add(id, request.clone());
        self.counting().sent += 1;
        Ok(())
    }

    fn after(&self, id: RequestId, outcome: &Outcome) {
        match outcome {
            Ok(status) => tracing::info!(%id, status, "a request was answered"),
            Err(error) => tracing::warn!(%id, ?error, "a request was not answered"),
        }
        self.end(id, outcome, holdfast_store::clock::wall());
        let mut counts = self.counting();
        let count = match outcome {
            Ok(_) => &mut counts.answered,
            Err(WebError::NoTarget(_) | WebError::Unreachable(_)) => &mut counts.not_done,
            Err(WebError::Unanswered(_)) => &mut counts.unknown,
        };
        *count += 1;
    }

    fn before_run(&self, id: RequestId, run: &NotedRun) -> Result<(), String> {
        let NotedRun {
            about,
            program,
            action,
            ..
        } = run;
        tracing::info!(%id, about, %program, action, "starting a program");
        self.add_run(id, run.clone());
        Ok(())
    }

    fn after_run(&self, id: RequestId, end: &RunEnd, took_ms: u64) {
        match end {
            RunEnd::ExitCode(code) => tracing::info!(%id, code, took_ms, "a program has ended"),
            other => tracing::warn!(%id, ?other, took_ms, "a program has not ended by itself"),
        }
        self.end_run(id, end, holdfast_store::clock::wall(), took_ms);
    }
}
