//! The loop around a heartbeat, in virtual time.

use holdfast_model::host::{GuardState, RunnerBounds, Session, SessionState};
use holdfast_model::id::{HostName, Revision};
use holdfast_model::time::Instant;
use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::cache::Clock;
use holdfast_store::guarded::{Ack, Lost};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use holdfast_store::run::run_heartbeat;
use holdfast_store::session::heartbeat;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

fn session() -> Session {
    Session {
        incarnation: FromStr::from_str("life-1").expect("a name"),
        boot_id: FromStr::from_str("boot").expect("a name"),
        machine_id: FromStr::from_str("machine").expect("a name"),
        beat: 0,
        state: SessionState::Open,
        bounds: RunnerBounds {
            runner_deadline_ms: 4_000,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        },
        guard: GuardState::Absent,
        storage: None,
        version: "test".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn it_beats_at_its_pace_tells_every_ack_and_ends_when_closed() {
    let start = tokio::time::Instant::now();
    let clock: Clock = Arc::new(move || {
        Instant(u64::try_from(start.elapsed().as_millis()).expect("a short test"))
    });
    let store = MemoryStore::new();
    let host = HostName::from_str("h1").expect("a name");
    let key = Key::HostSession(host.clone()).path();
    let beating = Arc::new(Mutex::new(heartbeat(host, session(), None, 1_000)));
    let wake = Arc::new(Notify::new());
    let acks: Arc<Mutex<Vec<Ack>>> = Arc::default();
    let task = {
        let (store, beating, wake, acks) =
            (store.clone(), beating.clone(), wake.clone(), acks.clone());
        tokio::spawn(async move {
            let on_ack = |ack| acks.lock().expect("sound").push(ack);
            run_heartbeat(&store, &clock, &beating, &wake, on_ack).await
        })
    };
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    let sent = |acks: &Mutex<Vec<Ack>>| -> Vec<u64> {
        acks.lock()
            .expect("sound")
            .iter()
            .map(|ack| ack.sent_at.0)
            .collect()
    };
    assert_eq!(sent(&acks), [0, 1_000, 2_000, 3_000]);

    // The guard came up: said at once, not at the next turn.
    {
        let mut beating = beating.lock().expect("sound");
        beating.record_mut().session.guard = GuardState::Working;
        beating.hurry();
    }
    wake.notify_one();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(sent(&acks).last(), Some(&3_500));
    let stored = store.get_now(&key).expect("written");
    let record: Session = serde_json::from_slice(&stored.value).expect("a session");
    assert_eq!(
        (record.guard, record.state),
        (GuardState::Working, SessionState::Open)
    );
    assert_eq!(
        Some(stored.revision),
        acks.lock().expect("sound").last().map(|ack| ack.revision)
    );

    // A leader closes it.
    let closed = Session {
        state: SessionState::Closed,
        ..record
    };
    let close = Txn {
        compares: vec![Compare::Revision(key.clone(), stored.revision)],
        ops: vec![TxnOp::Put(key, encode(&closed))],
    };
    assert_eq!(
        store.txn_now(close),
        TxnOutcome::Committed(Revision(stored.revision.0 + 1))
    );
    let lost = tokio::time::timeout(Duration::from_secs(60), task)
        .await
        .expect("it ends");
    assert_eq!(lost.expect("no panic"), Lost::Closed);
}
