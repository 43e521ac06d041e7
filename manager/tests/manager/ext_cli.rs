//! `holdfast ext new`, `build`, `check` and `sign`, as a person types them.
#![cfg(feature = "extensions")]
#![allow(clippy::unwrap_used)]

use crate::support::authors::{built, holdfast, json, started};

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
        // A list with a place at which nothing is, behind good numbers.
        (
            "prepare() {}, judge() { const scores = [5, 5]; scores.length = 3; return { refused: [], scores }; }",
            "it says: in its answer `scores[2]` is missing and has to be a number",
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
