//! Fencing devices that only managers at some sites reach, with a leader at the witness: on the in-memory store
//! with puppet hosts.

use crate::support::errands::{course, journal, lose_the_host_of_web, web_runs_elsewhere};
use crate::support::{BOUND, Cluster, Manager, name, policy, put, shared};
use async_trait::async_trait;
use holdfast_manager::daemon::fence::errand::carry_out;
use holdfast_manager::daemon::fence::{FenceDevices, Power, Target};
use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::leader::ManagerPresence;
use holdfast_model::policy::Policy;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything here takes: no decision is too old, and no standby takes over.
const LONG_MS: u64 = 120_000;

/// The boards as one manager reaches them, and what it has asked them.
struct Boards {
    /// Otherwise nothing ever comes back.
    answer: bool,
    asked: Mutex<Vec<String>>,
}

impl Boards {
    fn say_off() -> Arc<Self> {
        Self::new(true)
    }

    fn hang() -> Arc<Self> {
        Self::new(false)
    }

    fn new(answer: bool) -> Arc<Self> {
        Arc::new(Self {
            answer,
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }

    async fn note(&self, what: &str, target: &Target) {
        let line = format!("{what} {} attempt {}", target.host, target.attempt);
        self.asked.lock().expect("a list").push(line);
        if !self.answer {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl FenceDevices for Boards {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        self.note("off", target).await;
        Ok(())
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        self.note("status", target).await;
        Ok(Power::Off)
    }
}

/// Every host has a device, which managers at this site reach and which is asked as soon as the host is suspect.
/// Only that closes a host within any bound of these tests.
fn reached_from(site: &str) -> Policy {
    let mut policy = policy();
    policy.timing.taker_wait_ms = Some(3 * LONG_MS);
    policy.timing.leader_wait_ms = Some(LONG_MS);
    policy.fencing.on_suspicion = true;
    let mut device = FenceDevice::by_agent(name("fence_x"), Default::default(), LONG_MS);
    device.from = vec![name(site)];
    let hosts = ["a1", "a2", "b1", "b2"];
    policy.fencing.devices = hosts.map(|host| (name(host), device.clone())).into();
    policy
}

/// The leader is at the witness; what it reaches itself is never right.
async fn led_from_the_witness(site: &str) -> (Cluster, Arc<Boards>) {
    let own = Boards::say_off();
    let cluster = Cluster::led_by(reached_from(site), ("m-w", "w"), own.clone()).await;
    (cluster, own)
}

/// One more manager, once the leader knows of it.
async fn joined(cluster: &Cluster, id: &str, site: &str, boards: &Arc<Boards>) -> Manager {
    let store = Arc::new(cluster.store.clone());
    let manager = Manager::with_devices(store, ("lab", id, site), boards.clone()).await;
    is_known(cluster, id).await;
    manager
}

async fn is_known(cluster: &Cluster, id: &str) {
    let known = |status: &Value| status["managers"].to_string().contains(id);
    cluster.manager.until("/status", id, known).await;
}

/// Waits for a stage of an errand about a host.
async fn until_stage(store: &MemoryStore, host: &str, word: &str) -> Vec<String> {
    let wait = async {
        loop {
            let course = course(store, host);
            if course.iter().any(|each| each == word) {
                return course;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(BOUND, wait).await;
    came.unwrap_or_else(|_| panic!("`{word}` in vain: {:?}", course(store, host)))
}

/// Waits until this is how an errand about a host stands.
async fn until_last(store: &MemoryStore, host: &str, word: &str) {
    while course(store, host).last().is_none_or(|last| last != word) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn once(host: &str) -> [String; 2] {
    ["off", "status"].map(|what| format!("{what} {host} attempt 1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_asked_by_a_manager_that_reaches_it() {
    let (cluster, at_w) = led_from_the_witness("a").await;
    let (at_a, at_b) = (Boards::say_off(), Boards::say_off());
    let _a = joined(&cluster, "m-a", "a", &at_a).await;
    let _b = joined(&cluster, "m-b", "b", &at_b).await;
    let lost = lose_the_host_of_web(&cluster, "a").await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(&cluster, "told by m-a to switch it off: says off").await;
    assert!(
        journal.contains(&format!("{lost}: powered off, says {lost}")),
        "{journal}"
    );
    assert_eq!(at_a.asked(), once(&lost), "once, and for nobody else");
    let why = cluster.manager.get(&format!("/hosts/{lost}")).await.1;
    let device = format!("fencing device {lost} (fence_x, asked from a): {lost}: fencing device");
    assert!(why.to_string().contains(&device), "{why:#}");
    for other in [at_w, at_b] {
        assert_eq!(other.asked(), Vec::<String>::new());
    }
    let course = until_stage(&cluster.store, &lost, "over").await;
    assert_eq!(course, ["m-a sent", "m-a taken", "m-a answered", "over"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_it_is_passed_by() {
    let (cluster, at_w) = led_from_the_witness("a").await;
    // `m-0` was heard of last and does nothing any more.
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
        put(&cluster.store, Key::Manager(name(manager)), &presence);
        is_known(&cluster, manager).await;
    }
    let lost = lose_the_host_of_web(&cluster, "a").await;
    let at_a = Boards::say_off();
    let m_a = shared(&cluster.store, at_a.clone());
    let (store, host) = (cluster.store.clone(), lost.clone());
    let works = tokio::spawn(async move {
        loop {
            until_last(&store, &host, "m-a sent").await;
            carry_out(&m_a, &standing(&store, &host), LONG_MS).await;
        }
    });
    web_runs_elsewhere(&cluster, &lost).await;
    works.abort();
    journal(&cluster, "told by m-a to switch it off: says off").await;
    let course = course(&cluster.store, &lost);
    assert_eq!(course[..3], ["m-0 sent", "m-a sent", "m-a taken"]);
    assert_eq!(at_a.asked(), once(&lost));
    assert_eq!(at_w.asked(), Vec::<String>::new());
}

/// What stands there about a host now.
fn standing(store: &MemoryStore, host: &str) -> Seen<Errand> {
    let item = store.get_now(&Key::Errand(name(host), name(host)).path());
    let item = item.expect("an errand");
    Seen {
        value: serde_json::from_slice(&item.value).expect("an errand"),
        revision: item.revision,
        seen_at: Instant(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_started_anew_repeats_nothing_and_holds_nothing_up() {
    let (cluster, at_w) = led_from_the_witness("a").await;
    let hung = Boards::hang();
    let first = joined(&cluster, "m-a", "a", &hung).await;
    let lost = lose_the_host_of_web(&cluster, "a").await;
    until_stage(&cluster.store, &lost, "m-a taken").await;
    // Other work goes on while a board hangs.
    cluster.run_vm("other", 2, "b").await;
    let asked = async {
        while hung.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, asked).await.expect("an ask");
    first.kill().await;
    let again = Boards::say_off();
    let _second = joined(&cluster, "m-a", "a", &again).await;
    journal(
        &cluster,
        "told by m-a to switch it off: an earlier life of m-a was to ask it",
    )
    .await;
    web_runs_elsewhere(&cluster, &lost).await;
    assert_eq!(hung.asked(), [format!("off {lost} attempt 1")]);
    let again = again.asked();
    assert!(!again.is_empty(), "it is asked anew");
    assert!(
        again.iter().all(|line| !line.ends_with("attempt 1")),
        "{again:?}"
    );
    assert_eq!(at_w.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_reaches_it_asks_itself() {
    let (cluster, at_w) = led_from_the_witness("w").await;
    let at_a = Boards::say_off();
    let _a = joined(&cluster, "m-a", "a", &at_a).await;
    let lost = lose_the_host_of_web(&cluster, "a").await;
    web_runs_elsewhere(&cluster, &lost).await;
    assert_eq!(at_w.asked(), once(&lost));
    assert_eq!(at_a.asked(), Vec::<String>::new());
    assert_eq!(course(&cluster.store, &lost), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anybody_who_reaches_it_it_is_said_what_to_do() {
    let (cluster, at_w) = led_from_the_witness("b").await;
    let warned = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("fencing-device-out-of-reach")
    };
    cluster.manager.until("/status", "a warning", warned).await;
    let lost = lose_the_host_of_web(&cluster, "a").await;
    let none = "only managers at b reach it, and none is known there";
    let journal = journal(&cluster, none).await;
    assert!(journal.contains(&format!("{lost} is silent: fencing device {lost}")));
    assert!(!journal.contains("powered off"), "{journal}");
    assert_eq!(at_w.asked(), Vec::<String>::new());
    assert_eq!(course(&cluster.store, &lost), Vec::<String>::new());
}

/// An errand about a1 for `m-a`, as a leader sends it.
fn sent(store: &MemoryStore) -> Seen<Errand> {
    put(store, Key::LeaderEpoch, &"m-w leads");
    put(store, Key::HostSession(name("a1")), &"a heartbeat");
    let revision = |key: &Key| store.get_now(&key.path()).expect("written").revision;
    let errand = Errand {
        id: name("e1"),
        by: name("m-w"),
        epoch: revision(&Key::LeaderEpoch),
        to: Addressee::manager(name("m-a"), "x".to_owned()),
        host: name("a1"),
        incarnation: name("i1"),
        session_revision: revision(&Key::HostSession(name("a1"))),
        device: name("a1"),
        as_set: FenceDevice::by_agent(name("fence_x"), Default::default(), 500),
        attempt: 1,
        stage: ErrandStage::Sent,
    };
    put(store, Key::Errand(name("a1"), name("a1")), &errand);
    standing(store, "a1")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_dropped_if_another_manager_leads_or_the_host_was_heard_of() {
    for written in [Key::LeaderEpoch, Key::HostSession(name("a1"))] {
        let store = MemoryStore::new();
        let errand = sent(&store);
        put(&store, written.clone(), &"news");
        let boards = Boards::say_off();
        carry_out(&shared(&store, boards.clone()), &errand, LONG_MS).await;
        assert_eq!(boards.asked(), Vec::<String>::new(), "{written:?}");
        let stage = standing(&store, "a1").value.stage;
        assert!(matches!(stage, ErrandStage::Declined { .. }), "{stage:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_carried_out_once_and_a_device_that_hangs_is_given_up() {
    for (boards, expected, asked) in [
        (Boards::say_off(), PowerState::Off, 2),
        (
            Boards::hang(),
            PowerState::Unknown {
                reason: "no answer in 500 ms".to_owned(),
            },
            2,
        ),
    ] {
        let store = MemoryStore::new();
        let errand = sent(&store);
        let m_a = shared(&store, boards.clone());
        carry_out(&m_a, &errand, LONG_MS).await;
        assert_eq!(boards.asked().len(), asked);
        let answered = ErrandStage::Answered { power: expected };
        assert_eq!(standing(&store, "a1").value.stage, answered);
        // As somebody sees it whose watch is late.
        carry_out(&m_a, &errand, LONG_MS).await;
        assert_eq!(boards.asked().len(), asked);
        assert_eq!(standing(&store, "a1").value.stage, answered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_removes_those_of_earlier_ones() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let mut errand = sent(&store).value;
    errand.to.manager = name("m-gone");
    put(&store, Key::Errand(name("a1"), name("a1")), &errand);
    let boards = Boards::say_off();
    let of = ("lab", "m-a", "a");
    let _leader = Manager::with_devices(Arc::new(store.clone()), of, boards.clone()).await;
    until_stage(&store, "a1", "over").await;
    assert_eq!(boards.asked(), Vec::<String>::new());
}
