//! `managers/M`: this manager is there, where it stands and where its API listens. For people, and for a leader
//! that looks for somebody to carry out an errand; no decision about hosts or VMs reads it.

use super::{Shared, stopped};
use crate::required::PRESENCE_MS;
use holdfast_model::id::Revision;
use holdfast_model::leader::ManagerPresence;
use holdfast_store::StoreError;
use holdfast_store::api::{Txn, TxnOp, TxnOutcome};
use holdfast_store::guards::{encode, expect};
use holdfast_store::keyspace::Key;
use std::time::Duration;

/// Runs until the daemon ends; removes the record then.
pub async fn run(mut shared: Shared) {
    let mut beat = 0;
    // What an earlier life left is written over at once: others go by which life is there.
    let own = Key::Manager(shared.me.name.clone()).path();
    let mut last = match shared.store.get(&own).await {
        Ok((found, _)) => found.map(|found| found.revision),
        Err(_) => None,
    };
    loop {
        beat += 1;
        match renew(&shared, beat, last).await {
            Ok(revision) => last = revision,
            Err(error) => tracing::debug!(%error, "presence not renewed"),
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(PRESENCE_MS)) => {}
            () = stopped(&mut shared.stop) => break,
        }
    }
    let key = Key::Manager(shared.me.name.clone());
    let txn = Txn {
        compares: vec![expect(&key, last)],
        ops: vec![TxnOp::Delete(key.path())],
    };
    let bound = Duration::from_millis(PRESENCE_MS);
    // It goes stale by itself if this does not work.
    tokio::time::timeout(bound, shared.store.txn(txn))
        .await
        .ok();
}

/// Writes it on its last revision; that of the record that stands there if this was refused.
async fn renew(
    shared: &Shared,
    beat: u64,
    last: Option<Revision>,
) -> Result<Option<Revision>, StoreError> {
    let key = Key::Manager(shared.me.name.clone());
    let record = ManagerPresence {
        name: shared.me.name.clone(),
        site: shared.me.site.clone(),
        api: shared.api.clone(),
        life: shared.me.life.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        beat,
        extensions: shared.extensions.readiness(),
        shadows: shared.extensions.shadows.standings(),
    };
    let txn = Txn {
        compares: vec![expect(&key, last)],
        ops: vec![TxnOp::Put(key.path(), encode(&record))],
    };
    if let TxnOutcome::Committed(revision) = shared.store.txn(txn).await? {
        return Ok(Some(revision));
    }
    let (found, _) = shared.store.get(&key.path()).await?;
    let other = found.as_ref().and_then(|found| {
        let other = serde_json::from_slice::<ManagerPresence>(&found.value).ok()?;
        (other.life != shared.me.life).then_some(other)
    });
    if let Some(other) = other.filter(|_| last.is_some()) {
        tracing::error!(
            name = %shared.me.name,
            api = other.api,
            "another manager of this name is running; give one of the two another name"
        );
    }
    Ok(found.map(|found| found.revision))
}
