//! The status of a cluster in which about everything is wrong, as golden text. No clock, no I/O:
//! the view is made by hand. `HOLDFAST_BLESS=1` writes the golden file anew.

use holdfast_manager::status::{Context, build};
use holdfast_manager::why::{Asked, explain};
use holdfast_model::id::{ClusterName, Generation, Revision};
use holdfast_model::status::Status;
use holdfast_model::time::{Instant, UnixMs};
use holdfast_store::api::{Txn, TxnOp, Voter};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use serde_json::{Value, json};
use std::str::FromStr;

fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    T::from_str(text).expect("a name")
}

/// Records under their keys, seen at the given times in milliseconds.
#[derive(Default)]
struct Scene {
    view: View,
    store: MemoryStore,
}

impl Scene {
    fn put(&mut self, at_ms: u64, key: Key, record: &Value) {
        let op = TxnOp::Put(key.path(), encode(record));
        self.store.txn_now(Txn {
            compares: Vec::new(),
            ops: vec![op],
        });
        let listing = self.store.list_now(ROOT);
        self.view
            .reset(&[ROOT.to_owned()], vec![listing], Instant(at_ms));
    }

    fn host(&mut self, host: &str, site: &str, membership: &str, last_beat_ms: u64) {
        let life = format!("{host}-1");
        self.put(
            0,
            Key::HostSpec(name(host)),
            &json!({"name": host, "site": site}),
        );
        self.put(
            0,
            Key::HostState(name(host)),
            &json!({"membership": membership, "incarnation": life, "boot_id": "boot-1",
                    "reason": format!("it is {membership}")}),
        );
        self.put(
            0,
            Key::HostReport(name(host)),
            &json!({"incarnation": life, "libvirt": {"state": "connected"},
                    "capacity": {"memory_mib": 4096, "cpus": 4},
                    "storage": {"state": "synced"}, "migrate_address": "192.0.2.1"}),
        );
        let open = if membership == "fenced" {
            "closed"
        } else {
            "open"
        };
        self.put(
            last_beat_ms,
            Key::HostSession(name(host)),
            &json!({"incarnation": life, "boot_id": "boot-1", "machine_id": "machine-1", "beat": 7,
                    "state": open, "guard": "working", "version": "1",
                    "bounds": {"runner_deadline_ms": 2000, "kill_bound_ms": 500,
                               "watchdog_bound_ms": 0}}),
        );
    }

