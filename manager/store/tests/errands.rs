//! Transactions of errands: each stage once, on the one before, and only while the leader leads and the host is
//! silent.

use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_store::api::{Txn, TxnOp, TxnOutcome};
use holdfast_store::errands;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use std::str::FromStr;

fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// A leader, a host, and an errand about it that is yet to be sent.
struct Bench {
    store: MemoryStore,
    errand: Errand,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::new();
        let mut bench = Self {
            errand: Errand {
                id: name("e1"),
                by: name("m-w"),
                epoch: Revision(0),
                to: Addressee::manager(name("m-a"), "life".to_owned()),
                host: name("a1"),
                incarnation: name("i1"),
                session_revision: Revision(0),
                device: name("a1"),
                as_set: FenceDevice::by_agent(name("fence_x"), Default::default(), 500),
                attempt: 1,
                stage: ErrandStage::Sent,
            },
            store,
        };
        bench.errand.epoch = bench.write(&Key::LeaderEpoch);
        bench.errand.session_revision = bench.write(&Key::HostSession(name("a1")));
        bench
    }

    /// Something is written there, whatever it is.
    fn write(&self, key: &Key) -> Revision {
        let ops = vec![TxnOp::Put(key.path(), encode(&"x"))];
        self.committed(Txn {
            compares: Vec::new(),
            ops,
        })
        .expect("nothing is compared")
    }

    fn committed(&self, txn: Txn) -> Option<Revision> {
        match self.store.txn_now(txn) {
            TxnOutcome::Committed(revision) => Some(revision),
            TxnOutcome::Refused(_) => None,
        }
    }

    fn send(&self, base: Option<Revision>) -> Option<Revision> {
        self.committed(errands::send(&self.errand, base))
    }

    fn take(&self, revision: Revision) -> Option<Revision> {
        self.committed(errands::take(&self.errand, revision))
    }

    /// As a manager sees it.
    fn seen(&self) -> Option<(ErrandStage, Revision)> {
        let mut view = View::default();
        let listing = self
            .store
            .list_now(&Key::Errand(name("a1"), name("a1")).path());
        view.reset(&[ROOT.to_owned()], vec![listing], Instant(1));
        let seen = view.errands.get(&(name("a1"), name("a1")))?;
        Some((seen.value.stage.clone(), seen.revision))
    }
}

#[test]
fn an_errand_goes_its_way_once() {
    let bench = Bench::new();
    let sent = bench.send(None).expect("nothing stands there");
    assert_eq!(bench.send(None), None, "something does");
    assert_eq!(bench.seen(), Some((ErrandStage::Sent, sent)));
    let taken = bench.take(sent).expect("it is as it was sent");
    assert_eq!(bench.take(sent), None, "it is taken");
    assert_eq!(bench.seen(), Some((ErrandStage::Taken, taken)));
    let answer = ErrandStage::Answered {
        power: PowerState::Off,
    };
    let say = |revision| bench.committed(errands::say(&bench.errand, revision, answer.clone()));
    assert_eq!(say(sent), None, "it was taken since");
    let said = say(taken).expect("it is as it was taken");
    assert_eq!(bench.seen(), Some((answer.clone(), said)));
    let remove = |epoch| bench.committed(errands::remove(&bench.errand, said, epoch));
    assert_eq!(remove(Revision(1)), None, "another one leads");
    assert!(remove(bench.errand.epoch).is_some());
    assert_eq!(bench.seen(), None);
    assert_eq!(say(said), None, "nobody waits for it");
}

#[test]
fn a_deposed_leaders_errand_is_neither_sent_nor_taken() {
    let bench = Bench::new();
    let sent = bench.send(None).expect("it leads");
    bench.write(&Key::LeaderEpoch);
    assert_eq!(bench.take(sent), None);
    assert_eq!(bench.send(Some(sent)), None);
    // What became of it may be said all the same.
    let reason = "not asked".to_owned();
    let declined = ErrandStage::Declined { reason };
    let said = bench.committed(errands::say(&bench.errand, sent, declined));
    assert!(said.is_some());
}

#[test]
fn nor_is_one_about_a_host_that_was_heard_of_since() {
    let bench = Bench::new();
    let sent = bench.send(None).expect("it is silent");
    bench.write(&Key::HostSession(name("a1")));
    assert_eq!(bench.take(sent), None);
    assert_eq!(bench.send(Some(sent)), None);
}

#[test]
fn an_agent_takes_it_only_while_its_own_host_stands() {
    let bench = Bench::new();
    let sent = bench.send(None).expect("nothing stands there");
    let own = |session, state| errands::Standing {
        host: name("b1"),
        session,
        state,
    };
    let (session_key, state_key) = (Key::HostSession(name("b1")), Key::HostState(name("b1")));
    let (session, state) = (bench.write(&session_key), bench.write(&state_key));
    let take =
        |own: &errands::Standing| bench.committed(errands::take_as(&bench.errand, sent, own));
    // Its session is closed, or has gone on: it looks again.
    let later = bench.write(&session_key);
    assert_eq!(take(&own(session, state)), None);
    // The leader holds something else of it by now.
    let held = bench.write(&state_key);
    assert_eq!(take(&own(later, state)), None);
    assert!(take(&own(later, held)).is_some());
}

#[test]
fn an_earlier_version_reads_what_is_for_an_agent() {
    #[derive(serde::Deserialize)]
    struct Before {
        manager: String,
        life: String,
    }
    let to = Addressee::agent(name("b1"), "life".to_owned()).expect("a name of both kinds");
    let before: Before = serde_json::from_slice(&encode(&to)).expect("as it was");
    assert_eq!(
        (before.manager.as_str(), before.life.as_str()),
        ("b1", "life")
    );
    let manager = Addressee::manager(name("m-a"), "life".to_owned());
    let text = String::from_utf8(encode(&manager)).expect("text");
    assert!(!text.contains("agent"), "{text}");
}

#[test]
fn one_that_is_for_somebody_else_now_is_taken_by_nobody_else() {
    let mut bench = Bench::new();
    let first = bench.send(None).expect("nothing stands there");
    bench.errand.to.manager = name("m-a2");
    let second = bench.send(Some(first)).expect("it is not taken");
    assert_eq!(bench.take(first), None);
    assert!(bench.take(second).is_some());
    assert_eq!(bench.send(Some(second)), None, "it is being carried out");
}
