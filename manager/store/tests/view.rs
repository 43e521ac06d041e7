//! The typed view: times of first sight, and records that cannot be read.

use holdfast_model::event::{Event, EventKind};
use holdfast_model::extension::Installed;
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::{ExitKind, HostSpec, RunState, VmReport};
use holdfast_model::id::{
    ExtensionName, Generation, HostName, Incarnation, ManagerName, Revision, VmName,
};
use holdfast_model::op::{Op, Request};
use holdfast_model::policy::Policy;
use holdfast_model::probe::{Opinion, ProbeKey, SilentFor};
use holdfast_model::signature::PublicKey;
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::world::Seen;
use holdfast_store::api::{Batch, Txn, TxnOp};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use serde::Serialize;
use std::collections::BTreeMap;
use std::str::FromStr;

fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn host_spec(host: &str) -> HostSpec {
    HostSpec {
        name: name(host),
        site: name("a"),
        maintenance: false,
    }
}

fn report(generation: u64) -> VmReport {
    VmReport {
        incarnation: name("life-1"),
        generation: Generation(generation),
        state: RunState::Exited {
            how: ExitKind::Stopped,
        },
    }
}

/// A store and a view of all of it.
struct Bench {
    store: MemoryStore,
    view: View,
    seen: Revision,
}

impl Bench {
    fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            view: View::default(),
            seen: Revision(0),
        }
    }

    fn put<T: Serialize>(&self, key: &Key, record: &T) {
        self.raw(&key.path(), &encode(record));
    }

    fn raw(&self, path: &str, value: &[u8]) {
        let ops = vec![TxnOp::Put(path.into(), value.to_vec())];
        self.store.txn_now(Txn {
            compares: vec![],
            ops,
        });
    }

    fn delete(&self, key: &Key) {
        let ops = vec![TxnOp::Delete(key.path())];
        self.store.txn_now(Txn {
            compares: vec![],
            ops,
        });
    }

    fn watch(&mut self, now: u64) {
        let batch = self
            .store
            .changes_after(ROOT, self.seen)
            .expect("not compacted");
        self.view.apply(&batch, Instant(now));
        self.seen = batch.revision;
    }

    fn list(&mut self, now: u64) {
        let listing = self.store.list_now(ROOT);
        self.seen = listing.revision;
        self.view
            .reset(&[ROOT.to_owned()], vec![listing], Instant(now));
    }

    fn world(&self) -> holdfast_model::world::World {
        let leader: ManagerName = name("m1");
        self.view
            .world(Instant(99), UnixMs(0), Instant(0), Revision(1), &leader)
    }
}

fn spec_key(host: &str) -> Key {
    Key::HostSpec(name(host))
}

#[test]
fn a_listing_keeps_the_times_of_what_did_not_change() {
    let mut bench = Bench::new();
    bench.put(&spec_key("same"), &host_spec("same"));
    bench.put(&spec_key("new"), &host_spec("new"));
    bench.put(&spec_key("gone"), &host_spec("gone"));
    bench.watch(10);
    bench.put(
        &spec_key("new"),
        &HostSpec {
            maintenance: true,
            ..host_spec("new")
        },
    );
    bench.delete(&spec_key("gone"));
    bench.list(20);
    let seen = |host: &str| {
        let spec = bench
            .view
            .hosts
            .get(&name::<HostName>(host))?
            .spec
            .clone()?;
        Some((spec.seen_at, spec.value.maintenance))
    };
    assert_eq!(seen("same"), Some((Instant(10), false)));
    assert_eq!(seen("new"), Some((Instant(20), true)));
    assert_eq!(seen("gone"), None);
    assert_eq!(bench.view.revision, bench.store.revision());
}

#[test]
fn a_listing_of_one_prefix_leaves_the_others_alone() {
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.put(&Key::Policy, &Policy::default());
    bench.watch(10);
    bench.delete(&Key::Policy);
    bench.delete(&spec_key("h1"));
    let prefix = Key::Policy.path();
    let listing = bench.store.list_now(&prefix);
    bench.view.reset(&[prefix], vec![listing], Instant(20));
    assert!(bench.view.policy.is_none());
    assert!(
        bench.view.hosts.contains_key(&name::<HostName>("h1")),
        "not asked about"
    );
}

