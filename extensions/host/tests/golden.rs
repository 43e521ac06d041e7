//! Golden guests: what was built with a released contract gets from the present host what it was built for, and is
//! understood by it ([how they are made](golden/README.md)). What fails here would fail where it is installed.

mod common;
#[path = "golden/events.rs"]
mod events;
#[path = "golden/fencing.rs"]
mod fencing;
#[path = "golden/outside.rs"]
mod outside;
#[path = "golden/placement.rs"]
mod placement;
#[path = "golden/storage_check.rs"]
mod storage_check;

use common::{RUNTIME, limits, question};
use holdfast_extension_host::journal::{Journal, Level};
use holdfast_extension_host::{Loaded, Placement};
use holdfast_model::extension::{ExtensionKind, Limits, Rights};
use holdfast_model::id::TargetName;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Asks one, and holds what it answers against what it did when it was released.
type Ask = fn(&Loaded);

/// Each of them.
const ALL: [(&str, Ask); 6] = [
    ("placement-0.1.0", placement::placement_0_1_0),
    ("placement-0.2.0", placement::placement_0_2_0),
    ("fencing-0.1.0-http", fencing::fencing_0_1_0_http),
    ("fencing-0.1.0-agent", fencing::fencing_0_1_0_agent),
    ("storage-check-0.1.0", storage_check::storage_check_0_1_0),
    ("events-0.1.0", events::events_0_1_0),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn loaded(name: &str) -> Loaded {
    let path = folder().join(format!("{name}.wat"));
    let wasm = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
    Loaded::compile(&RUNTIME, &wasm)
        .unwrap_or_else(|error| panic!("this host does not take {name} any more: {error}"))
}

#[test]
fn golden_guests_are_answered_and_understood_as_when_they_were_released() {
    for (name, ask) in ALL {
        println!("{name}");
        ask(&loaded(name));
    }
}

/// That they pass means something: with one field named otherwise it would not.
#[test]
fn a_contract_that_differs_in_a_name_is_found() {
    for name in ["placement-0.1.0", "placement-0.2.0"] {
        let path = folder().join(format!("{name}.wat"));
        let text = std::fs::read_to_string(&path).expect("a golden guest");
        let other = text.replace("\"vcpus-used\"", "\"vcpus-taken\"");
        assert_ne!(other, text);
        let wasm = wat::parse_str(other).expect("a component");
        let loaded = Loaded::compile(&RUNTIME, &wasm).expect("one for placement");
        let placement = Placement::new(&loaded, limits(), true);
        let said = placement.map(|placement| placement.ask(&question(3)).said);
        let words = match said {
            Ok(Ok(said)) => panic!("it answers {said:?}"),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(words.contains("vcpus-taken"), "{name}: {words}");
    }
}

/// Each alone is one; both together are asked by no rule.
#[test]
fn a_component_of_two_versions_is_refused() {
    let path = folder().join("placement-0.2.0.wat");
    let text = std::fs::read_to_string(&path).expect("a golden guest");
    let both = text.replace(
        "(export \"holdfast:placement/rule@0.2.0\" (instance $rule))",
        "(export \"holdfast:placement/rule@0.2.0\" (instance $rule))\n  \
         (instance $old)\n  (export \"holdfast:placement/score@0.1.0\" (instance $old))",
    );
    assert_ne!(both, text);
    let wasm = wat::parse_str(both).expect("a component");
    let error = Loaded::compile(&RUNTIME, &wasm).err().expect("refused");
    let words = error.to_string();
    assert!(
        words.contains("two versions of its contract, 0.2 and 0.1"),
        "{words}"
    );
}

#[test]
fn none_is_left_out() {
    let read = std::fs::read_dir(folder()).expect("the golden guests");
    let paths = read.map(|entry| entry.expect("an entry").path());
    let found: BTreeSet<String> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "wat"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
        .collect();
    let asked: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(asked, found);
}

fn name(text: &str) -> TargetName {
    text.parse().expect("a name")
}

fn log() -> Rights {
    Rights {
        log: true,
        ..Rights::default()
    }
}

/// Those of its kind, but for the clock: this machine may be busy with other tests.
fn limits_of(kind: ExtensionKind) -> Limits {
    Limits {
        wall_ms: 60_000,
        ..kind.default_limits()
    }
}

fn written(journal: &Journal) -> Vec<(Level, String)> {
    let lines = journal.lines().0.into_iter();
    lines.map(|line| (line.level, line.text)).collect()
}
