//! The transactions of an errand: each stage on the revision of the one before, so that it goes one way and once.
//!
//! [`send`] and [`take`] happen only while the leader of that epoch leads and the host has not renewed its session.
//! So the manager that does it has read both, linearizably, after it had heard of the errand and before it acts.

use crate::api::{Compare, Txn, TxnOp};
use crate::guards::{encode, expect};
use crate::keyspace::Key;
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::Revision;

/// The leader sends it. `base`: the revision of what stands there, which nobody waits for any more.
pub fn send(errand: &Errand, base: Option<Revision>) -> Txn {
    guarded(errand, base, ErrandStage::Sent)
}

/// Whom it is for takes it, as it was sent at `revision`.
pub fn take(errand: &Errand, revision: Revision) -> Txn {
    guarded(errand, Some(revision), ErrandStage::Taken)
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
