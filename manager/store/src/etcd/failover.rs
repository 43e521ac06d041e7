//! One call over several endpoints.
//!
//! ```text
//!  0 ──────► first endpoint (the one that answered last)
//!  1/5 ────────────► the next, if nothing came      … and so on, twice around
//!  1 ───────────────────────────────────────────────► deadline
//! ```
//! A frozen member costs a fifth of the deadline once; after that the one that answered is asked
//! first. A call that must not be repeated is sent on only when an endpoint has certainly not
//! carried it out.

use super::endpoint::Endpoint;
use super::fault::Fault;
use crate::api::StoreError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Parts of the deadline after which the next endpoint is asked.
const HEDGES: u32 = 5;
/// Wait before asking all endpoints again after all of them said no (an election).
const BACKOFF: Duration = Duration::from_millis(100);
/// Attempts of one call, whatever happens: no storm when every answer is an instant error.
const ATTEMPTS_MAX: usize = 64;

/// Whether copies of a call may be under way at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Reads, and writes of which only one copy can happen.
    Freely,
    /// Only when the last attempt was certainly not carried out.
    NotDoneOnly,
}

/// Why no attempt succeeded.
#[derive(Debug)]
pub(super) enum Failed {
    /// No attempt was carried out.
    NotDone { reason: String },
    /// One may have been.
    Unknown { endpoint: String, reason: String },
    /// Asking again will not help.
    Final(StoreError),
}

/// The endpoints and which of them answered last.
pub(super) struct Endpoints {
    pub(super) all: Vec<Arc<Endpoint>>,
    preferred: AtomicUsize,
    pub(super) deadline: Duration,
}

/// What is known of the other copies of a call when one is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Others {
    /// Another copy may have been carried out, or may still be.
    pub(super) unsure: bool,
}

impl Endpoints {
    pub(super) fn new(urls: Vec<String>, deadline: Duration) -> Self {
        let all = urls
            .into_iter()
            .map(|url| Arc::new(Endpoint::new(url)))
            .collect();
        Self {
            all,
            preferred: AtomicUsize::new(0),
            deadline,
        }
    }

    /// All of them, the one that answered last first.
    pub(super) fn in_order(&self) -> Vec<(usize, Arc<Endpoint>)> {
        let first = self.preferred();
        let rest = (0..self.all.len()).filter(|index| *index != first);
        let order = std::iter::once(first).chain(rest);
        order
            .filter_map(|index| Some((index, self.all.get(index)?.clone())))
            .collect()
    }

    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(super) fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
    }

    /// All addresses, for messages.
    pub(super) fn tried(&self) -> String {
        let urls: Vec<&str> = self
            .all
            .iter()
            .map(|endpoint| endpoint.url.as_str())
            .collect();
        urls.join(", ")
    }

    /// Runs `attempt` on one endpoint after the other until one answers or the deadline passes.
    pub(super) async fn call<T, F>(
        &self,
        repeat: Repeat,
        attempt: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<(T, Others), Failed>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let order = self.in_order();
        let hedge = self.deadline / HEDGES;
        let end = Instant::now() + self.deadline;
        let mut next_start = Instant::now();
        let mut started = 0;
        let mut running = FuturesUnordered::new();
        let mut last: Option<(String, String)> = None;
        let mut unsure = false;
        loop {
            let may_start = started < ATTEMPTS_MAX
                && running.len() < 2 * order.len()
                && (repeat == Repeat::Freely || (running.is_empty() && !unsure));
            tokio::select! {
                biased;
                Some((index, url, result)) = running.next(), if !running.is_empty() => {
                    match result {
                        Ok(value) => {
                            self.prefer(index);
                            let others = Others { unsure: unsure || !running.is_empty() };
                            return Ok((value, others));
                        }
                        Err(Fault::Final(error)) => {
                            // Another copy may have been carried out before.
                            if unsure || !running.is_empty() {
                                return Err(Failed::Unknown {
                                    endpoint: url,
                                    reason: error.to_string(),
                                });
                            }
                            return Err(Failed::Final(error));
                        }
                        Err(fault) => {
                            unsure |= matches!(fault, Fault::Unknown(_));
                            last = Some((url, fault.text()));
                            let all_said_no = started % order.len() == 0;
                            next_start = Instant::now() + if all_said_no { BACKOFF } else { Duration::ZERO };
                            if repeat == Repeat::NotDoneOnly && unsure {
                                break;
                            }
                        }
                    }
                }
                () = tokio::time::sleep_until(end) => break,
                () = tokio::time::sleep_until(next_start), if may_start => {
                    let (index, endpoint) = order[started % order.len()].clone();
                    let url = endpoint.url.clone();
                    let running_attempt = attempt(endpoint);
                    running.push(async move { (index, url, running_attempt.await) });
                    started += 1;
                    next_start = Instant::now() + hedge;
                }
            }
        }
        self.give_up(&order, unsure || !running.is_empty(), last)
    }

    /// No answer in time. The next call begins elsewhere.
    fn give_up<T>(
        &self,
        order: &[(usize, Arc<Endpoint>)],
        unsure: bool,
        last: Option<(String, String)>,
    ) -> Result<T, Failed> {
        if let Some((next, _)) = order.get(1) {
            self.prefer(*next);
        }
        let silence = || format!("no answer within {} ms", self.deadline.as_millis());
        let (endpoint, reason) = match last {
            Some((url, text)) => (url.clone(), format!("{url}: {text}")),
            None => (self.tried(), silence()),
        };
        if unsure {
            Err(Failed::Unknown { endpoint, reason })
        } else {
            Err(Failed::NotDone { reason })
        }
    }
}
