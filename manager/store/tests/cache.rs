//! The cache on a store that fails in every way a store can, in virtual time.

use async_trait::async_trait;
use futures::{StreamExt, stream};
use holdfast_model::id::{ClusterName, Revision};
use holdfast_model::time::Instant;
use holdfast_store::api::{Listing, Store, StoreError, Txn, TxnOp, TxnOutcome, Voter, Watch};
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::freshness::FRESH_BOUND_MS;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Ends a test that waits for what never comes. Virtual, so it costs nothing.
const BOUND: Duration = Duration::from_secs(600);

/// A store with switches.
struct Faulty {
    memory: MemoryStore,
    /// Calls fail.
    down: AtomicBool,
    /// New watches bring nothing, not even an empty batch.
    mute: AtomicBool,
    /// Each change ends the watches that are open.
    cut: watch::Sender<()>,
    lists: AtomicUsize,
    /// What the next watch fails with.
    watch_error: Mutex<Option<StoreError>>,
}

impl Faulty {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryStore::new(),
            down: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            cut: watch::Sender::new(()),
            lists: AtomicUsize::new(0),
            watch_error: Mutex::new(None),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.down.load(SeqCst) {
            true => Err(StoreError::Unavailable {
                tried: "it".into(),
                reason: "down".into(),
            }),
            false => Ok(()),
        }
    }

    fn go_down(&self) {
        self.down.store(true, SeqCst);
        self.cut.send_replace(());
    }

    fn write(&self, key: &Key, value: Vec<u8>) {
        let ops = vec![TxnOp::Put(key.path(), value)];
        self.memory.txn_now(Txn {
            compares: vec![],
            ops,
        });
    }

    /// Names the cluster: what the tests look for.
    fn name(&self, name: &str) {
        self.write(
            &Key::Cluster,
            encode(&ClusterName::from_str(name).expect("a name")),
        );
    }
}

#[async_trait]
impl Store for Faulty {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.lists.fetch_add(1, SeqCst);
        self.check()?;
        self.memory.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.check()?;
        self.memory.txn(txn).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        if let Some(error) = self.watch_error.lock().expect("sound").take() {
            return Err(error);
        }
        self.check()?;
        if self.mute.load(SeqCst) {
            return Ok(stream::pending().boxed());
        }
        let state = (
            self.memory.watch(prefix, after).await?,
            self.cut.subscribe(),
        );
        let next = |(mut inner, mut cut): (Watch, watch::Receiver<()>)| async move {
            tokio::select! {
                _ = cut.changed() => None,
                batch = inner.next() => Some((batch?, (inner, cut))),
            }
        };
        Ok(stream::unfold(state, next).boxed())
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        Ok(vec![])
    }
}

/// Milliseconds of virtual time, from 1,000.
fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || {
        let ms = start.elapsed().as_millis();
        Instant(1_000 + u64::try_from(ms).expect("a short test"))
    })
}

async fn ready(store: &Arc<Faulty>, prefixes: &[&str]) -> (Cache, Clock) {
    let clock = clock();
    let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    let cache = Cache::spawn(store.clone(), prefixes, clock.clone());
    cache.ready(BOUND).await.expect("all is well");
    (cache, clock)
}

fn named(cache: &Cache) -> Option<String> {
    cache.read(|view| view.cluster.as_ref().map(|seen| seen.value.to_string()))
}

