//! What only its author knows, in `test.toml`: boards with a language of their own, labels that a rule heeds. With it the
//! suite looks at what it cannot see without it; and without it, it says so.

mod common;

use common::*;
use holdfast_extension_host::Loaded;
use holdfast_extension_host::conformance::chaos::{self, Drill};
use holdfast_extension_host::conformance::{self, Check, Outcome, Report, TestSetup};
use holdfast_model::extension::{ExtensionKind, LimitsAsked, Manifest, Rights};

/// Of one under `extensions/bad`, with time for a machine that is busy with other tests.
fn manifest(name: &str, kind: ExtensionKind, http: &[(&str, &[&str])]) -> Manifest {
    let granted = http.iter().map(|(role, requests)| {
        let requests = requests.iter().map(|each| (*each).to_owned()).collect();
        (role.parse().expect("a name"), requests)
    });
    Manifest {
        name: name.parse().expect("a name"),
        version: "0.1.0".to_owned(),
        kind,
        summary: "For tests.".to_owned(),
        limits: LimitsAsked {
            cpu_ms: Some(500),
            ..LimitsAsked::default()
        },
        rights: Rights {
            log: true,
            http: granted.collect(),
            ..Rights::default()
        },
    }
}

fn outlet() -> Manifest {
    let requests: &[&str] = &["GET /outlet/*", "POST /outlet/*"];
    manifest(
        "bad-outlet",
        ExtensionKind::Fencing,
        &[("outlet", requests)],
    )
}

fn hasty(http: &[(&str, &[&str])]) -> Manifest {
    manifest("bad-hasty", ExtensionKind::Events, http)
}

const BOARD: &str = "[fencing.board]\n\
    status = { request = \"GET /outlet/{host}\", on = '{\"on\":true}', off = '{\"on\":false}' }\n\
    off = { request = \"POST /outlet/{host}/off\", answer = 204 }\n\
    on = { request = \"POST /outlet/{host}/on\" }\n";
const CAREFUL: &str = "[fencing.settings]\ncareful = \"yes\"\n";

fn setup(text: &str, kind: ExtensionKind) -> TestSetup {
    let setup: TestSetup = toml::from_str(text).expect(text);
    assert_eq!(setup.fault(kind), None);
    setup
}

fn report(manifest: &Manifest, text: &str) -> Report {
    let loaded = Loaded::compile(&RUNTIME, &wasm(manifest.name.as_str())).expect("a component");
    let setup = setup(text, manifest.kind);
    conformance::run(&loaded, None, manifest, &setup).expect("a report")
}

fn drills(manifest: &Manifest, text: &str) -> Vec<Drill> {
    let loaded = Loaded::compile(&RUNTIME, &wasm(manifest.name.as_str())).expect("a component");
    let setup = setup(text, manifest.kind);
    chaos::run(&loaded, manifest, &setup).expect("drills")
}

fn of(report: &Report, outcome: Outcome) -> Vec<&'static str> {
    let checks = report.checks.iter();
    checks
        .filter(|check| check.outcome == outcome)
        .map(|check| check.name)
        .collect()
}

fn check<'r>(report: &'r Report, name: &str) -> &'r Check {
    let mut checks = report.checks.iter();
    checks.find(|check| check.name == name).expect(name)
}

fn failed(drills: &[Drill]) -> Vec<&'static str> {
    let failed = drills.iter().filter(|drill| !drill.held);
    failed.map(|drill| drill.name).collect()
}

#[test]
fn a_board_that_nobody_described_loses_its_orders_all_the_same() {
    let report = report(&outlet(), "");
    assert_eq!(of(&report, Outcome::Failed), ["lost"], "{report:#?}");
    let says = "off, a board whose answers to orders are lost: it says refused; say `unknown`: `POST \
                /outlet/host-1/off` may be an order; if it is none, say so under `also` in [fencing.board] of test.toml";
    let lost = &check(&report, "lost").words;
    assert!(lost.starts_with(says), "{lost}");
    // What needs a board that understands it was not looked at, and that is no success.
    assert_eq!(
        of(&report, Outcome::Skipped),
        ["switches", "vouches", "looks-only", "again"],
        "{report:#?}"
    );
    let switches = &check(&report, "switches").words;
    assert!(
        switches.contains("[fencing.board] of test.toml"),
        "{switches}"
    );
    let drills = drills(&outlet(), "");
    assert_eq!(failed(&drills), ["hangs", "lost", "dies"], "{drills:#?}");
}

#[test]
fn a_board_that_is_described_plays_every_situation() {
    let careless = report(&outlet(), BOARD);
    assert_eq!(of(&careless, Outcome::Failed), ["lost"], "{careless:#?}");
    assert_eq!(of(&careless, Outcome::Skipped), [""; 0], "{careless:#?}");
    let text = format!("{CAREFUL}{BOARD}");
    let report = report(&outlet(), &text);
    let passed = |check: &Check| check.outcome == Outcome::Passed;
    assert!(report.checks.iter().all(passed), "{report:#?}");
    // Off, off again and on, twice each, of boards that hang and boards that lose answers.
    assert_eq!(check(&report, "lost").words, "12 orders without an answer");
    assert_eq!(check(&report, "switches").words, "2 boards switched off");
    for drill in drills(&outlet(), &text) {
        assert!(drill.held && drill.drilled, "{drill:#?}");
    }
    assert_eq!(failed(&drills(&outlet(), BOARD)), ["hangs", "lost", "dies"]);
}

