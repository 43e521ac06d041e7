//! What the leader does besides deciding: it tells that it leads, makes the key for probes once, and removes old
//! events, errands that are over, and those that older versions left behind.

use super::probes::make_key;
use super::{Shared, stopped};
use holdfast_model::event::{Event, EventKind};
use holdfast_model::id::Revision;
use holdfast_model::policy::Budgets;
use holdfast_store::api::{Compare, Txn, TxnOp};
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::guards::{encode, event_id};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Events removed in one transaction.
const BATCH: usize = 100;
/// Look again after this long in any case.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the daemon ends.
pub async fn run(mut shared: Shared, mut cache: Cache, epoch: watch::Receiver<Option<Revision>>) {
    let mut elected = None;
    loop {
        tokio::select! {
            () = cache.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = stopped(&mut shared.stop) => return,
        }
        let Some(leads) = *epoch.borrow() else {
            continue;
        };
        if cache.view_since().is_none() {
            continue;
        }
        if elected != Some(leads) {
            elected = Some(leads);
            let event = leads_now(shared.me.name.as_str(), leads);
            let id = event_id(&event, shared.numbers.fetch_add(1, Ordering::Relaxed));
            let put = TxnOp::Put(Key::Event(id).path(), encode(&event));
            write(&shared, leads, vec![put]).await;
            // Nobody writes such a one while this version leads, so once in a term is enough.
            for (path, seen) in cache.read(View::old_errands) {
                forget(&shared, leads, path, seen).await;
            }
        }
        if cache.read(|view| view.seen(&Key::ProbeKey).is_none())
            && let Err(error) = make_key(&shared, leads).await
        {
            tracing::warn!(%error, "no key for probes yet");
        }
        shared.fencer.sweep(leads).await;
        let old = cache.read(too_old);
        for keys in old.chunks(BATCH) {
            let deletes = keys
                .iter()
                .map(|id| TxnOp::Delete(Key::Event(id.clone()).path()));
            write(&shared, leads, deletes.collect()).await;
        }
    }
}

/// Events are for people: one that cannot be written is lost, and told in the log.
async fn write(shared: &Shared, epoch: Revision, ops: Vec<TxnOp>) {
    let compares = vec![Compare::Revision(Key::LeaderEpoch.path(), epoch)];
    if let Err(error) = shared.store.txn(Txn { compares, ops }).await {
        tracing::warn!(%error, "events not written");
    }
}

/// Removes a record as it was seen. One that cannot be removed is tried again in the next term.
async fn forget(shared: &Shared, epoch: Revision, path: String, seen: Revision) {
    let compares = vec![
        Compare::Revision(Key::LeaderEpoch.path(), epoch),
        Compare::Revision(path.clone(), seen),
    ];
    let ops = vec![TxnOp::Delete(path.clone())];
    if let Err(error) = shared.store.txn(Txn { compares, ops }).await {
        tracing::warn!(key = path, %error, "an errand of an older version is not removed");
    }
}

fn leads_now(actor: &str, epoch: Revision) -> Event {
    Event {
        at: wall(),
        actor: actor.to_owned(),
        kind: EventKind::LeaderElected,
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: format!("{actor} leads, epoch {epoch}"),
    }
}

/// The oldest events beyond those that are kept; none while it is not known how many are.
fn too_old(view: &View) -> Vec<String> {
    let kept = match view.policy_in_force() {
        Ok(Some(policy)) => policy.budgets.events_kept,
        Ok(None) => Budgets::default().events_kept,
        Err(_) => return Vec::new(),
    };
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    // A tenth more may pile up, so that not every new event costs a removal.
    if view.events.len() <= kept.saturating_add(kept / 10) {
        return Vec::new();
    }
    let excess = view.events.len() - kept;
    view.events
        .iter()
        .take(excess)
        .map(|(id, _)| id.clone())
        .collect()
}
