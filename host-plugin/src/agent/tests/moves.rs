//! Live migrations, from either side.

use super::bench::{Bench, UUID, name, until};
use crate::domain_xml::stamp::{Phase, Stamp};
use crate::driver::{Activity, SeenDomain, StopKind};
use holdfast_model::host::{Capacity, HostReport, LibvirtState, RunState, StorageState, VmReport};
use holdfast_model::id::Generation;
use holdfast_model::vm::Intent;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;

const LONG_MS: u64 = 60_000;

fn arrived(activity: Activity) -> SeenDomain {
    SeenDomain {
        stamp: Stamp {
            cluster: name("c1"),
            vm: name("web"),
            generation: Generation(1),
            incarnation: name("peer"),
            phase: Phase::Started,
        },
        uuid: UUID.parse().expect("a UUID"),
        activity,
        process: None,
    }
}

fn peer(bench: &Bench, migrate_address: &str) {
    let report = HostReport {
        incarnation: name("peer"),
        libvirt: LibvirtState::Connected,
        capacity: Capacity::default(),
        storage: StorageState::NotChecked,
        migrate_address: migrate_address.into(),
        lease: holdfast_model::host::LeaseState::NotUsed,
        probe: None,
        labels: Default::default(),
    };
    bench.put(&Key::HostReport(name("h2")), &report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_says_whether_it_went() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    peer(&bench, "192.0.2.66");
    bench.owner(1, Intent::Migrate, Some("h1"), Some("h2"));
    let failed = |state: &RunState| matches!(state, RunState::MigrationFailed { .. });
    let state = bench.reported(1, failed).await;
    assert!(format!("{state:?}").contains("no route"), "{state:?}");
    // Called off: it carries on, under the same grant.
    bench.owner(1, Intent::AbortMigration, Some("h1"), Some("h2"));
    bench.owner(1, Intent::Run, Some("h1"), None);
    bench.reported(1, |state| *state == RunState::Running).await;
    peer(&bench, "192.0.2.2");
    bench.owner(1, Intent::Migrate, Some("h1"), Some("h2"));
    bench
        .reported(1, |state| *state == RunState::MigratedAway)
        .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_takes_over_only_what_is_whole_and_granted() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    bench.spec();
    bench.owner(1, Intent::Migrate, Some("h2"), Some("h1"));
    bench
        .driver
        .with(|state| state.put(arrived(Activity::PausedMigration)));
    let incoming = |wanted: bool| move |state: &RunState| matches!(state, RunState::Incoming { complete } if *complete == wanted);
    bench.reported(1, incoming(false)).await;
    bench
        .driver
        .with(|state| state.put(arrived(Activity::PausedOnRequest)));
    bench.reported(1, incoming(true)).await;
    assert_eq!(
        bench.driver.calls(),
        Vec::<String>::new(),
        "not without the ownership"
    );
    bench.owner(2, Intent::Run, Some("h1"), None);
    bench.reported(2, |state| *state == RunState::Running).await;
    assert_eq!(bench.driver.calls(), ["restamp web 2", "resume web 2"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_grant_is_not_seen_yet_is_not_destroyed() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    bench.spec();
    let grant = bench.owner_record(1, Intent::Migrate, Some("h2"), Some("h1"));
    let key = Key::VmOwner(name("web"));
    let ops = vec![TxnOp::Put(key.path(), encode(&grant))];
    let store = bench.wire.store.clone();
    let (said, read) = std::sync::mpsc::channel();
    bench.wire.before_read(&key, move || {
        let compares = Vec::new();
        store.txn_now(Txn { compares, ops });
        said.send(()).expect("the test waits");
    });
    // Nobody has granted it, as far as the agent's view goes: it is to be destroyed.
    bench
        .driver
        .with(|state| state.put(arrived(Activity::PausedOnRequest)));
    let whole = |state: &RunState| matches!(state, RunState::Incoming { complete: true });
    bench.reported(1, whole).await;
    read.try_recv()
        .expect("the owner was read before the destroy");
    assert_eq!(bench.driver.calls(), Vec::<String>::new());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_gives_up_when_told() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    bench.spec();
    bench.owner(1, Intent::Migrate, Some("h2"), Some("h1"));
    bench
        .driver
        .with(|state| state.put(arrived(Activity::PausedOnRequest)));
    until("it is announced", || bench.report()).await;
    bench.owner(1, Intent::AbortMigration, Some("h2"), Some("h1"));
    bench.reported(1, |state| *state == RunState::NotHere).await;
    assert_eq!(bench.driver.of("web"), None);
    assert_eq!(bench.driver.calls(), ["destroy web 1"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_outlives_the_agent_that_began_it() {
    for called_off in [false, true] {
        let mut bench = Bench::new(LONG_MS);
        bench.start();
        bench.run_vm(1).await;
        bench.stop().await;
        let leaving = VmReport {
            state: RunState::MigratingOut,
            ..bench.report().expect("a report")
        };
        bench.put(&Key::HostVm(name("h1"), name("web")), &leaving);
        bench.driver.with(|state| state.migrating = true);
        bench.owner(1, Intent::Migrate, Some("h1"), Some("h2"));
        bench.driver.calls();
        bench.start();
        let beat = bench.session().expect("a session").beat;
        until("some heartbeats", || {
            (bench.session()?.beat > beat + 5).then_some(())
        })
        .await;
        assert_eq!(bench.report(), Some(leaving), "nobody knows better yet");
        if called_off {
            bench.owner(1, Intent::AbortMigration, Some("h1"), Some("h2"));
            let failed = |state: &RunState| matches!(state, RunState::MigrationFailed { .. });
            bench.reported(1, failed).await;
            assert_eq!(bench.driver.calls(), ["abort web 1"]);
        } else {
            bench.driver.end("web", StopKind::Migrated);
            let gone = |state: &RunState| *state == RunState::MigratedAway;
            bench.reported(1, gone).await;
            assert_eq!(bench.driver.calls(), Vec::<String>::new());
        }
        bench.stop().await;
    }
}
