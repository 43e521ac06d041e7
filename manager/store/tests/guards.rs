//! Transactions of planner steps and of hosts' reports: what they compare, and that they happen
//! once or not at all.

use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::{ExitKind, RunState, VmReport};
use holdfast_model::id::{Generation, HostName, Revision, VmName};
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::plan::{Step, Write};
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::vm::{Failures, Intent, Owner, SiteRule, VmSpec};
use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::guards::{
    HostWrite, check_txn, encode, event_id, report_txn, session_guard, step_txn, step_txn_in,
};
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use std::str::FromStr;

fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

fn owner(generation: u64) -> Owner {
    Owner {
        holder: None,
        incoming: None,
        generation: Generation(generation),
        lease: holdfast_model::lease::StorageClass::Plain,
        intent: Intent::Run,
        rest: None,
        failures: Failures::default(),
        placed_by_hand: false,
        run_serial: 0,
        migrate_failures: 0,
        follows: Vec::new(),
        reason: "test".into(),
    }
}

fn spec(vm: &VmName) -> VmSpec {
    VmSpec {
        name: vm.clone(),
        uuid: name("3b1b9a2c-0000-4000-8000-000000000001"),
        domain_xml: "<domain/>".into(),
        run: false,
        run_serial: 0,
        deleting: true,
        memory_mib: 64,
        vcpus: 1,
        priority: 0,
        preferred_site: None,
        site_rule: SiteRule::Should,
        spread: None,
        storage_lease: true,
        on_io_error: None,
        labels: Default::default(),
    }
}

fn event() -> Event {
    Event {
        at: UnixMs(1_700_000_000_123),
        actor: "m1".into(),
        kind: EventKind::Note,
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: "test".into(),
    }
}

fn put(store: &MemoryStore, key: &Key, value: Vec<u8>) -> Revision {
    let ops = vec![TxnOp::Put(key.path(), value)];
    match store.txn_now(Txn {
        compares: vec![],
        ops,
    }) {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Refused(_) => panic!("nothing was compared"),
    }
}

fn lead(store: &MemoryStore) -> Revision {
    let record = LeaderEpoch {
        manager: name("m1"),
        site: name("a"),
        life: "1".into(),
    };
    put(store, &Key::LeaderEpoch, encode(&record))
}

fn happens(store: &MemoryStore, txn: Txn) -> bool {
    matches!(
        store.try_txn_now(txn).expect("a sound transaction"),
        TxnOutcome::Committed(_)
    )
}

fn owner_step(expect: Option<Revision>) -> Step {
    let write = Write::Owner {
        vm: name("v1"),
        owner: owner(1),
        expect,
    };
    Step {
        writes: vec![write],
        events: vec![event()],
        why: "test".into(),
    }
}

#[test]
fn a_step_happens_once_and_only_under_its_epoch() {
    let store = MemoryStore::new();
    let old = lead(&store);
    let epoch = lead(&store);
    let id = |number| move |event: &Event| event_id(event, number);
    assert!(
        !happens(&store, step_txn(&owner_step(None), old, id(1))),
        "a deposed leader"
    );
    assert!(happens(&store, step_txn(&owner_step(None), epoch, id(1))));
    assert!(
        !happens(&store, step_txn(&owner_step(None), epoch, id(2))),
        "decided on no owner"
    );
    let written = store
        .get_now(&Key::VmOwner(name("v1")).path())
        .expect("written")
        .revision;
    // A copy that was sent twice writes neither the record nor the event twice.
    let again = step_txn(&owner_step(Some(written)), epoch, id(3));
    assert!(again.guard_key().is_some());
    assert!(happens(&store, again.clone()));
    assert!(!happens(&store, again));
    assert_eq!(store.list_now(&format!("{ROOT}events/")).items.len(), 2);
}

#[test]
fn a_step_fails_as_a_whole_on_any_of_its_guards() {
    let store = MemoryStore::new();
    let epoch = lead(&store);
    let vm: VmName = name("v1");
    let spec_at = put(&store, &Key::VmSpec(vm.clone()), encode(&spec(&vm)));
    let mut step = owner_step(None);
    step.writes.push(Write::CheckVmSpec {
        vm: vm.clone(),
        expect: spec_at,
    });
    put(&store, &Key::VmSpec(vm.clone()), encode(&spec(&vm)));
    let txn = step_txn(&step, epoch, |event| event_id(event, 1));
    assert!(!happens(&store, txn), "the spec is another one");
    assert_eq!(store.get_now(&Key::VmOwner(vm).path()), None);
    assert_eq!(store.list_now(&format!("{ROOT}events/")).items, []);
}

