//! Versions of an extension: tried beside the installed one, promoted, rolled back. A real manager, real components,
//! the real command line.
#![cfg(feature = "extensions")]

use crate::support::guests::{guest, workshop};
use crate::support::rig::Rig;
use crate::support::{Manager, file};
use holdfast_manager::daemon::Means;
use holdfast_model::component::digest;
use holdfast_model::time::UnixMs;
use holdfast_store::components::{self, entries};
use holdfast_store::keyspace::Key;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

/// The extension that all of this is about.
pub const NAME: &str = "label-match";
pub const PATH: &str = "/extensions/label-match";

impl Rig {
    /// What the command line says when it has done it.
    pub async fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.cli(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out + &err
    }

    /// Another component, or the same, as a version of the one that all of this is about.
    pub fn version(&self, component: &str, version: &str, rights: &str) -> [String; 3] {
        let wasm = guest(component).join("component.wasm");
        let text = format!(
            "name = \"{NAME}\"\nversion = \"{version}\"\nkind = \"placement\"\nsummary = \"Test.\"\n\
             [limits]\ncpu_ms = 500\n{rights}"
        );
        let manifest = file(&self.dir, &format!("{version}.toml"), &text);
        [
            wasm.display().to_string(),
            "--manifest".to_owned(),
            manifest,
        ]
    }

    pub async fn install_version(&self, version: &[String; 3], more: &[&str]) -> String {
        let [wasm, word, manifest] = version;
        let first = ["ext", "install", wasm, word, manifest, "--yes"];
        self.done(&[&first[..], more].concat()).await
    }

    pub async fn installed_is(&self, version: &str) -> Value {
        let ready = |shown: &Value| {
            let here = &shown["managers"]["m-a"];
            shown["installed"]["manifest"]["version"] == version
                && here["state"] == "ready"
                && here["digest"] == shown["installed"]["digest"]
        };
        self.manager
            .until(PATH, &format!("{version} to be ready"), ready)
            .await
    }

    /// Waits until the shadow on this manager is as wanted.
    async fn shadow(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let shown = self
            .manager
            .until(PATH, what, |shown| {
                wanted(&shown["shadow"]["managers"]["m-a"])
            })
            .await;
        shown["shadow"]["managers"]["m-a"].clone()
    }

    async fn shadow_is_ready(&self) {
        let ready = |here: &Value| here["readiness"]["state"] == "ready";
        self.shadow("the shadow to be ready", ready).await;
    }

    pub async fn runs(&self, vm: &str) {
        let runs = |vm: &Value| vm["vm"]["state"] == "running";
        let path = format!("/vms/{vm}");
        self.manager.until(&path, "it to run", runs).await;
    }
}

