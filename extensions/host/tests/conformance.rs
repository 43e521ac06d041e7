//! The conformance suite tells good guests from bad ones, and by the right name; and no guest does harm to a host
//! that misbehaves.

mod common;

use common::*;
use holdfast_extension_host::conformance::chaos::{self, Drill};
use holdfast_extension_host::conformance::{self, Fuel, Outcome, Report, TestSetup};
use holdfast_extension_host::contract::mismatches;
use holdfast_extension_host::{EngineKind, Loaded, Runtime};
use holdfast_model::extension::{ExtensionKind, LimitsAsked, Manifest, Rights};
use std::sync::LazyLock;

static METERED: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::metered(EngineKind::Native).expect("a runtime"));

/// As its own manifest has it, with time for a machine that is busy with other tests.
fn manifest(name: &str) -> Manifest {
    Manifest {
        name: name.parse().expect("a name"),
        version: "0.1.0".to_owned(),
        kind: ExtensionKind::Placement,
        summary: "For tests.".to_owned(),
        limits: LimitsAsked {
            memory_mib: (name == "free-memory").then_some(64),
            cpu_ms: (!name.starts_with("bad")).then_some(500),
            ..LimitsAsked::default()
        },
        rights: Rights {
            log: true,
            ..Rights::default()
        },
    }
}

fn report(name: &str, metered: Option<&Loaded>) -> Report {
    let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
    conformance::run(&loaded, metered, &manifest(name), &TestSetup::default()).expect("a report")
}

fn failed(report: &Report) -> Vec<&'static str> {
    let failed = report.checks.iter();
    failed
        .filter(|check| check.outcome == Outcome::Failed)
        .map(|check| check.name)
        .collect()
}

#[test]
fn good_guests_pass_everything() {
    for (name, no) in [
        ("site-affinity", &[][..]),
        ("label-match", &["scores"]),
        ("free-memory", &["words"]),
    ] {
        let report = report(name, None);
        assert!(!report.failed(), "{name}: {:#?}", report.checks);
        let skipped = report.checks.iter();
        let skipped: Vec<_> = skipped
            .filter(|check| check.outcome == Outcome::Skipped)
            .map(|check| check.name)
            .collect();
        // One does both, one only rules out, one only ranks.
        assert_eq!(skipped, no, "{name}");
        assert!(report.headroom.len() >= 3, "{name}: {:?}", report.headroom);
        assert!(report.headroom.iter().all(|each| each.used > 0.0));
        assert_eq!(report.fuel, None, "nothing was counted");
    }
}

#[test]
fn bad_guests_fail_by_the_right_name() {
    for (name, wrong, says) in [
        ("bad-traps", &["traps"][..], "1 candidate: it trapped: "),
        ("bad-loops", &["cpu"], "`cpu_ms` is 20"),
        ("bad-grows", &["memory"], "32 MiB are allowed"),
        // 10 MB for each of a hundred candidates: that is too much before it is handed over.
        ("bad-talks", &["answer-size", "memory"], "more than 256 KiB"),
        ("bad-not-a-number", &["scores"], "is not from 0 to 100"),
        ("bad-too-few", &["one-each"], "0 verdicts for 1 candidates"),
        ("bad-mute", &["words"], "refuses without a word"),
        (
            "bad-misplaces",
            &["one-each"],
            "it refuses candidate 1, counted from 0, of 1",
        ),
    ] {
        let report = report(name, None);
        assert_eq!(failed(&report), wrong, "{name}: {:#?}", report.checks);
        let check = report.checks.iter().find(|check| check.name == wrong[0]);
        let words = &check.expect("that check").words;
        assert!(words.contains(says), "{name}: {words}");
    }
}

#[test]
fn what_is_kept_between_questions_is_found() {
    let report = report("bad-remembers", None);
    assert_eq!(
        failed(&report),
        ["same-answer", "leaks"],
        "{:#?}",
        report.checks
    );
    let leak = report.checks.iter().find(|check| check.name == "leaks");
    let words = &leak.expect("that check").words;
    assert!(words.contains("`memory_mib` is used up"), "{words}");
}

