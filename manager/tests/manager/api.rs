//! What the API does, over real TCP on loopback, with puppet hosts.

use crate::support::requests::{JSON, check_problem, one_manager};
use crate::support::{Cluster, Manager, cli, domain_xml, name, policy, put};
use holdfast_manager::daemon::Means;
use holdfast_manager::requests::{
    Ended, ProgramEnd, ProgramRun, RequestCounts, Requested, Requests,
};
use holdfast_model::asking::HostAsks;
use holdfast_model::host::ExitKind;
use holdfast_model::requests::Newest;
use holdfast_model::time::UnixMs;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    // A disk that is not there is known to the host alone: in its words, with what to do.
    let told = |why: &Value| {
        let because = why["because"].to_string();
        because.contains("Cannot access storage file '/srv/web.qcow2': No such file")
            && because.contains("Mend what the host names, or the VM with `holdfast vm apply")
    };
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
async fn a_host_without_libvirt_is_told_and_gets_no_vm() {
    let cluster = Cluster::start().await;
    let manager = &cluster.manager;
    let key = Key::HostReport(name("a1"));
    let there = cluster.store.get_now(&key.path()).expect("a report");
    let mut report: Value = serde_json::from_slice(&there.value).expect("JSON");
    let reason = "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file";
    report["libvirt"] = json!({"state": "unreachable", "reason": reason});
    put(&cluster.store, key, &report);
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("libvirt-unreachable")
            && conditions.contains(&format!("libvirt on host a1 does not answer ({reason})"))
            && conditions.contains("Restart libvirtd there")
    };
    manager.until("/status", "the condition", told).await;
    cluster.run_vm("web", 1, "a").await;
    let (_, why) = manager.get("/why/vm/web?not_on=a1").await;
    assert_eq!(why["vm"]["host"], "a2", "{why:#}");
    let not_on = why["not_on"]["reason"].as_str().unwrap_or_default();
    assert!(not_on.contains("libvirt does not answer there"), "{why:#}");
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

/// What was sent from one manager.
struct Sent(Requested);

impl Requests for Sent {
    fn newest(&self) -> Vec<Requested> {
        vec![self.0.clone()]
    }

    fn programs(&self) -> Vec<ProgramRun> {
        let Requested { at, about, .. } = self.0.clone();
        vec![ProgramRun {
            at: UnixMs(at.0 + 2),
            about,
            extension: "fence-agents".parse().ok(),
            program: "fence_x".parse().expect("a name"),
            action: "status".to_owned(),
            arguments: vec![format!("plug=a{at}", at = at.0)],
            outcome: ProgramEnd::Exited { exit_code: 2 },
            ended_at: None,
            took_ms: Some(812),
        }]
    }

