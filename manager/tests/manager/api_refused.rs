//! What the API refuses over real TCP on loopback, and with which words.

use crate::support::requests::{JSON, TOML, check_problem, one_manager, vm};
use crate::support::{Cluster, Manager, domain_xml};
use async_trait::async_trait;
use holdfast_model::id::Revision;
use holdfast_store::StoreError;
use holdfast_store::api::{Listing, Store, Txn, TxnOutcome, Voter, Watch};
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
            "[timing]\nheartbeat_s = 1\n",
            "did you mean `heartbeat_ms`? It is in milliseconds.",
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
    let applied = cluster.store.get_now(&Key::Policy.path());
    let revision = applied.expect("a policy").revision;
    let path = format!("/config?revision={}", revision.0 - 1);
    let answer = manager
        .ask(
            "PUT",
            &path,
            Some((TOML, "[[sites]]\nname = \"a\"\n".to_owned())),
        )
        .await;
    let says = format!("it is at revision {revision} now");
    check_problem(&answer, (409, "stale-revision"), &says);
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