#[test]
fn what_depends_on_other_hosts_is_found() {
    let report = report("bad-table", None);
    // One that was asked other questions was told of other hosts as well.
    assert_eq!(
        failed(&report),
        ["same-answer", "table"],
        "{:#?}",
        report.checks
    );
    let table = report.checks.iter().find(|check| check.name == "table");
    let words = &table.expect("that check").words;
    let says = "1 candidate: one that was told of other hosts besides answers other than a fresh \
                instance; look only at hosts that are candidates or have a peer";
    assert!(words.starts_with(says), "{words}");
    assert!(words.ends_with("and 31 more"), "{words}");
}

#[test]
fn what_is_executed_is_the_same_number_every_time() {
    let metered = || Loaded::compile(&METERED, &wasm("site-affinity")).expect("a component");
    let first = report("site-affinity", Some(&metered())).fuel;
    let Some(Fuel::Question {
        one_candidate: one,
        hundred_candidates: hundred,
        each_candidate: each,
    }) = first
    else {
        panic!("{first:?}");
    };
    assert!(each > 0 && hundred > one);
    assert_eq!(report("site-affinity", Some(&metered())).fuel, first);
}

/// As its own manifest has it, with time for a machine that is busy with other tests.
fn handler_manifest(name: &str) -> Manifest {
    let webhooks: &[&str] = match name {
        "notifier" => &["webhook", "webhook-all", "webhook-critical"],
        "bad-panics" | "bad-spins" => &[],
        _ => &["webhook"],
    };
    let path = if name == "bad-strays" { "/told" } else { "/" };
    let granted = |role: &&str| {
        let requests = [format!("POST {path}")].into();
        (role.parse().expect("a name"), requests)
    };
    Manifest {
        kind: ExtensionKind::Events,
        rights: Rights {
            log: true,
            http: webhooks.iter().map(granted).collect(),
            ..Rights::default()
        },
        ..manifest(name)
    }
}

fn handler(name: &str) -> Report {
    let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
    conformance::run(
        &loaded,
        None,
        &handler_manifest(name),
        &TestSetup::default(),
    )
    .expect("a report")
}

#[test]
fn a_good_handler_passes_everything() {
    let report = handler("notifier");
    assert!(!report.failed(), "{:#?}", report.checks);
    let skipped = report.checks.iter();
    let skipped = skipped.filter(|check| check.outcome == Outcome::Skipped);
    assert_eq!(skipped.count(), 0, "{:#?}", report.checks);
    assert!(
        report.headroom.iter().all(|each| each.used > 0.0),
        "{:?}",
        report.headroom
    );
}