#[test]
fn a_record_made_again_within_one_gap_is_seen_anew() {
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.watch(10);
    bench.delete(&spec_key("h1"));
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.list(20);
    assert_eq!(
        bench.view.seen(&spec_key("h1")).map(|(_, at)| at),
        Some(Instant(20))
    );
}

#[test]
fn an_empty_batch_moves_the_revision_only() {
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.watch(10);
    bench.view.apply(
        &Batch {
            revision: Revision(50),
            changes: vec![],
        },
        Instant(20),
    );
    assert_eq!(bench.view.revision, Revision(50));
    assert_eq!(
        bench.view.seen(&spec_key("h1")).map(|(_, at)| at),
        Some(Instant(10))
    );
}

#[test]
fn every_record_finds_its_place_and_leaves_it() {
    let mut bench = Bench::new();
    let (host, vm): (HostName, VmName) = (name("h1"), name("v1"));
    let incarnation: Incarnation = name("life-1");
    let fence = FenceRecord {
        host: host.clone(),
        incarnation: incarnation.clone(),
        stage: FenceStage::Closed,
        evidence: Evidence::Released,
        session_revision: None,
        plane: None,
        storage: None,
        release_asked: false,
    };
    let event = Event {
        at: UnixMs(5),
        actor: "m1".into(),
        kind: EventKind::Note,
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: "hello".into(),
    };
    let keys = [
        Key::Fence(host.clone(), incarnation.clone()),
        Key::HostVm(host.clone(), vm.clone()),
        Key::Event("0000000000005-m1-000001".into()),
        Key::Uuid(name("3b1b9a2c")),
    ];
    bench.put(&keys[0], &fence);
    bench.put(&keys[1], &report(3));
    bench.put(&keys[2], &event);
    bench.put(&keys[3], &vm);
    bench.watch(10);
    let view = &bench.view;
    assert_eq!(view.fences[&(host.clone(), incarnation)].value, fence);
    assert_eq!(view.hosts[&host].vms[&vm].value, report(3));
    assert_eq!(
        view.events.iter().next().map(|(_, event)| event),
        Some(&event)
    );
    assert_eq!(
        view.uuids.values().next().map(|seen| &seen.value),
        Some(&vm)
    );
    assert!(view.unreadable.is_empty(), "{:?}", view.unreadable);
    for key in &keys {
        bench.delete(key);
    }
    bench.watch(20);
    let view = &bench.view;
    assert!(view.fences.is_empty() && view.hosts.is_empty());
    assert!(view.events.is_empty() && view.uuids.is_empty());
}

#[test]
fn a_shadow_stands_beside_what_is_installed() {
    let mut bench = Bench::new();
    let installed = |version: &str| {
        serde_json::json!({
            "manifest": {"name": "probe", "version": version, "kind": "placement", "summary": "Test."},
            "digest": "", "bytes": 1, "granted": {}, "then": "closed", "by": "me", "at": 1
        })
    };
    let key = Key::Shadow(name("probe"));
    // As an older version has it: a key that it does not know, and no installed extension.
    assert_eq!(key.path(), "/holdfast/v1/extensions/probe/shadow");
    assert_eq!(Key::parse(&key.path()), Some(key.clone()));
    bench.put(&key, &installed("2.0.0"));
    bench.put(&Key::Extension(name("probe")), &installed("1.0.0"));
    bench.watch(10);
    let version = |all: &BTreeMap<ExtensionName, Seen<Installed>>| {
        let mut all = all.values();
        all.next().map(|seen| seen.value.manifest.version.clone())
    };
    assert_eq!(version(&bench.view.shadows).as_deref(), Some("2.0.0"));
    assert_eq!(version(&bench.view.extensions).as_deref(), Some("1.0.0"));
    // Under another's key it is not believed.
    bench.put(&Key::Shadow(name("other")), &installed("2.0.0"));
    bench.delete(&key);
    bench.watch(20);
    assert!(bench.view.shadows.is_empty() && bench.view.extensions.len() == 1);
    let other = Key::Shadow(name("other")).path();
    assert!(bench.view.unreadable.contains_key(&other));
}

