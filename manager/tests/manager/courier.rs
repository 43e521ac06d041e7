//! The leader's side of an errand against a store that does odd things: what is waited for, and until when.

use crate::support::{BOUND, name, put};
use async_trait::async_trait;
use holdfast_manager::daemon::fence::{Courier, Fencer, Mandate, NoDevices};
use holdfast_manager::daemon::probes::Prober;
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::leader::ManagerPresence;
use holdfast_model::plan::Step;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use holdfast_store::api::{Listing, Store, StoreError, Txn, TxnOutcome, Voter, Watch};
use holdfast_store::cache::Cache;
use holdfast_store::clock::{boottime, wall};
use holdfast_store::errands;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::leadership::Me;
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What happens to the leader's transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// Nothing.
    None,
    /// Whoever has the errand takes it just before it is given to somebody else.
    TakenAtLast,
    /// They happen, and no answer comes.
    LosesReplies,
}

struct Tricky(MemoryStore, Trick);

#[async_trait]
impl Store for Tricky {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.0.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        if self.1 == Trick::TakenAtLast
            && let Some((errand, revision)) = standing(&self.0)
            && errand.stage == ErrandStage::Sent
        {
            self.0.txn_now(errands::take(&errand, revision));
        }
        let outcome = self.0.txn(txn).await?;
        match self.1 {
            Trick::LosesReplies => Err(StoreError::OutcomeUnknown {
                endpoint: "it".to_owned(),
            }),
            _ => Ok(outcome),
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.0.watch(prefix, after).await
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        self.0.voters().await
    }
}

fn standing(store: &MemoryStore) -> Option<(Errand, Revision)> {
    standing_for(store, "a1")
}

fn standing_for(store: &MemoryStore, device: &str) -> Option<(Errand, Revision)> {
    let item = store.get_now(&Key::Errand(name("a1"), name(device)).path())?;
    let errand = serde_json::from_slice(&item.value).expect("an errand");
    Some((errand, item.revision))
}

/// A leader at the witness that asks about a1, whose device only `m-0` and `m-a` reach.
struct Bench {
    store: MemoryStore,
    fencer: Arc<Fencer>,
    epoch: Revision,
    leads: watch::Sender<Option<Revision>>,
    world: World,
}

impl Bench {
    async fn new(trick: Trick) -> Self {
        let store = MemoryStore::new();
        put(&store, Key::LeaderEpoch, &"m-w leads");
        put(&store, Key::HostSession(name("a1")), &"a heartbeat");
        for manager in ["m-a", "m-0"] {
            let presence = ManagerPresence {
                name: name(manager),
                site: name("a"),
                api: String::new(),
                life: "x".to_owned(),
                version: String::new(),
                beat: 1,
                extensions: Default::default(),
                shadows: Default::default(),
            };
            put(&store, Key::Manager(name(manager)), &presence);
        }
        let tricky = Arc::new(Tricky(store.clone(), trick));
        let cache = Cache::spawn(tricky.clone(), vec![ROOT.to_owned()], Arc::new(boottime));
        cache.ready(BOUND).await.expect("a view");
        let me = Me {
            name: name("m-w"),
            site: name("w"),
            life: "y".to_owned(),
        };
        let prober = Prober::new(me.name.clone(), me.site.clone());
        let courier = Courier::new(tricky, cache, Arc::new(boottime), me, prober);
        let fencer = Fencer::with_courier(Arc::new(NoDevices), Arc::new(boottime), courier);
        let epoch = store.get_now(&Key::LeaderEpoch.path()).expect("written");
        let epoch = epoch.revision;
        let (leads, _) = watch::channel(Some(epoch));
        let leader = name("m-w");
        let world = View::default().world(boottime(), wall(), Instant(0), epoch, &leader);
        let mut bench = Self {
            store,
            fencer,
            epoch,
            leads,
            world,
        };
        bench.fencer.complete(&mut bench.world);
        bench.ask("a1");
        bench
    }

    fn ask(&self, device: &str) {
        let session = Key::HostSession(name("a1")).path();
        let ask = PowerAsk {
            host: name("a1"),
            incarnation: name("i1"),
            session_revision: self.store.get_now(&session).expect("written").revision,
            device: name(device),
            attempt: 1,
            step: Step {
                writes: Vec::new(),
                events: Vec::new(),
                why: String::new(),
            },
        };
        let mut device = FenceDevice::by_agent(name("fence_x"), Default::default(), 120_000);
        device.from = vec![name("a")];
        let mandate = Mandate {
            epoch: self.epoch,
            leads: self.leads.subscribe(),
            until: boottime().plus(600_000),
        };
        self.fencer.ask(ask, device, mandate);
    }