#[test]
fn one_that_speaks_otherwise_than_its_board_is_told_so() {
    let text = BOARD.replace("/off\"", "/power-off\"");
    let report = report(&outlet(), &text);
    let switches = check(&report, "switches");
    assert_eq!(switches.outcome, Outcome::Failed, "{report:#?}");
    assert_eq!(
        switches.words,
        "off, a board that obeys: it sends `POST /outlet/host-1/off`, and the board of test.toml switches off for \
         `POST /outlet/host-1/power-off`"
    );
}

#[test]
fn a_trap_stands_with_what_was_written_before_it() {
    // Even where no board understands it: one says yes to everything.
    let report = report(&outlet(), "[fencing.settings]\npanics = \"yes\"\n");
    let traps = check(&report, "traps");
    assert_eq!(traps.outcome, Outcome::Failed, "{report:#?}");
    let says = "off, a board that says yes to everything: it trapped: ";
    assert!(traps.words.starts_with(says), "{}", traps.words);
    let log: Vec<&str> = traps.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(log[0], "switching host-1 off", "{log:?}");
    assert!(log[1].contains("as its settings say"), "{log:?}");
    let mut written = report.log.lines.iter();
    let first = written.next().expect("a line");
    assert_eq!(first.asked, "off, a board that obeys");
    assert_eq!(first.text, "switching host-1 off");
    // What it asks the same board twice is told once.
    assert_eq!(
        written.filter(|line| line.asked == first.asked).count(),
        0,
        "{:#?}",
        report.log
    );
}

#[test]
fn a_rule_is_asked_about_its_own_labels() {
    let rule = manifest("bad-licence", ExtensionKind::Placement, &[]);
    let unasked = report(&rule, "");
    assert!(!unasked.failed(), "{unasked:#?}");
    assert_eq!(check(&unasked, "one-each").outcome, Outcome::Skipped);
    assert_eq!(
        unasked.notes,
        ["it refused nobody and made no difference: name your labels in test.toml"]
    );
    let text = "[placement]\nvm_labels = [{ licence = \"oracle\" }]\nhost_labels = [{ oracle = \"yes\" }]\n";
    let asked = report(&rule, text);
    assert_eq!(of(&asked, Outcome::Failed), ["one-each"], "{asked:#?}");
    let words = &check(&asked, "one-each").words;
    let says = "a machine with licence=oracle, hosts without the labels of test.toml: its answer makes no sense: it \
                refuses candidate 20, counted from 0, of 20";
    assert!(words.starts_with(says), "{words}");
    assert_eq!(asked.notes, [""; 0]);
    // Of labels that it does not heed.
    let text = "[placement]\nvm_labels = [{ license = \"oracle\" }]\n";
    let other = report(&rule, text);
    assert!(!other.failed(), "{other:#?}");
    assert!(
        other.notes[0].contains("it heeds none of those there"),
        "{:?}",
        other.notes
    );
}

#[test]
fn a_handler_of_one_kind_is_drilled_and_one_that_sends_nothing_is_not() {
    let told = drills(&hasty(&[("webhook", &["POST /"])]), "");
    assert_eq!(
        failed(&told),
        ["refuses", "hangs", "garbage", "lost", "dies", "rights"],
        "{told:#?}"
    );
    let refuses = &told[0];
    assert_eq!(
        refuses.happened,
        "it says that it told, and 1 of its 1 requests were not taken"
    );
    assert_eq!(refuses.log.lines[0].text, "a machine runs");
    let silent = drills(&hasty(&[]), "");
    assert_eq!(failed(&silent), [""; 0], "{silent:#?}");
    let drilled = silent.iter().filter(|drill| drill.drilled);
    let drilled: Vec<&str> = drilled.map(|drill| drill.name).collect();
    assert_eq!(drilled, ["newer", "flood"], "{silent:#?}");
    assert_eq!(silent[0].happened, "it sent nothing");
}

#[test]
fn odd_events_are_of_a_kind_that_it_heeds() {
    let report = report(&hasty(&[("webhook", &["POST /"])]), "");
    let written = report.log.lines.iter().map(|line| line.asked.as_str());
    let asked: Vec<&str> = written.collect();
    for odd in ["1 event", "odd texts", "very long texts"] {
        let name = format!("{odd}, a target that takes it");
        assert!(asked.contains(&name.as_str()), "{asked:?}");
    }
    assert_eq!(of(&report, Outcome::Failed), ["errors"], "{report:#?}");
}

#[test]
fn a_storage_check_that_is_never_content_vouches_for_nothing() {
    let check_only = manifest("gluster-check", ExtensionKind::StorageCheck, &[]);
    let report = report(&check_only, "[storage-check]\nkinds = [\"zfs\"]\n");
    let vouches = check(&report, "vouches");
    assert_eq!(vouches.outcome, Outcome::Skipped, "{report:#?}");
    assert!(vouches.words.contains("[storage-check] of test.toml"));
}