#[test]
fn removing_a_vm_removes_its_uuid_from_the_index() {
    let store = MemoryStore::new();
    let epoch = lead(&store);
    let vm: VmName = name("v1");
    let expect_spec = put(&store, &Key::VmSpec(vm.clone()), encode(&spec(&vm)));
    let expect_owner = Some(put(&store, &Key::VmOwner(vm.clone()), encode(&owner(4))));
    let index = Key::Uuid(spec(&vm).uuid);
    put(&store, &index, encode(&vm));
    let mut view = View::default();
    view.reset(&[ROOT.to_owned()], vec![store.list_now(ROOT)], Instant(0));
    let write = Write::DeleteVm {
        vm: vm.clone(),
        expect_spec,
        expect_owner,
    };
    let step = Step {
        writes: vec![write],
        events: vec![],
        why: "test".into(),
    };
    let txn = step_txn_in(&view, &step, epoch, |event| event_id(event, 1));
    assert!(happens(&store, txn));
    for gone in [Key::VmSpec(vm.clone()), Key::VmOwner(vm), index] {
        assert_eq!(store.get_now(&gone.path()), None, "{gone:?}");
    }
}

#[test]
fn anothers_entry_in_the_index_is_left_alone() {
    let store = MemoryStore::new();
    let epoch = lead(&store);
    let vm: VmName = name("v1");
    let expect_spec = put(&store, &Key::VmSpec(vm.clone()), encode(&spec(&vm)));
    let index = Key::Uuid(spec(&vm).uuid);
    put(&store, &index, encode(&name::<VmName>("v2")));
    let mut view = View::default();
    view.reset(&[ROOT.to_owned()], vec![store.list_now(ROOT)], Instant(0));
    let write = Write::DeleteVm {
        vm,
        expect_spec,
        expect_owner: None,
    };
    let step = Step {
        writes: vec![write],
        events: vec![],
        why: "test".into(),
    };
    assert!(happens(
        &store,
        step_txn_in(&view, &step, epoch, |event| event_id(event, 1))
    ));
    assert!(store.get_now(&index.path()).is_some());
}

#[test]
fn a_host_writes_only_while_its_heartbeat_is_the_last() {
    let store = MemoryStore::new();
    let host: HostName = name("h1");
    let session = Key::HostSession(host.clone());
    let beat = put(&store, &session, b"{}".to_vec());
    let report = |generation, expect| HostWrite::Vm {
        vm: name("v1"),
        report: VmReport {
            incarnation: name("life-1"),
            generation: Generation(generation),
            state: RunState::Exited {
                how: ExitKind::Stopped,
            },
        },
        expect,
    };
    assert!(happens(&store, report_txn(&host, beat, &[report(1, None)])));
    // A copy of the first that arrives late does not overwrite what came after it.
    let path = Key::HostVm(host.clone(), name("v1")).path();
    let first = store.get_now(&path).expect("written").revision;
    assert!(happens(
        &store,
        report_txn(&host, beat, &[report(2, Some(first))])
    ));
    assert!(!happens(
        &store,
        report_txn(&host, beat, &[report(1, None)])
    ));
    assert!(!happens(
        &store,
        report_txn(&host, beat, &[report(1, Some(first))])
    ));
    let second = store.get_now(&path).expect("written").revision;
    // Closed by a leader.
    put(&store, &session, b"{}".to_vec());
    assert!(!happens(
        &store,
        report_txn(&host, beat, &[report(3, Some(second))])
    ));
    let forget = HostWrite::ForgetVm {
        vm: name("v1"),
        expect: second,
    };
    assert!(!happens(&store, report_txn(&host, beat, &[forget])));
}

#[test]
fn a_check_compares_and_writes_nothing() {
    let store = MemoryStore::new();
    let host: HostName = name("h1");
    let beat = put(&store, &Key::HostSession(host.clone()), b"{}".to_vec());
    let owner_at = put(&store, &Key::VmOwner(name("v1")), encode(&owner(1)));
    let check = || {
        let owner = Compare::Revision(Key::VmOwner(name("v1")).path(), owner_at);
        check_txn(vec![session_guard(&host, beat), owner])
    };
    let before = store.revision();
    assert!(happens(&store, check()));
    assert_eq!(store.revision(), before);
    put(&store, &Key::VmOwner(name("v1")), encode(&owner(2)));
    assert!(!happens(&store, check()));
}

#[test]
fn event_ids_sort_by_time_and_are_keys() {
    let mut later = event();
    later.at = UnixMs(event().at.0 + 1);
    later.actor = "odd/name".into();
    let (first, second, third) = (
        event_id(&event(), 1),
        event_id(&event(), 2),
        event_id(&later, 1),
    );
    assert!(first < second && second < third);
    for id in [first, second, third] {
        assert_eq!(
            Key::parse(&Key::Event(id.clone()).path()),
            Some(Key::Event(id))
        );
    }
}