    fn vm(&mut self, vm: &str, number: u8, host: Option<&str>, more: Value) {
        let mut spec = json!({
            "name": vm, "uuid": format!("00000000-0000-4000-8000-0000000000{number:02}"),
            "domain_xml": "<domain/>", "run": true, "memory_mib": 512, "vcpus": 1,
            "preferred_site": "a",
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.put(0, Key::VmSpec(name(vm)), &spec);
        let Some(host) = host else { return };
        self.put(
            0,
            Key::VmOwner(name(vm)),
            &json!({"holder": {"host": host, "incarnation": format!("{host}-1")},
                    "generation": 3, "intent": "run", "reason": "it should run"}),
        );
    }

    fn said(&mut self, host: &str, vm: &str, generation: u64, state: Value) {
        let report = json!({"incarnation": format!("{host}-1"), "state": state,
                            "generation": Generation(generation)});
        self.put(0, Key::HostVm(name(host), name(vm)), &report);
    }

    fn status(&self, now_ms: u64, fresh: bool, voters: &[Voter]) -> Status {
        let now = Instant(now_ms);
        let view_since = fresh.then_some(Instant(0));
        let asked = Asked {
            probes: None,
            now,
            wall: UnixMs(0),
            view_since,
            manager: name("m-a"),
            extensions: Default::default(),
        };
        let plan = explain(&self.view, &asked);
        let context = Context {
            probes: Default::default(),
            cluster: "lab",
            now,
            view_since,
            voters: Ok(voters),
            reports: &plan.reports,
            violations: &[],
        };
        build(&self.view, &context)
    }
}

fn voter(site: &str, healthy: bool) -> Voter {
    let endpoint = format!("http://192.0.2.{}:2379", site.as_bytes()[0]);
    Voter {
        name: format!("etcd-{site}"),
        endpoint,
        healthy,
    }
}

/// What of a status is worth comparing, one thing a line.
fn told(status: &Status) -> String {
    let word = |value: Value| value.as_str().unwrap_or("-").to_owned();
    let json = |value: &dyn erased::Json| word(value.json());
    let mut out = format!(
        "cluster {}, quorum {}, leader {}\n",
        status.cluster,
        status.quorum.healthy,
        status
            .leader
            .as_ref()
            .map_or("-", |leader| leader.name.as_str()),
    );
    for member in &status.quorum.members {
        let site = member.site.as_ref().map_or("-", |site| site.as_str());
        out += &format!("voter {} at {site}: {}\n", member.name, member.healthy);
    }
    for site in &status.sites {
        out += &format!(
            "site {}: {}, storage {:?}\n",
            site.name,
            json(&site.state),
            site.storage
        );
    }
    for host in &status.hosts {
        out += &format!(
            "host {}: {}, control {}, {} VMs, {:?} MiB: {}\n",
            host.name,
            json(&host.state),
            json(&host.planes.control),
            host.vms,
            host.memory_mib,
            host.reason
        );
    }
    for vm in &status.vms {
        let host = vm.host.as_ref().map_or("-", |host| host.as_str());
        out += &format!(
            "vm {}: {} on {host}: {}\n",
            vm.name,
            json(&vm.state),
            vm.reason
        );
    }
    for condition in &status.conditions {
        let severity = json(&condition.severity);
        out += &format!("{severity} [{}] {}\n", condition.code, condition.text);
    }
    out
}

/// Enums as their stored words.
mod erased {
    use serde::Serialize;
    use serde_json::Value;

    pub trait Json {
        fn json(&self) -> Value;
    }

    impl<T: Serialize> Json for T {
        fn json(&self) -> Value {
            serde_json::to_value(self).expect("a word")
        }
    }
}

fn check(golden: &str, found: &str) {
    // Where several checkouts share a target directory, another one may have built this.
    let own = std::env::var("CARGO_MANIFEST_DIR");
    let own = own.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let path = format!("{own}/tests/golden/{golden}");
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, found).expect("the golden file");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found, expected,
        "\n{found}\nHOLDFAST_BLESS=1 takes it into {path}"
    );
}

fn cluster() -> Scene {
    let mut scene = Scene::default();
    scene.put(0, Key::Cluster, &json!(name::<ClusterName>("lab").as_str()));
    scene.put(
        0,
        Key::Policy,
        &json!({"timing": {"profile": "fast"}, "failback": {"enabled": false, "hold_down_ms": 1000},
                "sites": [{"name": "a"}, {"name": "b"}, {"name": "w", "witness": true}]}),
    );
    let presence = |manager: &str, site: &str| {
        let api = format!("192.0.2.{}:7070", site.as_bytes()[0]);
        json!({"name": manager, "site": site, "api": api, "life": manager, "version": "1",
               "beat": 1})
    };
    scene.put(9_000, Key::Manager(name("m-a")), &presence("m-a", "a"));
    scene.put(0, Key::Manager(name("m-w")), &presence("m-w", "w"));
    scene.put(
        0,
        Key::LeaderEpoch,
        &json!({"manager": "m-a", "site": "a", "life": "m-a"}),
    );
    scene.put(
        9_900,
        Key::LeaderHeartbeat,
        &json!({"manager": "m-a", "life": "m-a", "beat": 9}),
    );
    scene.host("a1", "a", "online", 9_900);
    scene.host("a2", "a", "suspect", 8_000);
    scene.host("b1", "b", "fenced", 5_000);
    scene
}

#[test]
fn every_state_of_a_vm_is_told_apart() {
    let mut scene = cluster();
    let on_a1: &[(&str, Value)] = &[
        ("runs", json!({"state": "running"})),
        ("paused", json!({"state": "paused", "reason": "io-error"})),
        (
            "crashed",
            json!({"state": "exited", "how": {"kind": "crashed", "reason": "signal 9"}}),
        ),
        (
            "unknown",
            json!({"state": "unknown", "reason": "libvirt did not answer"}),
        ),
    ];
    for (index, (vm, state)) in on_a1.iter().enumerate() {
        scene.vm(vm, index as u8, Some("a1"), json!({}));
        scene.said("a1", vm, 3, state.clone());
    }
    scene.vm("granted", 10, Some("a1"), json!({}));
    scene.said("a1", "granted", 2, json!({"state": "running"}));
    scene.vm("silent", 11, Some("a2"), json!({}));
    scene.said("a2", "silent", 3, json!({"state": "running"}));
    scene.vm("new", 12, None, json!({}));
    scene.vm("big", 13, None, json!({"memory_mib": 999_999}));
    scene.vm("off", 14, None, json!({"run": false}));
    scene.vm("lost", 15, Some("b1"), json!({}));
    scene.put(
        5_000,
        Key::Fence(name("b1"), name("b1-1")),
        &json!({"host": "b1", "incarnation": "b1-1", "stage": "closed",
                "evidence": {"kind": "lapsed", "silence_ms": 2800, "wait_ms": 2750}}),
    );
    let voters = [voter("a", true), voter("b", false), voter("w", true)];
    check("status.txt", &told(&scene.status(10_000, true, &voters)));
}

