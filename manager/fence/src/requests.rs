//! What extensions had this daemon send and run, as the API and the command line show it.

pub use holdfast_model::requests::{Ended, ProgramEnd, ProgramRun, Requested};

/// How many requests, since the manager started.
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
    /// The newest requests, oldest first.
    fn newest(&self) -> Vec<Requested>;

    /// The newest programs, oldest first.
    fn programs(&self) -> Vec<ProgramRun>;

    /// How many requests there were.
    fn counts(&self) -> RequestCounts;
}
