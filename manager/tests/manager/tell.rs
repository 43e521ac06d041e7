//! Event handlers in a cluster: real managers, the real notifier and the real `traffic`, a real webhook.
#![cfg(feature = "extensions")]

use crate::support::guests::{guest, workshop};
use crate::support::puppet::Puppet;
use crate::support::sink::{Mood, Sink};
use crate::support::{BOUND, Manager, domain_xml, file, name, policy, put};
use holdfast_manager::daemon::Means;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::policy::Policy;
use holdfast_model::time::UnixMs;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A cluster whose notifier has a webhook for everything.
struct Rig {
    store: MemoryStore,
    sink: Sink,
    dir: TempDir,
    timeout_ms: u64,
}

impl Rig {
    async fn new(timeout_ms: u64) -> Self {
        let store = MemoryStore::new();
        put(&store, Key::Policy, &bound("webhook-all"));
        Self {
            store,
            sink: Sink::start().await,
            dir: tempfile::tempdir().expect("a directory"),
            timeout_ms,
        }
    }

    async fn manager(&self, id: &str, site: &str) -> Manager {
        let dir = self.dir.path().join(id);
        std::fs::create_dir(&dir).expect("a directory");
        let means = Means {
            workshop: Some(workshop(&dir)),
            web: Some(self.sink.web(self.timeout_ms)),
            ..Means::default()
        };
        let store = Arc::new(self.store.clone());
        Manager::with_means(store, ("lab", id, site), means).await
    }

    /// Writes an event; the later, the earlier by its own clock.
    fn happens(&self, number: u32) {
        self.happens_to(number, None);
    }

    fn happens_to(&self, number: u32, vm: Option<&str>) {
        let event = Event {
            at: UnixMs(1_000_000 - u64::from(number)),
            actor: "m-x".to_owned(),
            kind: EventKind::Note,
            host: None,
            site: None,
            vm: vm.map(name),
            generation: None,
            text: words(number),
        };
        let id = format!("{}-m-x-{number}", event.at.0);
        put(&self.store, Key::Event(id), &event);
    }
}

fn words(number: u32) -> String {
    format!("event number {number}")
}

/// The policy, with the sink for this role.
fn bound(role: &str) -> Policy {
    let mut policy = policy();
    let own = policy.extensions.entry(name("notifier")).or_default();
    own.bind.insert(name(role), name("sink"));
    policy
}

