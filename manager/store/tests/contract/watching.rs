//! The part of the contract that is about watches.

use super::common::BOUND;
use super::{Bench, commit, delete, put};
use futures::StreamExt;
use holdfast_model::id::Revision;
use holdfast_store::api::{Batch, Change, KeyValue, Store, StoreError, TxnOp, Watch};

pub async fn big_values(store: &dyn Store) {
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
            let (Change::Put(KeyValue { revision, .. }) | Change::Delete(_, revision)) = change;
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

pub async fn watch_replays_in_order(store: &dyn Store) {
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

pub async fn watch_is_live_and_never_mute(store: &dyn Store) {
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

pub async fn watch_brings_everything_of_many_writers(bench: &Bench) {
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

pub async fn compaction_is_told(bench: &Bench) {
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
