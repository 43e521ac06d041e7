//! What is written down of requests: before each is sent, and when it is answered.

use crate::requests::RequestCounts;
use holdfast_extension_host::outside::{Method, WebError};
use holdfast_model::id::TargetName;
use holdfast_model::target::Place;
use holdfast_model::time::UnixMs;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests that [`Recent`] keeps.
const KEPT: usize = 500;

/// One request, different from every other of every manager.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    pub(super) fn new() -> Self {
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

/// Writes requests down. It is called on a thread of its own for each request and may take its time: the request
/// waits for it.
pub trait RequestBook: Send + Sync {
    /// A request is about to be sent. It is not sent if this fails, and why is told.
    ///
    /// # Errors
    /// In words for operators.
    fn before(&self, id: RequestId, request: &Noted) -> Result<(), String>;

    /// What became of it, whether or not anybody waits for its answer any more.
    fn after(&self, id: RequestId, outcome: &Outcome);
}

/// Writes them to the manager's log, counts them, and keeps the newest.
#[derive(Default)]
pub struct Recent {
    entries: Mutex<VecDeque<Entry>>,
    counts: Mutex<RequestCounts>,
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub id: RequestId,
    /// What.
    pub request: Noted,
    /// None: it is under way.
    pub outcome: Option<Outcome>,
    /// When that came, by this machine's clock.
    pub ended_at: Option<UnixMs>,
}

impl Recent {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        // Each change is complete before anything in it could panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counting(&self) -> MutexGuard<'_, RequestCounts> {
        // Each change is one addition.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were sent through it, and what became of them.
    pub fn counts(&self) -> RequestCounts {
        *self.counting()
    }

    pub(super) fn add(&self, id: RequestId, request: Noted) {
        let mut entries = self.entries();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(Entry {
            id,
            request,
            outcome: None,
            ended_at: None,
        });
    }

    pub(super) fn end(&self, id: RequestId, outcome: &Outcome, at: UnixMs) {
        let mut entries = self.entries();
        // The newest are at the end, and one that is over is most likely one of them.
        let found = entries.iter_mut().rev().find(|entry| entry.id == id);
        if let Some(entry) = found {
            entry.outcome = Some(outcome.clone());
            entry.ended_at = Some(at);
        }
    }

    /// Nobody will hear of those that are under way any more.
    pub(super) fn end_all(&self, outcome: &Outcome) {
        let mut entries = self.entries();
        for entry in entries.iter_mut().filter(|entry| entry.outcome.is_none()) {
            entry.outcome = Some(outcome.clone());
        }
    }

    /// The newest, oldest first.
    pub fn newest(&self) -> Vec<Entry> {
        self.entries().iter().cloned().collect()
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
}
