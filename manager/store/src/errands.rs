//! The transactions of an errand: each stage on the revision of the one before, so that it goes one way and once.
//!
//! [`send`] and [`take`] happen only while the leader of that epoch leads and the host has not renewed its session.
//! So whoever does it has read both, linearizably, after it had heard of the errand and before it acts.

use crate::api::{Compare, Txn, TxnOp};
use crate::guards::{encode, expect, session_guard};
use crate::keyspace::Key;
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::{HostName, Revision};

/// The leader sends it. `base`: the revision of what stands there, which nobody waits for any more.
pub fn send(errand: &Errand, base: Option<Revision>) -> Txn {
    guarded(errand, base, ErrandStage::Sent)
}

/// Whom it is for takes it, as it was sent at `revision`.
pub fn take(errand: &Errand, revision: Revision) -> Txn {
    guarded(errand, Some(revision), ErrandStage::Taken)
}

/// What an agent proves of its own host when it takes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The host.
    pub host: HostName,
    /// Its last acknowledged heartbeat is the last write of its session: it is alive, and was not closed.
    pub session: Revision,
    /// The leader holds of it what the agent has read: that it may be asked.
    pub state: Revision,
}

/// The agent that it is for takes it, as it was sent at `revision`. A heartbeat of its own in between makes it fail:
/// take it again on the new revision.
pub fn take_as(errand: &Errand, revision: Revision, own: &Standing) -> Txn {
    let mut txn = take(errand, revision);
    let state = Key::HostState(own.host.clone());
    txn.compares.push(session_guard(&own.host, own.session));
    txn.compares.push(expect(&state, Some(own.state)));
    txn
}

/// Whom it is for says what became of it, on its own last write. It needs nobody's leave: an answer for which
/// nobody waits is no answer.
pub fn say(errand: &Errand, revision: Revision, stage: ErrandStage) -> Txn {
    let key = key(errand);
    Txn {
        compares: vec![expect(&key, Some(revision))],
        ops: vec![put(&key, errand, stage)],
    }
}

/// The leader of this epoch removes it.
pub fn remove(errand: &Errand, revision: Revision, epoch: Revision) -> Txn {
    let key = key(errand);
    Txn {
        compares: vec![leads(epoch), expect(&key, Some(revision))],
        ops: vec![TxnOp::Delete(key.path())],
    }
}

fn guarded(errand: &Errand, base: Option<Revision>, stage: ErrandStage) -> Txn {
    let key = key(errand);
    let session = Key::HostSession(errand.host.clone());
    Txn {
        compares: vec![
            leads(errand.epoch),
            expect(&session, Some(errand.session_revision)),
            expect(&key, base),
        ],
        ops: vec![put(&key, errand, stage)],
    }
}

fn key(errand: &Errand) -> Key {
    Key::Errand(errand.host.clone(), errand.device.clone())
}

fn leads(epoch: Revision) -> Compare {
    Compare::Revision(Key::LeaderEpoch.path(), epoch)
}

fn put(key: &Key, errand: &Errand, stage: ErrandStage) -> TxnOp {
    let record = Errand {
        stage,
        ..errand.clone()
    };
    TxnOp::Put(key.path(), encode(&record))
}
