//! Three real members: one frozen, one killed, two frozen. Each test first proves the fault.

mod common;

use common::{BOUND, CALL_TIMEOUT_MS, Etcd, bounded, eventually};
use futures::StreamExt;
use holdfast_model::id::Revision;
use holdfast_store::api::{Compare, Store, StoreError, Txn, TxnOp, TxnOutcome};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A write whose copies cannot both happen.
fn guarded_put(key: &str, base: Option<Revision>, value: &str) -> Txn {
    let compare = match base {
        Some(revision) => Compare::Revision(key.into(), revision),
        None => Compare::Absent(key.into()),
    };
    Txn {
        compares: vec![compare],
        ops: vec![TxnOp::Put(key.into(), value.into())],
    }
}

/// Counts a key up once, as any guarded writer does it: read, write, and after no answer read
/// again. True if this very count happened.
async fn count_up(store: &dyn Store, key: &str, by: &str) -> Result<bool, StoreError> {
    let (found, _) = bounded("a read", store.get(key)).await?;
    let count = found.as_ref().map_or(0, |item| number(&item.value));
    let value = format!("{} {by}", count + 1);
    let base = found.map(|item| item.revision);
    match bounded("a write", store.txn(guarded_put(key, base, &value))).await {
        Ok(TxnOutcome::Committed(_)) => Ok(true),
        Ok(TxnOutcome::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(value: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(value);
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a count")
}

fn report(what: &str, took: &[Duration]) {
    let longest = took.iter().max().copied().unwrap_or_default();
    println!(
        "{what}: {} calls, longest {longest:?}, {took:?}",
        took.len()
    );
}

#[tokio::test]
async fn calls_go_on_while_the_first_member_is_frozen() {
    let etcd = Etcd::start(3).await;
    for leads in [false, true] {
        let frozen = if leads {
            etcd.leader().await
        } else {
            etcd.follower().await
        };
        let store = etcd.store(&etcd.order_from(frozen));
        let key = format!("/t/frozen-{leads}");
        assert!(count_up(&store, &key, "before").await.expect("all is well"));
        etcd.members[frozen].freeze().await;
        let mut took = Vec::new();
        let mut errors = 0;
        while took.len() < 10 {
            let since = Instant::now();
            match count_up(&store, &key, "during").await {
                Ok(_) => took.push(since.elapsed()),
                // While another leader is elected, and only then.
                Err(error) => {
                    assert!(leads, "a majority with its leader is there: {error}");
                    errors += 1;
                    assert!(errors < 20, "no leader is elected: {error}");
                }
            }
        }
        report(
            &format!("frozen member leads: {leads}, failed calls {errors}"),
            &took,
        );
        etcd.members[frozen].thaw();
        let (found, _) = store.get(&key).await.expect("well again");
        assert!(number(&found.expect("counted").value) >= 11);
        eventually("three members well again", || async {
            let voters = store.voters().await.expect("voters");
            voters.iter().all(|voter| voter.healthy).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn writes_are_accepted_again_after_the_leader_is_killed() {
    let mut etcd = Etcd::start(3).await;
    let leader = etcd.leader().await;
    let store = etcd.store(&etcd.order_from(leader));
    assert!(
        count_up(&store, "/t/k", "before")
            .await
            .expect("all is well")
    );
    etcd.members[leader].kill();
    let since = Instant::now();
    eventually("accepted write", || async {
        count_up(&store, "/t/k", "after").await.ok()
    })
    .await;
    println!("leader killed -> write accepted: {:?}", since.elapsed());
    assert_ne!(etcd.leader().await, leader, "another leads");
    let healthy = store
        .voters()
        .await
        .expect("voters")
        .iter()
        .filter(|v| v.healthy)
        .count();
    assert_eq!(healthy, 2, "and the killed one is told apart");
    etcd.restart(leader);
    eventually("the third back", || async {
        store
            .voters()
            .await
            .expect("voters")
            .iter()
            .all(|voter| voter.healthy)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_majority_nothing_is_answered_and_nothing_is_lost() {
    let etcd = Etcd::start(3).await;
    let store = etcd.store(&[0, 1, 2]);
    assert!(
        count_up(&store, "/t/k", "before")
            .await
            .expect("all is well")
    );
    let (before, _) = store.get("/t/k").await.expect("all is well");
    let before = before.expect("written");
    let mut watch = store
        .watch("/t/", before.revision)
        .await
        .expect("all is well");
    etcd.members[0].freeze().await;
    etcd.members[1].freeze().await;
    let since = Instant::now();
    // Both while the third still believes in a leader and after it has noticed.
    while since.elapsed() < Duration::from_millis(3 * CALL_TIMEOUT_MS) {
        let error = bounded("a list", store.list("/t/"))
            .await
            .expect_err("no majority");
        let StoreError::Unavailable { tried, reason } = &error else {
            panic!("{error:?}")
        };
        assert!(tried.contains("127.0.0.1") && !reason.is_empty(), "{error}");
        let check = Txn {
            compares: vec![Compare::Revision("/t/k".into(), before.revision)],
            ops: vec![],
        };
        bounded("a check", store.txn(check))
            .await
            .expect_err("not from a stale member");
        let write = guarded_put("/t/k", Some(before.revision), "2 during");
        let error = bounded("a write", store.txn(write))
            .await
            .expect_err("no majority");
        let known = matches!(
            error,
            StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. }
        );
        assert!(known, "{error:?}");
    }
    let end = async {
        loop {
            match watch.next().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    };
    let end = tokio::time::timeout(BOUND, end)
        .await
        .expect("the watch ends");
    assert!(
        matches!(end, Some(Err(StoreError::Unavailable { .. }))),
        "and says why: {end:?}"
    );
    let error = bounded("a list", store.list("/t/"))
        .await
        .expect_err("no majority");
    println!("two frozen: {error}");
    let healthy = store
        .voters()
        .await
        .expect("voters")
        .iter()
        .filter(|v| v.healthy)
        .count();
    assert_eq!(healthy, 1, "one of three answers");
    etcd.members[0].thaw();
    etcd.members[1].thaw();
    let since = Instant::now();
    let counted = eventually("write after the outage", || async {
        count_up(&store, "/t/k", "after").await.ok()
    });
    counted.await;
    println!("majority back -> write accepted: {:?}", since.elapsed());
    let (found, _) = store.get("/t/k").await.expect("well again");
    let count = number(&found.expect("still there").value);
    assert!(
        (2..=3).contains(&count),
        "the write without an answer happened once at the most: {count}"
    );
}

#[tokio::test]
async fn what_writers_are_told_is_what_happened() {
    let mut etcd = Etcd::start(3).await;
    let leader = etcd.leader().await;
    let store = Arc::new(etcd.store(&etcd.order_from(leader)));
    // One writer, so that every count in the key is one of ours; it never learns anything but by
    // the store's answers.
    let (mut told, mut unknown) = (0_u64, 0_u64);
    for round in 0..60 {
        if round == 15 {
            etcd.members[leader].freeze().await;
        }
        if round == 30 {
            etcd.members[leader].thaw();
        }
        if round == 40 {
            let leader = etcd.leader().await;
            etcd.members[leader].kill();
        }
        match count_up(&*store, "/t/count", "one").await {
            Ok(true) => told += 1,
            Ok(false) | Err(StoreError::Unavailable { .. }) => {}
            Err(StoreError::OutcomeUnknown { .. }) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let found = eventually("read", || async { store.get("/t/count").await.ok() })
        .await
        .0;
    let count = number(&found.expect("counted").value);
    println!("told {told}, unknown {unknown}, counted {count}");
    assert!(told > 30, "most calls succeed: {told}");
    assert!(
        (told..=told + unknown).contains(&count),
        "{told} told, {unknown} unknown, {count}"
    );
}

#[tokio::test]
async fn a_stopped_etcd_is_named_and_nothing_was_done() {
    let mut etcd = Etcd::start(1).await;
    let store = etcd.store(&[0]);
    store.get("/t/k").await.expect("all is well");
    etcd.members[0].kill();
    // The first call may find the broken connection only after sending; from then on it is known
    // that nothing was sent.
    let error = eventually("definite error", || async {
        match store.txn(guarded_put("/t/k", None, "1 x")).await {
            Err(error @ StoreError::Unavailable { .. }) => Some(error),
            Err(StoreError::OutcomeUnknown { .. }) => None,
            other => panic!("nobody is there: {other:?}"),
        }
    })
    .await;
    assert!(error.to_string().contains("cannot connect"), "{error}");
    assert!(
        error.to_string().contains(&etcd.members[0].client_url),
        "{error}"
    );
}
