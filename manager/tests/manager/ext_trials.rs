//! `holdfast ext test` and `ext chaos`, as a person types them.
#![cfg(feature = "extensions")]
#![allow(clippy::unwrap_used)]

use crate::support::authors::{built, holdfast, json, started};

#[test]
fn bad_ones_fail_and_say_how() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let test = |name: &str, verb: &str, more: &[&str]| {
        let path = built(name);
        let arguments = [&[verb, path.to_str().unwrap()], more].concat();
        holdfast(dir.path(), &arguments)
    };
    let ran = test("bad-too-few", "test", &["-o", "json"]);
    assert_eq!(ran.code, Some(1));
    let checks = json(&ran)["checks"].as_array().unwrap().clone();
    let of = |name: &str| {
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(of("one-each")["outcome"], "failed");
    assert_eq!(of("traps")["outcome"], "passed");
    let ran = test("bad-traps", "test", &[]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("✘  traps"), "{}", ran.out);

    // No host comes to harm.
    let ran = test("bad-grows", "chaos", &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("32 MiB are allowed"), "{}", ran.out);

    // It asks for what it never uses.
    let ran = test("bad-lies", "check", &[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out
            .contains("✘ rights: [rights] in the manifest has `http`"),
        "{}",
        ran.out
    );
}

#[test]
fn an_event_handler_is_told_of_made_up_events() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    started(dir, "tells", "events");
    let ran = holdfast(dir, &["build", "tells"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = holdfast(dir, &["check", "tells"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("handler of contract 0.1, imports http, log; asks for log, send to hook"),
        "{}",
        ran.out
    );
    let ran = holdfast(dir, &["test", "tells"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("it passes over kinds that it does not know"),
        "{}",
        ran.out
    );
    let ran = holdfast(dir, &["test", "tells", "-o", "json"]);
    let report = json(&ran);
    assert_eq!(report["contract_only"], false);
    assert!(report["questions"].as_u64() > Some(50), "{report:#}");
    let ran = holdfast(dir, &["chaos", "tells"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("✔  rights"), "{}", ran.out);
    // A bad one, by its name.
    let floods = built("bad-floods");
    let manifest = floods.with_file_name("extension.toml");
    let (floods, manifest) = (floods.display().to_string(), manifest.display().to_string());
    let ran = holdfast(dir, &["test", &floods, "--manifest", &manifest]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out.contains("✘  requests") && ran.out.contains("it asks for 1000"),
        "{}",
        ran.out
    );
}

#[test]
fn one_for_fencing_is_tried_with_boards_that_do_not_obey() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    started(dir, "fences", "fencing");
    let ran = holdfast(dir, &["build", "fences"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = holdfast(dir, &["test", "fences"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("✔  switches") && ran.out.contains("✔  vouches"),
        "{}",
        ran.out
    );
    let ran = holdfast(dir, &["test", "fences", "-o", "json"]);
    assert!(json(&ran)["questions"].as_u64() > Some(100), "{}", ran.out);
    let ran = holdfast(dir, &["chaos", "fences"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("✔  dies"), "{}", ran.out);
}

#[test]
fn what_its_author_says_of_a_board_stands_beside_the_manifest() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    let wasm = built("bad-outlet");
    let manifest = wasm.with_file_name("extension.toml");
    std::fs::copy(manifest, dir.join("extension.toml")).unwrap();
    std::fs::copy(&wasm, dir.join("bad-outlet.wasm")).unwrap();
    // Of a board that nobody describes it is said what was not looked at, and each fault hits it.
    let ran = holdfast(dir, &["test"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    for says in [
        "-  switches     not looked at: it switched no board off: if yours speaks otherwise, say how in [fencing.board]",
        "-  vouches      not looked at: no board understood it: say in [fencing.board] of test.toml",
        "✘  lost         off, a board whose answers to orders are lost: it says refused",
    ] {
        assert!(ran.out.contains(says), "{}", ran.out);
    }
    assert!(!ran.out.contains("LEVEL"), "{}", ran.out);
    let ran = holdfast(dir, &["chaos"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("✘  hangs"), "{}", ran.out);
    assert!(
        ran.out.contains("log: info  switching host-1 off"),
        "{}",
        ran.out
    );

    let setup = dir.join("test.toml");
    let board = "[fencing.settings]\ncareful = \"yes\"\n[fencing.board]\n\
                 status = { request = \"GET /outlet/{host}\", on = '{\"on\":true}', off = '{\"on\":false}' }\n\
                 off = { request = \"POST /outlet/{host}/off\", answer = 204 }\n";
    std::fs::write(&setup, board).unwrap();
    let ran = holdfast(dir, &["test", "--log"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("✔  switches"), "{}", ran.out);
    assert!(ran.err.contains("as ./test.toml has it"), "{}", ran.err);
    assert!(
        !ran.err.contains("older than its sources"),
        "only tests read it: {}",
        ran.err
    );
    let mut lines = ran.out.lines().map(|line| {
        let words: Vec<&str> = line.split("  ").filter(|word| !word.is_empty()).collect();
        words.iter().map(|word| word.trim().to_owned()).collect()
    });
    let written: Vec<String> = ["off, a board that obeys", "info", "switching host-1 off"]
        .map(str::to_owned)
        .into();
    assert!(
        lines.any(|line: Vec<String>| line == written),
        "{}",
        ran.out
    );
    let ran = holdfast(dir, &["chaos"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);

    for (text, says) in [
        (
            "[fencing.board]\nstate = 1\n",
            "./test.toml, line 2, column 1: unknown key `state`; did you mean `status`?",
        ),
        (
            &board.replace("POST", "SWITCH"),
            "./test.toml, line 5, column 1: `SWITCH /outlet/{host}/off` is not a request; write a method",
        ),
        (
            "[placement]\n",
            "./test.toml, line 1, column 1: it has [placement], and the extension is for fencing; remove what is",
        ),
    ] {
        std::fs::write(&setup, text).unwrap();
        for verb in ["test", "chaos"] {
            let ran = holdfast(dir, &[verb]);
            assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
            assert!(ran.err.contains(says), "{}", ran.err);
            assert_eq!(ran.out, "");
        }
    }
}

#[test]
fn a_storage_check_as_it_was_started_is_asked_and_passes() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    started(dir, "looks", "storage-check");
    let ran = holdfast(dir, &["build", "looks"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = holdfast(dir, &["test", "looks", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let found = json(&ran);
    assert_eq!(found["contract_only"], false);
    let checks = found["checks"].as_array().unwrap();
    let passed = |name: &str| {
        let mut checks = checks.iter();
        checks.any(|check| check["name"] == name && check["outcome"] == "passed")
    };
    assert!(passed("vouches") && passed("blames"), "{found:#}");
    let ran = holdfast(dir, &["chaos", "looks"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}
