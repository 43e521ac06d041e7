//! The daemon and fencing devices, on the in-memory store with puppet hosts: what a device says closes a
//! host, and one that says nothing holds nothing up.

use crate::support::{Cluster, name, policy, put, shared};
use async_trait::async_trait;
use holdfast_manager::daemon::executor::{execute, prepare};
use holdfast_manager::daemon::fence::{FenceDevices, Fencer, Mandate, Power, Target};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::plan::{Plan, Step, Write};
use holdfast_model::policy::Policy;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use holdfast_store::clock::boottime;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// How a fake device says that the power stands; `None`: nothing ever comes back.
type Says = Option<Result<Power, String>>;

/// What fake devices do for all hosts, and what they were asked.
struct Fake {
    status: Says,
    /// Of the device of this name, if it is another one.
    strip: Option<(&'static str, Says)>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn new(status: Says) -> Arc<Self> {
        Arc::new(Self {
            status,
            strip: None,
            asked: Mutex::default(),
        })
    }

    /// The same, but that the device `strip` says off.
    fn beside_a_strip(status: Says) -> Arc<Self> {
        Arc::new(Self {
            status,
            strip: Some(("strip", Some(Ok(Power::Off)))),
            asked: Mutex::default(),
        })
    }

    fn says(&self, target: &Target) -> &Says {
        let strip = self.strip.as_ref();
        let strip = strip.filter(|(name, _)| target.name.as_str() == *name);
        strip.map_or(&self.status, |(_, says)| says)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }

    fn note(&self, what: &str, target: &Target) {
        let line = format!("{what} {} by {}", target.host, target.name);
        self.asked.lock().expect("a list").push(line);
    }
}

#[async_trait]
impl FenceDevices for Fake {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        self.note("off", target);
        match self.says(target) {
            Some(_) => Err("it does not say".to_owned()),
            None => std::future::pending().await,
        }
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        self.note("status", target);
        match self.says(target) {
            Some(status) => status.clone(),
            None => std::future::pending().await,
        }
    }
}

fn device() -> FenceDevice {
    FenceDevice::by_agent(name("fence_x"), Default::default(), 500)
}

/// Every host has a device, which is asked as soon as it is suspect.
fn hasty() -> Policy {
    let mut policy = policy();
    policy.fencing.on_suspicion = true;
    let hosts = ["a1", "a2", "b1", "b2"];
    policy.fencing.devices = hosts.map(|host| (name(host), device())).into();
    policy
}

/// Every host has an outlet of a strip besides, of this order.
fn with_a_strip(order: u32) -> Policy {
    let mut policy = hasty();
    let mut strip = FenceDevice::by_agent(name("fence_y"), Default::default(), 500);
    strip.hosts = ["a1", "a2", "b1", "b2"].map(name).into();
    strip.order = order;
    policy.fencing.devices.insert(name("strip"), strip);
    policy
}

async fn lose_the_host_of_web(cluster: &Cluster) -> String {
    cluster.run_vm("web", 1, "a").await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let host = host.as_str().expect("a host").to_owned();
    cluster.host(&host).power_off();
    host
}

async fn web_runs_elsewhere(cluster: &Cluster, lost: &str) {
    let elsewhere =
        |answer: &Value| answer["vm"]["state"] == "running" && answer["vm"]["host"] != lost;
    cluster
        .manager
        .until("/vms/web", "web elsewhere", elsewhere)
        .await;
}