#[test]
fn a_lost_quorum_is_told_before_all_else() {
    let mut scene = cluster();
    scene.vm("runs", 1, Some("a1"), json!({}));
    scene.said("a1", "runs", 3, json!({"state": "running"}));
    let voters = [voter("a", true), voter("b", false), voter("w", false)];
    let status = scene.status(15_000, false, &voters);
    assert_eq!(
        status.conditions.first().map(|c| c.code.as_str()),
        Some("no-quorum")
    );
    check("status-no-quorum.txt", &told(&status));
}

#[test]
fn a_watchdog_that_is_not_what_policy_counts_on_is_told() {
    let mut scene = cluster();
    let timing =
        json!({"profile": "default", "watchdog_bound_ms": 10_000, "taker_wait_ms": 20_000});
    scene.put(0, Key::Policy, &json!({ "timing": timing }));
    for (host, declared_ms) in [("a1", 0), ("a2", 16_000), ("b1", 10_000)] {
        let session = json!({"incarnation": format!("{host}-1"), "boot_id": "boot-1",
                             "machine_id": "machine-1", "beat": 7, "state": "open", "guard": "working",
                             "version": "1",
                             "bounds": {"runner_deadline_ms": 2000, "kill_bound_ms": 500,
                                        "watchdog_bound_ms": declared_ms}});
        scene.put(9_900, Key::HostSession(name(host)), &session);
    }
    let status = scene.status(10_000, true, &[voter("a", true)]);
    let told = status.conditions.iter();
    let told: Vec<&str> = told
        .filter(|condition| condition.code == "watchdog")
        .map(|condition| condition.text.as_str())
        .collect();
    assert!(
        told.iter().any(|text| text.contains("host a1 has none")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|text| text.contains("host a2 needs 16000 ms")),
        "{told:?}"
    );
    assert!(
        told.iter().all(|text| !text.contains("host b1")),
        "{told:?}"
    );
}

fn texts(status: &Status, code: &str) -> Vec<String> {
    let found = status.conditions.iter().filter(|found| found.code == code);
    found.map(|found| found.text.clone()).collect()
}

/// Two VMs on a1, one of them under a storage lease.
fn leased_and_not(profile: &str) -> Status {
    let mut scene = cluster();
    scene.put(0, Key::Policy, &json!({"timing": {"profile": profile}}));
    for (number, vm, lease) in [(1, "leased", "quorum"), (2, "alone", "plain")] {
        scene.vm(vm, number, None, json!({}));
        scene.put(
            0,
            Key::VmOwner(name(vm)),
            &json!({"holder": {"host": "a1", "incarnation": "a1-1"}, "generation": 3, "lease": lease,
                    "intent": "run", "reason": "it should run"}),
        );
        scene.said("a1", vm, 3, json!({"state": "running"}));
    }
    scene.status(10_000, true, &[voter("a", true)])
}

#[test]
fn vms_without_a_storage_lease_are_named_where_the_profile_is_not_made_for_them() {
    for (profile, seconds) in [("fast", "for 2 s"), ("default", "for 4 s")] {
        let found = texts(&leased_and_not(profile), "no-storage-lease");
        let [text] = &found[..] else {
            panic!("{profile}: {found:?}");
        };
        assert!(
            text.starts_with("1 VM without a storage lease: alone. ") && text.contains(seconds),
            "{text}"
        );
        let ways = text.contains("a lease volume") && text.contains("profile = \"patient\"");
        assert!(ways, "{text}");
    }
    let patient = leased_and_not("patient");
    assert_eq!(texts(&patient, "no-storage-lease"), Vec::<String>::new());
    let leases = patient
        .vms
        .iter()
        .map(|vm| (vm.name.as_str(), &vm.lease[..]));
    let leases: Vec<_> = leases.collect();
    assert_eq!(
        leases,
        [("alone", "control"), ("leased", "control+storage")]
    );
}

