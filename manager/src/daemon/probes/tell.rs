//! Starts the asking, and tells the other managers what came of it; makes the key once.

use super::{Orders, Prober};
use crate::daemon::{Shared, stopped};
use holdfast_model::id::Revision;
use holdfast_model::probe::{Opinion, ProbeKey};
use holdfast_store::StoreError;
use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::guards::{encode, expect};
use holdfast_store::keyspace::Key;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Whom to ask is worked out this often at the most: every heartbeat of a host is a change.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Between two writes at the least: on a bad network hosts are silent and heard again all the time.
const PAUSE: Duration = Duration::from_millis(100);
/// What could not be told is told again after this.
const AGAIN: Duration = Duration::from_millis(200);
/// The record is removed within this at the end, or is soon too old to count.
const REMOVE_BOUND: Duration = Duration::from_secs(1);

/// Runs until the daemon ends.
pub async fn run(mut shared: Shared, mut cache: Cache) {
    let (orders, ordered) = watch::channel(cache.read(Orders::of));
    let (prober, clock) = (shared.prober.clone(), shared.clock.clone());
    let thread = std::thread::Builder::new().name("probes".to_owned());
    if let Err(error) = thread.spawn(move || prober.ask(ordered, &clock)) {
        tracing::error!(%error, "no host is asked directly: hosts are suspect by their heartbeats alone");
        return stopped(&mut shared.stop).await;
    }
    let telling = tell(shared.clone(), shared.prober.clone());
    let following = async {
        loop {
            cache.changed().await;
            tokio::time::sleep(DEBOUNCE).await;
            let wanted = cache.read(Orders::of);
            orders.send_if_modified(|known| {
                let news = *known != wanted;
                *known = wanted;
                news
            });
        }
    };
    tokio::select! {
        () = telling => {}
        () = following => {}
    }
}

/// Writes the opinion when it changes, until the daemon ends; removes it then.
async fn tell(mut shared: Shared, prober: Arc<Prober>) {
    let mut opinions = prober.opinion.subscribe();
    let mut last = None;
    loop {
        let opinion = opinions.borrow_and_update().clone();
        let told = write(&shared, &opinion, &mut last).await;
        if let Err(error) = &told {
            tracing::debug!(%error, "which hosts are silent is not told yet");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stopped(&mut shared.stop) => break,
        }
        tokio::select! {
            _ = opinions.changed() => {}
            () = tokio::time::sleep(AGAIN), if !matches!(told, Ok(true)) => {}
            () = stopped(&mut shared.stop) => break,
        }
    }
    let key = Key::Probes(shared.me.name.clone());
    if last.is_some() {
        let txn = Txn {
            compares: vec![expect(&key, last)],
            ops: vec![TxnOp::Delete(key.path())],
        };
        let removing = tokio::time::timeout(REMOVE_BOUND, shared.store.txn(txn));
        removing.await.ok();
    }
}

/// Writes it on its last revision. False: another record stands there, whose revision is known now.
async fn write(
    shared: &Shared,
    opinion: &Opinion,
    last: &mut Option<Revision>,
) -> Result<bool, StoreError> {
    let key = Key::Probes(shared.me.name.clone());
    if last.is_none() {
        let (found, _) = shared.store.get(&key.path()).await?;
        *last = found.map(|found| found.revision);
        if last.is_none() && opinion.silent.is_empty() {
            return Ok(true); // nothing was said, and nothing is to be
        }
    }
    let txn = Txn {
        compares: vec![expect(&key, *last)],
        ops: vec![TxnOp::Put(key.path(), encode(opinion))],
    };
    match shared.store.txn(txn).await? {
        TxnOutcome::Committed(revision) => {
            *last = Some(revision);
            tracing::info!(silent = ?opinion.silent.keys().collect::<Vec<_>>(), "hosts that do not answer");
            Ok(true)
        }
        TxnOutcome::Refused(_) => {
            *last = None;
            Ok(false)
        }
    }
}

/// Makes the key, as the leader of this epoch, unless there is one.
pub async fn make_key(shared: &Shared, epoch: Revision) -> Result<TxnOutcome, StoreError> {
    let mut hash = Sha256::new();
    // Each has 122 random bits.
    for _ in 0..4 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    let key = ProbeKey::new(hash.finalize().into());
    let path = Key::ProbeKey.path();
    let txn = Txn {
        compares: vec![
            Compare::Revision(Key::LeaderEpoch.path(), epoch),
            Compare::Absent(path.clone()),
        ],
        ops: vec![TxnOp::Put(path, encode(&key))],
    };
    shared.store.txn(txn).await
}
