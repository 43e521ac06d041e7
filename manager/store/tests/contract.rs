//! One contract, two back ends: what holds in memory (and so in the simulation) holds on etcd.

mod common;
#[path = "contract/components.rs"]
mod components;
#[path = "contract/watching.rs"]
mod watching;

use common::{Etcd, eventually};
use futures::future::BoxFuture;
use holdfast_model::id::Revision;
use holdfast_store::api::{
    Compare, Store, StoreError, TXN_MAX, TXN_MAX_BYTES, Txn, TxnOp, TxnOutcome,
};
use holdfast_store::memory::MemoryStore;
use std::sync::Arc;

/// A back end under test.
struct Bench {
    store: Arc<dyn Store>,
    compact: Box<dyn Fn(Revision) -> BoxFuture<'static, ()>>,
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let store = MemoryStore::new();
    let compacted = store.clone();
    let compact = move |at| {
        compacted.compact(at);
        Box::pin(async {}) as BoxFuture<'static, ()>
    };
    check_all(&Bench {
        store: Arc::new(store),
        compact: Box::new(compact),
    })
    .await;
}

#[tokio::test]
async fn etcd_keeps_the_contract() {
    let etcd = Arc::new(Etcd::start(1).await);
    let store = Arc::new(etcd.store(&[0]));
    let compact = move |at: Revision| {
        let etcd = etcd.clone();
        Box::pin(async move { etcd.compact(at.0).await }) as BoxFuture<'static, ()>
    };
    check_all(&Bench {
        store,
        compact: Box::new(compact),
    })
    .await;
}

async fn check_all(bench: &Bench) {
    let store = &*bench.store;
    writes_reads_deletes(store).await;
    components::are_whole_or_not_there(store).await;
    lost_compares_change_nothing(store).await;
    all_or_nothing_at_one_revision(store).await;
    revisions_count_changes(store).await;
    a_key_made_again_is_another(store).await;
    a_check_without_effects(store).await;
    prefixes_are_apart_and_sorted(store).await;
    long_lists_are_whole(store).await;
    limits_are_named(store).await;
    watching::big_values(store).await;
    watching::watch_replays_in_order(store).await;
    watching::watch_is_live_and_never_mute(store).await;
    watching::watch_brings_everything_of_many_writers(bench).await;
    watching::compaction_is_told(bench).await;
    voters_answer(store).await;
}

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::Put(key.into(), value.into())
}

fn delete(key: &str) -> TxnOp {
    TxnOp::Delete(key.into())
}

async fn txn(store: &dyn Store, compares: Vec<Compare>, ops: Vec<TxnOp>) -> TxnOutcome {
    store
        .txn(Txn { compares, ops })
        .await
        .expect("the store answers")
}

async fn commit(store: &dyn Store, ops: Vec<TxnOp>) -> Revision {
    match txn(store, vec![], ops).await {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Refused(_) => panic!("nothing was compared"),
    }
}

async fn is_refused(store: &dyn Store, compares: Vec<Compare>, ops: Vec<TxnOp>) -> bool {
    matches!(txn(store, compares, ops).await, TxnOutcome::Refused(_))
}

async fn value(store: &dyn Store, key: &str) -> Option<(String, Revision)> {
    let (found, _) = store.get(key).await.expect("the store answers");
    found.map(|item| (String::from_utf8(item.value).expect("text"), item.revision))
}

async fn writes_reads_deletes(store: &dyn Store) {
    let first = commit(store, vec![put("/c/a/k", "1")]).await;
    assert_eq!(value(store, "/c/a/k").await, Some(("1".into(), first)));
    let second = commit(store, vec![put("/c/a/k", "2")]).await;
    assert_eq!(second, Revision(first.0 + 1));
    assert_eq!(value(store, "/c/a/k").await, Some(("2".into(), second)));
    commit(store, vec![delete("/c/a/k")]).await;
    assert_eq!(value(store, "/c/a/k").await, None);
}

async fn lost_compares_change_nothing(store: &dyn Store) {
    let key = || "/c/b/k".to_owned();
    let absent = || vec![Compare::Absent(key())];
    assert!(!is_refused(store, absent(), vec![put(&key(), "1")]).await);
    assert!(
        is_refused(store, absent(), vec![put(&key(), "2")]).await,
        "it is there"
    );
    let (_, revision) = value(store, &key()).await.expect("written");
    let at = |revision| vec![Compare::Revision(key(), revision)];
    assert!(is_refused(store, at(Revision(revision.0 - 1)), vec![put(&key(), "3")]).await);
    assert!(is_refused(store, at(Revision(revision.0 + 1)), vec![delete(&key())]).await);
    assert_eq!(value(store, &key()).await, Some(("1".into(), revision)));
    assert!(!is_refused(store, at(revision), vec![put(&key(), "4")]).await);
    assert!(
        is_refused(store, at(revision), vec![put(&key(), "5")]).await,
        "used up"
    );
}

