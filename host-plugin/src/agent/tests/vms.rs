//! What becomes of a grant.

use super::bench::{Bench, UUID, name};
use crate::driver::StopKind;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::{ExitKind, HostReport, HostSpec, LibvirtState, RunState};
use holdfast_model::id::Generation;
use holdfast_model::policy::Policy;
use holdfast_model::vm::Intent;
use holdfast_store::keyspace::{EVENTS, Key};
use std::sync::{Arc, Mutex};

const LONG_MS: u64 = 60_000;

fn exited(state: &RunState) -> bool {
    matches!(state, RunState::Exited { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_in_the_store_before_the_domain_exists() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    let before = Arc::new(Mutex::new(None));
    let (store, found) = (bench.wire.store.clone(), Arc::clone(&before));
    let key = Key::HostVm(name("h1"), name("web")).path();
    let look = move || {
        let item = store.get_now(&key).map(|item| item.value);
        *found.lock().expect("a lock") = item.map(|v| String::from_utf8_lossy(&v).into_owned());
    };
    bench
        .driver
        .with(|state| state.before_create = Some(Arc::new(look)));
    bench.run_vm(1).await;
    assert_eq!(bench.driver.calls(), ["create web 1", "resume web 1"]);
    let before = before.lock().expect("a lock").take();
    let before = before.expect("a report before the domain");
    assert!(before.contains("starting"), "{before}");
    let events = bench.wire.store.list_now(EVENTS).items;
    let events: Vec<Event> = events
        .iter()
        .map(|item| serde_json::from_slice(&item.value).expect("an event"))
        .collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].kind, EventKind::VmRunning);
    assert_eq!(events[0].generation, Some(Generation(1)));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_it_ends_is_told_and_the_next_grant_runs() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    for (generation, how, kind) in [
        (1, StopKind::Failed, "Crashed"),
        (2, StopKind::Shutdown, "GuestShutdown"),
        (3, StopKind::Destroyed, "Crashed"),
    ] {
        bench.run_vm(generation).await;
        bench.driver.end("web", how);
        let state = bench.reported(generation, exited).await;
        assert!(format!("{state:?}").contains(kind), "{how:?}: {state:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_asks_the_guest_and_then_does_not_ask() {
    let mut bench = Bench::new(LONG_MS);
    let mut policy: Policy = bench.get(&Key::Policy).expect("a policy");
    policy.restart.shutdown_grace_ms = 300;
    bench.put(&Key::Policy, &policy);
    bench.start();
    for (generation, deaf) in [(1, false), (2, true)] {
        bench.run_vm(generation).await;
        bench.driver.calls();
        bench.driver.with(|state| state.deaf_guests = deaf);
        bench.owner(generation, Intent::Stop, Some("h1"), None);
        let state = bench.reported(generation, exited).await;
        let how = ExitKind::Stopped;
        assert_eq!(state, RunState::Exited { how });
        let calls = bench.driver.calls();
        assert_eq!(calls[0], format!("shutdown web {generation}"));
        assert_eq!(calls.len() > 1, deaf, "{calls:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_is_told_and_one_whose_image_is_held_is_tried_again() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    bench.spec();
    let refusals = |texts: &[&str]| {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        bench.driver.with(|state| state.refuse_create = texts);
    };
    // As libvirt says it of a disk that is not there.
    let missing = "Cannot access storage file '/s/web.qcow2': No such file or directory";
    refusals(&[missing]);
    bench.owner(1, Intent::Run, Some("h1"), None);
    let state = bench.reported(1, exited).await;
    let RunState::Exited {
        how: ExitKind::StartFailed { reason },
    } = state
    else {
        panic!("it cannot start: {state:?}");
    };
    assert!(reason.contains(missing), "{reason}");
    assert_eq!(bench.driver.calls(), ["create web 1"], "once");
    assert_eq!(bench.driver.of("web"), None, "nothing half done");
    refusals(&["a lock", "a lock", "a lock"]);
    bench.run_vm(2).await;
    assert_eq!(
        bench.driver.calls().len(),
        5,
        "three refusals, one that works, and the resume"
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_up_without_libvirt_takes_no_part_until_it_is_there() {
    let mut bench = Bench::new(LONG_MS);
    bench.driver.with(|state| state.unreachable = true);
    bench.start();
    let key = Key::HostSpec(name("h1"));
    super::bench::until("it is registered", || bench.get::<HostSpec>(&key)).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    // What may still run here cannot be known, so no life begins.
    assert_eq!(bench.session(), None);
    bench.driver.connected(true);
    bench.run_vm(1).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_libvirt_says_so_and_begins_nothing() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    bench.driver.connected(false);
    super::bench::until("the host's report", || {
        let report: HostReport = bench.get(&Key::HostReport(name("h1")))?;
        matches!(report.libvirt, LibvirtState::Unreachable { .. }).then_some(())
    })
    .await;
    bench.spec();
    bench.owner(1, Intent::Run, Some("h1"), None);
    let beat = bench.session().expect("a session").beat;
    super::bench::until("some heartbeats", || {
        (bench.session()?.beat > beat + 5).then_some(())
    })
    .await;
    assert_eq!(bench.driver.calls(), Vec::<String>::new());
    assert_eq!(bench.report(), None, "nothing was begun");
    bench.driver.connected(true);
    bench.reported(1, |state| *state == RunState::Running).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_without_a_guard() {
    let mut bench = Bench::without_guard(LONG_MS);
    bench.start();
    let session = bench.open_session().await;
    assert_eq!(session.guard, holdfast_model::host::GuardState::Absent);
    bench.spec();
    bench.owner(1, Intent::Run, Some("h1"), None);
    // Two more heartbeats: time enough to have begun.
    super::bench::until("two heartbeats", || {
        let now = bench.session()?;
        (now.beat > session.beat + 2).then_some(())
    })
    .await;
    assert_eq!(bench.driver.calls(), Vec::<String>::new());
    bench.start_guard();
    bench.reported(1, |state| *state == RunState::Running).await;
    let session = bench.session().expect("a session");
    assert_eq!(session.guard, holdfast_model::host::GuardState::Working);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_no_grant_covers_is_destroyed_and_an_unreadable_grant_is_left_alone() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    bench.driver.calls();
    let uuid = bench.driver.of("web").expect("a domain").uuid;
    assert_eq!(uuid.as_str(), UUID);
    bench.put(&Key::VmOwner(name("web")), &"written by a newer version");
    let beat = bench.session().expect("a session").beat;
    super::bench::until("some heartbeats", || {
        (bench.session()?.beat > beat + 5).then_some(())
    })
    .await;
    assert_eq!(bench.driver.calls(), Vec::<String>::new(), "it runs on");
    bench.owner(2, Intent::Run, Some("h2"), None);
    super::bench::until("it is destroyed", || {
        bench.driver.of("web").is_none().then_some(())
    })
    .await;
    assert_eq!(bench.driver.calls(), ["destroy web 1"]);
    super::bench::until("its report is removed", || {
        bench.report().is_none().then_some(())
    })
    .await;
    bench.stop().await;
}
