//! Sessions: what outlives what.

use super::bench::{Bench, name, until};
use crate::driver::Activity;
use crate::guard::reset_tests::fake_board;
use crate::guard::server::Server;
use holdfast_core::guardian::deadline::Phase;
use holdfast_model::host::{GuardState, RunState, Session, SessionState};
use holdfast_model::id::ClusterName;
use holdfast_model::policy::Policy;
use holdfast_model::vm::Intent;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::keyspace::Key;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

const LONG_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_stops_nothing_and_the_next_goes_on_with_its_life() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    let life = bench.open_session().await.incarnation;
    bench.driver.calls();
    bench.stop().await;
    let Phase::Armed(armed) = bench.guard_status().await.phase else {
        panic!("the guard must still be armed");
    };
    assert_eq!(armed.incarnation, life);
    let beat = bench.session().expect("a session").beat;
    bench.start();
    until("the session is renewed", || {
        (bench.session()?.beat > beat).then_some(())
    })
    .await;
    assert_eq!(bench.session().expect("a session").incarnation, life);
    // It obeys: the VM is known to it.
    bench.owner(1, Intent::Stop, Some("h1"), None);
    bench
        .reported(1, |state| matches!(state, RunState::Exited { .. }))
        .await;
    assert_eq!(
        bench.driver.calls(),
        ["shutdown web 1"],
        "nothing else was done to it"
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_domain_that_an_agent_left_behind_is_set_going_by_the_next() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    bench.stop().await;
    // As if it had ended between creating and resuming.
    let mut seen = bench.driver.of("web").expect("a domain");
    seen.activity = Activity::PausedOnRequest;
    seen.stamp.phase = crate::domain_xml::stamp::Phase::Created;
    bench.driver.with(|state| state.put(seen));
    bench.driver.calls();
    bench.start();
    until("it runs", || {
        let seen = bench.driver.of("web")?;
        (seen.activity == Activity::Running).then_some(())
    })
    .await;
    assert_eq!(bench.driver.calls(), ["resume web 1"]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_a_leader_closed_ends_everything_and_a_new_life_begins_clean() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    let old = bench.open_session().await;
    bench.driver.calls();
    let closed = Session {
        state: SessionState::Closed,
        ..old.clone()
    };
    bench.put(&Key::HostSession(name("h1")), &closed);
    let new = until("a new session", || {
        let session = bench.session()?;
        (session.incarnation != old.incarnation).then_some(session)
    })
    .await;
    assert_eq!(new.state, SessionState::Open);
    assert_eq!(
        bench.driver.of("web"),
        None,
        "the host is clean before that"
    );
    assert_eq!(bench.driver.calls(), ["destroy web 1"]);
    bench.run_vm(2).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stays_away_past_the_deadline_ends_this_life() {
    let mut bench = Bench::new(3_000);
    bench.start();
    bench.run_vm(1).await;
    let old = bench.open_session().await.incarnation;
    bench.driver.calls();
    bench.wire.cut(true);
    until("everything is stopped", || {
        bench.driver.of("web").is_none().then_some(())
    })
    .await;
    let Phase::Lapsed { incarnation, .. } = bench.guard_status().await.phase else {
        panic!("the guard ended it");
    };
    assert_eq!(incarnation, old);
    assert_eq!(bench.session().expect("a session").incarnation, old);
    bench.wire.cut(false);
    let new = until("a new session", || {
        let session = bench.session()?;
        (session.incarnation != old).then_some(session)
    })
    .await;
    assert_eq!(new.state, SessionState::Open);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_moment_costs_nothing() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.run_vm(1).await;
    let session = bench.open_session().await;
    bench.driver.calls();
    bench.wire.cut(true);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let beat = bench.session().expect("a session").beat;
    bench.wire.cut(false);
    until("the session is renewed", || {
        (bench.session()?.beat > beat).then_some(())
    })
    .await;
    let now = bench.session().expect("a session");
    assert_eq!(now.incarnation, session.incarnation);
    assert_eq!(bench.driver.calls(), Vec::<String>::new());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_take_part_says_why() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    let session = bench.open_session().await;
    bench.stop().await;
    let other = Session {
        machine_id: name("m2"),
        ..session.clone()
    };
    bench.put(&Key::HostSession(name("h1")), &other);
    bench.start();
    let error = bench.failure().await;
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("another machine"), "{error}");
    for says in ["m2", "name of its own", "host confirm-off h1"] {
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert_eq!(
        bench.session(),
        Some(other),
        "the other's session is left alone"
    );

    bench.put::<ClusterName>(&Key::Cluster, &name("c2"));
    bench.start();
    let error = bench.failure().await;
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("belongs to cluster `c2`"),
        "{error}"
    );

    bench.put::<ClusterName>(&Key::Cluster, &name("c1"));
    let mut policy = Policy::default();
    policy.timing.taker_wait_ms = Some(6_000);
    bench.put(&Key::Policy, &policy);
    bench.start();
    let error = bench.failure().await;
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("set taker_wait_ms to"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_machine_is_refused() {
    let mut first = Bench::new(LONG_MS);
    first.start();
    let session = first.open_session().await;
    let mut second = Bench::new(LONG_MS);
    second.wire = first.wire.clone();
    second.start();
    let error = second.failure().await;
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.to_string().contains("another agent renews"),
        "{error}"
    );
    assert!(
        error.to_string().contains("Stop the other agent"),
        "{error}"
    );
    let now = first.session().expect("a session");
    assert_eq!(now.incarnation, session.incarnation);
    // And in the same place it does not get as far.
    let mut third = Bench::new(LONG_MS);
    third.config = first.config.clone();
    third.start();
    let error = third.failure().await;
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("agent.lock"), "{error}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_waits_for_a_store_that_is_not_there_yet() {
    let mut bench = Bench::new(LONG_MS);
    bench.wire.cut(true);
    bench.start();
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(bench.session(), None);
    bench.wire.cut(false);
    bench.open_session().await;
    bench.wire.cut(true);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_no_cluster_s_yet_gets_nothing_written() {
    let mut bench = Bench::new(LONG_MS);
    let delete = |key: &Key| {
        let ops = vec![TxnOp::Delete(key.path())];
        let compares = Vec::new();
        bench.wire.store.txn_now(Txn { compares, ops });
    };
    delete(&Key::Cluster);
    let before = bench.wire.store.revision();
    bench.start();
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    assert_eq!(bench.wire.store.revision(), before, "two looks, no write");
    // Another cluster's manager is the first: this host stays out, and leaves no trace.
    bench.put::<ClusterName>(&Key::Cluster, &name("c2"));
    let named = bench.wire.store.revision();
    let error = bench.failure().await;
    assert_eq!(error.exit_code(), 2);
    let says = "configured for cluster `c1`, but etcd at http://127.0.0.1:1 belongs to cluster \
                `c2`; correct `cluster` or `endpoints` in host.toml";
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(bench.wire.store.revision(), named);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_never_declares_less_than_the_guard_enforces() {
    let mut bench = Bench::new(LONG_MS);
    bench.start();
    bench.open_session().await;
    for deadline_ms in [30_000, 90_000] {
        let mut policy: Policy = bench.get(&Key::Policy).expect("a policy");
        policy.timing.runner_deadline_ms = Some(deadline_ms);
        policy.timing.taker_wait_ms = Some(deadline_ms * 2);
        bench.put(&Key::Policy, &policy);
        until("both have the new bounds", || {
            let declared = bench.session()?.bounds.runner_deadline_ms;
            (declared == deadline_ms).then_some(())
        })
        .await;
        loop {
            let Phase::Armed(armed) = bench.guard_status().await.phase else {
                panic!("armed");
            };
            let next = armed.next_bounds.as_ref().map(|(_, bounds)| bounds);
            let enforced = armed.bounds.runner_deadline_ms;
            let enforced = next.map_or(enforced, |next| enforced.min(next.runner_deadline_ms));
            let declared = bench
                .session()
                .expect("a session")
                .bounds
                .runner_deadline_ms;
            assert!(enforced <= declared, "{enforced} > {declared}");
            if enforced == deadline_ms && next.is_none() {
                break;
            }
        }
    }
    bench.stop().await;
}

/// Between the agent and a guard: the first call that has this in it gets no answer.
fn swallow_once(bench: &Bench, marker: &'static str) {
    let mut behind = bench.config.clone();
    behind.guard.socket = bench.config.run_dir.join("behind.sock");
    let server = Server::start(&behind).expect("a guard");
    std::thread::spawn(move || server.run());
    let front = UnixListener::bind(&bench.config.guard.socket).expect("a socket");
    std::thread::spawn(move || {
        let mut swallowed = false;
        for agent in front.incoming() {
            let mut agent = agent.expect("a connection");
            let mut guard = UnixStream::connect(&behind.guard.socket).expect("the guard");
            let (mut answers, mut to_agent) = (
                guard.try_clone().expect("a socket"),
                agent.try_clone().expect("a socket"),
            );
            std::thread::spawn(move || std::io::copy(&mut answers, &mut to_agent));
            for line in BufReader::new(agent.try_clone().expect("a socket")).lines() {
                let Ok(line) = line else { break };
                if !swallowed && line.contains(marker) {
                    swallowed = true;
                    continue;
                }
                if guard.write_all((line + "\n").as_bytes()).is_err() {
                    break;
                }
            }
            let _ = agent.flush();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bounds_that_the_guard_did_not_answer_to_are_brought_in_with_a_later_heartbeat() {
    let mut bench = Bench::without_guard(LONG_MS);
    swallow_once(&bench, "\"runner_deadline_ms\":30000");
    bench.start();
    bench.open_session().await;
    let mut policy: Policy = bench.get(&Key::Policy).expect("a policy");
    policy.timing.runner_deadline_ms = Some(30_000);
    bench.put(&Key::Policy, &policy);
    until("they are declared", || {
        let declared = bench.session()?.bounds.runner_deadline_ms;
        (declared == 30_000).then_some(())
    })
    .await;
    bench.stop().await;
}

/// The policy counts on a reset within that time.
fn count_on_a_reset(bench: &Bench, watchdog_bound_ms: u64) {
    let mut policy: Policy = bench.get(&Key::Policy).expect("a policy");
    policy.timing.watchdog_bound_ms = Some(watchdog_bound_ms);
    policy.timing.taker_wait_ms = Some(LONG_MS * 2);
    bench.put(&Key::Policy, &policy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_declared_as_the_guards_watchdog_can_promise_it() {
    let mut bench = Bench::without_guard(LONG_MS);
    let server = Server::start_with(&bench.config, fake_board()).expect("a guard");
    std::thread::spawn(move || server.run());
    count_on_a_reset(&bench, 5_000);
    bench.start();
    let declared = bench.open_session().await.bounds.watchdog_bound_ms;
    assert_eq!(
        declared, 9_000,
        "the device takes longer than the policy says"
    );
    for (policy, wanted) in [(20_000, 20_000), (0, 0), (9_000, 9_000)] {
        count_on_a_reset(&bench, policy);
        until("it is declared", || {
            let declared = bench.session()?.bounds.watchdog_bound_ms;
            (declared == wanted).then_some(())
        })
        .await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_watchdog_no_reset_is_declared_and_the_guard_works_all_the_same() {
    let mut bench = Bench::new(LONG_MS);
    count_on_a_reset(&bench, 5_000);
    bench.start();
    let session = bench.open_session().await;
    assert_eq!(session.bounds.watchdog_bound_ms, 0);
    assert_eq!(session.guard, GuardState::Working);
    bench.stop().await;
}

/// Something listens and never answers: what a guard looks like that was stopped with SIGSTOP.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_stands_still_is_no_guard() {
    let mut bench = Bench::without_guard(LONG_MS);
    let silent = UnixListener::bind(&bench.config.guard.socket).expect("a socket");
    bench.start();
    let session = bench.open_session().await;
    assert_eq!(session.guard, GuardState::Absent);
    drop(silent);
    bench.start_guard();
    until("the guard is declared", || {
        (bench.session()?.guard == GuardState::Working).then_some(())
    })
    .await;
    bench.stop().await;
}
