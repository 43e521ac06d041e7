//! One contract, two back ends: what holds in memory (and so in the simulation) holds on etcd.

mod common;

use common::{BOUND, Etcd, eventually};
use futures::StreamExt;
use futures::future::BoxFuture;
use holdfast_model::id::Revision;
use holdfast_store::api::{
    Batch, Change, Compare, Store, StoreError, TXN_MAX, TXN_MAX_BYTES, Txn, TxnOp, TxnOutcome,
    Watch,
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
    lost_compares_change_nothing(store).await;
    all_or_nothing_at_one_revision(store).await;
    revisions_count_changes(store).await;
    a_key_made_again_is_another(store).await;
    a_check_without_effects(store).await;
    prefixes_are_apart_and_sorted(store).await;
    long_lists_are_whole(store).await;
    limits_are_named(store).await;
    big_values(store).await;
    watch_replays_in_order(store).await;
    watch_is_live_and_never_mute(store).await;
    watch_brings_everything_of_many_writers(bench).await;
    compaction_is_told(bench).await;
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

async fn big_values(store: &dyn Store) {
    let megabyte = vec![b'm'; 1 << 20];
    let before = store.list("/c/k/").await.expect("list").revision;
    for n in 0..6 {
        commit(
            store,
            vec![TxnOp::Put(format!("/c/k/{n}"), megabyte.clone())],
        )
        .await;
    }
    let listing = store
        .list("/c/k/")
        .await
        .expect("six megabytes in one list");
    assert!(listing.items.len() == 6 && listing.items.iter().all(|item| item.value == megabyte));
    let mut watch = store.watch("/c/k/", before).await.expect("watch");
    let changes = collect(&mut watch, 6).await;
    assert!(
        changes
            .iter()
            .all(|c| matches!(c, Change::Put(item) if item.value == megabyte))
    );
}

/// The next batch, within the bound.
async fn next(watch: &mut Watch) -> Batch {
    let next = tokio::time::timeout(BOUND, watch.next()).await;
    next.expect("a watch says something")
        .expect("it goes on")
        .expect("it is well")
}

/// At least `count` changes.
async fn collect(watch: &mut Watch, count: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    while changes.len() < count {
        let batch = next(watch).await;
        for change in &batch.changes {
            let (Change::Put(holdfast_store::api::KeyValue { revision, .. })
            | Change::Delete(_, revision)) = change;
            assert!(
                *revision <= batch.revision,
                "complete up to the batch's revision"
            );
        }
        changes.extend(batch.changes);
    }
    changes
}

fn told(changes: &[Change]) -> Vec<String> {
    let tell = |change: &Change| match change {
        Change::Put(item) => {
            let value = String::from_utf8_lossy(&item.value);
            format!("{} = {value} @{}", item.key, item.revision)
        }
        Change::Delete(key, revision) => format!("{key} gone @{revision}"),
    };
    changes.iter().map(tell).collect()
}

async fn watch_replays_in_order(store: &dyn Store) {
    let r1 = commit(store, vec![put("/c/l/a", "1")]).await;
    let r2 = commit(
        store,
        vec![put("/c/l/a", "2"), put("/c/l/b", "2"), put("/c/lx", "no")],
    )
    .await;
    commit(store, vec![put("/c/other", "no")]).await;
    let r4 = commit(store, vec![delete("/c/l/a")]).await;
    let mut all = store
        .watch("/c/l/", Revision(r1.0 - 1))
        .await
        .expect("watch");
    let expected = [
        format!("/c/l/a = 1 @{r1}"),
        format!("/c/l/a = 2 @{r2}"),
        format!("/c/l/b = 2 @{r2}"),
        format!("/c/l/a gone @{r4}"),
    ];
    assert_eq!(told(&collect(&mut all, 4).await), expected);
    let mut late = store.watch("/c/l/", r1).await.expect("watch");
    assert_eq!(
        told(&collect(&mut late, 3).await),
        expected[1..],
        "after, not from"
    );
}

async fn watch_is_live_and_never_mute(store: &dyn Store) {
    let now = store.list("/c/m/").await.expect("list").revision;
    let mut watch = store.watch("/c/m/", now).await.expect("watch");
    for _ in 0..3 {
        let batch = next(&mut watch).await;
        assert_eq!(batch.changes, [], "quiet, and says so");
        assert!(batch.revision >= now);
    }
    let revision = commit(store, vec![put("/c/m/k", "live")]).await;
    assert_eq!(
        told(&collect(&mut watch, 1).await),
        [format!("/c/m/k = live @{revision}")]
    );
}

async fn watch_brings_everything_of_many_writers(bench: &Bench) {
    let now = bench.store.list("/c/n/").await.expect("list").revision;
    let mut watch = bench.store.watch("/c/n/", now).await.expect("watch");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    commit(
                        &*store,
                        vec![put(&format!("/c/n/{writer}"), &n.to_string())],
                    )
                    .await;
                }
            })
        })
        .collect();
    let changes = collect(&mut watch, 200).await;
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(changes.len(), 200);
    let mut last = (now, [0; 4]);
    for change in &changes {
        let Change::Put(item) = change else {
            panic!("nothing was removed")
        };
        assert!(item.revision > last.0, "in the order of revisions");
        last.0 = item.revision;
        let writer: usize = item.key["/c/n/".len()..].parse().expect("a number");
        let n: usize = String::from_utf8_lossy(&item.value)
            .parse()
            .expect("a number");
        assert_eq!(
            n, last.1[writer],
            "each writer's in its order, none missing"
        );
        last.1[writer] += 1;
    }
}

async fn compaction_is_told(bench: &Bench) {
    let store = &*bench.store;
    let old = commit(store, vec![put("/c/o/k", "1")]).await;
    commit(store, vec![put("/c/o/k", "2")]).await;
    let now = commit(store, vec![put("/c/o/k", "3")]).await;
    (bench.compact)(now).await;
    // At once, or as the stream's first word.
    let error = match store.watch("/c/o/", Revision(old.0 - 1)).await {
        Err(error) => error,
        Ok(mut watch) => {
            let first = tokio::time::timeout(BOUND, watch.next())
                .await
                .expect("it says something");
            first
                .expect("it does not just end")
                .expect_err("what it missed is gone")
        }
    };
    assert_eq!(error, StoreError::Compacted(now));
    let listing = store.list("/c/o/").await.expect("list again");
    assert_eq!(listing.items[0].value, b"3");
    let mut watch = store
        .watch("/c/o/", listing.revision)
        .await
        .expect("and watch again");
    let revision = commit(store, vec![put("/c/o/k", "4")]).await;
    assert_eq!(
        told(&collect(&mut watch, 1).await),
        [format!("/c/o/k = 4 @{revision}")]
    );
}

async fn voters_answer(store: &dyn Store) {
    let voters = eventually("voter that answers", || async {
        let voters = store.voters().await.expect("voters");
        voters.iter().all(|voter| voter.healthy).then_some(voters)
    });
    assert_eq!(voters.await.len(), 1);
}