async fn install(manager: &Manager, guest_name: &str) {
    let dir = guest(guest_name).display().to_string();
    let ran = manager.cli(&["ext", "install", &dir, "--yes"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
}

async fn ready(manager: &Manager, guest_name: &str, id: &str) {
    let ready = |shown: &Value| shown["managers"][id]["state"] == "ready";
    let path = format!("/extensions/{guest_name}");
    manager.until(&path, "it to be ready", ready).await;
}

async fn leads(manager: &Manager, id: &str) {
    let leads = |status: &Value| status["leader"]["name"] == id;
    manager.until("/status", "the lead", leads).await;
}

/// Those of ours, without repetitions.
fn ours(texts: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts.iter().filter(|text| text.starts_with("event number")) {
        if !found.contains(text) {
            found.push(text.clone());
        }
    }
    found
}

fn wanted(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(words).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_posted_in_the_order_in_which_it_was_written() {
    let rig = Rig::new(5_000).await;
    let manager = rig.manager("m-a", "a").await;
    leads(&manager, "m-a").await;
    rig.happens(0);
    install(&manager, "notifier").await;
    ready(&manager, "notifier", "m-a").await;
    for number in 1..121 {
        rig.happens(number);
    }
    let all = |texts: &[String]| ours(texts).len() >= 120;
    let texts = rig.sink.until("all events", all).await;
    // Not what happened before it was there.
    assert_eq!(ours(&texts), wanted(1..121));
    let bodies = rig.sink.bodies();
    assert!(bodies.len() < 60, "they are gathered: {}", bodies.len());
    let text = bodies.last().and_then(|body| body["text"].as_str());
    assert!(
        text.is_some_and(|text| text.contains("Z note: event number 1")),
        "{text:?}"
    );
    // How far it is stands in the store.
    let far = |shown: &Value| shown["told"]["told"].as_u64() >= Some(120);
    manager
        .until("/extensions/notifier", "how far it is", far)
        .await;
    let shown = manager.cli(&["ext", "show", "notifier"]).await.out;
    assert!(shown.contains("told, 0 dropped\n"), "{shown}");
    assert!(
        shown.contains("told twice more, then dropped")
            && shown.contains("bound       webhook-all to sink"),
        "{shown}"
    );
    // With it goes what is known of it.
    let removed = manager.cli(&["ext", "remove", "notifier", "--yes"]).await;
    assert_eq!(removed.code, 0, "{}", removed.err);
    let store = &rig.store;
    let gone = |_: &Value| store.get_now(&Key::Told(name("notifier")).path()).is_none();
    manager.until("/status", "its place to be gone", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_reads_what_it_was_granted_as_it_is_now() {
    let rig = Rig::new(5_000).await;
    let spec = json!({"name": "b1", "site": "b"});
    put(&rig.store, Key::HostSpec(name("b1")), &spec);
    let mut policy = policy();
    let own = policy.extensions.entry(name("traffic")).or_default();
    own.bind.insert(name("router"), name("sink"));
    put(&rig.store, Key::Policy, &policy);
    let manager = rig.manager("m-a", "a").await;
    leads(&manager, "m-a").await;
    install(&manager, "traffic").await;
    ready(&manager, "traffic", "m-a").await;
    let shown = manager.cli(&["ext", "show", "traffic"]).await.out;
    let may = "may         log, read state hosts/, read state vms/, send to router: PUT /vms/*";
    assert!(shown.contains(may), "{shown}");
    assert!(
        shown.contains("records     1000, or 1024 KiB of them, in one look"),
        "{shown}"
    );
    // An event that says nothing of where it is; and one about a VM that nobody has.
    let owner = json!({"holder": {"host": "b1", "incarnation": "i"}, "generation": 1, "intent": "run", "reason": ""});
    put(&rig.store, Key::VmOwner(name("web")), &owner);
    for (number, vm) in [(1, "web"), (2, "db")] {
        rig.happens_to(number, Some(vm));
    }
    let told = |vm: &str| {
        let bodies = rig.sink.bodies();
        bodies.into_iter().find(|body| body["vm"] == vm)
    };
    let both = |_: &[String]| told("web").is_some() && told("db").is_some();
    rig.sink.until("both VMs", both).await;
    let (web, db) = (told("web"), told("db"));
    assert_eq!(web, Some(json!({"vm": "web", "host": "b1", "site": "b"})));
    assert_eq!(db, Some(json!({"vm": "db", "host": null, "site": null})));
}

/// A right that the operator left out is one that it does not have, whatever the policy binds.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_granted_is_not_sent() {
    const RIGHT: &str = "send to webhook-all: POST /";
    let rig = Rig::new(5_000).await;
    let mut policy = bound("webhook-all");
    let own = policy.extensions.entry(name("notifier")).or_default();
    own.bind.insert(name("webhook"), name("sink"));
    put(&rig.store, Key::Policy, &policy);
    let manager = rig.manager("m-a", "a").await;
    leads(&manager, "m-a").await;
    let dir = guest("notifier").display().to_string();
    let install = ["ext", "install", &dir, "--yes"];
    let ran = manager
        .cli(&[&install[..], &["--without", RIGHT]].concat())
        .await;
    assert!(
        ran.code == 0 && ran.err.contains(&format!("not granted: {RIGHT}")),
        "{ran:?}"
    );
    ready(&manager, "notifier", "m-a").await;
    let shown = manager.cli(&["ext", "show", "notifier"]).await.out;
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let is_there = |line: &str| lines.contains(&line);
    assert!(
        is_there(&format!("not granted {RIGHT}"))
            && is_there(
                "may         log, send to webhook: POST /, send to webhook-critical: POST /"
            ),
        "{shown}"
    );
    let (_, shown) = manager.get("/extensions/notifier").await;
    let granted = &shown["installed"]["granted"]["http"];
    assert!(
        granted["webhook-all"].is_null() && granted["webhook"].is_array(),
        "{shown:#}"
    );
    assert_eq!(shown["not_granted"], json!([RIGHT]), "{shown:#}");
    // Notes are for that role alone; what is worse goes to another one as well.
    for number in 1..4 {
        rig.happens(number);
    }
    let event = Event {
        at: UnixMs(1_000_001),
        actor: "m-x".to_owned(),
        kind: EventKind::HostFenced,
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: words(4),
    };
    put(&rig.store, Key::Event("1000001-m-x-4".to_owned()), &event);
    let last = |texts: &[String]| texts.contains(&words(4));
    let texts = rig.sink.until("what is worse", last).await;
    assert_eq!(ours(&texts), wanted(4..5));
    // Granted after all, it is sent.
    let ran = manager.cli(&install).await;
    assert!(
        ran.code == 0 && ran.err.contains(&format!("it may newly: {RIGHT}")),
        "{ran:?}"
    );
    let (_, shown) = manager.get("/extensions/notifier").await;
    assert!(shown["not_granted"].is_null(), "{shown:#}");
    // As soon as the manager has it with that: what happened before is not told again.
    let heard = async {
        for number in 5.. {
            rig.happens(number);
            tokio::time::sleep(Duration::from_millis(100)).await;
            if ours(&rig.sink.texts()).len() > 1 {
                return;
            }
        }
    };
    let came = tokio::time::timeout(BOUND, heard).await;
    assert!(came.is_ok(), "notes are not sent: {:?}", rig.sink.texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_where_the_last_one_was() {
    let rig = Rig::new(60_000).await;
    let first = rig.manager("m-a", "a").await;
    leads(&first, "m-a").await;
    install(&first, "notifier").await;
    let second = rig.manager("m-b", "b").await;
    ready(&first, "notifier", "m-a").await;
    ready(&second, "notifier", "m-b").await;
    for number in 0..30 {
        rig.happens(number);
    }
    rig.sink
        .until("the first ones", |texts| ours(texts).len() >= 30)
        .await;
    // What it has taken is told once, whoever leads.
    let far = |shown: &Value| shown["told"]["told"].as_u64() >= Some(30);
    first
        .until("/extensions/notifier", "how far it is", far)
        .await;
    // What is under way with the old leader is not taken for told.
    rig.sink.is(Mood::Hangs);
    for number in 30..60 {
        rig.happens(number);
    }
    rig.sink.asked_more_than(0, Mood::Hangs).await;
    first.stop().await.expect("a clean end");
    rig.sink.is(Mood::Takes);
    for number in 60..90 {
        rig.happens(number);
    }
    leads(&second, "m-b").await;
    let texts = rig
        .sink
        .until("all of them", |texts| ours(texts).len() >= 90)
        .await;
    assert_eq!(ours(&texts), wanted(0..90));
    for text in wanted(0..30) {
        let times = texts.iter().filter(|each| **each == text).count();
        assert_eq!(
            times, 1,
            "{text}: the new leader did not go on where the last one was"
        );
    }
    let far = |shown: &Value| shown["told"]["told"].as_u64() >= Some(90);
    second
        .until("/extensions/notifier", "how far it is", far)
        .await;
    second.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_hangs_holds_up_nobody_and_what_it_misses_is_told() {
    let rig = Rig::new(200).await;
    let manager = rig.manager("m-a", "a").await;
    let _hosts = ["a1", "a2"].map(|host| Puppet::start(&rig.store, host, "a"));
    leads(&manager, "m-a").await;
    install(&manager, "notifier").await;
    ready(&manager, "notifier", "m-a").await;
    rig.sink.is(Mood::Hangs);
    rig.happens(0);
    rig.sink.asked_more_than(0, Mood::Hangs).await;
    // Meanwhile the leader decides, and its decisions are carried out.
    let xml = file(&rig.dir, "web.xml", &domain_xml("web", 1));
    let text = format!("domain_xml_file = \"{xml}\"\n");
    let path = file(&rig.dir, "web.toml", &text);
    let applied = manager.cli(&["vm", "apply", "-f", &path]).await;
    assert_eq!(applied.code, 0, "{}", applied.err);
    let runs = |vm: &Value| vm.to_string().contains("\"state\":\"running\"");
    manager.until("/vms/web", "it to run", runs).await;
    assert_eq!(ours(&rig.sink.texts()), [""; 0], "nothing was taken");
    let missed = |shown: &Value| shown["told"]["dropped"].as_u64() > Some(0);
    manager
        .until("/extensions/notifier", "what it missed", missed)
        .await;
    let told = manager.scrape().await;
    let dropped = told["holdfast_extension_events_dropped_total{extension=\"notifier\"}"];
    assert!(dropped > 0.0, "{told:#?}");
    let behind = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("extension-behind") && conditions.contains("webhook-all: no answer")
    };
    manager.until("/status", "the condition", behind).await;
    let shown = manager.cli(&["ext", "show", "notifier"]).await.out;
    assert!(
        shown.contains("dropped, the last of them because: "),
        "{shown}"
    );
    assert!(
        !shown.contains("failed too often"),
        "a webhook is not its fault: {shown}"
    );
    // It is told of what comes, as soon as it takes it.
    rig.sink.is(Mood::Takes);
    rig.happens(1);
    rig.sink
        .until("the next one", |texts| texts.contains(&words(1)))
        .await;
    let well = |status: &Value| {
        !status["conditions"]
            .to_string()
            .contains("extension-behind")
    };
    manager
        .until("/status", "nothing to be told of", well)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_tried_again_and_roles_that_are_bound_wrongly_are_told() {
    let rig = Rig::new(5_000).await;
    put(&rig.store, Key::Policy, &bound("webhok"));
    let manager = rig.manager("m-a", "a").await;
    leads(&manager, "m-a").await;
    let told = |says: &'static str| {
        move |status: &Value| {
            let conditions = status["conditions"].to_string();
            conditions.contains("extension-roles") && conditions.contains(says)
        }
    };
    manager
        .until("/status", "a condition", told("which is not installed"))
        .await;
    install(&manager, "notifier").await;
    let says = "has no such role; it has webhook, webhook-all, webhook-critical";
    manager.until("/status", "another one", told(says)).await;
    // Whoever applies such a policy is warned.
    let mut wrong = bound("webhok");
    wrong.extensions.insert(name("ghost"), Default::default());
    let text = toml::to_string(&wrong).expect("TOML");
    let path = file(&rig.dir, "policy.toml", &text);
    let applied = manager.cli(&["config", "apply", "-f", &path]).await;
    for says in [
        "extension ghost, whose roles it binds, is not installed",
        "it binds role `webhok` of extension notifier, which has not that",
    ] {
        assert!(applied.err.contains(says), "{}{}", applied.out, applied.err);
    }
    put(&rig.store, Key::Policy, &bound("webhook-all"));
    let well = |status: &Value| !status["conditions"].to_string().contains("extension-roles");
    manager
        .until("/status", "nothing to be told of", well)
        .await;
    ready(&manager, "notifier", "m-a").await;
    rig.sink.is(Mood::Refuses);
    rig.happens(0);
    rig.sink.asked_more_than(0, Mood::Refuses).await;
    rig.sink.is(Mood::Takes);
    rig.sink
        .until("the second attempt", |texts| texts.contains(&words(0)))
        .await;
    let shown = manager.until("/extensions/notifier", "how far it is", |shown| {
        shown["told"]["told"].as_u64() > Some(0)
    });
    assert_eq!(shown.await["told"]["dropped"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps_rests_and_the_others_hear_on() {
    let rig = Rig::new(5_000).await;
    let manager = rig.manager("m-a", "a").await;
    leads(&manager, "m-a").await;
    install(&manager, "bad-panics").await;
    install(&manager, "bad-spins").await;
    install(&manager, "notifier").await;
    for guest_name in ["bad-panics", "bad-spins", "notifier"] {
        ready(&manager, guest_name, "m-a").await;
    }
    rig.happens(0);
    rig.sink
        .until("the event", |texts| texts.contains(&words(0)))
        .await;
    for (guest_name, says) in [("bad-panics", "it trapped"), ("bad-spins", "of CPU")] {
        let rests = |status: &Value| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let texts: Vec<&str> = conditions
                .filter_map(|each| each["text"].as_str())
                .collect();
            texts.iter().any(|text| {
                text.starts_with(&format!("extension {guest_name} failed too often"))
                    && text.contains("what happens waits to be told")
                    && text.contains(says)
            })
        };
        manager.until("/status", "it to rest", rests).await;
    }
    let logs = manager.cli(&["ext", "logs", "bad-panics"]).await.out;
    assert!(logs.contains("what is `"), "the panic's words: {logs}");
}
