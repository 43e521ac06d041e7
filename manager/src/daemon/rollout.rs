//! New versions of extensions, site by site: the leader has the other sites follow once a version is ready at the
//! first. What is decided is `holdfast_model::rollout`'s.

use super::{Shared, stopped};
use crate::rollout::asking;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::extension::Installed;
use holdfast_model::id::Revision;
use holdfast_model::rollout::Stage;
use holdfast_model::time::Instant;
use holdfast_store::api::{Compare, Txn, TxnOp};
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::guards::{encode, event_id, expect};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Look again after this long in any case.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the daemon ends.
pub async fn run(mut shared: Shared, mut cache: Cache, epoch: watch::Receiver<Option<Revision>>) {
    loop {
        tokio::select! {
            () = cache.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = stopped(&mut shared.stop) => return,
        }
        let Some(leads) = *epoch.borrow() else {
            continue;
        };
        let proven = cache.read_fresh(|view, view_since, now| match view_since {
            Some(_) => proven(view, now),
            None => Vec::new(),
        });
        for (installed, revision) in proven {
            if let Err(error) = follow(&shared, leads, &installed, revision).await {
                tracing::warn!(extension = %installed.manifest.name, %error, "the other sites do not follow yet");
            }
        }
    }
}

/// Those that are ready at their first site, with the revision of what that was decided on.
fn proven(view: &View, now: Instant) -> Vec<(Installed, Revision)> {
    let all = view.extensions.values().filter(|seen| {
        let stage = || seen.value.stage(&asking(view, &seen.value, now));
        seen.value.rollout.is_some() && stage() == Some(Stage::Proven)
    });
    all.map(|seen| (seen.value.clone(), seen.revision))
        .collect()
}

/// All sites have it from now on. That this was refused is nothing to worry about: somebody else leads, or it was
/// changed, and is looked at again.
async fn follow(
    shared: &Shared,
    leads: Revision,
    installed: &Installed,
    revision: Revision,
) -> Result<(), holdfast_store::StoreError> {
    let (name, version) = (&installed.manifest.name, &installed.manifest.version);
    let first = installed.rollout.as_ref().map(|rollout| &rollout.first);
    let event = Event {
        at: wall(),
        actor: shared.me.name.to_string(),
        kind: EventKind::Note,
        host: None,
        site: first.cloned(),
        vm: None,
        generation: None,
        text: format!("extension {name} {version} is ready there, and all sites have it now"),
    };
    let id = event_id(&event, shared.numbers.fetch_add(1, Ordering::Relaxed));
    let key = Key::Extension(name.clone());
    let record = Installed {
        rollout: None,
        ..installed.clone()
    };
    let txn = Txn {
        compares: vec![
            Compare::Revision(Key::LeaderEpoch.path(), leads),
            expect(&key, Some(revision)),
        ],
        ops: vec![
            TxnOp::Put(key.path(), encode(&record)),
            TxnOp::Put(Key::Event(id).path(), encode(&event)),
        ],
    };
    shared.store.txn(txn).await.map(drop)
}