    /// Waits until the errand stands like this.
    async fn until(&self, wanted: impl Fn(&Errand) -> bool) -> (Errand, Revision) {
        self.until_for("a1", wanted).await
    }

    /// The same of the errand to this device.
    async fn until_for(
        &self,
        device: &str,
        wanted: impl Fn(&Errand) -> bool,
    ) -> (Errand, Revision) {
        let wait = async {
            loop {
                if let Some(found) = standing_for(&self.store, device)
                    && wanted(&found.0)
                {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, wait).await;
        came.unwrap_or_else(|_| panic!("in vain; last: {:?}", standing_for(&self.store, device)))
    }

    /// Whom it is for answers that the host is off.
    fn say_off(&self, (errand, revision): &(Errand, Revision)) {
        let power = PowerState::Off;
        let say = errands::say(errand, *revision, ErrandStage::Answered { power });
        let outcome = self.store.txn_now(say);
        assert!(matches!(outcome, TxnOutcome::Committed(_)), "{outcome:?}");
    }

    /// What the leader has in its memory of it, and for its journal, once it has an answer.
    async fn answered(&mut self) -> (PowerReading, String) {
        let answered = tokio::time::timeout(BOUND, self.fencer.answered());
        answered.await.expect("an answer");
        self.fencer.complete(&mut self.world);
        let told = self.fencer.journal(&self.world);
        let told: Vec<String> = told.into_iter().map(|step| step.why).collect();
        (
            self.world.power[&name("a1")][&name("a1")].clone(),
            told.join("; "),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_taken_at_the_last_moment_is_given_to_nobody_else() {
    let mut bench = Bench::new(Trick::TakenAtLast).await;
    let first = bench.until(|_| true).await.0;
    let taken = bench
        .until(|errand| errand.stage == ErrandStage::Taken)
        .await;
    assert_eq!(taken.0.id, first.id, "nobody else was asked");
    bench.say_off(&taken);
    let (reading, told) = bench.answered().await;
    assert_eq!(reading.state, PowerState::Off);
    let by = format!("told by {} to switch it off: says off", first.to.manager);
    assert!(told.contains(&by), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_sending_had_no_answer_is_waited_for_and_counts_from_its_sending() {
    let before = boottime();
    let mut bench = Bench::new(Trick::LosesReplies).await;
    let sent = bench.until(|_| true).await;
    let written = boottime();
    bench.say_off(&sent);
    let (reading, _) = bench.answered().await;
    assert_eq!(reading.state, PowerState::Off);
    assert!(reading.read_at >= reading.asked_at && reading.asked_at >= before);
    assert!(
        reading.read_at <= written,
        "it was sent before it was there"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_any_more_when_the_lead_is_lost_and_the_next_one_cleans_up() {
    let mut bench = Bench::new(Trick::None).await;
    let sent = bench.until(|_| true).await;
    bench.fencer.sweep(bench.epoch).await;
    assert!(standing(&bench.store).is_some(), "it is waited for");
    bench.leads.send_replace(None);
    let (reading, told) = bench.answered().await;
    let PowerState::Unknown { reason } = reading.state else {
        panic!("{:?}", reading.state);
    };
    assert!(reason.contains("does not lead any more"), "{reason}");
    assert!(told.contains("told to switch it off: given up"), "{told}");
    // What comes of it now is nobody's evidence.
    bench.say_off(&sent);
    put(&bench.store, Key::LeaderEpoch, &"another one leads");
    bench.fencer.sweep(bench.epoch).await;
    assert!(standing(&bench.store).is_some(), "not by who was deposed");
    let epoch = bench.store.get_now(&Key::LeaderEpoch.path());
    let epoch = epoch.expect("written").revision;
    let swept = async {
        while standing(&bench.store).is_some() {
            bench.fencer.sweep(epoch).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let swept = tokio::time::timeout(BOUND, swept).await;
    swept.expect("it is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_host_are_two_errands() {
    let mut bench = Bench::new(Trick::None).await;
    bench.ask("strip");
    let board = bench.until(|_| true).await;
    let strip = bench.until_for("strip", |_| true).await;
    assert!(standing(&bench.store).is_some(), "each has its own place");
    bench.say_off(&strip);
    let (board_reading, told) = bench.answered().await;
    assert!(told.contains("fencing device strip, told by"), "{told}");
    assert_eq!(board_reading.state, PowerState::Asked, "it is waited for");
    let strip = &bench.world.power[&name("a1")][&name("strip")];
    assert_eq!(strip.state, PowerState::Off);
    bench.say_off(&board);
    let (board_reading, _) = bench.answered().await;
    assert_eq!(board_reading.state, PowerState::Off);
}
