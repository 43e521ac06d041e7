//! Watches and the cache on real members: frozen, gone and back, quiet.

mod common;

use common::{BOUND, Etcd, eventually};
use futures::StreamExt;
use holdfast_model::id::ClusterName;
use holdfast_store::api::{Change, Store, StoreError, Txn, TxnOp, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::clock::boottime;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn write_cluster(name: &str) -> Txn {
    let record = encode(&ClusterName::from_str(name).expect("a name"));
    Txn {
        compares: vec![],
        ops: vec![TxnOp::Put(Key::Cluster.path(), record)],
    }
}

fn cluster(cache: &Cache) -> Option<String> {
    cache.read(|view| view.cluster.as_ref().map(|seen| seen.value.to_string()))
}

/// Waits until the cache shows this name.
async fn shows(cache: &mut Cache, name: &str) {
    let seen = async {
        while cluster(cache).as_deref() != Some(name) {
            cache.changed().await;
        }
    };
    tokio::time::timeout(BOUND, seen)
        .await
        .unwrap_or_else(|_| panic!("never saw {name}"));
}

#[tokio::test]
async fn a_watch_on_a_frozen_member_moves_over() {
    let etcd = Etcd::start(3).await;
    let frozen = etcd.follower().await;
    let order = etcd.order_from(frozen);
    let store = Arc::new(etcd.store(&order));
    let writer = etcd.store(&order[1..]);
    let mut cache = Cache::spawn(store, vec![ROOT.into()], Arc::new(boottime));
    cache.ready(BOUND).await.expect("all is well");
    writer
        .txn(write_cluster("before"))
        .await
        .expect("all is well");
    shows(&mut cache, "before").await;
    etcd.members[frozen].freeze().await;
    let since = Instant::now();
    eventually("accepted write", || async {
        writer.txn(write_cluster("after")).await.ok()
    })
    .await;
    shows(&mut cache, "after").await;
    println!(
        "watched member frozen -> change seen: {:?}",
        since.elapsed()
    );
    eventually("fresh view", || async { cache.view_since() }).await;
}

#[tokio::test]
async fn an_outage_is_told_and_its_end_is_a_new_beginning() {
    let mut etcd = Etcd::start(1).await;
    let store = Arc::new(etcd.store(&[0]));
    store
        .txn(write_cluster("before"))
        .await
        .expect("all is well");
    let mut cache = Cache::spawn(store.clone(), vec![ROOT.into()], Arc::new(boottime));
    cache.ready(BOUND).await.expect("all is well");
    let first = cache.view_since().expect("just now");
    etcd.members[0].kill();
    let killed = boottime();
    eventually("stale view", || async {
        cache.view_since().is_none().then_some(())
    })
    .await;
    println!("etcd gone -> view stale: {} ms", boottime().since(killed));
    let error = cache
        .ready(Duration::from_millis(10))
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(
        cluster(&cache).as_deref(),
        Some("before"),
        "the last known state stays readable"
    );
    let restarted = boottime();
    etcd.restart(0);
    let since = eventually("fresh view", || async { cache.view_since() }).await;
    assert!(
        since >= restarted && since > first,
        "silence is counted from the return"
    );
    eventually("write", || async {
        store.txn(write_cluster("after")).await.ok()
    })
    .await;
    shows(&mut cache, "after").await;
}

#[tokio::test]
async fn a_quiet_watch_learns_that_nothing_happened() {
    let etcd = Etcd::start(1).await;
    let store = etcd.store(&[0]);
    let put = |key: &str| Txn {
        compares: vec![],
        ops: vec![TxnOp::Put(key.into(), vec![])],
    };
    store.txn(put("/t/q/k")).await.expect("all is well");
    let from = store.list("/t/q/").await.expect("all is well").revision;
    let mut watch = store.watch("/t/q/", from).await.expect("all is well");
    let TxnOutcome::Committed(elsewhere) = store.txn(put("/t/other")).await.expect("all is well")
    else {
        panic!("nothing was compared")
    };
    // Only a digest can tell that what happened up to there happened elsewhere.
    let complete = async {
        loop {
            let batch = watch.next().await.expect("it goes on").expect("it is well");
            assert_eq!(batch.changes, []);
            if batch.revision >= elsewhere {
                return;
            }
        }
    };
    tokio::time::timeout(BOUND, complete)
        .await
        .expect("complete up to the other write");
    // And a removal still comes through it.
    let ops = vec![TxnOp::Delete("/t/q/k".into())];
    store
        .txn(Txn {
            compares: vec![],
            ops,
        })
        .await
        .expect("all is well");
    let removed = async {
        loop {
            let batch = watch.next().await.expect("it goes on").expect("it is well");
            if !batch.changes.is_empty() {
                return batch.changes;
            }
        }
    };
    let changes = tokio::time::timeout(BOUND, removed)
        .await
        .expect("the removal is brought");
    assert!(
        matches!(&changes[..], [Change::Delete(key, _)] if key == "/t/q/k"),
        "{changes:?}"
    );
}