#[test]
fn a_handler_that_reads_records_passes_everything_as_its_own_manifest_has_it() {
    let text = include_str!("../../traffic/extension.toml");
    let shipped: Manifest = toml::from_str(text).expect("a manifest");
    assert_eq!(shipped.fault(), None);
    let loaded = Loaded::compile(&RUNTIME, &wasm("traffic")).expect("a component");
    let surface = loaded.surface();
    assert_eq!(mismatches(surface, &shipped), [""; 0]);
    let manifest = Manifest {
        limits: manifest("traffic").limits,
        ..shipped
    };
    let report =
        conformance::run(&loaded, None, &manifest, &TestSetup::default()).expect("a report");
    assert!(!report.failed(), "{:#?}", report.checks);
    let drills = chaos::run(&loaded, &manifest, &TestSetup::default()).expect("drills");
    let broken: Vec<_> = drills.iter().filter(|drill| !drill.held).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn bad_handlers_fail_by_the_right_name() {
    for (name, wrong, says) in [
        (
            "bad-floods",
            &["errors", "requests"][..],
            "a target that answers 500: it says that it told",
        ),
        (
            "bad-strays",
            &["granted"],
            "3 of its requests are in no grant",
        ),
        ("bad-panics", &["traps"], "what is `"),
        ("bad-spins", &["cpu"], "ms of CPU"),
    ] {
        let report = handler(name);
        assert_eq!(failed(&report), wrong, "{name}: {:#?}", report.checks);
        let check = report.checks.iter().find(|check| check.name == wrong[0]);
        let words = &check.expect("that check").words;
        assert!(words.contains(says), "{name}: {words}");
    }
}

fn fencing_manifest(name: &str, rights: Rights) -> Manifest {
    Manifest {
        kind: ExtensionKind::Fencing,
        rights,
        ..manifest(name)
    }
}

fn fencing(name: &str, rights: Rights) -> Report {
    let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
    conformance::run(
        &loaded,
        None,
        &fencing_manifest(name, rights),
        &TestSetup::default(),
    )
    .expect("a report")
}

/// Requests to a board that is called so.
fn board(requests: &[&str]) -> Rights {
    let requests = requests.iter().map(|each| (*each).to_owned()).collect();
    Rights {
        log: true,
        http: [("board".parse().expect("a name"), requests)].into(),
        ..Rights::default()
    }
}

const RESET: &str = "POST /redfish/v1/Systems/*/Actions/ComputerSystem.Reset";

/// Those that ship, with their rights.
fn good_fencing() -> [(&'static str, Rights); 2] {
    let reads = [
        "GET /redfish/v1/Systems",
        "GET /redfish/v1/Systems/*",
        RESET,
    ];
    let agent = Rights {
        log: true,
        programs: ["agent".parse().expect("a name")].into(),
        ..Rights::default()
    };
    [("redfish", board(&reads)), ("fence-agents", agent)]
}

#[test]
fn good_fencing_extensions_pass_everything() {
    for (name, rights) in good_fencing() {
        let report = fencing(name, rights);
        let passed = |check: &conformance::Check| check.outcome == Outcome::Passed;
        assert!(
            report.checks.iter().all(passed),
            "{name}: {:#?}",
            report.checks
        );
        assert!(report.questions > 100, "{}", report.questions);
    }
}

#[test]
fn bad_fencing_extensions_fail_by_the_right_name() {
    let log = Rights {
        log: true,
        ..Rights::default()
    };
    let reads = board(&["GET /redfish/v1/Systems/*"]);
    for (name, rights, wrong, says) in [
        ("bad-lies", log, "vouches", "it says off, and no board did"),
        ("bad-fence-loops", board(&[RESET]), "cpu", "no answer after"),
        ("bad-fence-strays", reads, "granted", "it asks for 17"),
    ] {
        let report = fencing(name, rights);
        let check = report.checks.iter().find(|check| check.name == wrong);
        let check = check.expect("that check");
        assert_eq!(check.outcome, Outcome::Failed, "{name}: {check:#?}");
        assert!(check.words.contains(says), "{name}: {}", check.words);
    }
}

#[test]
fn a_host_that_misbehaves_stays_well() {
    for name in [
        "site-affinity",
        "label-match",
        "bad-traps",
        "bad-grows",
        "bad-remembers",
        "bad-table",
    ] {
        let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
        let drills = chaos::run(&loaded, &manifest(name), &TestSetup::default()).expect("drills");
        assert_eq!(drills.len(), 6);
        for drill in drills {
            assert!(drill.held, "{name}: {drill:#?}");
        }
    }
}

/// A storage check as its own manifest has it, in which nothing but the name counts here.
fn storage_manifest(name: &str) -> Manifest {
    let names = |all: &[&str]| {
        all.iter()
            .map(|name| name.parse().expect("a name"))
            .collect()
    };
    Manifest {
        kind: ExtensionKind::StorageCheck,
        limits: LimitsAsked {
            memory_mib: (name == "storage-probe").then_some(128),
            cpu_ms: (!name.starts_with("bad")).then_some(2_000),
            ..LimitsAsked::default()
        },
        rights: Rights {
            log: true,
            paths: names(&["storage"]),
            commands: names(&["heal", "client", "replication"]),
            ..Rights::default()
        },
        ..manifest(name)
    }
}

fn storage_report(name: &str) -> Report {
    let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
    conformance::run(
        &loaded,
        None,
        &storage_manifest(name),
        &TestSetup::default(),
    )
    .expect("a report")
}

#[test]
fn good_storage_checks_pass_everything() {
    for name in ["gluster-check", "storage-probe"] {
        let report = storage_report(name);
        let passed = |check: &conformance::Check| check.outcome == Outcome::Passed;
        assert!(
            report.checks.iter().all(passed),
            "{name}: {:#?}",
            report.checks
        );
        assert_eq!(report.headroom.len(), 2, "{name}");
        assert!(report.headroom.iter().all(|each| each.used > 0.0));
    }
}

#[test]
fn bad_storage_checks_fail_by_the_right_name() {
    for (name, wrong, says) in [
        (
            "bad-says-yes",
            &["vouches"][..],
            "nothing has that name: it says that it is reachable; and 10 more",
        ),
        (
            "bad-check-traps",
            &["traps"],
            "storage: no such name: there is none",
        ),
        ("bad-check-loops", &["cpu"], "`cpu_ms` is 200"),
        (
            "bad-blames",
            &["blames", "words"],
            "nothing has that name: it says that it is not reachable",
        ),
    ] {
        let report = storage_report(name);
        assert_eq!(failed(&report), wrong, "{name}: {:#?}", report.checks);
        let check = report.checks.iter().find(|check| check.name == wrong[0]);
        let words = &check.expect("that check").words;
        assert!(words.contains(says), "{name}: {words}");
    }
}

#[test]
fn a_host_that_misbehaves_at_a_storage_check_stays_well() {
    for name in ["gluster-check", "bad-check-traps", "bad-check-loops"] {
        let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
        let drills =
            chaos::run(&loaded, &storage_manifest(name), &TestSetup::default()).expect("drills");
        assert_eq!(drills.len(), 4);
        for drill in drills {
            assert!(drill.held, "{name}: {drill:#?}");
        }
    }
}

fn drills(manifest: &Manifest) -> Vec<Drill> {
    let loaded = Loaded::compile(&RUNTIME, &wasm(manifest.name.as_str())).expect("a component");
    chaos::run(&loaded, manifest, &TestSetup::default()).expect("drills")
}

#[test]
fn good_ones_that_act_say_nothing_untrue_whatever_their_host_does() {
    let [redfish, agents] = good_fencing().map(|(name, rights)| fencing_manifest(name, rights));
    for (manifest, count) in [
        (redfish, 9),
        (agents, 9),
        (handler_manifest("notifier"), 11),
    ] {
        let drills = drills(&manifest);
        assert_eq!(drills.len(), count, "{}", manifest.name);
        for drill in drills {
            assert!(drill.held, "{}: {drill:#?}", manifest.name);
        }
    }
}

#[test]
fn bad_ones_that_act_fail_by_what_they_say_or_because_they_do_not_end() {
    let hasty = |manifest: Manifest| Manifest {
        limits: LimitsAsked {
            cpu_ms: Some(20),
            ..manifest.limits
        },
        ..manifest
    };
    let log = Rights {
        log: true,
        ..Rights::default()
    };
    let loops = hasty(fencing_manifest("bad-fence-loops", board(&[RESET])));
    let spins = hasty(handler_manifest("bad-spins"));
    for (manifest, name, says) in [
        (
            fencing_manifest("bad-lies", log),
            "rights",
            "asked for status: it says off, and no board did",
        ),
        (loops, "refuses", "it does not end by itself: it used 2"),
        (
            handler_manifest("bad-floods"),
            "lost",
            "it says that it told, and 16 of its 16 requests were not taken",
        ),
        (
            handler_manifest("bad-floods"),
            "garbage",
            "it says that it told, and 16 of its 16 requests were not taken",
        ),
        (handler_manifest("bad-panics"), "newer", "it trapped: "),
        (spins, "refuses", "it does not end by itself: it used 2"),
    ] {
        let drills = drills(&manifest);
        let drill = drills.iter().find(|drill| drill.name == name);
        let drill = drill.expect("that drill");
        assert!(!drill.held, "{}: {drill:#?}", manifest.name);
        assert!(
            drill.happened.contains(says),
            "{}: {drill:#?}",
            manifest.name
        );
    }
}