async fn shows(cache: &mut Cache, name: &str) {
    let seen = async {
        while named(cache).as_deref() != Some(name) {
            cache.changed().await;
        }
    };
    tokio::time::timeout(BOUND, seen)
        .await
        .unwrap_or_else(|_| panic!("never saw {name}"));
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_store_stays_fresh() {
    let store = Faulty::new();
    store.name("one");
    let (cache, clock) = ready(&store, &[ROOT]).await;
    let since = cache.view_since().expect("fresh");
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(cache.view_since(), Some(since), "at {}", clock());
    }
    assert_eq!(store.lists.load(SeqCst), 1, "and needs no second list");
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_every_handle_once() {
    let store = Faulty::new();
    let (mut cache, _) = ready(&store, &[ROOT]).await;
    let mut other = cache.subscribe();
    for name in ["one", "two"] {
        store.name(name);
        shows(&mut cache, name).await;
        shows(&mut other, name).await;
    }
    let quiet = tokio::time::timeout(Duration::from_secs(60), cache.changed()).await;
    assert!(quiet.is_err(), "nothing changed any more");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_followed_by_a_list_and_nobody_notices() {
    let store = Faulty::new();
    store.name("one");
    let (mut cache, _) = ready(&store, &[ROOT]).await;
    let since = cache.view_since();
    let seen_at = cache.read(|view| view.seen(&Key::Cluster));
    let lists = store.lists.load(SeqCst);
    store.cut.send_replace(());
    until("a second list", || store.lists.load(SeqCst) > lists).await;
    store.write(&Key::Policy, b"{}".to_vec());
    while cache.read(|view| view.policy.is_none()) {
        cache.changed().await;
    }
    assert_eq!(cache.view_since(), since, "no gap worth telling");
    assert_eq!(
        cache.read(|view| view.seen(&Key::Cluster)),
        seen_at,
        "nor a new first sight"
    );
}

#[tokio::test(start_paused = true)]
async fn compaction_and_refused_watches_lead_to_a_list() {
    let store = Faulty::new();
    *store.watch_error.lock().expect("sound") = Some(StoreError::Compacted(Revision(9)));
    let (mut cache, _) = ready(&store, &[ROOT]).await;
    store.name("one");
    shows(&mut cache, "one").await;
    assert!(store.lists.load(SeqCst) >= 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_nobody_watched_is_gone() {
    let store = Faulty::new();
    store.name("one");
    let (mut cache, _) = ready(&store, &[ROOT]).await;
    store.go_down();
    // Only then nobody watches: a watch may still deliver what happens at this very moment.
    until("a stale view", || cache.view_since().is_none()).await;
    let ops = vec![TxnOp::Delete(Key::Cluster.path())];
    store.memory.txn_now(Txn {
        compares: vec![],
        ops,
    });
    store.memory.compact(store.memory.revision());
    assert_eq!(
        named(&cache).as_deref(),
        Some("one"),
        "the last known state stays readable"
    );
    store.down.store(false, SeqCst);
    while named(&cache).is_some() {
        tokio::time::timeout(BOUND, cache.changed())
            .await
            .expect("a change");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_counts_as_nobodys_silence() {
    let store = Faulty::new();
    let (cache, clock) = ready(&store, &[ROOT]).await;
    let first = cache.view_since().expect("fresh");
    store.go_down();
    let down = clock();
    until("a stale view", || cache.view_since().is_none()).await;
    let noticed = clock().since(down);
    assert!(
        noticed <= FRESH_BOUND_MS + 20,
        "stale by its own bound: {noticed} ms"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(cache.view_since(), None);
    let error = cache
        .ready(Duration::from_millis(1))
        .await
        .expect_err("still down");
    assert!(
        error.to_string().contains("down"),
        "the store's own words: {error}"
    );
    let back = clock();
    store.down.store(false, SeqCst);
    cache.ready(BOUND).await.expect("back");
    let since = cache.view_since().expect("fresh");
    assert!(since >= back && since > first, "counted from the return");
}

#[tokio::test(start_paused = true)]
async fn a_mute_watch_is_stale_and_then_given_up() {
    let store = Faulty::new();
    store.mute.store(true, SeqCst);
    let (mut cache, _) = ready(&store, &[ROOT]).await;
    until("a stale view", || cache.view_since().is_none()).await;
    store.mute.store(false, SeqCst);
    store.name("one");
    shows(&mut cache, "one").await;
    cache.ready(BOUND).await.expect("heard again");
}

#[tokio::test(start_paused = true)]
async fn all_prefixes_together_make_a_view() {
    let store = Faulty::new();
    store.name("one");
    store.write(&Key::Policy, b"{}".to_vec());
    let (mut cache, _) = ready(&store, &[&Key::Cluster.path(), &Key::Policy.path()]).await;
    assert!(cache.read(|view| view.cluster.is_some() && view.policy.is_some()));
    assert!(cache.read(|view| view.hosts.is_empty()));
    store.name("two");
    shows(&mut cache, "two").await;
    assert!(cache.read(|view| view.policy.is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_tasks_end_with_the_last_handle() {
    let store = Faulty::new();
    let (cache, _) = ready(&store, &[ROOT]).await;
    let other = cache.subscribe();
    drop(cache);
    assert!(store.cut.receiver_count() > 0, "one handle is left");
    drop(other);
    until("the watch dropped", || store.cut.receiver_count() == 0).await;
}
