//! What extensions were asked in decisions: kept by the leader, fetched, asked again of other versions; and their logs,
//! wherever they ran. Real managers, real components, the real command line.
#![cfg(feature = "extensions")]

use crate::support::guests::{guest, workshop};
use crate::support::rig::Rig;
use crate::support::{Manager, cli, file};
use holdfast_manager::daemon::Means;
use serde_json::Value;
use std::sync::Arc;

const PATH: &str = "/extensions/label-match/decisions";
const NEEDY: &str = "[labels]\nneeds = \"gpu\"\n";

/// A component with time enough on a machine that is busy with other tests.
fn patient(rig: &Rig, component: &str) -> [String; 3] {
    let text = std::fs::read_to_string(guest(component).join("extension.toml"));
    let text = text.expect("a manifest");
    let limits = "cpu_ms = 500\nwall_ms = 60000\n";
    let text = match text.contains("[limits]") {
        true => text.replace("[limits]\n", &format!("[limits]\n{limits}")),
        false => format!("{text}\n[limits]\n{limits}"),
    };
    let manifest = file(&rig.dir, &format!("{component}.toml"), &text);
    let wasm = guest(component).join("component.wasm");
    [
        wasm.display().to_string(),
        "--manifest".to_owned(),
        manifest,
    ]
}

async fn install(rig: &Rig, component: &str) {
    let [wasm, word, manifest] = patient(rig, component);
    let install = ["ext", "install", &wasm, &word, &manifest, "--yes"];
    let (code, out, err) = rig.cli(&install).await;
    assert_eq!(code, 0, "{out}{err}");
    rig.ready(component).await;
}

/// A manager at site b, beside the one that leads.
async fn other(rig: &Rig, dir: &tempfile::TempDir) -> Manager {
    let means = Means {
        workshop: Some(workshop(dir.path())),
        ..Means::default()
    };
    let store = Arc::new(rig.store.clone());
    Manager::with_means(store, ("lab", "m-b", "b"), means).await
}

