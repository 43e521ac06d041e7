//! Who vouches for extensions, and which of them have to be there: a real manager, the real command line.
#![cfg(feature = "extensions")]

use crate::support::guests::{guest, workshop};
use crate::support::rig::Rig;
use crate::support::{Manager, file, put};
use holdfast_manager::daemon::Means;
use holdfast_store::keyspace::Key;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A copy of a guest's folder, whose files a test may change.
fn copied(rig: &Rig, name: &str) -> PathBuf {
    let to = rig.dir.path().join(name);
    std::fs::create_dir(&to).expect("a directory");
    for file in ["extension.toml", "component.wasm"] {
        std::fs::copy(guest(name).join(file), to.join(file)).expect("copied");
    }
    to
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Makes a key; its public one.
async fn keygen(rig: &Rig, name: &str) -> (String, String) {
    let path = text(&rig.dir.path().join(name));
    let (code, out, err) = rig.cli(&["ext", "keygen", &path, "-o", "json"]).await;
    assert_eq!(code, 0, "{err}");
    let made: Value = serde_json::from_str(&out).expect("JSON");
    (path, made["public_key"].as_str().expect("a key").to_owned())
}

/// A lead that nobody takes by being a little faster on a busy machine: one that stands back does so for 12 s.
const SLOW: &str = "leader_renew_ms = 3_000\nleader_wait_ms = 12_000\n";

/// The tests' policy and these lines.
async fn apply(rig: &Rig, more: &str) -> (i32, String) {
    let text = format!(
        "[timing]\nprofile = \"fast\"\n{SLOW}[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n[[sites]]\nname = \"w\"\n\
         witness = true\n[failback]\nenabled = false\n[rejoin]\nhold_down_ms = 200\n{more}"
    );
    let path = file(&rig.dir, "policy.toml", &text);
    let (code, _, err) = rig.cli(&["config", "apply", "-f", &path]).await;
    (code, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_signers_only_what_they_signed_is_installed_and_asked() {
    let rig = Rig::start().await;
    let folder = copied(&rig, "label-match");
    let dir = text(&folder);
    let (key, public) = keygen(&rig, "release.pem").await;
    let (other, _) = keygen(&rig, "other.pem").await;
    let again = rig.cli(&["ext", "keygen", &key]).await;
    assert!(
        again.0 == 1 && again.2.contains("not overwritten"),
        "{again:?}"
    );
    let signers = format!("[extension_signers]\nrelease = \"{public}\"\n");
    let (code, err) = apply(&rig, &signers).await;
    assert_eq!(code, 0, "{err}");
    let install = ["ext", "install", &dir, "--yes"];
    let refused = |says: &'static str| {
        let rig = &rig;
        async move {
            let (code, _, err) = rig.cli(&install).await;
            assert!(code == 1 && err.contains(says), "{code}: {err}");
            assert_eq!(rig.manager.get("/extensions").await.1, json!([]), "{says}");
        }
    };
    refused("wants a signature by release").await;
    // By somebody else.
    let sign = |key: String| {
        let (rig, dir) = (&rig, &dir);
        async move {
            let (code, out, err) = rig.cli(&["ext", "sign", dir, "--key", &key]).await;
            assert!(
                code == 0 && out.contains("label-match"),
                "{code}: {out}{err}"
            );
        }
    };
    sign(other.clone()).await;
    refused("none of the policy's [extension_signers] (release)").await;
    // Changed afterwards: the manifest by a comment, the component by its last byte.
    sign(key.clone()).await;
    let manifest = folder.join("extension.toml");
    let whole = std::fs::read_to_string(&manifest).expect("a text");
    std::fs::write(&manifest, format!("{whole}# mine\n")).expect("written");
    refused("was changed").await;
    std::fs::write(&manifest, &whole).expect("written");
    let signature = folder.join("extension.sig");
    let signed = std::fs::read_to_string(&signature).expect("a text");
    std::fs::write(&signature, signed.replace("signature", "sign")).expect("written");
    refused("unknown key `sign`").await;
    std::fs::write(&signature, &signed).expect("written");
    let (code, out, err) = rig.cli(&install).await;
    assert!(code == 0 && out.contains("signed by release"), "{out}{err}");
    rig.ready("label-match").await;
    let (_, shown, _) = rig.cli(&["ext", "show", "label-match"]).await;
    assert!(shown.contains("signed by   release (ed25519:"), "{shown}");
    // A key that is not trusted any more: what it signed is not asked any more, and that is said before.
    let replaced = signers.replace(&public[8..20], "000000000000");
    let (code, err) = apply(&rig, &replaced).await;
    assert!(
        code == 0 && err.contains("label-match is not asked any more"),
        "{code}: {err}"
    );
    let told = |shown: &Value| {
        let here = &shown["managers"]["m-a"];
        here["state"] == "failed" && here.to_string().contains("extension_signers")
    };
    let path = "/extensions/label-match";
    rig.manager.until(path, "it to be distrusted", told).await;
    rig.vm("needy", 1, "[labels]\nneeds = \"gpu\"\n").await;
    let waits = |why: &Value| why.to_string().contains("cannot run on this manager");
    rig.manager
        .until("/why/vm/needy", "it to wait", waits)
        .await;
    // And trusted again.
    let (code, err) = apply(&rig, &signers).await;
    assert_eq!(code, 0, "{err}");
    rig.ready("label-match").await;
}

/// Who can write to the store cannot have code run on the managers: each looks itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_store_is_not_asked() {
    let rig = Rig::start().await;
    let folder = copied(&rig, "label-match");
    let (key, public) = keygen(&rig, "release.pem").await;
    let (code, err) = apply(
        &rig,
        &format!("[extension_signers]\nrelease = \"{public}\"\n"),
    )
    .await;
    assert_eq!(code, 0, "{err}");
    let dir = text(&folder);
    let (code, _, err) = rig.cli(&["ext", "sign", &dir, "--key", &key]).await;
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = rig.cli(&["ext", "install", &dir, "--yes"]).await;
    assert_eq!(code, 0, "{err}");
    rig.ready("label-match").await;
    let (_, shown) = rig.manager.get("/extensions/label-match").await;
    let mut record = shown["installed"].clone();
    record["manifest"]["limits"] = json!({"cpu_ms": 4_000});
    put(
        &rig.store,
        Key::Extension(crate::support::name("label-match")),
        &record,
    );
    let told = |shown: &Value| {
        let here = &shown["managers"]["m-a"];
        here["state"] == "failed" && here.to_string().contains("says something else")
    };
    let path = "/extensions/label-match";
    rig.manager.until(path, "it to be distrusted", told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_is_there_or_that_is_known_beforehand() {
    let rig = Rig::start().await;
    let required = "[extensions.label-match]\nrequired = true\n";
    let (code, err) = apply(&rig, required).await;
    assert!(
        code == 3 && err.contains("cannot be asked everywhere yet: it is not installed"),
        "{code}: {err}"
    );
    let (code, _, err) = rig.install("label-match", &[]).await;
    assert_eq!(code, 0, "{err}");
    rig.ready("label-match").await;
    // Its presence tells it, every two seconds.
    let mut last = (1, String::new());
    for _ in 0..60 {
        last = apply(&rig, required).await;
        if last.0 == 0 {
            break;
        }
        assert!(
            last.1.contains("manager m-a: it is being loaded"),
            "{last:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert_eq!(last.0, 0, "{last:?}");
    let (code, _, err) = rig.cli(&["ext", "remove", "label-match", "--yes"]).await;
    assert!(
        code == 3 && err.contains("the policy requires"),
        "{code}: {err}"
    );
    // A manager comes that can run none.
    let store = Arc::new(rig.store.clone());
    let other = Manager::with_means(store, ("lab", "m-b", "b"), Means::default()).await;
    let told = |status: &Value| {
        let conditions = status["conditions"].to_string();
        conditions.contains("extension-required") && conditions.contains("manager m-b")
    };
    rig.manager.until("/status", "the condition", told).await;
    // Another change of the policy is not held up by that.
    let (code, err) = apply(&rig, &format!("{required}[budgets]\nevents_kept = 1900\n")).await;
    assert_eq!(code, 0, "{err}");
    // One that is fit comes as well; the leader ends, and the fit one leads, though both hear of it at once.
    let dir = tempfile::tempdir().expect("a directory");
    let means = Means {
        workshop: Some(workshop(dir.path())),
        ..Means::default()
    };
    let store = Arc::new(rig.store.clone());
    let fit = Manager::with_means(store, ("lab", "m-c", "b"), means).await;
    let ready = |shown: &Value| shown["managers"]["m-c"]["state"] == "ready";
    let path = "/extensions/label-match";
    other.until(path, "the third one's word", ready).await;
    rig.manager.stop().await.expect("a clean end");
    let leads = |status: &Value| status["leader"]["name"] == "m-c";
    fit.until("/status", "the fit one to lead", leads).await;
    let (_, events) = fit.get("/events").await;
    let events = events.to_string();
    assert!(
        events.contains("m-c leads") && !events.contains("m-b leads"),
        "it never led: {events}"
    );
    fit.stop().await.expect("a clean end");
    // With nobody else, the unfit one leads.
    let leads = |status: &Value| status["leader"]["name"] == "m-b";
    other.until("/status", "the last one to lead", leads).await;
}

/// Neither a shadow nor the version before gets by without a signature.
#[tokio::test(flavor = "multi_thread")]
async fn other_versions_need_a_signature_as_well() {
    let rig = Rig::start().await;
    let folder = copied(&rig, "label-match");
    let dir = text(&folder);
    let manifest = folder.join("extension.toml");
    let whole = std::fs::read_to_string(&manifest).expect("a text");
    let try_out = ["ext", "install", &dir, "--yes", "--shadow"];
    for (version, install) in [
        ("0.1.0", &try_out[..4]),
        ("0.1.1", &try_out[..4]),
        ("0.1.2", &try_out[..]),
    ] {
        std::fs::write(&manifest, whole.replace("0.1.0", version)).expect("written");
        let (code, _, err) = rig.cli(install).await;
        assert_eq!(code, 0, "{version}: {err}");
    }
    let (_, public) = keygen(&rig, "release.pem").await;
    let signers = format!("[extension_signers]\nrelease = \"{public}\"\n");
    let (code, err) = apply(&rig, &signers).await;
    assert_eq!(code, 0, "{err}");
    for verb in [
        &["ext", "rollback", "label-match", "--yes"][..],
        &["ext", "promote", "label-match", "--yes"],
        &try_out,
    ] {
        let (code, _, err) = rig.cli(verb).await;
        let says = "wants a signature by release";
        assert!(code == 1 && err.contains(says), "{verb:?}: {code}: {err}");
    }
    let told = |shown: &Value| {
        let here = &shown["shadow"]["managers"]["m-a"]["readiness"];
        here["state"] == "failed" && here.to_string().contains("signature")
    };
    let path = "/extensions/label-match";
    rig.manager.until(path, "it to be distrusted", told).await;
}
