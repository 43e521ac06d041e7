//! New versions of an extension over old ones: what is told before, and what becomes of them while the other site is
//! away.
#![cfg(feature = "extensions")]

use crate::ext_versions::{MAY_LOG, NAME, NEEDY, PATH, at_b};
use crate::support::rig::Rig;
use serde_json::{Value, json};
use tempfile::TempDir;

impl Rig {
    /// Waits until it is known that the manager answers, or does not.
    async fn answers(&self, manager: &str, well: bool) {
        let known = |status: &Value| {
            let managers = status["managers"].as_array();
            let mut all = managers.into_iter().flatten();
            all.any(|each| each["name"] == manager && each["healthy"] == well)
        };
        self.manager
            .until("/status", &format!("{manager} answers: {well}"), known)
            .await;
    }

    /// Waits until the managers of both sites are ready with the same component.
    async fn both_have(&self, version: &str) {
        let both = |shown: &Value| {
            let installed = &shown["installed"];
            let ready = |manager: &&str| {
                let there = &shown["managers"][*manager];
                there["state"] == "ready" && there["digest"] == installed["digest"]
            };
            installed["manifest"]["version"] == version
                && installed["rollout"].is_null()
                && ["m-a", "m-b"].iter().all(ready)
        };
        self.manager
            .until(PATH, "both to be ready with it", both)
            .await;
    }
}

const AWAY: &str = "manager m-b at site b does not answer: it does not have this yet";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_narrowed_and_which_limits_change_is_told() {
    let rig = Rig::start().await;
    let first = rig.version("site-affinity", "0.1.0", MAY_LOG);
    let told = rig.install_version(&first, &["--cpu-ms", "300"]).await;
    assert!(told.contains("it may newly: log"), "{told}");
    let second = rig.version(NAME, "0.2.0", "");
    let told = rig
        .install_version(&second, &["--on-failure", "open", "--dry-run"])
        .await;
    for says in [
        "would change extension label-match from 0.1.0 to 0.2.0",
        "it may no longer: log",
        "its limit `cpu_ms` changes from 300 to 500",
        "without an answer of it VMs are placed without it (open)",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
    // Less is nothing to be asked about.
    let [wasm, word, manifest] = &second;
    let told = rig.done(&["ext", "install", wasm, word, manifest]).await;
    assert!(told.contains("it may no longer: log"), "{told}");
    let told = rig.done(&["ext", "rollback", NAME, "--dry-run"]).await;
    assert!(told.contains("it may newly: log"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_while_a_site_is_away_is_there_when_it_is_back() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = at_b(&rig, &dir, true).await;
    rig.answers("m-b", true).await;
    other.kill().await;
    rig.answers("m-b", false).await;
    // A first version works where somebody is, and it is said who does not have it.
    let told = rig
        .install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    assert!(told.contains(AWAY), "{told}");
    let shown = rig.installed_is("0.1.0").await;
    assert_eq!(shown["away"], json!(["m-b"]), "{shown:#}");
    let list = rig.done(&["ext", "list"]).await;
    assert!(list.contains("1/2 managers"), "{list}");
    let text = rig.done(&["ext", "show", NAME]).await;
    assert!(
        text.contains("m-b         does not answer: it has this version when it is back"),
        "{text}"
    );
    // It is heeded.
    rig.vm("needy", 1, NEEDY).await;
    let waits = |why: &Value| why.to_string().contains("no label `gpu`");
    rig.manager
        .until("/why/vm/needy", "the rule's words", waits)
        .await;
    // A second one waits for nobody who is away.
    let second = rig.version("site-affinity", "0.2.0", MAY_LOG);
    let told = rig.install_version(&second, &[]).await;
    assert!(
        told.contains(AWAY) && !told.contains("has it first"),
        "{told}"
    );
    let shown = rig.installed_is("0.2.0").await;
    assert!(shown["installed"]["rollout"].is_null(), "{shown:#}");
    rig.runs("needy").await;
    // Back, it has what the others have.
    let other = at_b(&rig, &dir, true).await;
    rig.both_have("0.2.0").await;
    let (_, shown) = rig.manager.get(PATH).await;
    assert!(shown["away"].is_null(), "{shown:#}");
    other.stop().await.expect("a clean end");
}

/// A second version that site b has first; it goes no further, and then the site is gone.
async fn lost_in_mid_rollout(rig: &Rig, dir: &TempDir) -> [String; 3] {
    let other = at_b(rig, dir, false).await;
    rig.install_version(&rig.version(NAME, "0.1.0", ""), &[])
        .await;
    rig.installed_is("0.1.0").await;
    let failed = |shown: &Value| shown["managers"]["m-b"]["state"] == "failed";
    rig.manager.until(PATH, "m-b to tell", failed).await;
    let second = rig.version("site-affinity", "0.2.0", MAY_LOG);
    let told = rig.install_version(&second, &[]).await;
    assert!(told.contains("site b has it first"), "{told}");
    other.kill().await;
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("site b has version 0.2.0 first, and nobody who asks it there answers")
            && conditions.contains("the others ask 0.1.0 until somebody there is back")
            && conditions.contains("--all-at-once")
            && conditions.contains("holdfast ext rollback")
    };
    rig.manager.until("/status", "the condition", told).await;
    let (_, shown) = rig.manager.get(PATH).await;
    let before = &shown["installed"]["before"]["digest"];
    assert_eq!(shown["managers"]["m-a"]["digest"], *before, "{shown:#}");
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_lost_in_mid_rollout_need_not_be_waited_for() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let second = lost_in_mid_rollout(&rig, &dir).await;
    let told = rig.install_version(&second, &["--all-at-once"]).await;
    assert!(
        told.contains("have all sites use extension label-match 0.2.0") && told.contains(AWAY),
        "{told}"
    );
    rig.installed_is("0.2.0").await;
    let over = |status: &Value| {
        let conditions = status["conditions"].to_string();
        !conditions.contains("extension-rollout")
    };
    rig.manager.until("/status", "no condition", over).await;
    let other = at_b(&rig, &dir, true).await;
    rig.both_have("0.2.0").await;
    other.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_back_in_mid_rollout_has_the_rest_follow() {
    let rig = Rig::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    lost_in_mid_rollout(&rig, &dir).await;
    let other = at_b(&rig, &dir, true).await;
    rig.both_have("0.2.0").await;
    other.stop().await.expect("a clean end");
}