#[test]
fn an_unreadable_record_never_looks_like_none() {
    let (host, vm): (HostName, VmName) = (name("h1"), name("v1"));
    // The owner of v1 is written by a newer version; v2 is as it should be.
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.put(&Key::HostVm(host.clone(), vm.clone()), &report(1));
    bench.put(&Key::HostVm(host.clone(), name("v2")), &report(1));
    let owner = Key::VmOwner(vm.clone());
    bench.raw(&owner.path(), br#"{"holder": "of another kind"}"#);
    bench.watch(10);
    assert!(bench.view.unreadable[&owner.path()].contains("newer version"));
    assert!(bench.view.seen(&owner).is_some(), "it exists");
    assert!(!bench.world().vms.contains_key(&vm), "no decision about it");
    let told = &bench.world().hosts[&host].vms;
    let v2: VmName = name("v2");
    assert!(
        told.keys().eq([&v2]),
        "nor does anybody say that the store has forgotten it"
    );
    assert!(bench.view.excluded().1.iter().eq([&vm]));
    // Readable again.
    bench.delete(&owner);
    bench.watch(20);
    assert!(bench.view.unreadable.is_empty() && bench.view.excluded().1.is_empty());

    // A session that cannot be read takes its whole host out, not only its session.
    let session = Key::HostSession(host.clone());
    bench.raw(&session.path(), b"garbage");
    bench.watch(30);
    assert!(bench.view.hosts.contains_key(&host) && !bench.world().hosts.contains_key(&host));
    // Nor is a request about it carried out: whether it is alive cannot be told.
    let op = Op {
        id: name("op-1"),
        by: "operator".into(),
        request: Request::ConfirmOff { host: host.clone() },
    };
    bench.put(&Key::Op(op.id.clone()), &op);
    bench.watch(35);
    assert!(bench.view.ops.len() == 1 && bench.world().ops.is_empty());

    // A report of v2 that cannot be read takes v2 out.
    bench.raw(&Key::HostVm(host, name("v2")).path(), b"{}");
    bench.watch(40);
    assert!(bench.view.excluded().1.contains(&name::<VmName>("v2")));
}

#[test]
fn a_readable_record_that_becomes_unreadable_is_not_what_it_was() {
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h1"));
    bench.watch(10);
    bench.raw(&spec_key("h1").path(), b"[]");
    bench.watch(20);
    let view = &bench.view;
    assert!(
        view.hosts
            .get(&name::<HostName>("h1"))
            .is_none_or(|host| host.spec.is_none())
    );
    assert_eq!(
        view.seen(&spec_key("h1")).map(|(_, at)| at),
        Some(Instant(20))
    );
    assert_eq!(view.excluded().0.len(), 1);
}

#[test]
fn a_record_under_anothers_key_is_not_believed() {
    let mut bench = Bench::new();
    bench.put(&spec_key("h1"), &host_spec("h2"));
    bench.watch(10);
    assert!(bench.view.unreadable[&spec_key("h1").path()].contains("`h2`"));
}

#[test]
fn the_last_readable_policy_stays_in_force() {
    let mut bench = Bench::new();
    bench.raw(&Key::Policy.path(), br#"{"from_the_future": 1}"#);
    bench.watch(10);
    let error = bench
        .view
        .can_plan()
        .expect_err("no policy was ever readable");
    assert!(error.contains("upgrade this manager"), "{error}");
    let (unread, why) = bench.view.unread_policy().expect("it stands there");
    assert!(unread > Revision(0) && error.contains(why), "{error}");
    let mut policy = Policy::default();
    policy.budgets.events_kept = 7;
    bench.put(&Key::Policy, &policy);
    bench.watch(20);
    bench.view.can_plan().expect("readable");
    assert_eq!(bench.view.unread_policy(), None);
    bench.raw(&Key::Policy.path(), br#"{"from_the_future": 2}"#);
    bench.watch(30);
    bench.view.can_plan().expect("the last one");
    assert_eq!(bench.world().policy.budgets.events_kept, 7);
    let (later, _) = bench.view.unread_policy().expect("and it is told");
    assert!(later > unread && bench.view.policy.as_ref().expect("it").revision < later);
}

#[test]
fn who_may_sign_is_not_known_as_long_as_no_policy_could_be_read() {
    let mut bench = Bench::new();
    let nobody = Ok(BTreeMap::new());
    assert_eq!(bench.view.extension_signers(), nobody, "none was written");
    bench.raw(&Key::Policy.path(), br#"{"from_the_future": 1}"#);
    bench.watch(10);
    let error = bench.view.extension_signers().expect_err("unreadable");
    assert!(error.contains("who may sign is not known"), "{error}");
    let signers = BTreeMap::from([(name("release"), PublicKey([7; 32]))]);
    let policy = Policy {
        extension_signers: signers.clone(),
        ..Policy::default()
    };
    bench.put(&Key::Policy, &policy);
    bench.watch(20);
    assert_eq!(bench.view.extension_signers(), Ok(signers.clone()));
    bench.raw(&Key::Policy.path(), br#"{"from_the_future": 2}"#);
    bench.watch(30);
    assert_eq!(bench.view.extension_signers(), Ok(signers), "the last ones");
    bench.delete(&Key::Policy);
    bench.watch(40);
    assert_eq!(bench.view.extension_signers(), nobody, "it is gone");
}

#[test]
fn keys_of_a_newer_version_are_left_alone() {
    let mut bench = Bench::new();
    bench.raw(&format!("{ROOT}extensions/x/enabled"), b"yes");
    bench.raw(&format!("{ROOT}hosts/h1/something-new"), b"yes");
    bench.watch(10);
    assert!(bench.view.unreadable.is_empty() && bench.view.hosts.is_empty());
    bench.list(20);
    assert!(bench.view.unreadable.is_empty());
}

#[test]
fn what_other_managers_find_is_counted_from_when_it_was_seen_here() {
    let mut bench = Bench::new();
    let silent = SilentFor {
        incarnation: name("i1"),
        silent_ms: 900,
    };
    let opinion = Opinion {
        site: name("b"),
        silent: [(name("h1"), silent)].into(),
    };
    for manager in ["m1", "m2"] {
        bench.put(&Key::Probes(name(manager)), &opinion);
    }
    bench.put(&Key::ProbeKey, &ProbeKey::new([7; 32]));
    bench.watch(5_000);
    let found = bench.world().probes;
    let names: Vec<String> = found.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["m2"], "the leader's own is not what it wrote once");
    let silence = &found[&name::<ManagerName>("m2")].silent[&name::<HostName>("h1")];
    assert_eq!((silence.since, silence.for_ms), (Instant(4_100), 900));
    assert!(bench.view.probe_key.is_some() && bench.view.managers.is_empty());
    bench.delete(&Key::Probes(name("m2")));
    bench.delete(&Key::ProbeKey);
    bench.watch(6_000);
    assert!(bench.world().probes.is_empty() && bench.view.probe_key.is_none());
    assert!(bench.view.unreadable.is_empty());
}

#[test]
fn a_policy_that_is_not_safe_is_not_followed() {
    let mut bench = Bench::new();
    let mut short = Policy::default();
    short.timing.taker_wait_ms = Some(17_000);
    bench.put(&Key::Policy, &short);
    bench.watch(10);
    let error = bench.view.can_plan().expect_err("15 + 2 s of runner");
    let says = "taker_wait_ms = 17000 is too short";
    assert!(
        error.contains(says) && error.contains("set taker_wait_ms to 17035"),
        "{error}"
    );
    assert!(bench.view.is_policy_unsafe() && bench.view.policy.is_none());
    let mut policy = Policy::default();
    policy.budgets.events_kept = 7;
    bench.put(&Key::Policy, &policy);
    bench.watch(20);
    bench.view.can_plan().expect("safe");
    assert!(!bench.view.is_policy_unsafe() && bench.view.unread_policy().is_none());
    bench.put(&Key::Policy, &short);
    bench.watch(30);
    bench.view.can_plan().expect("the last one");
    assert!(bench.view.is_policy_unsafe());
    let in_force = bench.world().policy;
    assert_eq!(in_force.timing.resolve().taker_wait_ms, 18_000);
    assert_eq!(in_force.budgets.events_kept, 7);
    bench.raw(&Key::Policy.path(), br#"{"from_the_future": 1}"#);
    bench.watch(40);
    let (_, why) = bench.view.unread_policy().expect("it stands there");
    assert!(!bench.view.is_policy_unsafe() && !why.contains("taker_wait_ms"));
    bench.put(&Key::Policy, &short);
    bench.list(50);
    assert!(bench.view.is_policy_unsafe());
    bench.delete(&Key::Policy);
    bench.watch(60);
    assert!(!bench.view.is_policy_unsafe() && bench.view.unreadable.is_empty());
}
