//! The store as the rest of Holdfast sees it: list, watch, and one transaction that compares
//! before it writes.

use async_trait::async_trait;
use futures::stream::BoxStream;
use holdfast_model::id::Revision;

/// A key with its value and the revision of its last write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The whole key.
    pub key: String,
    /// JSON.
    pub value: Vec<u8>,
    /// The revision of its last write.
    pub revision: Revision,
}

/// Everything under a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The store's revision the list is of.
    pub revision: Revision,
    /// Sorted by key.
    pub items: Vec<KeyValue>,
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key's last write has this revision.
    Revision(String, Revision),
    /// The key does not exist.
    Absent(String),
}

/// An effect of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOp {
    /// Write a value.
    Put(String, Vec<u8>),
    /// Remove a key; no error if it is not there.
    Delete(String),
}

/// If all compares hold, all operations happen, at one revision; otherwise none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What happens then.
    pub ops: Vec<TxnOp>,
}

/// Most operations, and most compares, of one transaction: etcd's own default.
pub const TXN_MAX: usize = 128;

/// Largest transaction in bytes of keys and values: etcd's default request limit of 1.5 MiB, less
/// what the encoding around them takes.
pub const TXN_MAX_BYTES: usize = 1_500_000;

impl Txn {
    /// Refuses what etcd would refuse, with words that say what to change. Both back ends call it,
    /// so that what works in the simulation works on etcd.
    pub fn check(&self) -> Result<(), StoreError> {
        for (what, count) in [
            ("operations", self.ops.len()),
            ("compares", self.compares.len()),
        ] {
            if count > TXN_MAX {
                return Err(StoreError::Refused(format!(
                    "a transaction with {count} {what}: at most {TXN_MAX} are allowed; split it"
                )));
            }
        }
        let mut written = std::collections::BTreeSet::new();
        let mut bytes = 0;
        for op in &self.ops {
            let (key, length) = match op {
                TxnOp::Put(key, value) => (key, value.len()),
                TxnOp::Delete(key) => (key, 0),
            };
            bytes += key.len() + length;
            if key.is_empty() {
                return Err(StoreError::Refused(
                    "a transaction writes an empty key".into(),
                ));
            }
            if !written.insert(key) {
                return Err(StoreError::Refused(format!(
                    "a transaction writes {key} twice; write it once"
                )));
            }
        }
        if bytes > TXN_MAX_BYTES {
            return Err(StoreError::Refused(format!(
                "a transaction of {bytes} bytes: at most {TXN_MAX_BYTES} are allowed; make the \
                 values smaller or split it"
            )));
        }
        Ok(())
    }

    /// The key that makes the transaction happen at most once however often it is sent: it is
    /// compared and written, so the first time it happens makes every further copy fail.
    ///
    /// A back end may therefore send copies of it, and takes the value under that key for proof
    /// that it happened. So no two *different* attempts may put the same value under such a key on
    /// the same compare: number them, as [`crate::guarded`] does, or make them mean the same.
    ///
    /// A compare of a revision is used up for ever; one of absence can hold again once the key is
    /// removed. What must not happen again even then compares a revision as well (an epoch, a
    /// session, a spec).
    pub fn guard_key(&self) -> Option<&str> {
        self.compares.iter().find_map(|compare| {
            let (key, absent) = match compare {
                Compare::Revision(key, _) => (key, false),
                Compare::Absent(key) => (key, true),
            };
            let moves = |op: &TxnOp| match op {
                TxnOp::Put(written, _) => written == key,
                // Deleting a key that is absent changes nothing and guards nothing.
                TxnOp::Delete(written) => written == key && !absent,
            };
            self.ops.iter().any(moves).then_some(key.as_str())
        })
    }
}

/// How a transaction ended. Losing is a normal result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnOutcome {
    /// It happened, at this revision.
    Committed(Revision),
    /// A compare did not hold; nothing happened. The store's revision at that time.
    Refused(Revision),
}

/// One change seen by a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Written.
    Put(KeyValue),
    /// Removed, at this revision.
    Delete(String, Revision),
}

/// A batch of changes in the order of their revisions. An empty batch tells that the view is
/// complete up to `revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The view is complete up to here.
    pub revision: Revision,
    /// What changed.
    pub changes: Vec<Change>,
}

/// A voter of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its name.
    pub name: String,
    /// Its client address.
    pub endpoint: String,
    /// It answered within the call's deadline.
    pub healthy: bool,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No voter answered in time, or there is no majority. Nothing was done. Try again.
    #[error("the store does not answer ({tried}): {reason}")]
    Unavailable {
        /// Which endpoints were tried.
        tried: String,
        /// The last error.
        reason: String,
    },
    /// A write had no answer: it may or may not have happened. Read before trying again.
    #[error("a write had no answer within its deadline ({endpoint}); it may have happened")]
    OutcomeUnknown {
        /// Who was asked.
        endpoint: String,
    },
    /// The watch fell behind: what it missed was compacted. List again.
    #[error("the watch fell behind: changes before revision {0} are compacted; list again")]
    Compacted(Revision),
    /// Asking again will not help.
    #[error("the store refused the call: {0}")]
    Refused(String),
}

/// The stream of a watch. Ends with an error or just ends; either way list again.
pub type Watch = BoxStream<'static, Result<Batch, StoreError>>;

/// A linearizable store with revisions. Every call has a deadline of its own.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Everything under a prefix, linearizable.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Compare, then write.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    /// One key, linearizable, with the store's revision at that time.
    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), StoreError> {
        let listing = self.list(key).await?;
        let found = listing.items.into_iter().find(|item| item.key == key);
        Ok((found, listing.revision))
    }

    /// Changes under a prefix after a revision. A healthy stream brings something at least every
    /// second, an empty batch if nothing changed. The implementation ends the stream when its
    /// server stops answering, loses the majority or falls behind, within a few seconds.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;

    /// The voters and whether they answer.
    async fn voters(&self) -> Result<Vec<Voter>, StoreError>;
}
