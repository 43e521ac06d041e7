//! `holdfast ext …` for authors, as a person types it.
#![cfg(feature = "extensions")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn holdfast(dir: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("ext")
        .args(arguments)
        .current_dir(dir)
        // What guests are built with is there already, and does not come from the network.
        .env("CARGO_TARGET_DIR", extensions().join("cargo"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// Where `cargo xtask extensions` builds.
fn extensions() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_holdfast")).ancestors().nth(2);
    target.unwrap().join("extensions")
}

/// A guest of that.
fn built(name: &str) -> PathBuf {
    let path = extensions().join(name).join("component.wasm");
    let place = path.display();
    assert!(
        path.is_file(),
        "{place}: `cargo xtask extensions` builds it"
    );
    path
}

/// A new extension in Rust, with the versions that our own guests are locked to.
fn started(dir: &Path, name: &str, kind: &str) -> Ran {
    let ran = holdfast(dir, &["new", name, "--kind", kind, "--lang", "rust"]);
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions/Cargo.lock");
    std::fs::copy(lock, dir.join(name).join("Cargo.lock")).unwrap();
    ran
}

#[test]
fn from_a_scaffold_to_a_test_that_passes_and_one_that_fails() {
    // On the disk that the build is on: `/tmp` may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    let ran = started(dir, "spread", "placement");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out
            .contains("extension spread of kind placement in Rust"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("spread/src/lib.rs"), "{}", ran.out);
    let again = holdfast(
        dir,
        &["new", "spread", "--kind", "placement", "--lang", "c"],
    );
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("is there already"), "{}", again.err);

    // Nothing to look at yet.
    let early = holdfast(dir, &["check", "spread"]);
    assert_eq!(early.code, Some(1));
    assert!(
        early
            .out
            .contains("build it with `holdfast ext build spread`"),
        "{}",
        early.out
    );

    let ran = holdfast(dir, &["build", "spread", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let made = json(&ran);
    assert_eq!(made["component"], "spread/spread.wasm");
    assert!(made["bytes"].as_u64().unwrap() > 10_000, "{made}");
    assert!(
        ran.err.contains("building spread 0.1.0 from Rust"),
        "{}",
        ran.err
    );

    let own = dir.join("spread");
    let ran = holdfast(&own, &["check"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("ok: spread 0.1.0, kind placement: "),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("rule of contract 0.2"), "{}", ran.out);

    // A machine that is busy with other tests is given time.
    let manifest = own.join("extension.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}\n[limits]\ncpu_ms = 500\n")).unwrap();
    let ran = holdfast(dir, &["test", "spread"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        !ran.out.contains('✘') && ran.out.contains("✔  same-answer"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("CPU time, 100 candidates"), "{}", ran.out);
    assert!(ran.out.contains("for each candidate"), "{}", ran.out);
    assert!(
        !ran.err.contains("older than its sources"),
        "only the manifest is newer: {}",
        ran.err
    );
    let source = std::fs::File::options()
        .append(true)
        .open(own.join("src/lib.rs"));
    source
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    let ran = holdfast(dir, &["check", "spread"]);
    assert!(ran.err.contains("older than its sources"), "{}", ran.err);

    // Broken by its author.
    std::fs::write(&manifest, text.replace("log = true", "")).unwrap();
    let ran = holdfast(dir, &["test", "spread"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out.contains("✘ rights: the component imports `log`"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("see above"), "{}", ran.err);
    std::fs::write(&manifest, text.replace("0.1.0", "1")).unwrap();
    let ran = holdfast(dir, &["check", "spread"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.out
            .contains("extension.toml, line 2, column 1: `1` is not a version"),
        "{}",
        ran.out
    );
    std::fs::write(own.join("src/lib.rs"), "fn broken(").unwrap();
    let ran = holdfast(dir, &["build", "spread"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("is not a version"), "{}", ran.err);
    std::fs::write(&manifest, text).unwrap();
    let ran = holdfast(dir, &["build", "spread"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("error: ") && ran.out.is_empty(),
        "{}{}",
        ran.out,
        ran.err
    );
}

#[test]
fn one_in_c_fits_its_contract_as_it_is() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ran = holdfast(
        dir.path(),
        &["new", "p", "--kind", "placement", "--lang", "c"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for verb in ["build", "check"] {
        let ran = holdfast(&dir.path().join("p"), &[verb]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains("imports nothing"), "{}", ran.out);
    }
}

/// What would be a trap without any words: what is thrown where nothing can be, an answer that the contract has not, an
/// import that is called with what it does not take.
#[test]
fn what_goes_wrong_in_javascript_is_told_in_words() {
    use holdfast_extension_kit::{Language, Tools};
    if let Some(why) = Tools::of_user().lacking(Language::JavaScript) {
        eprintln!("skipped: {why}");
        return;
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    let ran = holdfast(dir, &["new", "p", "--kind", "placement", "--lang", "js"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let head = "import log from \"holdfast:host/log@0.1.0\";\nexport const rule = {\n";
    for (rule, wanted) in [
        (
            "prepare(hosts) { hosts.sites.sort(); }, judge() {}",
            "it trapped: rule.prepare: TypeError: cannot read property 'sort' of undefined at prepare, placement.js:3:",
        ),
        (
            "prepare() {}, judge() { return { refused: [] }; }",
            "it says: its answer has no `scores`, it is an object with `refused`",
        ),
        (
            "prepare() {}, judge() { return { refused: [], scores: [\"5\"] }; }",
            "it says: in its answer `scores[0]` is the text \"5\" and has to be a number",
        ),
        (
            "prepare() {}, judge() {}",
            "it says: its answer is missing and has to be an object with `refused`, `scores` (is a `return` missing?)",
        ),
        (
            "prepare() {}, judge() { log.write(\"warning\", \"x\"); }",
            "it says: log.write: `level` is the text \"warning\" and has to be one of \"debug\", \"info\", \"warn\", \
             \"error\" (at judge, placement.js:3:",
        ),
        (
            "prepare() {}, judge() { return Date.now(); }",
            "it says: there is no clock in an extension: times come with what it is asked (at judge, placement.js:3:",
        ),
        (
            "prepare() {}, judge() { throw \"no idea\"; }",
            "it says: no idea; ",
        ),
    ] {
        std::fs::write(dir.join("p/placement.js"), format!("{head}{rule}\n}};\n")).unwrap();
        let ran = holdfast(dir, &["build", "p"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let ran = holdfast(dir, &["test", "p"]);
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(wanted), "{rule}:\n{}", ran.out);
    }
}

#[test]
fn a_signature_over_something_else_is_told_before_it_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    let component = built("label-match");
    let manifest = component.with_file_name("extension.toml");
    let own = dir.join("extension.toml");
    std::fs::copy(&component, dir.join("label-match.wasm")).unwrap();
    std::fs::copy(manifest, &own).unwrap();
    assert_eq!(holdfast(dir, &["keygen", "key.pem"]).code, Some(0));
    let signed = holdfast(dir, &["sign", ".", "--key", "key.pem"]);
    assert_eq!(signed.code, Some(0), "{}", signed.err);
    let ran = holdfast(dir, &["check"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("; signed with "), "{}", ran.out);
    let text = std::fs::read_to_string(&own).unwrap();
    std::fs::write(&own, text + "# later\n").unwrap();
    let ran = holdfast(dir, &["check"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(
        ran.out
            .contains("signature: ./extension.sig: its signature with"),
        "{}",
        ran.out
    );
}

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
            "./test.toml: it has [placement], and the extension is for fencing; remove what is",
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
fn what_is_no_extension_is_said_in_plain_words() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("no.wasm"), "#!/bin/sh").unwrap();
    std::fs::write(
        dir.join("m.toml"),
        "name = \"x\"\nversion = \"1.0.0\"\nkind = \"events\"\nsummary = \"Tells.\"\n",
    )
    .unwrap();
    let large = std::fs::File::create(dir.join("large.wasm")).unwrap();
    large.set_len(33 << 20).unwrap();
    for (arguments, code, says) in [
        (
            &["build"][..],
            1,
            "no extension.toml there; give the folder of an extension",
        ),
        (&["check"], 1, "no extension.toml there"),
        (&["check", "none"], 1, "cannot read none"),
        (
            &["install", "none", "--dry-run"],
            1,
            "none: not there; give the folder",
        ),
        (&["install", ".", "--dry-run"], 1, "no extension.toml there"),
        (
            &["check", "no.wasm", "--manifest", "m.toml"],
            1,
            "it is no WASM component",
        ),
        (
            &["check", "large.wasm", "--manifest", "m.toml", "--large"],
            1,
            "no cluster takes more than 32 MiB",
        ),
        (
            &["new", "a b", "--kind", "placement", "--lang", "c"],
            2,
            "or --name NAME",
        ),
        (
            &["new", "x", "--kind", "placing", "--lang", "c"],
            2,
            "placement",
        ),
        (
            &["new", "x", "--kind", "events", "--lang", "cobol"],
            2,
            "python",
        ),
    ] {
        let ran = holdfast(dir, arguments);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert!(!dir.join("x").exists(), "something was left behind");
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