    fn counts(&self) -> RequestCounts {
        RequestCounts::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_managers_are_asked_for_what_they_have_sent() {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let requested = |id: &str, at: u64| Requested {
        at: UnixMs(at),
        about: "fencing of a1".to_owned(),
        target: "a1-board".to_owned(),
        place: "https://192.0.2.111:443".to_owned(),
        method: "POST".to_owned(),
        path: format!("/off-by-{id}"),
        outcome: Ended::Answered { status: 204 },
        ended_at: None,
    };
    let start = async |id: &str, site: &str, at: u64| {
        let means = Means {
            requests: Some(Arc::new(Sent(requested(id, at)))),
            ..Means::default()
        };
        Manager::with_means(Arc::new(store.clone()), ("lab", id, site), means).await
    };
    let (one, _two) = (start("m-a", "a", 2).await, start("m-b", "b", 1).await);
    let asks = HostAsks {
        incarnation: "i1".parse().expect("a name"),
        life: "1".to_owned(),
        means: Default::default(),
        newest: Newest::of(Vec::new(), Sent(requested("agent", 5)).programs()),
    };
    put(&store, Key::HostAsks("a2".parse().expect("a name")), &asks);
    let knows = |here: &Value| here["others"]["m-b"].is_string() && here["hosts"]["a2"].is_object();
    one.until("/requests", "it to know the other", knows).await;
    // Only one of them is named, and both tell: the earlier one first.
    let ran = one.cli(&["ext", "requests"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.contains("/off-by"))
        .collect();
    let by = |line: &str, id: &str| line.contains(id) && line.contains(&format!("/off-by-{id}"));
    assert!(
        lines.len() == 2 && by(lines[0], "m-b") && by(lines[1], "m-a"),
        "{}",
        ran.out
    );
    // Programs are in the same table, in the order of time.
    let mut from_last = ran.out.trim_end().lines().rev();
    for (by, arguments) in [("agent of a2", "plug=a5"), ("m-a", "plug=a2")] {
        let line = from_last.next().unwrap_or_default();
        for part in [by, "fence_x", "status", arguments, "exit code 2 in 812 ms"] {
            assert!(line.contains(part), "{part}: {}", ran.out);
        }
    }
    // One that is away is told.
    let api = format!("{},http://127.0.0.1:1", one.url);
    let ran = cli(&api, &["ext", "requests", "-o", "json"]).await;
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["managers"], json!(["m-a", "m-b"]), "{told:#}");
    assert_eq!(
        told["silent"][0]["manager"], "http://127.0.0.1:1",
        "{told:#}"
    );
    assert_eq!(told["requests"][0]["manager"], "m-b", "{told:#}");
    let program = &told["programs"][1];
    assert_eq!(program["manager"], "m-a", "{told:#}");
    assert_eq!(program["extension"], "fence-agents", "{told:#}");
    assert_eq!(program["outcome"]["exit_code"], 2, "{told:#}");
    // Told by both managers, and shown once.
    assert_eq!(
        told["programs"].as_array().map(Vec::len),
        Some(3),
        "{told:#}"
    );
    assert_eq!(told["programs"][2]["host"], "a2", "{told:#}");
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
    let source: String = include_str!("../../src/api/mod.rs")
        .split_whitespace()
        .collect();
    let mut served = BTreeSet::new();
    for route in source.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').expect("a closed path");
        let handlers = &rest[..rest.find("))").map_or(rest.len(), |end| end + 1)];
        for verb in ["get", "post", "put", "delete"] {
            if handlers.contains(&format!("{verb}(")) {
                let under = if path == "/metrics" { "" } else { "/v1" };
                served.insert(format!("{verb} {under}{path}"));
            }
        }
    }
    assert!(served.len() > 25, "{served:?}");
    assert_eq!(told, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_only_its_session_will_protect_is_told_so_when_it_is_applied() {
    let (store, manager) = one_manager().await;
    let apply = async |path: &str| {
        let body = json!({ "domain_xml": domain_xml("web", 1) }).to_string();
        let (status, answer) = manager.ask("PUT", path, Some((JSON, body))).await;
        assert_eq!(status, 200, "{answer:#}");
        answer["warnings"].to_string()
    };
    let says =
        "web will have no storage lease. An etcd that does not answer for 2 s stops such a VM";
    let told = apply("/vms/web?dry_run").await;
    assert!(told.contains(says), "{told}");
    assert!(
        apply("/vms/web").await.contains(says),
        "and when it is done"
    );
    let mut patient = policy();
    patient.timing.profile = holdfast_model::timing::Profile::Patient;
    put(&store, Key::Policy, &patient);
    let followed = |config: &Value| config["policy"]["timing"]["profile"] == "patient";
    manager.until("/config", "the policy", followed).await;
    let body = json!({ "domain_xml": domain_xml("db", 2) }).to_string();
    let (status, answer) = manager
        .ask("PUT", "/vms/db?dry_run", Some((JSON, body)))
        .await;
    let told = answer["warnings"].to_string();
    assert!(
        status == 200 && !told.contains("storage lease"),
        "{answer:#}"
    );
}
