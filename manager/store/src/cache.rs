//! A [`View`] kept current: list, watch, and list again whenever the watch ends.
//!
//! ```text
//!        ┌──────────────── list ◄────────────────┐
//!        │ (fails: wait, at most a second)       │ ends · error · compacted · silent
//!        └──────────────► watch ─────────────────┘
//!                          │ batches, also empty ones
//!                          └──► View, Freshness ──► readers are woken
//! ```
//! One task per prefix. Handles share the view; the tasks end with the last handle.

use crate::api::{Batch, Store, StoreError};
use crate::freshness::Freshness;
use crate::view::View;
use futures::StreamExt;
use holdfast_model::id::Revision;
use holdfast_model::time::Instant;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A watch that brings nothing for this long, not even an empty batch, is given up. The store's
/// own bound is shorter (see [`Store::watch`]); this one holds whatever the store does.
const SILENCE_BOUND: Duration = Duration::from_secs(3);
/// A list that takes longer is given up, whatever the store's own deadline is.
const LIST_BOUND: Duration = Duration::from_secs(10);
/// First and longest wait after a list that failed.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Reads the clock that `seen_at` and freshness are counted on.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A handle on a view that is kept current.
pub struct Cache {
    shared: Arc<Shared>,
    /// What this handle has been told of.
    told: watch::Receiver<u64>,
    tasks: Arc<Tasks>,
}

struct Shared {
    state: RwLock<State>,
    clock: Clock,
    /// Counts changes; wakes the handles.
    changes: watch::Sender<u64>,
}

struct State {
    view: View,
    fresh: Freshness,
    last_error: Option<StoreError>,
}

/// Ends the tasks with the last handle.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Cache {
    /// Begins to follow these prefixes. They must not overlap. Needs a tokio runtime.
    pub fn spawn(store: Arc<dyn Store>, prefixes: Vec<String>, clock: Clock) -> Self {
        let (changes, told) = watch::channel(0);
        let state = State {
            view: View::default(),
            fresh: Freshness::new(prefixes.len()),
            last_error: None,
        };
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            clock,
            changes,
        });
        let follow = |(index, prefix)| {
            let follower = Follower {
                store: store.clone(),
                shared: shared.clone(),
                index,
                prefix,
            };
            tokio::spawn(follower.run())
        };
        let tasks = prefixes.into_iter().enumerate().map(follow).collect();
        Self {
            shared,
            told,
            tasks: Arc::new(Tasks(tasks)),
        }
    }

    /// Looks at the view. Do not block in `f`: the view stands still meanwhile.
    pub fn read<R>(&self, f: impl FnOnce(&View) -> R) -> R {
        f(&self.shared.read().view)
    }

    /// Since when the view has been fresh without a gap. `None`: not complete yet, or stale now.
    pub fn view_since(&self) -> Option<Instant> {
        let state = self.shared.read();
        state.fresh.since((self.shared.clock)())
    }

    /// For how long the view has not been confirmed by the store, in milliseconds. `None`: it was never complete.
    pub fn age_ms(&self) -> Option<u64> {
        let state = self.shared.read();
        state.fresh.age_ms((self.shared.clock)())
    }

    /// The view and its freshness at one moment, which is given too.
    pub fn read_fresh<R>(&self, f: impl FnOnce(&View, Option<Instant>, Instant) -> R) -> R {
        let state = self.shared.read();
        let now = (self.shared.clock)();
        f(&state.view, state.fresh.since(now), now)
    }

    /// Returns when something changed since the last call on this handle, or when the view became
    /// fresh. Level, not edge: several changes are one. A view that goes stale wakes nobody; loops
    /// that care also have a timer.
    pub async fn changed(&mut self) {
        if self.told.changed().await.is_err() {
            // The sender lives in `shared`, which this handle holds: cannot happen. Waiting for
            // ever is right for "nothing changes any more".
            std::future::pending::<()>().await;
        }
    }

    /// Another handle, for another task.
    pub fn subscribe(&self) -> Cache {
        Cache {
            shared: self.shared.clone(),
            told: self.told.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Waits until the view is complete and fresh. The error is the last one of the store.
    pub async fn ready(&self, bound: Duration) -> Result<(), StoreError> {
        let mut handle = self.subscribe();
        let wait = async {
            while handle.view_since().is_none() {
                handle.changed().await;
            }
        };
        tokio::time::timeout(bound, wait).await.map_err(|_| {
            let last_error = self.shared.read().last_error.clone();
            last_error.unwrap_or_else(|| StoreError::Unavailable {
                tried: "all endpoints".into(),
                reason: format!("no complete view within {} ms", bound.as_millis()),
            })
        })
    }
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        // A reader's closure may panic; the data behind the lock is sound all the same.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the view; wakes the handles if it changed or became fresh.
    fn update(
        &self,
        index: usize,
        asked_at: Instant,
        change: impl FnOnce(&mut View, Instant) -> bool,
    ) {
        let now = (self.clock)();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state.view, now);
        let became_fresh = state.fresh.hear(index, asked_at, now);
        state.last_error = None;
        drop(state);
        if changed || became_fresh {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn failed(&self, error: StoreError) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .last_error = Some(error);
    }
}

/// Follows one prefix.
struct Follower {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    index: usize,
    prefix: String,
}

impl Follower {
    async fn run(self) {
        let mut wait = RETRY_MIN;
        loop {
            match self.list().await {
                Ok(revision) => {
                    wait = RETRY_MIN;
                    let error = self.watch(revision).await;
                    tracing::debug!(prefix = self.prefix, %error, "listing again");
                    self.shared.failed(error);
                }
                Err(error) => {
                    tracing::debug!(prefix = self.prefix, %error, "list failed");
                    self.shared.failed(error);
                }
            }
            // Also after a watch that ended: one that ends at once must not spin.
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    async fn list(&self) -> Result<Revision, StoreError> {
        let asked_at = (self.shared.clock)();
        let list = tokio::time::timeout(LIST_BOUND, self.store.list(&self.prefix)).await;
        let listing = list.unwrap_or_else(|_| Err(self.silent("list", LIST_BOUND)))?;
        let revision = listing.revision;
        self.shared.update(self.index, asked_at, |view, now| {
            view.reset(std::slice::from_ref(&self.prefix), vec![listing], now);
            true
        });
        Ok(revision)
    }

    /// Follows until the watch ends; why it did.
    async fn watch(&self, after: Revision) -> StoreError {
        let opened = tokio::time::timeout(LIST_BOUND, self.store.watch(&self.prefix, after)).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return error,
            Err(_) => return self.silent("watch", LIST_BOUND),
        };
        loop {
            match tokio::time::timeout(SILENCE_BOUND, stream.next()).await {
                Ok(Some(Ok(batch))) => self.take(&batch),
                Ok(Some(Err(error))) => return error,
                Ok(None) => return self.ended(),
                Err(_) => return self.silent("watch", SILENCE_BOUND),
            }
        }
    }

    fn take(&self, batch: &Batch) {
        let heard = (self.shared.clock)();
        self.shared.update(self.index, heard, |view, now| {
            view.apply(batch, now);
            !batch.changes.is_empty()
        });
    }

    fn ended(&self) -> StoreError {
        StoreError::Unavailable {
            tried: self.prefix.clone(),
            reason: "the watch ended".into(),
        }
    }

    fn silent(&self, what: &str, bound: Duration) -> StoreError {
        StoreError::Unavailable {
            tried: self.prefix.clone(),
            reason: format!("the {what} was silent for {} ms", bound.as_millis()),
        }
    }
}