/// Asks a component what is in this file.
async fn replay(rig: &Rig, component: &str, file: &str, more: &[&str]) -> (i32, String, String) {
    let [wasm, word, manifest] = patient(rig, component);
    let replay = [
        "ext",
        "replay",
        &wasm,
        &word,
        &manifest,
        "--decisions",
        file,
    ];
    rig.cli(&[&replay[..], more].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_asked_is_kept_and_asked_again() {
    let rig = Rig::start().await;
    install(&rig, "label-match").await;
    let (code, out, err) = rig.cli(&["ext", "decisions", "label-match"]).await;
    assert!(
        code == 0 && out.is_empty() && err.contains("was asked in no decision of m-a"),
        "{code}: {out}{err}"
    );
    rig.vm("free", 1, "").await;
    rig.vm("needy", 2, NEEDY).await;
    // It waits, and is asked about again and again: one decision, counted.
    let about = |told: &Value, vm: &str| -> Vec<Value> {
        let all = told["decisions"].as_array().cloned().unwrap_or_default();
        let ours = all.into_iter();
        ours.filter(|each| each["question"]["vm"]["name"] == vm)
            .collect()
    };
    let again = |told: &Value| {
        let needy = about(told, "needy");
        let times = needy.last().and_then(|each| each["times"].as_u64());
        times > Some(1) && !about(told, "free").is_empty()
    };
    let told = rig.manager.until(PATH, "it to be asked again", again).await;
    let needy = about(&told, "needy").pop().expect("a decision");
    let advice = &needy["advice"][0];
    assert_eq!(advice["extension"], "label-match", "{told:#}");
    let refusals = &advice["said"]["refusals"];
    assert_eq!(refusals[0], "no label `gpu`", "{told:#}");
    assert_eq!(needy["question"]["vm"]["labels"]["needs"], "gpu");
    let hosts = needy["question"]["candidates"].as_array();
    assert_eq!(hosts.map(Vec::len), Some(2), "{told:#}");
    assert!(needy["since"].as_u64() < needy["at"].as_u64(), "{needy:#}");

    let (code, out, err) = rig.cli(&["ext", "decisions", "label-match"]).await;
    assert!(
        code == 0 && out.contains("not: a1, a2") && out.contains("may: a1, a2"),
        "{code}: {out}{err}"
    );
    // By whichever manager is asked. That has decided nothing itself: what it tried, when it was asked why, is none.
    let dir = tempfile::tempdir().expect("a directory");
    let other = other(&rig, &dir).await;
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    other.until("/why/vm/needy", "its own trial", waits).await;
    let (_, own) = other.get(PATH).await;
    assert_eq!(own["decisions"], serde_json::json!([]), "{own:#}");
    assert!(own["others"]["m-a"].is_string(), "{own:#}");
    let ran = other
        .cli(&["ext", "decisions", "label-match", "-o", "json"])
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["managers"][0]["manager"], "m-a", "{told:#}");
    assert_eq!(told["managers"][1]["manager"], "m-b", "{told:#}");
    assert_eq!(told["decisions"][0]["manager"], "m-a", "{told:#}");
    let decisions = file(&rig.dir, "decisions.json", &ran.out);
    other.stop().await.expect("a clean end");

    let (code, out, err) = replay(&rig, "label-match", &decisions, &[]).await;
    assert!(
        code == 0 && out.contains("; 0 different; 0 without an answer"),
        "the same rule: {code}: {out}{err}"
    );
    let (code, _, err) = replay(&rig, "site-affinity", &decisions, &[]).await;
    assert!(
        code == 1 && err.contains("compare with one that was: --of label-match"),
        "{code}: {err}"
    );
    let of = ["--of", "label-match"];
    let (code, out, err) = replay(&rig, "site-affinity", &decisions, &of).await;
    assert!(
        code == 5 && err.contains("answers differ"),
        "{code}: {out}{err}"
    );
    let row = out.lines().find(|line| line.contains("needy"));
    let row = row.expect("the difference");
    assert!(
        row.contains("may not: no label `gpu`") && row.contains("may, place "),
        "{out}"
    );
    // And nothing was asked of the cluster for that: it answers without one.
    let [wasm, word, manifest] = patient(&rig, "label-match");
    let alone = [
        "ext",
        "replay",
        &wasm,
        &word,
        &manifest,
        "--decisions",
        &decisions,
    ];
    let ran = cli("127.0.0.1:1", &alone).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_asked_on_and_a_script_can_tell() {
    let rig = Rig::start().await;
    install(&rig, "label-match").await;
    rig.vm("needy", 1, NEEDY).await;
    let there = |told: &Value| {
        told["decisions"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    };
    let told = rig.manager.until(PATH, "a decision", there).await;
    // More of them than a manager asks one that fails: a manager's own answer is taken too.
    let decision = &told["decisions"][0];
    let many = serde_json::json!({"decisions": vec![decision; 5]}).to_string();
    let decisions = file(&rig.dir, "five.json", &many);
    let of = ["--of", "label-match", "-o", "json"];
    let (code, out, err) = replay(&rig, "bad-traps", &decisions, &of).await;
    assert_eq!(code, 1, "{out}{err}");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["counts"]["failed"], 5, "{told:#}");
    assert_eq!(told["costs"]["failed"], 5, "{told:#}");
    for each in told["questions"].as_array().expect("questions") {
        let why = each["failure"].as_str().unwrap_or_default();
        assert!(why.contains("it trapped"), "{each:#}");
    }
    // One that had no answer then is no difference.
    let mut then = decision.clone();
    then["advice"][0]["said"] = serde_json::json!({
        "said": "nothing", "reason": "it\u{1b}[31m trapped", "then": "open",
    });
    let text = serde_json::json!({ "decisions": [then] }).to_string();
    let decisions = file(&rig.dir, "silent.json", &text);
    let (code, out, err) = replay(&rig, "label-match", &decisions, &["-o", "wide"]).await;
    assert!(
        code == 0 && out.contains("1 have an answer now") && out.contains("nothing: it [31m"),
        "{code}: {out}{err}"
    );
    assert!(!out.contains("\u{1b}[31m trapped"), "{out:?}");

    let none = file(&rig.dir, "none.json", "{\"decisions\": []}");
    let (code, _, err) = replay(&rig, "label-match", &none, &[]).await;
    assert!(
        code == 1 && err.contains("no decision is in it"),
        "{code}: {err}"
    );
    let odd = file(&rig.dir, "odd.json", "{}");
    let (code, _, err) = replay(&rig, "label-match", &odd, &[]).await;
    assert!(
        code == 1 && err.contains("ext decisions NAME -o json"),
        "{code}: {err}"
    );
    let (code, _, err) = replay(&rig, "redfish", &none, &[]).await;
    assert!(
        code == 1 && err.contains("only those for placement"),
        "{code}: {err}"
    );
    // Nothing is kept about others.
    let (code, _, err) = rig.cli(&["ext", "decisions", "nobody"]).await;
    assert!(
        code == 1 && err.contains("no extension `nobody`"),
        "{code}: {err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_managers_are_asked_for_their_lines() {
    let rig = Rig::start().await;
    install(&rig, "bad-traps").await;
    rig.vm("web", 1, "").await;
    let wrote = |log: &Value| log["lines"].as_array().is_some_and(|all| !all.is_empty());
    let path = "/extensions/bad-traps/log";
    rig.manager.until(path, "a line", wrote).await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = other(&rig, &dir).await;
    let knows = |log: &Value| log["others"]["m-a"].is_string();
    let own = other.until(path, "it to know the other", knows).await;
    assert_eq!(own["lines"], serde_json::json!([]), "it asked nothing yet");
    // The lines are those of the other one.
    let ran = other.cli(&["ext", "logs", "bad-traps"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let line = ran.out.lines().next().expect("a line");
    assert!(
        line.contains("  m-a ") && line.contains("lib.rs"),
        "{}",
        ran.out
    );
    // One that is away is told, and the others' lines are there.
    let (first, away) = (&rig.manager.url, "http://127.0.0.1:1");
    let ran = cli(
        &format!("{away},{first}"),
        &["ext", "logs", "bad-traps", "-o", "json"],
    )
    .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let told: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["silent"][0]["manager"], away, "{told:#}");
    assert_eq!(told["lines"][0]["manager"], "m-a", "{told:#}");
    assert_eq!(told["managers"], serde_json::json!(["m-a", "m-b"]));
    let ran = cli(&format!("{away},{first}"), &["ext", "logs", "bad-traps"]).await;
    assert!(
        ran.code == 0 && ran.err.contains("does not answer"),
        "{}",
        ran.err
    );
    let ran = cli(away, &["ext", "logs", "bad-traps"]).await;
    assert!(
        ran.code == 1 && ran.err.contains("no manager answers"),
        "{}",
        ran.err
    );
    let ran = other.cli(&["ext", "logs", "bad-traps", "--shadow"]).await;
    assert!(
        ran.code == 1 && ran.err.contains("has no shadow"),
        "{}",
        ran.err
    );
    other.stop().await.expect("a clean end");
}
