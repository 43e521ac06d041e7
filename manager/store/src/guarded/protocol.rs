//! What goes in and out of the machines: asks and answers, and how a heartbeat begins and ends.

use crate::api::{Compare, Listing, StoreError, Txn, TxnOutcome};
use crate::keyspace::Key;
use holdfast_model::id::Revision;
use holdfast_model::time::Instant;

/// What a kind of heartbeat writes, and how it knows its own writes.
pub trait Beat {
    /// The key.
    fn key(&self) -> Key;
    /// The record with this number in it. No two writes of one life carry the same number.
    fn value(&self, beat: u64) -> Vec<u8>;
    /// Whose record this is.
    fn recognise(&self, value: &[u8]) -> Whose;
}

/// Whose record stands under the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This life's, with this number.
    Mine(u64),
    /// This life's, closed by a leader.
    Closed,
    /// Somebody else's, in words.
    Other(String),
}

/// What a machine wants done. One thing at a time: give its answer before asking again. Asking
/// again without one means that no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Carry out this transaction.
    Txn(Txn),
    /// List everything under this prefix.
    Read(String),
    /// Nothing before then.
    Wait(Instant),
    /// Nothing any more: it is lost.
    Over(Lost),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Txn`].
    Txn(Result<TxnOutcome, StoreError>),
    /// To [`Ask::Read`].
    Read(Result<Listing, StoreError>),
}

/// A heartbeat that is known to have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// When it was sent: deadlines count from here.
    pub sent_at: Instant,
    /// Its revision: what this life's other writes are guarded by.
    pub revision: Revision,
}

/// Why a heartbeat ended for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// A leader closed it.
    #[error("closed by a leader: it was silent for too long, or was vouched for as off")]
    Closed,
    /// Somebody else writes the key.
    #[error("taken over: {0}")]
    Taken(String),
    /// The key was removed.
    #[error("its record was removed")]
    Gone,
    /// The key is as it was left, but something else that was compared has changed.
    #[error("outranked: something it depends on has changed")]
    Outranked,
}

/// How heartbeats are numbered. No two writes of one life may carry the same number, in whatever
/// process: a late write of an earlier process, whose send time this one does not know, would be
/// taken for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// From here on: nobody else writes in this life's name.
    From(u64),
    /// From the clock at the first write, [`BEATS_PER_MS`] to a millisecond: another process of
    /// this life was there before. Its clock is ours, and it was earlier.
    FromClock {
        /// The last number that was seen.
        above: u64,
    },
}

/// More heartbeats than any process sends in a millisecond.
pub const BEATS_PER_MS: u64 = 1_000;

/// How a heartbeat begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The key's revision that was decided on; `None`: it does not exist.
    pub base: Option<Revision>,
    /// How the heartbeats are numbered.
    pub numbers: Numbers,
    /// Compared by every write besides.
    pub also: Vec<Compare>,
    /// From sending one to sending the next, in milliseconds.
    pub period_ms: u64,
}
