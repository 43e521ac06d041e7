//! The store in memory: for the simulation and for tests. Behaves like etcd where Holdfast can
//! tell the difference (the contract test runs on both).
//!
//! ```text
//! revision 1 ── txn that changes something ──> +1, all its keys get that revision
//!            └─ refused, or changes nothing ─> unchanged
//! ```
//! The synchronous part ([`MemoryStore::txn_now`] and its siblings) is deterministic and does no
//! I/O: the simulation calls it directly. The [`Store`] on top adds watches that wake.

use crate::api::{
    Batch, Change, Compare, KeyValue, Listing, Store, StoreError, Txn, TxnOp, TxnOutcome, Voter,
    Watch,
};
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use holdfast_model::id::Revision;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A quiet watch says that often that it is complete (as the etcd back end does).
const IDLE_BATCH: Duration = Duration::from_millis(500);

/// A store in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    /// Tells watches the newest revision. The sender lives as long as any clone.
    newest: Arc<watch::Sender<Revision>>,
}

struct Inner {
    revision: Revision,
    /// Changes before this revision are gone.
    compacted: Revision,
    current: BTreeMap<String, (Vec<u8>, Revision)>,
    /// In the order of revisions.
    history: Vec<(Revision, Change)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store, at revision 1 as etcd is.
    pub fn new() -> Self {
        let revision = Revision(1);
        let inner = Inner {
            revision,
            compacted: Revision(0),
            current: BTreeMap::new(),
            history: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            newest: Arc::new(watch::Sender::new(revision)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing below panics half-way through a change, so a poisoned lock guards sound data.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present revision.
    pub fn revision(&self) -> Revision {
        self.lock().revision
    }

    /// Everything under a prefix.
    pub fn list_now(&self, prefix: &str) -> Listing {
        let inner = self.lock();
        let items = inner
            .current
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (value, revision))| KeyValue {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect();
        Listing {
            revision: inner.revision,
            items,
        }
    }

    /// One key.
    pub fn get_now(&self, key: &str) -> Option<KeyValue> {
        let inner = self.lock();
        let (value, revision) = inner.current.get(key)?;
        Some(KeyValue {
            key: key.to_owned(),
            value: value.clone(),
            revision: *revision,
        })
    }

    /// Compare, then write. A transaction that [`Txn::check`] does not allow is refused and
    /// logged; [`Self::try_txn_now`] says so in its result.
    pub fn txn_now(&self, txn: Txn) -> TxnOutcome {
        self.try_txn_now(txn).unwrap_or_else(|error| {
            tracing::error!(%error, "transaction refused");
            TxnOutcome::Refused(self.revision())
        })
    }

    /// Compare, then write; an error for what etcd would not accept.
    pub fn try_txn_now(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        let (outcome, changed) = self.lock().txn(txn);
        // A watch that begins now reads what was written before it waits for more.
        let watched = self.newest.receiver_count() > 0;
        if changed
            && watched
            && let TxnOutcome::Committed(revision) = outcome
        {
            self.newest.send_replace(revision);
        }
        Ok(outcome)
    }

    /// Whether a transaction that compares these would happen now.
    pub fn holds_now(&self, compares: &[Compare]) -> bool {
        let inner = self.lock();
        compares.iter().all(|compare| inner.holds(compare))
    }

    /// Changes under a prefix after a revision, up to now.
    pub fn changes_after(&self, prefix: &str, after: Revision) -> Result<Batch, StoreError> {
        let mut changes = Vec::new();
        let revision = self.each_change(after, |change| {
            let (Change::Put(KeyValue { key, .. }) | Change::Delete(key, _)) = change;
            if key.starts_with(prefix) {
                changes.push(change.clone());
            }
        })?;
        Ok(Batch { revision, changes })
    }

    /// Shows each change after a revision, without a copy; up to which revision that was.
    pub fn each_change(
        &self,
        after: Revision,
        show: impl FnMut(&Change),
    ) -> Result<Revision, StoreError> {
        let inner = self.lock();
        if after.0 + 1 < inner.compacted.0 {
            return Err(StoreError::Compacted(inner.compacted));
        }
        // From the end: who asks has missed little.
        let known = inner.history.iter().rposition(|(at, _)| *at <= after);
        let start = known.map_or(0, |last| last + 1);
        let since = inner.history[start..].iter();
        since.map(|(_, change)| change).for_each(show);
        Ok(inner.revision)
    }

    /// Forgets the changes before a revision.
    pub fn compact(&self, at: Revision) {
        let mut inner = self.lock();
        if at > inner.compacted && at <= inner.revision {
            inner.compacted = at;
            let start = inner
                .history
                .partition_point(|(revision, _)| *revision < at);
            inner.history.drain(..start);
        }
    }
}

impl Inner {
    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Revision(key, expected) => self
                .current
                .get(key)
                .is_some_and(|(_, revision)| revision == expected),
            Compare::Absent(key) => !self.current.contains_key(key),
        }
    }

    /// The outcome, and whether anything changed.
    fn txn(&mut self, txn: Txn) -> (TxnOutcome, bool) {
        if !txn.compares.iter().all(|compare| self.holds(compare)) {
            return (TxnOutcome::Refused(self.revision), false);
        }
        let next = Revision(self.revision.0 + 1);
        let mut changes = Vec::new();
        for op in txn.ops {
            match op {
                TxnOp::Put(key, value) => {
                    self.current.insert(key.clone(), (value.clone(), next));
                    changes.push((
                        next,
                        Change::Put(KeyValue {
                            key,
                            value,
                            revision: next,
                        }),
                    ));
                }
                TxnOp::Delete(key) => {
                    if self.current.remove(&key).is_some() {
                        changes.push((next, Change::Delete(key, next)));
                    }
                }
            }
        }
        let changed = !changes.is_empty();
        if changed {
            self.revision = next;
            self.history.append(&mut changes);
        }
        (TxnOutcome::Committed(self.revision), changed)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Ok(self.list_now(prefix))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.try_txn_now(txn)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.changes_after(prefix, after)?;
        let state = (
            self.clone(),
            self.newest.subscribe(),
            prefix.to_owned(),
            Some(after),
        );
        let stream = stream::unfold(state, |(store, mut newest, prefix, after)| async move {
            let after = after?;
            // Marked as seen before reading, so no change falls between the two.
            newest.borrow_and_update();
            let mut batch = store.changes_after(&prefix, after);
            let idle = tokio::time::sleep(IDLE_BATCH);
            tokio::pin!(idle);
            while batch.as_ref().is_ok_and(|batch| batch.changes.is_empty()) {
                tokio::select! {
                    changed = newest.changed() => {
                        changed.ok()?;
                        batch = store.changes_after(&prefix, after);
                    }
                    () = &mut idle => break,
                }
            }
            let next = batch.as_ref().ok().map(|batch| batch.revision);
            Some((batch, (store, newest, prefix, next)))
        });
        Ok(stream.boxed())
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        Ok(vec![Voter {
            name: "memory".into(),
            endpoint: "memory".into(),
            healthy: true,
        }])
    }
}
