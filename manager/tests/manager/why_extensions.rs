//! `why vm`: what each placement extension says, not the first refusal alone.
#![cfg(feature = "extensions")]

use crate::support::rig::Rig;
use serde_json::{Value, json};

impl Rig {
    /// Why a VM is as it is, once extensions were asked this about it.
    async fn why(&self, vm: &str, about: &str) -> (Value, String) {
        let path = format!("/why/vm/{vm}");
        let asked = |why: &Value| why["extensions"]["asked"]["about"] == about;
        let why = self.manager.until(&path, "what they say", asked).await;
        let (code, text, err) = self.cli(&["why", "vm", vm]).await;
        assert_eq!(code, 0, "{err}");
        // Long lines are broken.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (why["extensions"].clone(), text)
    }
}

/// What one says.
fn voice(heard: &Value, name: &str) -> Value {
    let all = heard["extensions"].as_array().expect("a list");
    let found = all.iter().find(|voice| voice["extension"] == name);
    found
        .cloned()
        .unwrap_or_else(|| panic!("{name}: {heard:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_extension_is_named_with_its_verdict() {
    let rig = Rig::start().await;
    rig.vm("plain", 1, "").await;
    let runs = |vm: &Value| vm["vm"]["state"] == "running";
    let plain = rig.manager.until("/vms/plain", "it to run", runs).await;
    let (_, why) = rig.manager.get("/why/vm/plain").await;
    assert!(why["extensions"].is_null(), "there is none: {why:#}");
    for name in ["label-match", "site-affinity"] {
        let (code, _, err) = rig.install(name, &[]).await;
        assert_eq!(code, 0, "{err}");
        rig.ready(name).await;
    }

    // One rules everything out, the other one ranks: both are told.
    rig.vm("needy", 2, "[labels]\nneeds = \"gpu\"\n").await;
    let (heard, text) = rig.why("needy", "placement").await;
    let refuses = voice(&heard, "label-match");
    let hosts = refuses["hosts"].as_array().expect("a list");
    assert_eq!(hosts.len(), 2, "{heard:#}");
    for of in hosts {
        assert_eq!(
            (&of["may"], &of["why"]),
            (&json!(false), &json!("no label `gpu`"))
        );
    }
    let ranks = voice(&heard, "site-affinity");
    let hosts = ranks["hosts"].as_array().expect("a list");
    assert!(
        hosts.len() == 2
            && hosts
                .iter()
                .all(|of| of["may"] == true && of["score"].is_u64()),
        "{heard:#}"
    );
    let versions =
        [&refuses, &ranks].map(|voice| voice["version"].as_str().expect("a version").to_owned());
    for says in [
        format!(
            "label-match {}: may not: a1, a2 (no label `gpu`); so it goes nowhere",
            versions[0]
        ),
        format!("site-affinity {}: may: a", versions[1]),
    ] {
        assert!(text.contains(&says), "{says}: {text}");
    }

    // One that runs stays: what they would say of the other host.
    let (heard, text) = rig.why("plain", "move").await;
    let here = plain["vm"]["host"].as_str().expect("a host");
    let other = if here == "a1" { "a2" } else { "a1" };
    for name in ["label-match", "site-affinity"] {
        let voice = voice(&heard, name);
        let of = &voice["hosts"][0];
        assert_eq!(
            (&of["host"], &of["may"]),
            (&json!(other), &json!(true)),
            "{heard:#}"
        );
        assert!(
            voice["hosts"][1].is_null() && voice["means"].is_null(),
            "{heard:#}"
        );
    }
    assert!(
        text.contains("if it were to be moved now:") && text.contains(&format!("may: {other} (")),
        "{text}"
    );

    let (code, _, err) = rig.cli(&["vm", "stop", "plain"]).await;
    assert_eq!(code, 0, "{err}");
    let (_, text) = rig.why("plain", "nothing").await;
    assert!(
        text.contains("extensions are not asked about it: it is not to run"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_an_answer_is_named_with_what_that_means() {
    for (then, means) in [
        ("open", "decided without it (open)"),
        (
            "closed",
            "nothing goes anywhere without its answer (closed)",
        ),
    ] {
        let rig = Rig::start().await;
        for (name, more) in [
            ("bad-traps", &["--on-failure", then][..]),
            ("label-match", &[]),
        ] {
            let (code, _, err) = rig.install(name, more).await;
            assert_eq!(code, 0, "{err}");
            rig.ready(name).await;
        }
        rig.vm("needy", 1, "[labels]\nneeds = \"gpu\"\n").await;
        let (heard, text) = rig.why("needy", "placement").await;
        let traps = voice(&heard, "bad-traps");
        let reason = traps["no_answer"]["reason"].as_str().expect("a reason");
        assert_eq!(
            (&traps["no_answer"]["then"], &traps["means"]),
            (&json!(then), &json!(means))
        );
        assert!(!reason.is_empty() && traps["hosts"].is_null(), "{heard:#}");
        assert!(
            text.contains("bad-traps 0.1.0: no answer: ") && text.contains(means),
            "{text}"
        );
        // It does not hide what the other one says.
        assert!(text.contains("may not: a1, a2 (no label `gpu`)"), "{text}");
    }
}