/// The journal once it has this.
async fn journal(cluster: &Cluster, part: &str) -> String {
    let has = |page: &Value| page.to_string().contains(part);
    let page = cluster.manager.until("/events?limit=1000", part, has).await;
    page.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_its_device_says_is_off_is_closed_by_that() {
    let off = Fake::new(Some(Ok(Power::Off)));
    let cluster = Cluster::with_devices(hasty(), off.clone()).await;
    let lost = lose_the_host_of_web(&cluster).await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(&cluster, "told to switch it off: says off").await;
    assert!(journal.contains("power-asked") && journal.contains("power-answered"));
    assert!(
        journal.contains(&format!("{lost}: powered off, says {lost}")),
        "{journal}"
    );
    let why = cluster.manager.get(&format!("/hosts/{lost}")).await.1;
    let device = format!("fencing device {lost} (fence_x): {lost}: fencing device {lost}, told");
    assert!(why.to_string().contains(&device), "{why:#}");
    let why = cluster.manager.get("/hosts/b2").await.1;
    assert!(why.to_string().contains("not asked as far"), "{why:#}");
    let expected = [
        format!("off {lost} by {lost}"),
        format!("status {lost} by {lost}"),
    ];
    assert_eq!(off.asked(), expected, "once, and nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_holds_up_neither_the_wait_nor_anything_else() {
    let mute = Fake::new(None);
    let mut policy = hasty();
    let devices = policy.fencing.devices.values_mut();
    devices.for_each(|device| device.timeout_ms = 120_000);
    let cluster = Cluster::with_devices(policy, mute.clone()).await;
    let lost = lose_the_host_of_web(&cluster).await;
    // Other work goes on while it is being asked.
    let asked = |page: &Value| page.to_string().contains("power-asked");
    cluster
        .manager
        .until("/events?limit=1000", "the ask", asked)
        .await;
    cluster.run_vm("other", 2, "b").await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(&cluster, "lapsed").await;
    assert!(!journal.contains("power-answered"), "{journal}");
    assert_eq!(mute.asked(), [format!("off {lost} by {lost}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_is_asked_again_and_proves_nothing() {
    let failing = Fake::new(Some(Err("no route to the board".to_owned())));
    let cluster = Cluster::with_devices(hasty(), failing.clone()).await;
    let lost = lose_the_host_of_web(&cluster).await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(&cluster, "it does not say; then no route to the board").await;
    assert!(journal.contains("lapsed") && !journal.contains("powered off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_device_is_asked_when_the_first_one_has_failed() {
    let devices = Fake::beside_a_strip(Some(Err("no route to the board".to_owned())));
    let cluster = Cluster::with_devices(with_a_strip(2), devices.clone()).await;
    let lost = lose_the_host_of_web(&cluster).await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(&cluster, "powered off, says strip").await;
    let told = format!(
        "fencing device strip (order 2; {lost}: it does not say; then no route to the board) is told to \
         switch it off (attempt 1)"
    );
    assert!(journal.contains(&told), "{journal}");
    let expected = [&*lost, "strip"].map(|device| {
        let calls = ["off", "status"];
        calls.map(|call| format!("{call} {lost} by {device}"))
    });
    assert_eq!(devices.asked(), expected.concat(), "one after the other");
    let why = cluster.manager.get(&format!("/hosts/{lost}")).await.1;
    for line in [
        format!("fencing device {lost} (fence_x, order 1): {lost}: fencing device {lost}, told"),
        format!("fencing device strip (fence_y, order 2): {lost}: fencing device strip, told"),
    ] {
        assert!(why.to_string().contains(&line), "{line}: {why:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_hangs_holds_up_no_other_one_of_its_order() {
    let devices = Fake::beside_a_strip(None);
    let mut policy = with_a_strip(1);
    for device in policy.fencing.devices.values_mut() {
        device.timeout_ms = 120_000;
    }
    let cluster = Cluster::with_devices(policy, devices.clone()).await;
    let lost = lose_the_host_of_web(&cluster).await;
    web_runs_elsewhere(&cluster, &lost).await;
    journal(&cluster, "powered off, says strip").await;
    let asked = devices.asked();
    assert!(
        asked.contains(&format!("off {lost} by {lost}")),
        "{asked:?}"
    );
    assert!(
        !asked.contains(&format!("status {lost} by {lost}")),
        "it hangs"
    );
}

/// An ask about a1 and the world that it comes from.
fn ask() -> (World, PowerAsk) {
    let world = View::default().world(
        boottime(),
        holdfast_store::clock::wall(),
        Instant(0),
        Revision(7),
        &name("m-a"),
    );
    let ask = PowerAsk {
        host: name("a1"),
        incarnation: name("i1"),
        session_revision: Revision(5),
        device: name("a1"),
        attempt: 1,
        step: Step {
            writes: Vec::new(),
            events: Vec::new(),
            why: String::new(),
        },
    };
    (world, ask)
}

/// What the memory has after the ask was answered.
async fn answer_under(mandate: Mandate, fake: &Arc<Fake>) -> PowerState {
    let fencer = Fencer::new(fake.clone(), Arc::new(boottime));
    let (mut world, ask) = ask();
    fencer.complete(&mut world);
    fencer.ask(ask.clone(), device(), mandate);
    let answered = tokio::time::timeout(crate::support::BOUND, fencer.answered());
    answered.await.expect("an answer");
    fencer.complete(&mut world);
    let state = world.power[&ask.host][&ask.device].state.clone();
    // Another term knows nothing of it.
    world.epoch = Revision(8);
    fencer.complete(&mut world);
    assert!(world.power.is_empty());
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_manager_that_still_leads_asks_and_only_in_time() {
    let (_leads, seen) = watch::channel(Some(Revision(7)));
    let mandate = |epoch, until| Mandate {
        epoch: Revision(epoch),
        leads: seen.clone(),
        until,
    };
    let later = boottime().plus(600_000);
    for wrong in [mandate(6, later), mandate(7, Instant(0))] {
        let off = Fake::new(Some(Ok(Power::Off)));
        let state = answer_under(wrong, &off).await;
        assert!(
            matches!(&state, PowerState::Unknown { reason } if reason.starts_with("not asked"))
        );
        assert_eq!(off.asked(), Vec::<String>::new());
    }
    let off = Fake::new(Some(Ok(Power::Off)));
    assert_eq!(answer_under(mandate(7, later), &off).await, PowerState::Off);
    assert_eq!(off.asked(), ["off a1 by a1", "status a1 by a1"]);
    let on = Fake::new(Some(Ok(Power::On)));
    let reason = "it does not say".to_owned();
    let state = answer_under(mandate(7, later), &on).await;
    assert_eq!(state, PowerState::StillOn { reason }, "on is not forgotten");
    let mute = Fake::new(None);
    let state = answer_under(mandate(7, later), &mute).await;
    let reason = "no answer in 500 ms".to_owned();
    assert_eq!(state, PowerState::Unknown { reason });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_not_asked_when_the_host_has_renewed_its_session() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &hasty());
    let leads = serde_json::json!({"manager": "m-a", "site": "a", "life": "x"});
    put(&store, Key::LeaderEpoch, &leads);
    let revision = |key: &Key| store.get_now(&key.path()).expect("written").revision;
    let epoch = revision(&Key::LeaderEpoch);
    let session = Key::HostSession(name("a1"));
    put(&store, session.clone(), &"a heartbeat");
    let decided_on = revision(&session);
    let mut view = View::default();
    let everything = vec![store.list_now(ROOT)];
    view.reset(&[ROOT.to_owned()], everything, boottime());
    let off = Fake::new(Some(Ok(Power::Off)));
    let shared = shared(&store, off.clone());
    let (_leads, seen) = watch::channel(Some(epoch));
    put(&store, session.clone(), &"a later heartbeat");
    // Decided on the earlier one, and then on what is there.
    for (decided_on, expected) in [(decided_on, (0, 1)), (revision(&session), (1, 0))] {
        let (_, mut ask) = ask();
        ask.step.writes = vec![Write::CheckSession {
            host: name("a1"),
            expect: decided_on,
        }];
        let plan = Plan {
            asks: vec![ask],
            ..Plan::default()
        };
        let ready = prepare(&view, &plan, epoch, &shared);
        let executed = execute(&shared, ready, epoch, &seen).await;
        assert_eq!((executed.done, executed.refused), expected);
    }
    let answered = tokio::time::timeout(crate::support::BOUND, shared.fencer.answered());
    answered.await.expect("an answer");
    assert_eq!(off.asked(), ["off a1 by a1", "status a1 by a1"], "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_devices_asked_and_nothing_switched() {
    let mut policy = policy();
    let devices = &mut policy.fencing.devices;
    devices.insert(name("a1"), device());
    let mut strip = device();
    (strip.hosts, strip.order) = (vec![name("a1")], 2);
    devices.insert(name("strip"), strip);
    let mut far = device();
    far.from = vec![name("b")];
    devices.insert(name("b1"), far);
    let fake = Fake::beside_a_strip(Some(Ok(Power::On)));
    let cluster = Cluster::with_devices(policy, fake.clone()).await;
    let ran = cluster.manager.cli(&["fence", "status"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let line = |words: &[&str]| {
        let mut lines = ran.out.lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(line(&["a1 ", "1", "m-a", "on", " ms"]), "{}", ran.out);
    // Off, of a host that renews its session.
    assert!(
        line(&["strip", "2", "off", "the host is online"]),
        "{}",
        ran.out
    );
    assert!(
        line(&["b1", "not asked", "only managers at b"]),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("no fencing device: a2, b2"), "{}", ran.err);
    // Those of one host, in the order in which they would be asked, for scripts.
    let ran = cluster
        .manager
        .cli(&["fence", "status", "a1", "-o", "json"])
        .await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    let said = |at: usize, key: &str| told["devices"][at][key].clone();
    assert_eq!(
        told["devices"].as_array().map(Vec::len),
        Some(2),
        "{told:#}"
    );
    assert_eq!(
        (said(0, "device"), said(0, "answer")),
        ("a1".into(), "on".into())
    );
    assert_eq!(said(1, "answer"), "wrong-off", "{told:#}");
    let ran = cluster.manager.cli(&["fence", "status", "a2"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("no fencing device of the policy switches"),
        "{ran:?}"
    );
    let asked = fake.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(
        asked.iter().all(|line| line.starts_with("status ")),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_answer_an_operator_is_given_up() {
    let mut policy = policy();
    policy.fencing.devices.insert(name("a1"), device());
    let cluster = Cluster::with_devices(policy, Fake::new(None)).await;
    let ran = cluster.manager.cli(&["fence", "status", "a1"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("no answer in 500 ms"), "{ran:?}");
}
