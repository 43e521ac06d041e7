//! Who is asked while the policy is there, is not, or cannot be read: where nothing is run, so "failed" is said of
//! what would be loaded elsewhere.

use super::*;
use crate::made_up::installed;
use async_trait::async_trait;
use holdfast_model::id::{ExtensionName, Revision};
use holdfast_model::policy::Policy;
use holdfast_store::api::{
    Listing, Store, StoreError, Txn, TxnOp, TxnOutcome, Voter, Watch as Changes,
};
use holdfast_store::clock::boottime;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Every wait ends in a clear failure after this.
const WAIT: Duration = Duration::from_secs(60);
/// Why nothing is run here.
const UNABLE: &str = "nothing runs in this test";
/// What no version knows.
const FROM_THE_FUTURE: &[u8] = br#"{"from_the_future": 1}"#;

/// What was said of an extension, and why.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Failed(String),
    Distrusted(String),
}

struct Told {
    known: Mutex<Vec<Installed>>,
    words: UnboundedSender<(ExtensionName, Word)>,
}

impl Told {
    fn say(&self, installed: &Installed, word: Word) {
        let name = installed.manifest.name.clone();
        self.words.send((name, word)).expect("the test hears");
    }
}

impl Users for Told {
    fn want(&self, _: &Installed) -> bool {
        true
    }

    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed> {
        let mut known = self.known.lock().expect("no panic");
        let fresh = installed.iter().filter(|each| !known.contains(each));
        let fresh = fresh.cloned().collect();
        *known = installed;
        fresh
    }

    fn failed(&self, installed: &Installed, why: String) {
        self.say(installed, Word::Failed(why));
    }

    fn distrust(&self, installed: &Installed, why: String) {
        self.say(installed, Word::Distrusted(why));
    }
}

/// A store that lists the policy when it may.
struct Held {
    store: MemoryStore,
    may: watch::Receiver<bool>,
}

#[async_trait]
impl Store for Held {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        if prefix == Key::Policy.path() {
            let mut may = self.may.clone();
            may.wait_for(|may| *may).await.expect("the test goes on");
        }
        self.store.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.store.txn(txn).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        self.store.voters().await
    }
}

struct Rig {
    store: MemoryStore,
    watched: Cache,
    words: UnboundedReceiver<(ExtensionName, Word)>,
    _stop: watch::Sender<bool>,
}

impl Rig {
    /// Follows what is in the store by these prefixes.
    fn follow(store: MemoryStore, by: Arc<dyn Store>, prefixes: &[String]) -> Self {
        let watched = Cache::spawn(by, prefixes.to_vec(), Arc::new(boottime));
        let follows = watched.subscribe();
        let (stop, mut stopped) = watch::channel(false);
        let (sender, words) = unbounded_channel();
        let told = Told {
            known: Mutex::default(),
            words: sender,
        };
        tokio::spawn(async move { follow_unable(&told, follows, &mut stopped, UNABLE).await });
        Self {
            store,
            watched,
            words,
            _stop: stop,
        }
    }

    /// Follows all of it.
    fn of(store: MemoryStore) -> Self {
        Self::follow(store.clone(), Arc::new(store), &[ROOT.to_owned()])
    }

    /// The next word, which is of this one.
    async fn next(&mut self, name: &str) -> Word {
        let word = tokio::time::timeout(WAIT, self.words.recv()).await;
        let (of, word) = word.expect("a word in time").expect("it follows");
        assert_eq!(of.as_str(), name, "{word:?}");
        word
    }

    async fn distrusted(&mut self, name: &str, says: &str) {
        match self.next(name).await {
            Word::Distrusted(why) => assert!(why.contains(says), "{why}"),
            other @ Word::Failed(_) => panic!("{name} would be asked: {other:?}"),
        }
    }

    /// It would be loaded where something is run.
    async fn taken(&mut self, name: &str) {
        assert_eq!(self.next(name).await, Word::Failed(UNABLE.to_owned()));
    }
}

fn put(store: &MemoryStore, key: &Key, value: &[u8]) {
    let ops = vec![TxnOp::Put(key.path(), value.to_vec())];
    let compares = Vec::new();
    store.txn_now(Txn { compares, ops });
}

/// One that nobody has signed.
fn install(store: &MemoryStore, name: &str) {
    let name: ExtensionName = name.parse().expect("a name");
    let installed = installed(name.clone(), "1.0.0");
    put(store, &Key::Extension(name), &encode(&installed));
}

/// One that trusts a signer, or none.
fn policy(store: &MemoryStore, signer: Option<&str>) {
    let signer = signer.map(|name| (name.parse().expect("a name"), PublicKey([7; 32])));
    let policy = Policy {
        extension_signers: signer.into_iter().collect(),
        ..Policy::default()
    };
    put(store, &Key::Policy, &encode(&policy));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_under_a_policy_that_never_could_be_read() {
    let store = MemoryStore::new();
    put(&store, &Key::Policy, FROM_THE_FUTURE);
    install(&store, "first");
    let mut rig = Rig::of(store);
    rig.distrusted("first", "who may sign is not known").await;
    // Readable, and it wants no signature.
    policy(&rig.store, None);
    rig.taken("first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_policy_nobody_has_to_sign() {
    let store = MemoryStore::new();
    install(&store, "first");
    Rig::of(store).taken("first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_that_cannot_be_read_any_more_the_signers_stay() {
    let store = MemoryStore::new();
    policy(&store, Some("release"));
    install(&store, "first");
    let mut rig = Rig::of(store);
    rig.distrusted("first", "a signature by release").await;
    put(&rig.store, &Key::Policy, FROM_THE_FUTURE);
    install(&rig.store, "second");
    for name in ["first", "second"] {
        rig.distrusted(name, "a signature by release").await;
    }
    // It is taken away: then nobody has to.
    let gone = vec![TxnOp::Delete(Key::Policy.path())];
    let compares = Vec::new();
    rig.store.txn_now(Txn {
        compares,
        ops: gone,
    });
    rig.taken("first").await;
    rig.taken("second").await;
}

/// An agent follows keys one by one: the extension may be known before the policy is.
#[tokio::test]
async fn nothing_is_asked_before_the_policy_was_heard() {
    let store = MemoryStore::new();
    policy(&store, Some("release"));
    install(&store, "first");
    let (lets, may) = watch::channel(false);
    let held = Held {
        store: store.clone(),
        may,
    };
    let name = "first".parse().expect("a name");
    let prefixes = [Key::Extension(name).path(), Key::Policy.path()];
    let mut rig = Rig::follow(store, Arc::new(held), &prefixes);
    let known = |view: &View| !view.extensions.is_empty();
    while !rig.watched.read(known) {
        rig.watched.changed().await;
    }
    // Whoever else was woken by that has had its turn then, on this one thread.
    tokio::task::yield_now().await;
    assert!(rig.words.is_empty(), "{:?}", rig.words.try_recv());
    lets.send_replace(true);
    rig.distrusted("first", "a signature by release").await;
}
