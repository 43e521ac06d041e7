//! The daemon on the in-memory store, with puppet hosts: election, failover, and starting up where
//! something is wrong.

use crate::support::{BOUND, Cluster, Manager, name, policy, put, shared};
use holdfast_manager::daemon::Shared;
use holdfast_manager::daemon::executor::{execute, prepare};
use holdfast_manager::daemon::fence::NoDevices;
use holdfast_model::host::ExitKind;
use holdfast_model::id::Revision;
use holdfast_model::plan::{Plan, Step, Write};
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_s_vms_run_elsewhere_and_the_timeline_tells_it() {
    let cluster = Cluster::start().await;
    cluster.run_vm("web", 1, "a").await;
    cluster.run_vm("db", 2, "a").await;
    let lost = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let lost = lost.as_str().expect("a host").to_owned();
    let generation = |answer: &serde_json::Value| answer["vm"]["generation"].as_u64();
    let before = generation(&cluster.until_vm("web", "running").await);

    cluster.host(&lost).power_off();
    let path = format!("/hosts/{lost}");
    let fenced = |host: &serde_json::Value| host["host"]["state"] == "fenced";
    let why = cluster
        .manager
        .until(&path, "the host to be fenced", fenced)
        .await;
    assert!(why.to_string().contains("lapsed"), "{why:#}");
    let moved = |answer: &serde_json::Value| {
        answer["vm"]["state"] == "running" && answer["vm"]["host"] != lost.as_str()
    };
    let after = cluster
        .manager
        .until("/vms/web", "web elsewhere", moved)
        .await;
    assert!(generation(&after) > before, "{after:#}");

    let over = |incident: &serde_json::Value| {
        incident["kind"] == "host-loss" && incident["duration_ms"].is_u64()
    };
    let incident = cluster
        .manager
        .until("/timeline/last", "the incident's end", over)
        .await;
    let lanes = incident["vms"].as_array().expect("lanes");
    let lane = lanes
        .iter()
        .find(|lane| lane["vm"] == "web")
        .expect("web was touched");
    let phases: Vec<&str> = lane["marks"]
        .as_array()
        .expect("marks")
        .iter()
        .filter_map(|m| m["phase"].as_str())
        .collect();
    assert_eq!(phases, ["lost", "proven", "granted", "running"], "{lane:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_vm_is_started_again() {
    let cluster = Cluster::start().await;
    cluster.run_vm("web", 1, "a").await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let how = ExitKind::Crashed {
        reason: "killed by a test".to_owned(),
    };
    cluster
        .host(host.as_str().expect("a host"))
        .end_vm("web", how);
    let again = |answer: &serde_json::Value| {
        answer["vm"]["generation"] == 2 && answer["vm"]["state"] == "running"
    };
    let answer = cluster
        .manager
        .until("/vms/web", "generation 2", again)
        .await;
    assert!(
        answer["vm"]["reason"]
            .to_string()
            .contains("killed by a test"),
        "{answer:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let one = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    one.until("/status", "m-a to lead", |status| {
        status["leader"]["name"] == "m-a"
    })
    .await;
    let two = Manager::start(Arc::new(store.clone()), "m-b", "b").await;
    two.until("/status", "m-b to see m-a", |status| {
        status["leader"]["name"] == "m-a"
    })
    .await;
    one.stop().await.expect("a clean end");
    let status = two
        .until("/status", "m-b to lead", |status| {
            status["leader"]["name"] == "m-b"
        })
        .await;
    assert!(status["leader"]["epoch"].as_i64() > Some(1), "{status:#}");
    let gone = |status: &serde_json::Value| {
        status["managers"]
            .as_array()
            .is_some_and(|managers| managers.len() == 1)
    };
    two.until("/status", "m-a's presence to be gone", gone)
        .await;
    two.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_s_etcd_ends_the_daemon_with_both_names() {
    let store = MemoryStore::new();
    put(
        &store,
        Key::Cluster,
        &name::<holdfast_model::id::ClusterName>("prod"),
    );
    let before = store.revision();
    let manager = Manager::of_cluster(Arc::new(store.clone()), "lab", "m-a", "a").await;
    let error = manager
        .end()
        .await
        .expect_err("it must not run")
        .to_string();
    assert!(
        error.contains("`lab`") && error.contains("`prod`"),
        "{error}"
    );
    assert!(error.contains("manager.toml"), "{error}");
    assert_eq!(store.revision(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_those_kept_are_removed_oldest_first() {
    let store = MemoryStore::new();
    let mut policy = policy();
    policy.budgets.events_kept = 20;
    put(&store, Key::Policy, &policy);
    for number in 0..50_u64 {
        let event = holdfast_model::event::Event {
            at: holdfast_model::time::UnixMs(number),
            actor: "test".to_owned(),
            kind: holdfast_model::event::EventKind::Note,
            host: None,
            site: None,
            vm: None,
            generation: None,
            text: format!("number {number}"),
        };
        put(
            &store,
            Key::Event(format!("{number:013}-test-000000")),
            &event,
        );
    }
    let manager = Manager::start(Arc::new(store), "m-a", "a").await;
    let few = |page: &serde_json::Value| {
        page["items"]
            .as_array()
            .is_some_and(|items| items.len() <= 21)
    };
    let page = manager.until("/events?limit=1000", "few events", few).await;
    let texts = page.to_string();
    assert!(
        texts.contains("number 49") && !texts.contains("number 10"),
        "{texts}"
    );
}

/// What the executor needs, on a store where this epoch leads.
fn executor(store: &MemoryStore) -> (Shared, Revision) {
    let record = serde_json::json!({"manager": "m-a", "site": "a", "life": "x"});
    put(store, Key::LeaderEpoch, &record);
    let epoch = store
        .get_now(&Key::LeaderEpoch.path())
        .expect("written")
        .revision;
    (shared(store, Arc::new(NoDevices)), epoch)
}

fn step(host: &str, expect: Option<Revision>) -> Step {
    let state = serde_json::json!({"membership": "online", "incarnation": "i", "boot_id": "b",
                                   "reason": "a test"});
    Step {
        writes: vec![Write::HostState {
            host: name(host),
            state: serde_json::from_value(state).expect("a state"),
            expect,
        }],
        events: Vec::new(),
        why: format!("{host} is online"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_step_does_not_hold_up_the_others() {
    let store = MemoryStore::new();
    let (shared, epoch) = executor(&store);
    // The second was decided on a record that is not there.
    let steps = vec![
        step("a1", None),
        step("a2", Some(Revision(1))),
        step("a3", None),
    ];
    let plan = Plan {
        steps,
        ..Plan::default()
    };
    let ready = prepare(&View::default(), &plan, epoch, &shared);
    let (_leads, seen) = watch::channel(Some(epoch));
    let executed = execute(&shared, ready, epoch, &seen).await;
    assert_eq!(
        (executed.done, executed.refused, executed.unknown),
        (2, 1, 0)
    );
    assert_eq!(executed.needs, store.revision());
    let there = |host: &str| store.get_now(&Key::HostState(name(host)).path()).is_some();
    assert!(there("a1") && !there("a2") && there("a3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_s_plan_is_dropped() {
    let store = MemoryStore::new();
    let (shared, epoch) = executor(&store);
    let plan = Plan {
        steps: vec![step("a1", None)],
        ..Plan::default()
    };
    // It knows: nothing is sent.
    let ready = prepare(&View::default(), &plan, epoch, &shared);
    let (leads, seen) = watch::channel(None);
    let before = store.revision();
    assert_eq!(execute(&shared, ready, epoch, &seen).await.unknown, 1);
    assert_eq!(store.revision(), before);
    // It does not know yet: the guard on the epoch refuses.
    leads.send_replace(Some(epoch));
    put(
        &store,
        Key::LeaderEpoch,
        &serde_json::json!({"manager": "m-b", "site": "b", "life": "y"}),
    );
    let ready = prepare(&View::default(), &plan, epoch, &shared);
    assert_eq!(execute(&shared, ready, epoch, &seen).await.refused, 1);
    assert!(store.get_now(&Key::HostState(name("a1")).path()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn errands_of_older_versions_do_not_stay_in_the_store() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let raw = |path: &str| {
        let ops = vec![TxnOp::Put(path.to_owned(), b"{}".to_vec())];
        let compares = Vec::new();
        store.txn_now(Txn { compares, ops });
    };
    let old = format!("{ROOT}errands/a1");
    // Of this version, if nobody can read it, and of one to come.
    let others = ["errands/a1/board", "errands/a1/board/2", "errand-book/a1"];
    let others = others.map(|path| format!("{ROOT}{path}"));
    raw(&old);
    others.iter().for_each(|path| raw(path));
    let manager = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    let poll = async {
        while store.get_now(&old).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(BOUND, poll).await;
    gone.expect("the leader removes it");
    for path in &others {
        assert!(store.get_now(path).is_some(), "{path} is not its business");
    }
    manager.stop().await.expect("a clean end");
}
