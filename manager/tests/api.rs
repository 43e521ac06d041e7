//! The API over real TCP on loopback: what it refuses, with which words; and what it does.

mod support;

use async_trait::async_trait;
use holdfast_model::host::ExitKind;
use holdfast_model::id::Revision;
use holdfast_store::StoreError;
use holdfast_store::api::{Listing, Store, Txn, TxnOutcome, Voter, Watch};
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Cluster, Manager, domain_xml, policy, put};

const JSON: &str = "application/json";
const TOML: &str = "application/toml";

fn vm(domain_xml: &str) -> Option<(&'static str, String)> {
    Some((JSON, json!({ "domain_xml": domain_xml }).to_string()))
}

/// It is a problem document with this status and code, whose detail says this.
fn check_problem((status, answer): &(u16, Value), wanted: (u16, &str), says: &str) {
    assert_eq!(
        (*status, answer["code"].as_str()),
        (wanted.0, Some(wanted.1)),
        "{answer:#}"
    );
    assert_eq!(answer["status"], wanted.0, "{answer:#}");
    let kind = answer["type"].as_str().unwrap_or_default();
    assert!(
        kind.ends_with(wanted.1) && answer["title"].is_string(),
        "{answer:#}"
    );
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "said {detail}\nnot  {says}");
}

async fn one_manager() -> (MemoryStore, Manager) {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let manager = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    manager
        .until("/status", "a leader", |status| status["leader"].is_object())
        .await;
    (store, manager)
}

