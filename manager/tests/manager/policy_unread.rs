//! A policy that stands in the store and that this version cannot read, or that is not safe: it is not taken for the
//! built-in one, nor replaced by who did not ask for that.

use crate::support::puppet::Puppet;
use crate::support::requests::{JSON, check_problem, one_manager};
use crate::support::{Manager, file, name, policy, put};
use holdfast_store::keyspace::{EVENTS, Key};
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a newer version wrote.
fn from_the_future() -> Value {
    json!({ "from_the_future": true })
}

fn stands(store: &MemoryStore) -> (i64, Value) {
    let item = store.get_now(&Key::Policy.path()).expect("a policy");
    let value = serde_json::from_slice(&item.value).expect("JSON");
    (item.revision.0, value)
}

fn body() -> Option<(&'static str, String)> {
    let text = serde_json::to_string(&policy()).expect("JSON");
    Some((JSON, text))
}

/// A manager that never could read it.
async fn never_read() -> (MemoryStore, Manager) {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &from_the_future());
    let manager = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    let told = |status: &Value| status["conditions"].to_string().contains("never could");
    manager.until("/status", "the condition", told).await;
    (store, manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_could_be_read_is_not_shown_as_the_built_in_one() {
    let (_store, manager) = never_read().await;
    let (_, status) = manager.get("/status").await;
    let conditions = status["conditions"].to_string();
    assert!(conditions.contains("policy-unreadable"), "{conditions}");
    assert!(!conditions.contains("no-policy"), "{conditions}");
    for path in ["/config", "/rto"] {
        let answer = manager.get(path).await;
        let says = "in etcd (/holdfast/v1/policy) cannot be read by manager m-a";
        check_problem(&answer, (500, "unreadable"), says);
    }
    for output in ["table", "json"] {
        let ran = manager.cli(&["config", "show", "-o", output]).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        let to_do = "Upgrade it, or ask a manager that can read it (--api)";
        assert!(ran.err.contains(to_do), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_not_read_is_replaced_only_if_that_is_asked_for() {
    let (store, manager) = never_read().await;
    let (revision, _) = stands(&store);
    let known = format!("/config?revision={revision}");
    for path in ["/config", "/config?dry_run", &known] {
        let refused = manager.ask("PUT", path, body()).await;
        check_problem(&refused, (409, "not-possible"), "--replace-unread");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(&dir, "policy.json", &body().expect("a body").1);
    let apply = async |more: &[&str]| {
        let args = [&["config", "apply", "-f", path.as_str()], more].concat();
        manager.cli(&args).await
    };
    let ran = apply(&[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err.contains("nothing was changed: the policy"),
        "{ran:?}"
    );
    let ran = apply(&["--replace-unread", "--revision", "1"]).await;
    assert_eq!(ran.code, 3, "another one was meant: {ran:?}");
    assert_eq!(
        stands(&store),
        (revision, from_the_future()),
        "nobody wrote"
    );
    let revision = revision.to_string();
    let ran = apply(&["--replace-unread", "--revision", &revision]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (_, config) = manager.get("/config").await;
    assert_eq!(config["policy"]["timing"]["profile"], "fast", "{config:#}");
    assert_eq!(config["unread"], Value::Null, "{config:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_read_before_is_shown_as_such_and_hides_no_newer_one() {
    let (store, manager) = one_manager().await;
    let (read, _) = stands(&store);
    put(&store, Key::Policy, &from_the_future());
    let (newer, _) = stands(&store);
    assert!(newer > read);
    let unread = |config: &Value| config["unread"]["revision"] == newer;
    let config = manager.until("/config", "the newer one", unread).await;
    assert_eq!(config["revision"], read, "{config:#}");
    assert_eq!(config["policy"]["timing"]["profile"], "fast", "{config:#}");
    let ran = manager.cli(&["config", "show"]).await;
    assert!(
        ran.code == 0 && ran.out.contains("profile = \"fast\""),
        "{ran:?}"
    );
    let told = ran.err.contains("read last, and not the newest") && ran.err.contains("m-a");
    assert!(told, "{ran:?}");
    let (_, status) = manager.get("/status").await;
    let goes_on = format!("goes on by the one before it (revision {read})");
    let conditions = status["conditions"].to_string();
    assert!(conditions.contains(&goes_on), "{conditions}");
    // As it was shown: that is neither what stands there nor unchanged.
    for path in ["/config".to_owned(), format!("/config?revision={read}")] {
        let refused = manager.ask("PUT", &path, body()).await;
        check_problem(&refused, (409, "not-possible"), "--replace-unread");
    }
    let path = format!("/config?replace_unread&revision={read}");
    let refused = manager.ask("PUT", &path, body()).await;
    check_problem(
        &refused,
        (409, "stale-revision"),
        &format!("revision {newer}"),
    );
    assert_eq!(stands(&store), (newer, from_the_future()), "nobody wrote");
    let path = format!("/config?replace_unread&revision={newer}");
    let (code, answer) = manager.ask("PUT", &path, body()).await;
    assert!(code == 200 && answer["changed"] == true, "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_requires_that_never_could_be_read_is_not_known() {
    let (store, manager) = never_read().await;
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("extension-required")
            && conditions.contains("which extensions the policy requires is not known")
    };
    manager.until("/status", "the condition", told).await;
    let manifest =
        json!({"name": "rule", "version": "1.0.0", "kind": "placement", "summary": "Test."});
    let installed = json!({"manifest": manifest, "digest": "d", "bytes": 1, "granted": {}, "then": "closed",
                           "by": "me", "at": 1});
    put(&store, Key::Extension(name("rule")), &installed);
    let there = |list: &Value| list.as_array().is_some_and(|all| all.len() == 1);
    manager.until("/extensions", "the extension", there).await;
    let refused = manager.ask("DELETE", "/extensions/rule", None).await;
    let says = "whether the policy requires extension rule is not known";
    check_problem(&refused, (409, "not-possible"), says);
}

/// What another tool wrote: hosts may need 2.5 s to stop their VMs.
fn too_short() -> Value {
    let mut policy = serde_json::to_value(policy()).expect("JSON");
    policy["timing"]["taker_wait_ms"] = json!(2_000);
    policy
}

#[tokio::test(flavor = "multi_thread")]
async fn by_one_that_is_not_safe_nothing_is_started() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &too_short());
    let manager = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    let _host = Puppet::start(&store, "a1", "a");
    let spec = json!({"name": "web", "uuid": "00000000-0000-4000-8000-000000000001",
                      "domain_xml": "<domain/>", "run": true, "memory_mib": 512, "vcpus": 1});
    put(&store, Key::VmSpec(name("web")), &spec);
    let told = |status: &Value| {
        let conditions = status["conditions"].as_array();
        let found = conditions.and_then(|all| all.iter().find(|c| c["code"] == "policy-unsafe"));
        let hosts = status["hosts"].as_array().is_some_and(|all| all.len() == 1);
        let text = found.map(|found| found["text"].to_string());
        let critical = found.is_some_and(|found| found["severity"] == "critical");
        let numbers = text.is_some_and(|text| {
            let short = text.contains("taker_wait_ms = 2000 is too short");
            short && text.contains("set taker_wait_ms to 2506 or more")
        });
        let planned = status["conditions"].to_string().contains("plan-refused");
        status["leader"].is_object() && hosts && critical && numbers && !planned
    };
    manager.until("/status", "the condition", told).await;
    let ran = manager.cli(&["config", "show"]).await;
    assert!(
        ran.code == 1 && ran.err.contains("is not followed: [timing] taker_wait_ms"),
        "{ran:?}"
    );
    let refused = manager.ask("PUT", "/config", body()).await;
    check_problem(&refused, (409, "not-possible"), "--replace-unread");
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(&dir, "policy.json", &body().expect("a body").1);
    let ran = manager
        .cli(&["config", "apply", "-f", &path, "--replace-unread"])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (safe, _) = stands(&store);
    let runs = |status: &Value| status["vms"][0]["state"] == "running";
    manager.until("/status", "web runs", runs).await;
    let owner = store.get_now(&Key::VmOwner(name("web")).path());
    let grant: Value = serde_json::from_slice(&owner.expect("an owner").value).expect("JSON");
    assert_eq!(grant["generation"], 1, "one grant: {grant:#}");
    let granted = events(&store, "vm-granted");
    assert!(
        granted.iter().all(|at| *at > safe) && granted.len() == 1,
        "granted at {granted:?}, and safe since {safe}"
    );
}

/// The revisions of the events of a kind.
fn events(store: &MemoryStore, kind: &str) -> Vec<i64> {
    let all = store.list_now(EVENTS);
    let of_kind = all.items.into_iter().filter(|item| {
        let event: Value = serde_json::from_slice(&item.value).expect("JSON");
        event["kind"] == kind
    });
    of_kind.map(|item| item.revision.0).collect()
}