async fn all_or_nothing_at_one_revision(store: &dyn Store) {
    let old = commit(store, vec![put("/c/d/gone", "1")]).await;
    let ops = || vec![put("/c/d/x", "1"), put("/c/d/y", "1"), delete("/c/d/gone")];
    let one_of_two = vec![
        Compare::Revision("/c/d/gone".into(), old),
        Compare::Revision("/c/d/never".into(), old),
    ];
    assert!(is_refused(store, one_of_two, ops()).await);
    assert_eq!(value(store, "/c/d/x").await, None);
    assert_eq!(value(store, "/c/d/gone").await, Some(("1".into(), old)));
    let revision = commit(store, ops()).await;
    assert_eq!(value(store, "/c/d/x").await, Some(("1".into(), revision)));
    assert_eq!(value(store, "/c/d/y").await, Some(("1".into(), revision)));
    assert_eq!(value(store, "/c/d/gone").await, None);
}

async fn revisions_count_changes(store: &dyn Store) {
    let before = commit(store, vec![put("/c/e/k", "1")]).await;
    let refused = txn(
        store,
        vec![Compare::Absent("/c/e/k".into())],
        vec![put("/c/e/k", "2")],
    )
    .await;
    assert_eq!(
        refused,
        TxnOutcome::Refused(before),
        "the revision at that time"
    );
    let nothing = commit(store, vec![delete("/c/e/never")]).await;
    assert_eq!(nothing, before, "nothing was removed");
    assert_eq!(store.list("/c/e/").await.expect("list").revision, before);
    assert_eq!(
        commit(store, vec![put("/c/e/k", "3")]).await,
        Revision(before.0 + 1)
    );
}

async fn a_key_made_again_is_another(store: &dyn Store) {
    let old = commit(store, vec![put("/c/f/k", "same")]).await;
    commit(store, vec![delete("/c/f/k")]).await;
    let new = commit(store, vec![put("/c/f/k", "same")]).await;
    assert_ne!(old, new);
    let stale = vec![Compare::Revision("/c/f/k".into(), old)];
    assert!(is_refused(store, stale, vec![delete("/c/f/k")]).await);
}

async fn a_check_without_effects(store: &dyn Store) {
    let revision = commit(store, vec![put("/c/g/k", "1")]).await;
    let holds = txn(
        store,
        vec![Compare::Revision("/c/g/k".into(), revision)],
        vec![],
    )
    .await;
    assert_eq!(holds, TxnOutcome::Committed(revision));
    let lost = txn(store, vec![Compare::Absent("/c/g/k".into())], vec![]).await;
    assert_eq!(lost, TxnOutcome::Refused(revision));
}

async fn prefixes_are_apart_and_sorted(store: &dyn Store) {
    let revision = commit(
        store,
        vec![
            put("/c/h/b", "2"),
            put("/c/h/a", "1"),
            put("/c/h", "no"),
            put("/c/hh/a", "no"),
        ],
    )
    .await;
    let listing = store.list("/c/h/").await.expect("list");
    let keys: Vec<&str> = listing.items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["/c/h/a", "/c/h/b"]);
    assert!(listing.items.iter().all(|item| item.revision == revision));
    assert_eq!(listing.revision, revision);
    assert_eq!(store.list("/c/nothing/").await.expect("list").items, []);
    assert_eq!(
        value(store, "/c/h").await,
        Some(("no".into(), revision)),
        "the key itself only"
    );
}

async fn long_lists_are_whole(store: &dyn Store) {
    let key = |n: usize| format!("/c/i/{n:04}");
    for start in (0..1_200).step_by(100) {
        commit(
            store,
            (start..start + 100).map(|n| put(&key(n), "v")).collect(),
        )
        .await;
    }
    let listing = store.list("/c/i/").await.expect("list");
    let keys: Vec<String> = listing.items.into_iter().map(|item| item.key).collect();
    assert_eq!(keys, (0..1_200).map(key).collect::<Vec<_>>());
}

async fn limits_are_named(store: &dyn Store) {
    let ops = |count: usize| {
        (0..count)
            .map(|n| put(&format!("/c/j/{n}"), "v"))
            .collect::<Vec<_>>()
    };
    commit(store, ops(TXN_MAX)).await;
    let big = TxnOp::Put("/c/j/big".into(), vec![b'x'; TXN_MAX_BYTES]);
    let compares = (0..=TXN_MAX)
        .map(|n| Compare::Absent(format!("/c/j/no{n}")))
        .collect();
    for (refused, says) in [
        (
            Txn {
                compares: vec![],
                ops: ops(TXN_MAX + 1),
            },
            "129 operations",
        ),
        (
            Txn {
                compares,
                ops: ops(1),
            },
            "129 compares",
        ),
        (
            Txn {
                compares: vec![],
                ops: vec![put("/c/j/k", "1"), delete("/c/j/k")],
            },
            "twice",
        ),
        (
            Txn {
                compares: vec![],
                ops: vec![big],
            },
            "smaller",
        ),
        (
            Txn {
                compares: vec![],
                ops: vec![put("", "1")],
            },
            "empty key",
        ),
    ] {
        let before = store.list("/c/j/").await.expect("list").revision;
        let Err(StoreError::Refused(text)) = store.txn(refused).await else {
            panic!("accepted: {says}");
        };
        assert!(text.contains(says), "{text}");
        assert_eq!(store.list("/c/j/").await.expect("list").revision, before);
    }
}

async fn voters_answer(store: &dyn Store) {
    let voters = eventually("voter that answers", || async {
        let voters = store.voters().await.expect("voters");
        voters.iter().all(|voter| voter.healthy).then_some(voters)
    });
    assert_eq!(voters.await.len(), 1);
}
