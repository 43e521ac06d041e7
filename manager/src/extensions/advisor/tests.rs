//! A decision whose time is over, with a real rule.

use super::super::Extensions;
use super::super::kept::tests::question;
use super::*;
use holdfast_extension_host::{EngineKind, Loaded, Runtime};
use holdfast_extension_ready::{Prepares, Users};
use holdfast_model::advice::{Candidate, Question};
use holdfast_model::extension::{Installed, LimitsAsked, Manifest};
use holdfast_model::time::UnixMs;
use std::sync::Arc;

/// Names of the two that are installed, and what happens without their answers.
const BOTH: [(&str, Fallback); 2] = [("hard", Fallback::Closed), ("soft", Fallback::Open)];

/// The rule `label-match` under each of the names, as `cargo xtask extensions` built it.
fn extensions() -> Extensions {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let folder = target.join("extensions/label-match");
    let read = |file: &str| {
        let path = folder.join(file);
        std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask extensions` builds it",
                path.display()
            )
        })
    };
    let manifest = String::from_utf8(read("extension.toml")).expect("text");
    let manifest: Manifest = toml::from_str(&manifest).expect("a manifest");
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    let loaded = Loaded::compile(&runtime, &read("component.wasm")).expect("a component");
    let installed = BOTH.map(|(name, then)| Installed {
        manifest: Manifest {
            name: name.parse().expect("a name"),
            ..manifest.clone()
        },
        digest: format!("of {name}"),
        bytes: 1,
        granted: manifest.rights.clone(),
        limits: LimitsAsked {
            // This machine may be busy with other tests.
            wall_ms: Some(60_000),
            ..LimitsAsked::default()
        },
        then,
        signed: None,
        by: "the test".to_owned(),
        at: UnixMs(1),
        before: None,
        rollout: None,
    });
    let extensions = Extensions::default();
    extensions.take_in(installed.to_vec());
    for each in &installed {
        extensions.prepare(each, &loaded).expect("for placement");
    }
    extensions
}

fn with_a_host(mut question: Question) -> Question {
    question.candidates.push(Candidate {
        host: "a1".parse().expect("a name"),
        site: None,
        labels: Arc::default(),
        memory_mib: 4_096,
        memory_free_mib: 1_024,
        vcpus: 4,
        vcpus_used: 0,
        vms: 0,
    });
    question
}

/// One that has all the time in the world, or none any more.
fn decision(extensions: &Extensions, is_over: bool) -> Decision<'_> {
    let now = Instant::now();
    let hour = Duration::from_secs(3_600);
    let until = match is_over {
        false => now + hour,
        true => now - Duration::from_nanos(1),
    };
    Decision {
        until,
        ..extensions.decision()
    }
}

#[test]
fn when_its_time_is_over_no_question_is_wanted_but_of_vms_that_are_known() {
    let extensions = extensions();
    let calls = || BOTH.map(|(name, _)| extensions.costs(&name.parse().expect("a name")).calls);
    let (known, new) = (
        with_a_host(question("web1", 512)),
        with_a_host(question("web2", 512)),
    );
    let begins = decision(&extensions, false);
    assert_eq!(begins.unasked(&known.vm.name), None);
    let said = begins.ask(&known);
    let answered = |each: &Advice| matches!(each.said, Said::Answer { .. });
    assert!(said.len() == 2 && said.iter().all(answered), "{said:?}");
    assert_eq!(calls(), [1, 1]);

    let over = decision(&extensions, true);
    assert!(over.is_over());
    let unasked = over.unasked(&new.vm.name).expect("nobody would read it");
    for (each, (name, fallback)) in unasked.iter().zip(BOTH) {
        assert_eq!(each.extension.as_str(), name);
        assert!(
            matches!(&each.said, Said::Nothing { reason, then }
                if reason.contains("250 ms") && *then == fallback),
            "{each:?}"
        );
    }
    assert_eq!(over.ask(&new), unasked, "the same, if somebody asks");
    // What is known is said, whatever the time; what is not known of this VM is not asked either.
    assert_eq!(over.unasked(&known.vm.name), None);
    assert_eq!(over.ask(&known), said);
    let other = with_a_host(question("web1", 513));
    assert_eq!(over.ask(&other), unasked);
    assert_eq!(calls(), [1, 1]);
}
