//! A store with an unreliable line to it: requests and replies get lost, and copies of requests
//! arrive late, as from a member that was frozen and thaws.
#![allow(dead_code)] // Each test file uses a part of it.

pub mod host;
pub mod managers;

use holdfast_model::id::Revision;
use holdfast_model::time::Instant;
use holdfast_store::api::{StoreError, Txn, TxnOutcome};
use holdfast_store::guarded::{Answer, Ask};
use holdfast_store::memory::MemoryStore;
use std::collections::BTreeMap;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Carried out and answered.
    Fine,
    /// Carried out, the answer lost.
    ReplyLost,
    /// Lost on the way there.
    RequestLost,
    /// No answer, and a copy arrives some time later.
    Late,
    /// Known not to have been carried out.
    NotDone,
}

pub const FATES: [Fate; 5] = [
    Fate::Fine,
    Fate::ReplyLost,
    Fate::RequestLost,
    Fate::Late,
    Fate::NotDone,
];

/// The store, the time, and what is still under way.
#[derive(Default)]
pub struct Line {
    pub store: MemoryStore,
    pub now: Instant,
    /// Copies that have not arrived yet.
    pub late: Vec<Txn>,
    /// When each revision was made.
    pub made_at: BTreeMap<Revision, Instant>,
}

impl Line {
    /// Carries out a call.
    pub fn call(&mut self, ask: &Ask, fate: Fate) -> Answer {
        let unknown = || StoreError::OutcomeUnknown {
            endpoint: "line".into(),
        };
        let unavailable = || StoreError::Unavailable {
            tried: "line".into(),
            reason: "cut".into(),
        };
        match (ask, fate) {
            (Ask::Txn(txn), Fate::Fine) => Answer::Txn(Ok(self.apply(txn.clone()))),
            (Ask::Txn(txn), Fate::ReplyLost) => {
                self.apply(txn.clone());
                Answer::Txn(Err(unknown()))
            }
            (Ask::Txn(_), Fate::RequestLost) => Answer::Txn(Err(unknown())),
            (Ask::Txn(txn), Fate::Late) => {
                self.late.push(txn.clone());
                Answer::Txn(Err(unknown()))
            }
            (Ask::Txn(_), Fate::NotDone) => Answer::Txn(Err(unavailable())),
            (Ask::Read(prefix), Fate::Fine) => Answer::Read(Ok(self.store.list_now(prefix))),
            (Ask::Read(_), _) => Answer::Read(Err(unavailable())),
            (Ask::Wait(_) | Ask::Over(_), _) => panic!("nothing to carry out"),
        }
    }

    /// A late copy arrives.
    pub fn arrive(&mut self, which: usize) {
        if !self.late.is_empty() {
            let txn = self.late.remove(which % self.late.len());
            self.apply(txn);
        }
    }

    pub fn apply(&mut self, txn: Txn) -> TxnOutcome {
        let before = self.store.revision();
        let outcome = self.store.txn_now(txn);
        if self.store.revision() > before {
            self.made_at.insert(self.store.revision(), self.now);
        }
        outcome
    }
}