/// Path, body, status and code, words.
type Refusal<'a> = (&'a str, Option<(&'a str, String)>, (u16, &'a str), &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn bad_vms_are_refused_and_change_nothing() {
    let (store, manager) = one_manager().await;
    let (status, answer) = manager
        .ask("PUT", "/vms/web", vm(&domain_xml("web", 1)))
        .await;
    assert_eq!(status, 200, "{answer:#}");
    let before = store.list_now("/holdfast/v1/vms/");

    let long = format!("/vms/{}", "x".repeat(300));
    let good = domain_xml("web2", 2);
    let cases: Vec<Refusal> = vec![
        (
            "/vms/web2",
            vm("<domain><name>web2"),
            (422, "invalid"),
            "line 1, column 19: it ends inside <name>",
        ),
        (
            "/vms/web2",
            vm("<domain>\n<name>web2</nam>"),
            (422, "invalid"),
            "line 2",
        ),
        (
            "/vms/web2",
            vm(&domain_xml("web2", 1)),
            (409, "duplicate"),
            "is that of VM web; give web2 one of its own",
        ),
        (
            "/vms/web",
            vm(&domain_xml("web", 9)),
            (422, "invalid"),
            "give it another name",
        ),
        (
            "/vms/web2",
            vm(&domain_xml("other", 2)),
            (422, "invalid"),
            "`web2`, its domain XML names it `other`",
        ),
        (
            "/vms/web%202",
            vm(&good),
            (400, "bad-name"),
            "has ' ' in it",
        ),
        (
            "/vms/web%2F2",
            vm(&good),
            (400, "bad-name"),
            "has '/' in it",
        ),
        (&long, vm(&good), (400, "bad-name"), "has 300 characters"),
        (
            "/vms/web2",
            Some((JSON, "{\"memory_mb\": 1}".into())),
            (422, "invalid"),
            "did you mean `memory_mib`?",
        ),
        (
            "/vms/web2",
            Some((TOML, "memory_mib = \"2 GiB\"".into())),
            (422, "invalid"),
            "write `memory_mib = 2048`",
        ),
        (
            "/vms/web2",
            Some((JSON, "{".into())),
            (422, "invalid"),
            "the body, line 1",
        ),
        (
            "/vms/web2",
            Some((
                JSON,
                json!({"domain_xml": good, "memory_mib": 0}).to_string(),
            )),
            (422, "invalid"),
            "`memory_mib` is 0",
        ),
        (
            "/vms/web2",
            Some((JSON, json!({"domain_xml": good, "vcpus": 0}).to_string())),
            (422, "invalid"),
            "`vcpus` is 0",
        ),
        (
            "/vms/web2",
            Some((
                JSON,
                json!({"domain_xml": good, "preferred_site": "w"}).to_string(),
            )),
            (422, "invalid"),
            "it is the witness",
        ),
        (
            "/vms/web2?revison=1",
            vm(&good),
            (400, "bad-request"),
            "did you mean `revision`?",
        ),
        (
            "/vms/web2?revision=1",
            vm(&good),
            (409, "stale-revision"),
            "it does not exist now",
        ),
        (
            "/vms/web?revision=1",
            vm(&domain_xml("web", 1)),
            (409, "stale-revision"),
            "read at revision 1",
        ),
    ];
    for (path, body, wanted, says) in cases {
        check_problem(&manager.ask("PUT", path, body).await, wanted, says);
    }
    assert_eq!(store.list_now("/holdfast/v1/vms/").items, before.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_revision_names_both_and_the_present_one_is_taken() {
    let (_store, manager) = one_manager().await;
    manager
        .ask("PUT", "/vms/web", vm(&domain_xml("web", 1)))
        .await;
    let (_, shown) = manager.get("/vms/web").await;
    let revision = shown["revision"].as_i64().expect("a revision");
    let body = || {
        Some((
            JSON,
            json!({"domain_xml": domain_xml("web", 1), "priority": 5}).to_string(),
        ))
    };
    let stale = manager
        .ask(
            "PUT",
            &format!("/vms/web?revision={}", revision - 1),
            body(),
        )
        .await;
    check_problem(
        &stale,
        (409, "stale-revision"),
        &format!("it is at revision {revision} now"),
    );
    assert_eq!(
        (&stale.1["yours"], &stale.1["current"]),
        (&json!(revision - 1), &json!(revision))
    );
    let (status, answer) = manager
        .ask("PUT", &format!("/vms/web?revision={revision}"), body())
        .await;
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!(true)),
        "{answer:#}"
    );
    let (_, answer) = manager.ask("PUT", "/vms/web", body()).await;
    assert_eq!(answer["changed"], false, "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_things_are_named_with_what_is_near() {
    let (_store, manager) = one_manager().await;
    manager
        .ask("PUT", "/vms/web1", vm(&domain_xml("web1", 1)))
        .await;
    for (method, path, wanted, says) in [
        (
            "GET",
            "/vms/wbe1",
            (404, "not-found"),
            "did you mean `web1`?",
        ),
        (
            "POST",
            "/vms/nothing/start",
            (404, "not-found"),
            "`holdfast vm list` shows them",
        ),
        (
            "GET",
            "/hosts/a1",
            (404, "not-found"),
            "there is no host `a1`",
        ),
        (
            "GET",
            "/sites/x",
            (404, "not-found"),
            "there is no site `x`",
        ),
        ("GET", "/timeline/last", (404, "not-found"), "no incident"),
        (
            "GET",
            "/why/vm/web1?not=a",
            (400, "bad-request"),
            "did you mean `not_on`?",
        ),
        ("GET", "/nothing", (404, "not-found"), "/v1/openapi.json"),
        (
            "POST",
            "/status",
            (405, "method-not-allowed"),
            "does not take POST",
        ),
        (
            "POST",
            "/vms/web1/start?dry_run=perhaps",
            (400, "bad-request"),
            "write `dry_run=true`",
        ),
        (
            "POST",
            "/vms/web1/move?to=b9",
            (404, "not-found"),
            "there is no host `b9`",
        ),
    ] {
        check_problem(&manager.ask(method, path, None).await, wanted, says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_policy_is_refused_and_a_good_one_warns() {
    let cluster = Cluster::start().await;
    let manager = &cluster.manager;
    for (text, says) in [
        (
            "[timing]\nheartbeat = 5\n",
            "line 2, column 1: unknown key `heartbeat`; did you mean `heartbeat_ms`?",
        ),
        (
            "[timing]\nheartbeat_ms = \"1s\"\n",
            "write `heartbeat_ms = 1000`",
        ),
        (
            "[timing]\ntaker_wait_ms = 100\n[[sites]]\nname=\"a\"\n",
            "taker_wait_ms = 100 is too short",
        ),
        (
            "[[sites]]\nname = \"a\"\n[[sites]]\nname = \"a\"\n",
            "names `a` twice",
        ),
        (
            "[[sites]]\nname = \"w\"\nwitness = true\n",
            "no site that can run VMs",
        ),
        (
            "[budgets]\nstarts_per_host = 0\n[[sites]]\nname=\"a\"\n",
            "starts_per_host is 0",
        ),
    ] {
        let answer = manager
            .ask("PUT", "/config", Some((TOML, text.to_owned())))
            .await;
        check_problem(&answer, (422, "invalid"), says);
    }
    let one_site = Some((TOML, "[[sites]]\nname = \"a\"\n".to_owned()));
    let (status, answer) = manager.ask("PUT", "/config?dry_run", one_site).await;
    assert_eq!(
        (status, &answer["dry_run"]),
        (200, &json!(true)),
        "{answer:#}"
    );
    assert!(
        answer["warnings"]
            .to_string()
            .contains("host b1 stands at site b"),
        "{answer:#}"
    );
    let (_, config) = manager.get("/config").await;
    assert_eq!(
        config["policy"]["sites"].as_array().map(Vec::len),
        Some(3),
        "{config:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_told_by_why() {
    let cluster = Cluster::start().await;
    for host in &cluster.hosts {
        host.fail_starts(
            "web",
            "Cannot access storage file '/srv/web.qcow2': No such file",
        );
    }
    let body = Some((
        JSON,
        json!({ "domain_xml": domain_xml("web", 1) }).to_string(),
    ));
    let (status, answer) = cluster.manager.ask("PUT", "/vms/web", body).await;
    assert_eq!(status, 200, "{answer:#}");
    let told = |why: &Value| why["because"].to_string().contains("/srv/web.qcow2");
    cluster
        .manager
        .until("/why/vm/web", "the failure's words", told)
        .await;
    let waiting = |status: &Value| status["conditions"].to_string().contains("vm-waiting");
    cluster
        .manager
        .until("/status", "the condition", waiting)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_stopped_started_moved_restarted_and_removed() {
    let cluster = Cluster::start().await;
    let manager = &cluster.manager;
    cluster.run_vm("web", 1, "a").await;
    let post = async |path: &str| {
        let (status, answer) = manager.ask("POST", path, None).await;
        assert_eq!(status, 200, "{path}: {answer:#}");
        answer
    };

    let trial = post("/vms/web/move?to=b1&dry_run").await;
    assert!(
        trial["would"].to_string().contains("web moves live"),
        "{trial:#}"
    );
    post("/vms/web/move?to=b1").await;
    let there = |answer: &Value| answer["vm"]["host"] == "b1" && answer["vm"]["state"] == "running";
    manager.until("/vms/web", "web on b1", there).await;
    assert_eq!(post("/vms/web/move?to=b1").await["changed"], false);

    let generation = |answer: &Value| answer["vm"]["generation"].as_u64();
    let before = generation(&manager.get("/vms/web").await.1);
    post("/vms/web/restart").await;
    let again = |answer: &Value| generation(answer) > before && answer["vm"]["state"] == "running";
    manager.until("/vms/web", "web restarted", again).await;

    post("/vms/web/stop").await;
    cluster.until_vm("web", "stopped").await;
    for verb in ["restart", "move"] {
        let answer = manager.ask("POST", &format!("/vms/web/{verb}"), None).await;
        check_problem(
            &answer,
            (409, "not-possible"),
            "start it with `holdfast vm start web`",
        );
    }
    assert_eq!(post("/vms/web/stop").await["changed"], false);
    post("/vms/web/start").await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();

    // A guest that shut itself down rests until somebody starts it.
    cluster
        .host(host.as_str().expect("a host"))
        .end_vm("web", ExitKind::GuestShutdown);
    cluster.until_vm("web", "stopped").await;
    assert_eq!(post("/vms/web/start").await["changed"], true);
    cluster.until_vm("web", "running").await;

    let (status, answer) = manager.ask("DELETE", "/vms/web", None).await;
    assert_eq!(status, 200, "{answer:#}");
    let gone = |answer: &Value| answer["code"] == "not-found";
    manager.until("/vms/web", "web to be gone", gone).await;
    assert!(
        cluster
            .store
            .get_now("/holdfast/v1/uuids/00000000-0000-4000-8000-000000000001")
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_site_gives_its_vms_away_and_why_says_so() {
    let cluster = Cluster::start().await;
    let manager = &cluster.manager;
    cluster.run_vm("web", 1, "a").await;
    let (status, answer) = manager.ask("POST", "/sites/a/drain", None).await;
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!(true)),
        "{answer:#}"
    );
    let away = |answer: &Value| answer["vm"]["site"] == "b" && answer["vm"]["state"] == "running";
    manager.until("/vms/web", "web at site b", away).await;
    let why = manager.get("/why/vm/web?not_on=a1").await.1;
    assert_eq!(why["not_on"]["possible"], false, "{why:#}");
    assert!(
        why["not_on"]["reason"].to_string().contains("maintenance"),
        "{why:#}"
    );
    let refused = manager.ask("POST", "/vms/web/move?to=a1", None).await;
    check_problem(&refused, (409, "not-possible"), "in maintenance");
    manager.ask("POST", "/sites/a/resume", None).await;
    let online = |host: &Value| host["host"]["state"] == "online";
    manager.until("/hosts/a1", "a1 online", online).await;
    let why = manager.get("/why/vm/web?not_on=a1").await.1;
    assert_eq!(why["not_on"]["possible"], true, "{why:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_host_cannot_be_confirmed_off_or_forgotten() {
    let cluster = Cluster::start().await;
    let manager = &cluster.manager;
    cluster.run_vm("web", 1, "a").await;
    let alive = manager.ask("POST", "/hosts/b1/confirm-off", None).await;
    check_problem(&alive, (409, "not-possible"), "so it is not off");
    let alive = manager.ask("POST", "/hosts/b1/forget", None).await;
    check_problem(&alive, (409, "not-possible"), "has an open session");
    cluster.host("b1").power_off();
    let fenced = |host: &Value| host["host"]["state"] == "fenced";
    manager.until("/hosts/b1", "b1 fenced", fenced).await;
    let (status, answer) = manager.ask("POST", "/hosts/b1/forget", None).await;
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(manager.get("/hosts/b1").await.0, 404);
    assert!(
        cluster
            .store
            .list_now("/holdfast/v1/hosts/b1/")
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let cluster = Cluster::start().await;
    let (_, first) = cluster.manager.get("/hosts?limit=3").await;
    assert_eq!(
        first["items"].as_array().map(Vec::len),
        Some(3),
        "{first:#}"
    );
    let next = first["next"].as_str().expect("a next page");
    let (_, rest) = cluster
        .manager
        .get(&format!("/hosts?limit=3&after={next}"))
        .await;
    assert_eq!(
        (rest["items"][0]["name"].as_str(), &rest["next"]),
        (Some("b2"), &Value::Null)
    );
}

/// A store that can be shut.
struct Gate {
    inner: MemoryStore,
    open: Arc<AtomicBool>,
}

impl Gate {
    fn check(&self) -> Result<(), StoreError> {
        if self.open.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            tried: "http://192.0.2.1:2379".to_owned(),
            reason: "connection refused".to_owned(),
        })
    }
}

#[async_trait]
impl Store for Gate {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.check()?;
        self.inner.list(prefix).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.check()?;
        self.inner.txn(txn).await
    }
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.check()?;
        self.inner.watch(prefix, after).await
    }
    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        self.check()?;
        self.inner.voters().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_etcd_the_api_says_so_and_what_to_do_until_it_is_there() {
    let open = Arc::new(AtomicBool::new(false));
    let store = Gate {
        inner: MemoryStore::new(),
        open: open.clone(),
    };
    let manager = Manager::start(Arc::new(store), "m-a", "a").await;
    let told = |answer: &Value| {
        answer["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("192.0.2.1"))
    };
    manager
        .until("/status", "the endpoint to be named", told)
        .await;
    let answer = manager.get("/status").await;
    check_problem(
        &answer,
        (503, "no-quorum"),
        "start etcd's members, or correct [etcd] endpoints",
    );
    let answer = manager.ask("POST", "/vms/web/start", None).await;
    check_problem(&answer, (503, "no-quorum"), "It keeps trying");
    assert_eq!(manager.get("/health").await.1["fresh"], false);

    open.store(true, Ordering::SeqCst);
    manager
        .until("/status", "a leader", |status| status["leader"].is_object())
        .await;

    // Lost again while it runs: reads go on, with a condition; writes say that nothing happened.
    open.store(false, Ordering::SeqCst);
    let critical = |status: &Value| status["conditions"].to_string().contains("no-quorum");
    let status = manager.until("/status", "the condition", critical).await;
    assert_eq!(status["quorum"]["healthy"], false, "{status:#}");
    let answer = manager
        .ask("PUT", "/vms/web", vm(&domain_xml("web", 1)))
        .await;
    check_problem(&answer, (503, "no-quorum"), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_has_every_route_and_no_other() {
    let (_store, manager) = one_manager().await;
    let (status, document) = manager.get("/openapi.json").await;
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().expect("paths");
    let told: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, verbs)| {
            let verbs = verbs.as_object().expect("verbs");
            verbs.keys().map(move |verb| format!("{verb} {path}"))
        })
        .collect();
    // The routes as they are written, one `.route("/path", verb(handler).verb(handler))` each.
    let source: String = include_str!("../src/api/mod.rs")
        .split_whitespace()
        .collect();
    let mut served = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').expect("a closed path");
        let handlers = &rest[..rest.find("))").map_or(rest.len(), |end| end + 1)];
        for verb in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!("{verb}(")) {
                served.insert(format!("{verb} /v1{path}"));
            }
        }
    }
    assert!(served.len() > 25, "{served:?}");
    assert_eq!(told, served);
}