#[test]
fn quorums_that_could_part_are_told_before_they_do() {
    let told = |arbiter: &str| {
        let mut scene = cluster();
        let sites = json!([{"name": "a"}, {"name": "b"}, {"name": "w", "witness": true}]);
        let storage = json!({ "arbiter_site": arbiter });
        let policy = json!({"sites": sites, "storage": storage});
        scene.put(0, Key::Policy, &policy);
        let at_b = json!({"name": "m-b", "site": "b", "api": "192.0.2.98:7070", "life": "m-b",
                          "version": "1", "beat": 1});
        scene.put(9_000, Key::Manager(name("m-b")), &at_b);
        let voters = ["a", "b", "w"].map(|site| voter(site, true));
        texts(&scene.status(10_000, true, &voters), "quorums-apart")
    };
    assert_eq!(told("w"), Vec::<String>::new());
    let found = told("a");
    let [text] = &found[..] else {
        panic!("{found:?}");
    };
    let says =
        "when site a is cut off from the others, the storage goes on at a and etcd at the others";
    assert!(text.contains(says), "{text}");
}

/// etcd's disks are slow, say: each member says that it is well, and the view is old all the same.
#[test]
fn members_that_answer_and_confirm_nothing_are_not_asked_back() {
    let scene = cluster();
    for b in [true, false] {
        let voters = [voter("a", true), voter("b", b), voter("w", true)];
        let status = scene.status(15_000, false, &voters);
        let first = status.conditions.first();
        let text = first.map_or("", |condition| condition.text.as_str());
        assert_eq!(first.map(|c| c.code.as_str()), Some("no-quorum"));
        assert!(text.contains("confirm nothing in time"), "{text}");
        assert!(
            text.contains("slow disk") && !text.contains("Bring"),
            "{text}"
        );
    }
}

#[test]
fn the_leader_is_the_one_whose_heartbeat_is_its_epoch_s() {
    let mut scene = cluster();
    let voters = [voter("a", true)];
    assert_eq!(
        scene
            .status(10_000, true, &voters)
            .leader
            .map(|leader| leader.epoch > Revision(1)),
        Some(true)
    );
    scene.put(
        9_950,
        Key::LeaderHeartbeat,
        &json!({"manager": "m-b", "life": "x", "beat": 1}),
    );
    assert_eq!(scene.status(10_000, true, &voters).leader, None);
}

/// Hosts ask storage checks, and say how these stand there.
#[test]
fn a_storage_check_that_a_host_cannot_ask_is_told() {
    let mut scene = cluster();
    let digest = "d".repeat(64);
    let told =
        |life: &str, there: Value| json!({"incarnation": life, "extensions": {"probe": there}});
    let conditions = |scene: &Scene| {
        let status = scene.status(10_000, true, &[voter("a", true)]);
        let all = status.conditions.into_iter();
        let ours = all.filter(|condition| condition.code == "extension-not-ready");
        ours.map(|condition| condition.text)
            .collect::<Vec<String>>()
    };
    let key = || Key::HostExtensions(name("a1"));
    scene.put(9_000, key(), &told("a1-1", json!({})));
    let found = conditions(&scene);
    assert!(
        found.len() == 1
            && found[0].contains("is to check the storage of host a1, and is not installed"),
        "{found:?}"
    );
    scene.put(
        9_000,
        Key::Extension(name("probe")),
        &json!({"manifest": {"name": "probe", "version": "1.0.0", "kind": "storage-check", "summary": "Test."},
                "digest": digest, "bytes": 1, "granted": {}, "then": "closed", "by": "me", "at": 1}),
    );
    assert_eq!(conditions(&scene), [""; 0], "managers do not ask it");
    let failed = json!({"readiness": {"state": "failed", "why": "no memory"}});
    scene.put(9_000, key(), &told("a1-1", failed.clone()));
    let found = conditions(&scene);
    assert!(
        found.len() == 1
            && found[0].contains("cannot run on host a1; the host's storage is unknown"),
        "{found:?}"
    );
    scene.put(9_000, key(), &told("a1-0", failed));
    assert_eq!(conditions(&scene), [""; 0], "that was another life");
    let ready = json!({"readiness": {"state": "ready", "digest": digest}});
    scene.put(9_000, key(), &told("a1-1", ready));
    assert_eq!(conditions(&scene), [""; 0]);
}
