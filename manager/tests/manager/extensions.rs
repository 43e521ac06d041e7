//! Extensions in a cluster: a real manager, real components, the real command line.
#![cfg(feature = "extensions")]

use crate::support::guests::{guest, workshop};
use crate::support::rig::Rig;
use crate::support::{Manager, file, put};
use holdfast_manager::daemon::Means;
use holdfast_model::component::digest;
use holdfast_model::extension::Installed;
use holdfast_store::components::{self, entries};
use holdfast_store::keyspace::Key;
use serde_json::Value;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_installed_heeded_explained_and_removed() {
    let rig = Rig::start().await;
    let (code, out, err) = rig.install("label-match", &[]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("install extension label-match"), "{out}");
    rig.ready("label-match").await;
    // No host has the label: it waits, and why says so.
    rig.vm("needy", 1, "[labels]\nneeds = \"gpu\"\n").await;
    let waits = |why: &Value| why.to_string().contains("extension label-match");
    rig.manager
        .until("/why/vm/needy", "the rule's words", waits)
        .await;
    let (_, shown, _) = rig.cli(&["ext", "show", "label-match"]).await;
    assert!(
        shown.contains("ready") && shown.contains("on failure  closed: VMs wait"),
        "{shown}"
    );
    let (_, list, _) = rig.cli(&["ext", "list"]).await;
    assert!(list.contains("1/1 managers"), "{list}");
    // Asked in a decision, its calls cost something, and that is told.
    let (_, answer) = rig.manager.get("/extensions/label-match").await;
    assert!(answer["costs"]["calls"].as_u64() > Some(0), "{answer:#}");
    let told = rig.manager.scrape().await;
    for (metric, least) in [
        ("ready", 1.0),
        ("calls_total", 1.0),
        ("call_cpu_p99_limit_ratio", 0.0),
    ] {
        let series = format!("holdfast_extension_{metric}{{extension=\"label-match\"}}");
        assert!(told.get(&series) >= Some(&least), "{series}: {told:#?}");
    }
    let (code, again, _) = rig.install("label-match", &[]).await;
    assert!(code == 0 && again.contains("nothing to do"), "{again}");
    // Without the rule it starts at once.
    let (code, _, err) = rig.cli(&["ext", "remove", "label-match", "--yes"]).await;
    assert_eq!(code, 0, "{err}");
    let runs = |status: &Value| status.to_string().contains("\"state\":\"running\"");
    rig.manager.until("/vms/needy", "it to run", runs).await;
    assert_eq!(rig.manager.get("/extensions/label-match").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_always_fails_rests_and_is_a_condition() {
    let rig = Rig::start().await;
    let (code, _, err) = rig.install("bad-traps", &["--on-failure", "open"]).await;
    assert_eq!(code, 0, "{err}");
    rig.ready("bad-traps").await;
    for number in 1..=3 {
        rig.vm(&format!("vm{number}"), number, "").await;
    }
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("extension-not-ready") && conditions.contains("failed too often")
    };
    let status = rig.manager.until("/status", "the condition", told).await;
    let told = rig.manager.scrape().await;
    for (metric, least) in [("breaker_open", 1.0), ("call_failures_total", 3.0)] {
        let series = format!("holdfast_extension_{metric}{{extension=\"bad-traps\"}}");
        assert!(told.get(&series) >= Some(&least), "{series}: {told:#?}");
    }
    // It is passed over, and that is told with each decision.
    let runs = |status: &Value| {
        let vms = status["vms"].as_array().map_or(0, Vec::len);
        let text = status["vms"].to_string();
        vms == 3 && text.matches("\"state\":\"running\"").count() == 3
    };
    rig.manager.until("/status", "all to run", runs).await;
    let (_, events, _) = rig.cli(&["events"]).await;
    assert!(
        events.contains("extension bad-traps: it trapped"),
        "{events}"
    );
    assert!(!status["conditions"].to_string().contains("plan-refused"));
    let (_, logs, _) = rig.cli(&["ext", "logs", "bad-traps"]).await;
    assert!(logs.contains("lib.rs"), "the panic's place: {logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_nothing_is_installed() {
    let rig = Rig::start().await;
    let toml = |text: &str| file(&rig.dir, "extension.toml", text);
    let manifest = |rights: &str| {
        format!(
            "name = \"x\"\nversion = \"1.0.0\"\nkind = \"placement\"\nsummary = \"Test.\"\n{rights}"
        )
    };
    let whole = std::fs::read(guest("label-match").join("component.wasm")).expect("a component");
    let cut = rig.dir.path().join("cut.wasm");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let cut = cut.display().to_string();
    let good = guest("label-match")
        .join("component.wasm")
        .display()
        .to_string();
    let storage = guest("bad-lies")
        .join("component.wasm")
        .display()
        .to_string();
    let cases = [
        (cut.as_str(), manifest(""), 1, "no WASM component"),
        (
            &good,
            manifest("[rights]\nhttp = { bmc = [\"GET /\"] }\n"),
            1,
            "cannot have `http`",
        ),
        (
            &good,
            manifest("[rights]\nstate = [\"hosts/\"]\n"),
            1,
            "cannot have `state`",
        ),
        (
            &good,
            manifest("[rights]\nlog = true\n"),
            1,
            "does not import `log`",
        ),
        (
            &good,
            manifest("colour = \"red\"\n"),
            1,
            "unknown key `colour`",
        ),
        (
            &good,
            manifest("").replace("1.0.0", "one"),
            1,
            "is not a version",
        ),
        (
            &storage,
            manifest("[rights]\nlog = true\n"),
            1,
            "the component is one for fencing",
        ),
    ];
    for (component, manifest, code, says) in cases {
        let manifest = toml(&manifest);
        let install = [
            "ext",
            "install",
            component,
            "--manifest",
            &manifest,
            "--yes",
        ];
        let (found, _, err) = rig.cli(&install).await;
        assert!(
            found == code && err.contains(says),
            "{says}: {found}, {err}"
        );
        assert_eq!(
            rig.manager.get("/extensions").await.1,
            serde_json::json!([]),
            "{says}"
        );
    }
    // Rights are not granted unasked.
    let affinity = guest("site-affinity").display().to_string();
    let (code, _, err) = rig.cli(&["ext", "install", &affinity]).await;
    assert!(code != 0 && err.contains("--yes"), "{code}: {err}");
    let (code, out, err) = rig.cli(&["ext", "install", &affinity, "--dry-run"]).await;
    assert!(
        code == 0 && out.contains("would install") && err.contains("it may newly: log"),
        "{out}{err}"
    );
    assert_eq!(
        rig.manager.get("/extensions").await.1,
        serde_json::json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_looks_at_a_component_and_stores_nothing() {
    let rig = Rig::start().await;
    let kept = || {
        let code = std::fs::read_dir(rig.dir.path().join("code")).expect("a directory");
        code.count()
    };
    for more in [&["--dry-run"][..], &["--dry-run", "--shadow"]] {
        let (code, out, err) = rig.install("label-match", more).await;
        let tried = match more {
            // There is none yet that it could be tried beside.
            [_, _] => code != 0 && err.contains("label-match"),
            _ => code == 0 && out.contains("would install"),
        };
        assert!(tried, "{more:?}: {out}{err}");
        let stored = entries(&rig.store).await.expect("an answer");
        assert_eq!((stored.len(), kept()), (0, 0), "{more:?}: {stored:?}");
    }
    // What does not fit is found out all the same.
    let wasm = file(&rig.dir, "no.wasm", "no component");
    let manifest = guest("label-match").join("extension.toml");
    let manifest = manifest.display().to_string();
    let install = [
        "ext",
        "install",
        &wasm,
        "--manifest",
        &manifest,
        "--dry-run",
    ];
    let (code, out, err) = rig.cli(&install).await;
    assert!(code == 1 && !err.contains("upload it first"), "{out}{err}");
    // It was handed over for one trial.
    let (code, _, err) = rig.install("label-match", &[]).await;
    assert_eq!(code, 0, "{err}");
    let stored = entries(&rig.store).await.expect("an answer");
    assert_eq!((stored.len(), kept()), (1, 1), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_starts_later_has_it_from_the_store() {
    let rig = Rig::start().await;
    let (code, _, err) = rig.install("site-affinity", &[]).await;
    assert_eq!(code, 0, "{err}");
    let dir = tempfile::tempdir().expect("a directory");
    let means = Means {
        workshop: Some(workshop(dir.path())),
        ..Means::default()
    };
    let store = Arc::new(rig.store.clone());
    let other = Manager::with_means(store, ("lab", "m-b", "b"), means).await;
    let ready = |shown: &Value| shown["managers"]["m-b"]["state"] == "ready";
    other
        .until("/extensions/site-affinity", "it to be ready", ready)
        .await;
    // The first hears of it by the other's presence.
    rig.manager
        .until("/extensions/site-affinity", "the other's word", ready)
        .await;
    other.stop().await.expect("a clean end");
}

/// What an upgrade cannot do on a machine, the version before does on.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_run_leaves_the_one_before_in_force() {
    let rig = Rig::start().await;
    let (code, _, err) = rig.install("label-match", &[]).await;
    assert_eq!(code, 0, "{err}");
    rig.ready("label-match").await;
    let (_, shown) = rig.manager.get("/extensions/label-match").await;
    let mut installed: Installed =
        serde_json::from_value(shown["installed"].clone()).expect("what is installed");
    let before = installed.digest.clone();
    // The API would refuse it: as if this manager alone could not compile it.
    let broken = b"no component";
    installed.digest = digest(broken);
    installed.manifest.version = "0.2.0".to_owned();
    components::put(&rig.store, &installed.digest, broken, installed.at)
        .await
        .expect("stored");
    put(
        &rig.store,
        Key::Extension(installed.manifest.name.clone()),
        &installed,
    );
    let told = |shown: &Value| {
        let here = &shown["managers"]["m-a"];
        here["state"] == "failed" && here["before"] == before.as_str()
    };
    rig.manager
        .until("/extensions/label-match", "the failure", told)
        .await;
    rig.vm("needy", 1, "[labels]\nneeds = \"gpu\"\n").await;
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    rig.manager
        .until("/why/vm/needy", "the words of the one before", waits)
        .await;
    let (_, list, _) = rig.cli(&["ext", "show", "label-match"]).await;
    assert!(list.contains("is asked on"), "{list}");
}

/// It is the hosts' to ask: managers look at it, tell what it means there, and show what hosts say of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_check_is_shown_as_hosts_tell_of_it() {
    let rig = Rig::start().await;
    let on_host = |there: Value| {
        serde_json::json!({"incarnation": "a1-1", "extensions": {"gluster-check": there},
                           "paths": ["storage"], "commands": ["client"]})
    };
    let key = || Key::HostExtensions(crate::support::name("a1"));
    put(&rig.store, key(), &on_host(serde_json::json!({})));
    let wanted = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("is to check the storage of host a1")
    };
    rig.manager
        .until("/status", "the host's wish", wanted)
        .await;
    let (code, out, err) = rig.install("gluster-check", &[]).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("it says how storage stands on a1"),
        "{out}{err}"
    );
    assert!(
        err.contains("[storage.commands] in host.toml of a1 has no heal"),
        "{err}"
    );
    let (_, shown) = rig.manager.get("/extensions/gluster-check").await;
    assert_eq!(
        shown["managers"],
        serde_json::json!({}),
        "managers do not ask it"
    );
    let digest = &shown["installed"]["digest"];
    let there = serde_json::json!({
        "readiness": {"state": "ready", "digest": digest},
        "costs": {"calls": 7, "failed": 1, "last_failure": "it trapped", "cpu_p50_us": 100, "cpu_p99_us": 3_000,
                  "cpu_p99_percent": 1, "memory_kib": 1_100, "memory_percent": 3},
        "log": [{"at": 1, "level": "warn", "text": "a brick is away"}],
    });
    put(&rig.store, key(), &on_host(there));
    let ready = |shown: &Value| shown["hosts"]["a1"]["readiness"]["state"] == "ready";
    rig.manager
        .until("/extensions/gluster-check", "the host's word", ready)
        .await;
    let (_, list, _) = rig.cli(&["ext", "list"]).await;
    assert!(
        list.contains("1/1 hosts") && list.contains("storage is unknown"),
        "{list}"
    );
    let (_, one, _) = rig.cli(&["ext", "show", "gluster-check"]).await;
    assert!(
        one.contains("a1          ready") && one.contains("7 calls, 1 without an answer"),
        "{one}"
    );
    let (_, logs, hint) = rig.cli(&["ext", "logs", "gluster-check"]).await;
    assert!(
        logs.contains("a1") && logs.contains("a brick is away"),
        "{logs}{hint}"
    );
    // What is tried beside it has lines of its own, as the host tells them.
    let mut tried: Installed =
        serde_json::from_value(shown["installed"].clone()).expect("what is installed");
    tried.digest = "another".to_owned();
    tried.manifest.version = "0.2.0".to_owned();
    put(
        &rig.store,
        Key::Shadow(crate::support::name("gluster-check")),
        &tried,
    );
    let there = serde_json::json!({
        "readiness": {"state": "ready", "digest": digest},
        "shadow": {
            "readiness": {"state": "ready", "digest": "another"}, "digest": "another",
            "log": [{"at": 2, "level": "error", "text": "a brick is too full"}],
        },
    });
    put(&rig.store, key(), &on_host(there));
    let told = |shown: &Value| shown["shadow"]["hosts"]["a1"]["log"].is_array();
    rig.manager
        .until("/extensions/gluster-check", "the shadow's words", told)
        .await;
    let (_, logs, hint) = rig.cli(&["ext", "logs", "gluster-check", "--shadow"]).await;
    assert!(
        logs.contains("a1") && logs.contains("a brick is too full"),
        "{logs}{hint}"
    );
    let (_, logs, _) = rig.cli(&["ext", "logs", "gluster-check"]).await;
    assert!(!logs.contains("too full"), "{logs}");
    let (code, _, err) = rig.cli(&["ext", "remove", "gluster-check", "--yes"]).await;
    assert!(
        code == 0 && err.contains("storage will be unknown on a1"),
        "{code}: {err}"
    );
}