pub const NEEDY: &str = "[labels]\nneeds = \"gpu\"\n";
pub const MAY_LOG: &str = "[rights]\nlog = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_asked_compared_and_not_heeded() {
    let rig = Rig::start().await;
    let other = rig.version("site-affinity", "0.2.0", MAY_LOG);
    let [wasm, word, manifest] = &other;
    let install = ["ext", "install", wasm, word, manifest, "--shadow", "--yes"];
    let (code, _, err) = rig.cli(&install).await;
    assert!(
        code != 0 && err.contains("there is nothing that a shadow could be compared with"),
        "{code}: {err}"
    );
    rig.install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    rig.installed_is("0.1.0").await;
    let told = rig.install_version(&other, &["--shadow"]).await;
    assert!(
        told.contains("try extension label-match 0.2.0 beside 0.1.0")
            && told.contains("it may newly: log"),
        "{told}"
    );
    rig.shadow_is_ready().await;

    // No host has the label: the installed one lets it go nowhere, its shadow would let it go everywhere.
    rig.vm("needy", 1, NEEDY).await;
    let differed = |here: &Value| here["counts"]["differed"].as_u64() > Some(0);
    let here = rig.shadow("a difference", differed).await;
    let counts = &here["counts"];
    assert_eq!(
        (&counts["agreed"], &counts["failed"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(counts["other_verdicts"], counts["differed"], "{here:#}");
    assert!(here["costs"]["calls"].as_u64() > Some(0), "{here:#}");
    let difference = &here["differences"][0];
    assert_eq!(difference["vm"], "needy", "{here:#}");
    let on_host = &difference["hosts"][0];
    assert_eq!(on_host["installed"]["verdict"], "may-not", "{here:#}");
    assert_eq!(on_host["installed"]["why"], "no label `gpu`");
    assert_eq!(
        (&on_host["shadow"]["verdict"], &on_host["shadow"]["place"]),
        (&json!("may"), &json!(1))
    );
    // It waits all the same, for the reason of the installed one.
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    let why = rig
        .manager
        .until("/why/vm/needy", "the words of the installed one", waits)
        .await;
    assert_eq!(why["vm"]["state"], "waiting", "{why:#}");
    let shown = rig.done(&["ext", "show", NAME]).await;
    for says in [
        "shadow      0.2.0",
        "may newly  log",
        "1 differed",
        "no label `gpu`; the shadow: may, place 1",
    ] {
        assert!(shown.contains(says), "{says}: {shown}");
    }

    // Another one in its place begins anew, and agrees: it is the same rule.
    let again = rig.version(NAME, "0.3.0", "");
    let told = rig.install_version(&again, &["--shadow"]).await;
    assert!(told.contains("in place of 0.2.0"), "{told}");
    let agreed = |here: &Value| here["counts"]["agreed"].as_u64() > Some(0);
    let here = rig.shadow("an agreement", agreed).await;
    assert_eq!(here["counts"]["differed"], 0, "{here:#}");
    let told = rig.install_version(&again, &["--shadow"]).await;
    assert!(told.contains("is a shadow already"), "{told}");

    let told = rig
        .done(&["ext", "remove", NAME, "--shadow", "--yes"])
        .await;
    assert!(told.contains("drop the shadow"), "{told}");
    let (_, shown) = rig.manager.get(PATH).await;
    assert!(shown["shadow"].is_null(), "{shown:#}");
    assert_eq!(shown["installed"]["manifest"]["version"], "0.1.0");
    let (code, _, err) = rig.cli(&["ext", "promote", NAME, "--yes"]).await;
    assert!(code != 0 && err.contains("has no shadow"), "{code}: {err}");
}

/// Whatever becomes of it, decisions go on as if it were not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_always_fails_rests_and_nobody_waits() {
    let rig = Rig::start().await;
    rig.install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    rig.installed_is("0.1.0").await;
    rig.install_version(&rig.version("bad-traps", "0.2.0", MAY_LOG), &["--shadow"])
        .await;
    rig.shadow_is_ready().await;
    for number in 1..=3 {
        let name = format!("vm{number}");
        rig.vm(&name, number, "").await;
        rig.runs(&name).await;
    }
    // What it was asked is read before how it stands: the last failure may be in one and not in the other yet.
    let rests = |here: &Value| {
        here["readiness"]["state"] == "resting" && here["counts"]["failed"].as_u64() >= Some(3)
    };
    let here = rig.shadow("it to rest", rests).await;
    let counts = &here["counts"];
    assert_eq!(
        (&counts["asked"], &counts["failed"]),
        (&json!(3), &json!(3))
    );
    assert!(here["readiness"]["why"].to_string().contains("it trapped"));
    // What it wrote is its own, and is no part of what managers tell each other.
    let wrote = rig.done(&["ext", "logs", NAME, "--shadow"]).await;
    assert!(wrote.contains("lib.rs"), "the panic's place: {wrote}");
    let wrote = rig.done(&["ext", "logs", NAME]).await;
    assert!(!wrote.contains("lib.rs"), "{wrote}");
    assert!(here["log"].is_null(), "{here:#}");
    let told = rig.manager.scrape().await;
    let labels = "{extension=\"label-match\",version=\"0.2.0\"";
    for (metric, value) in [
        (format!("ready{labels}}}"), 0.0),
        (format!("answers_total{labels},outcome=\"failed\"}}"), 3.0),
        (format!("answers_total{labels},outcome=\"agreed\"}}"), 0.0),
    ] {
        let series = format!("holdfast_extension_shadow_{metric}");
        assert_eq!(told.get(&series), Some(&value), "{series}: {told:#?}");
    }
    // That is no condition of the cluster: what is told of the extension is that of the installed version.
    let none = |status: &Value| {
        !status["conditions"]
            .to_string()
            .contains("extension-not-ready")
    };
    rig.manager.until("/status", "no condition", none).await;
    // What it is not asked while it rests is counted.
    rig.vm("more", 4, "").await;
    rig.runs("more").await;
    let skipped = |here: &Value| here["counts"]["skipped"].as_u64() > Some(0);
    rig.shadow("a skipped question", skipped).await;
    // And whoever promotes it is told.
    let told = rig.done(&["ext", "promote", NAME, "--dry-run"]).await;
    assert!(
        told.contains("would promote") && told.contains("3 were none"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_promoted_and_rolled_back_with_all_that_belongs_to_it() {
    let rig = Rig::start().await;
    let first = rig.version(NAME, "0.1.0", "");
    rig.install_version(&first, &["--cpu-ms", "300"]).await;
    rig.installed_is("0.1.0").await;
    let (code, _, err) = rig.cli(&["ext", "rollback", NAME, "--yes"]).await;
    assert!(
        code == 3 && err.contains("is not known: it is the first"),
        "{code}: {err}"
    );
    rig.vm("needy", 1, NEEDY).await;
    let second = rig.version("site-affinity", "0.2.0", MAY_LOG);
    rig.install_version(&second, &["--shadow", "--on-failure", "open"])
        .await;
    rig.shadow_is_ready().await;
    let trial = rig.done(&["ext", "promote", NAME, "--dry-run"]).await;
    for says in [
        "would promote the shadow of extension label-match: change it from 0.1.0 to 0.2.0",
        "it may newly: log",
        "its limit `cpu_ms` changes from 300 to 500",
        "placed without it (open)",
    ] {
        assert!(trial.contains(says), "{says}: {trial}");
    }
    let (code, _, err) = rig.cli(&["ext", "promote", NAME]).await;
    assert!(code == 2 && err.contains("--yes"), "{code}: {err}");
    let (_, shown) = rig.manager.get(PATH).await;
    assert_eq!(shown["installed"]["manifest"]["version"], "0.1.0");

    rig.done(&["ext", "promote", NAME, "--yes"]).await;
    let shown = rig.installed_is("0.2.0").await;
    assert!(shown["shadow"].is_null(), "{shown:#}");
    assert_eq!(shown["rights"], json!(["log"]));
    assert_eq!(shown["installed"]["before"]["manifest"]["version"], "0.1.0");
    // From now on it is heeded.
    rig.runs("needy").await;
    let text = rig.done(&["ext", "show", NAME]).await;
    assert!(text.contains("before      0.1.0"), "{text}");

    // An hour later somebody uploads something else: what nobody names goes, what one may go back to stays.
    let bytes = |path: &str| std::fs::read(path).expect("a component");
    let old = UnixMs(1);
    let unused = b"nobody uses this".to_vec();
    for wasm in [bytes(&first[0]), unused.clone()] {
        let stored = components::put(&rig.store, &digest(&wasm), &wasm, old).await;
        stored.expect("it is stored");
    }
    let other = "something else".to_owned();
    let path = format!("/components/{}", digest(other.as_bytes()));
    let body = Some(("application/wasm", other));
    let (code, answer) = rig.manager.ask("PUT", &path, body).await;
    assert_eq!(code, 200, "{answer:#}");
    let kept = entries(&rig.store).await.expect("an answer");
    let is_kept = |wasm: &[u8]| kept.iter().any(|entry| entry.digest == digest(wasm));
    assert!(
        !is_kept(&unused),
        "what nobody uses was forgotten: {kept:?}"
    );
    assert!(is_kept(&bytes(&first[0])), "the version before: {kept:?}");

    let trial = rig.done(&["ext", "rollback", NAME, "--dry-run"]).await;
    assert!(
        trial.contains("would go back with extension label-match from 0.2.0 to 0.1.0")
            && trial.contains("VMs wait (closed)"),
        "{trial}"
    );
    rig.done(&["ext", "rollback", NAME, "--yes"]).await;
    let shown = rig.installed_is("0.1.0").await;
    assert_eq!(shown["rights"], json!([]));
    assert_eq!(shown["installed"]["limits"]["cpu_ms"], 300);
    assert_eq!(
        (&shown["installed"]["then"], &shown["installed"]["by"]),
        (&json!("closed"), &json!("tester"))
    );
    rig.vm("late", 2, NEEDY).await;
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    rig.manager
        .until("/why/vm/late", "the rule before", waits)
        .await;
    // Back again; what it may newly is shown as in any other installation.
    let told = rig.done(&["ext", "rollback", NAME, "--yes"]).await;
    assert!(
        told.contains("from 0.1.0 to 0.2.0") && told.contains("it may newly: log"),
        "{told}"
    );
    rig.installed_is("0.2.0").await;
    rig.runs("late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_do_harm_twice_has_no_shadow() {
    let rig = Rig::start().await;
    for (name, says) in [
        ("redfish", "it would ask the devices a second time"),
        ("notifier", "it would tell everything twice"),
    ] {
        let dir = guest(name).display().to_string();
        rig.done(&["ext", "install", &dir, "--yes"]).await;
        let (code, _, err) = rig
            .cli(&["ext", "install", &dir, "--shadow", "--yes"])
            .await;
        assert!(code == 1 && err.contains(says), "{name}: {code}: {err}");
    }
    // Nor has one of another kind, or the very same.
    let fits = rig.version(NAME, "0.1.0", "");
    rig.install_version(&fits, &[]).await;
    let [wasm, word, manifest] = &fits;
    let install = ["ext", "install", wasm, word, manifest, "--shadow", "--yes"];
    let (code, _, err) = rig.cli(&install).await;
    assert!(
        code == 3 && err.contains("its shadow would say the same"),
        "{code}: {err}"
    );
    let kept = |path: &str| rig.store.get_now(path).is_some();
    for name in ["redfish", "notifier", NAME] {
        let name = crate::support::name(name);
        assert!(!kept(&Key::Shadow(name).path()));
    }
}

/// It goes with what it stands beside, and with its own promotion by another way.
#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_not_left_behind() {
    let rig = Rig::start().await;
    let is_there = || {
        let key = Key::Shadow(crate::support::name(NAME)).path();
        rig.store.get_now(&key).is_some()
    };
    let (first, second) = (
        rig.version(NAME, "0.1.0", ""),
        rig.version(NAME, "0.2.0", ""),
    );
    rig.install_version(&first, &[]).await;
    rig.install_version(&second, &["--shadow"]).await;
    assert!(is_there());
    rig.install_version(&second, &[]).await;
    assert!(!is_there(), "it is installed now");
    rig.install_version(&first, &["--shadow"]).await;
    assert!(is_there());
    rig.done(&["ext", "remove", NAME, "--yes"]).await;
    assert!(!is_there(), "nothing is beside it any more");
}

/// Another manager, at site b, that can run extensions or not.
pub async fn at_b(rig: &Rig, dir: &TempDir, can: bool) -> Manager {
    let means = Means {
        workshop: can.then(|| workshop(dir.path())),
        ..Means::default()
    };
    let store = Arc::new(rig.store.clone());
    Manager::with_means(store, ("lab", "m-b", "b"), means).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_goes_from_site_to_site() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = at_b(&rig, &dir, true).await;
    rig.install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    let both = |shown: &Value| {
        let digest = &shown["installed"]["digest"];
        ["m-a", "m-b"].iter().all(|manager| {
            let there = &shown["managers"][manager];
            there["state"] == "ready" && there["digest"] == *digest
        })
    };
    rig.manager.until(PATH, "both to be ready", both).await;
    let second = rig.version("site-affinity", "0.2.0", MAY_LOG);
    let told = rig.install_version(&second, &[]).await;
    assert!(
        told.contains("site b has it first; the others ask 0.1.0 until"),
        "{told}"
    );
    let everywhere = |shown: &Value| {
        let installed = &shown["installed"];
        installed["manifest"]["version"] == "0.2.0" && installed["rollout"].is_null()
    };
    rig.manager
        .until(PATH, "the rest to follow", everywhere)
        .await;
    let events = rig.done(&["events"]).await;
    assert!(
        events.contains("label-match 0.2.0 is ready there, and all sites have it now"),
        "{events}"
    );
    rig.manager.until(PATH, "both to be ready", both).await;
    // Back is everywhere at once: the others have it already.
    let told = rig.done(&["ext", "rollback", NAME, "--yes"]).await;
    assert!(!told.contains("has it first"), "{told}");
    let shown = rig.manager.until(PATH, "both to be ready", both).await;
    assert_eq!(shown["installed"]["manifest"]["version"], "0.1.0");
    other.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_first_site_cannot_the_rest_keeps_the_version_before() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = at_b(&rig, &dir, false).await;
    rig.install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    rig.installed_is("0.1.0").await;
    let failed = |shown: &Value| shown["managers"]["m-b"]["state"] == "failed";
    rig.manager.until(PATH, "m-b to tell", failed).await;
    let second = rig.version("site-affinity", "0.2.0", MAY_LOG);
    rig.install_version(&second, &[]).await;
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("version 0.2.0 cannot be asked by manager m-b at site b")
            && conditions.contains("so the other sites keep 0.1.0")
            && conditions.contains("holdfast ext rollback label-match")
    };
    rig.manager.until("/status", "the condition", told).await;
    // The version before is asked here.
    rig.vm("needy", 1, NEEDY).await;
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    rig.manager
        .until("/why/vm/needy", "the words of the one before", waits)
        .await;
    let (_, shown) = rig.manager.get(PATH).await;
    assert_eq!(shown["installed"]["rollout"]["first"], "b", "{shown:#}");
    let before = &shown["installed"]["before"]["digest"];
    assert_eq!(shown["managers"]["m-a"]["digest"], *before, "{shown:#}");
    let text = rig.done(&["ext", "show", NAME]).await;
    assert!(text.contains("rollout     site b has it first"), "{text}");
    // Whoever knows better has the rest follow.
    let told = rig.install_version(&second, &["--all-at-once"]).await;
    assert!(
        told.contains("have all sites use extension label-match 0.2.0"),
        "{told}"
    );
    let shown = rig.installed_is("0.2.0").await;
    assert!(shown["installed"]["rollout"].is_null(), "{shown:#}");
    assert_eq!(shown["installed"]["before"]["manifest"]["version"], "0.1.0");
    rig.runs("needy").await;
    other.stop().await.expect("a clean end");
}
