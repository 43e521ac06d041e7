//! Of this checkout, and of a copy of it in which something was changed.

use std::path::{Path, PathBuf};

use super::{Contract, RECORD, faults, found, record, release_in};
use crate::root::root;

#[test]
fn released_contracts_are_as_they_were_released() {
    let released = record::read(&root()).expect("the record");
    let found = found::found(&root()).expect("the contracts");
    let faults = faults(&released, &found);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (contract, items) in released {
        // What authors get.
        let mut kit = holdfast_extension_kit::wit::FILES.iter();
        let in_kit =
            kit.any(|file| file.package == contract.package && file.version == contract.version);
        assert!(
            in_kit,
            "{contract} is released, and extensions/kit/src/wit.rs does not have it"
        );
        let guests = items.keys().filter(|item| item.starts_with("guest "));
        assert_eq!(guests.count() > 0, contract.is_of_a_kind(), "{contract}");
    }
}

/// A checkout with the contracts, the guests and the record of this one.
fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for folder in ["wit", super::GOLDEN] {
        copy_all(&root().join(folder), &copy.path().join(folder));
    }
    copy
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy_all(&path, &to),
            false => {
                std::fs::copy(&path, &to).expect("copied");
            }
        }
    }
}

/// Puts one text in the place of another, in a file of a copy.
fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{}: no {from:?}", path.display());
    std::fs::write(path, text.replace(from, to)).expect("written");
}

/// What is wrong with a copy: the same for the test and for a release, which then leaves the record alone.
fn wrong(copy: &Path) -> Vec<String> {
    let before = std::fs::read(copy.join(RECORD)).expect("the record");
    let released = record::read(copy).expect("the record");
    let faults = faults(&released, &found::found(copy).expect("contracts"));
    let refused = release_in(copy)
        .expect_err("nothing to release")
        .to_string();
    if !faults.is_empty() {
        assert_eq!(refused, faults.join("\n"));
    }
    assert_eq!(
        std::fs::read(copy.join(RECORD)).expect("the record"),
        before
    );
    faults
}

#[test]
fn words_may_be_mended_and_lines_moved() {
    let copy = copy();
    let placement = copy.path().join("wit/placement/0.1.0/placement.wit");
    replace(
        &placement,
        "/// Ranks hosts.",
        "/// Says which hosts are preferred.",
    );
    replace(&placement, "    /// Higher ones are placed first.\n", "");
    replace(
        &placement,
        "  record label {\n    key: string,\n",
        "  record label{ key:string,\n",
    );
    assert!(wrong(copy.path()).is_empty());
}

#[test]
fn a_change_of_a_released_interface_is_told_with_what_to_do() {
    let of = |path: &str, from: &str, to: &str| {
        let copy = copy();
        replace(&copy.path().join(path), from, to);
        wrong(copy.path())
    };
    let placement = "wit/placement/0.1.0/placement.wit";
    let field = of(placement, "vms: u32,", "vms: u32,\n    draining: bool,");
    assert_eq!(
        field,
        [
            "interface types of holdfast:placement@0.1.0 has been released and is not what it was: a released version \
          never changes. Put it back, and make the change in a new version directory beside it"
        ]
    );
    let world = of(
        "wit/events/0.1.0/events.wit",
        "  import holdfast:host/http@0.1.0;\n",
        "",
    );
    assert!(
        world[0].starts_with("world event-handling of holdfast:events@0.1.0 has been"),
        "{world:?}"
    );
    assert_eq!(world.len(), 1, "{world:?}");
    let new = of(
        placement,
        "/// Ranks hosts.",
        "interface extra {\n  f: func();\n}\n",
    );
    assert!(
        new[0].starts_with("interface extra is new in holdfast:placement@0.1.0, which"),
        "{new:?}"
    );
    let guest = of(
        "extensions/host/tests/golden/events-0.1.0.wat",
        "(i32.const 200)",
        "(i32.const 204)",
    );
    assert!(
        guest[0].starts_with("guest events-0.1.0.wat of holdfast:events@0.1.0 has"),
        "{guest:?}"
    );
}

#[test]
fn what_was_released_stays_there() {
    let copy = copy();
    let gone = copy.path().join("wit/fencing/0.1.0");
    std::fs::remove_dir_all(gone).expect("removed");
    let wrong = wrong(copy.path());
    assert!(
        wrong[0].contains("wit/fencing/0.1.0 is not there any more: put it back"),
        "{wrong:?}"
    );
    let guest = copy
        .path()
        .join(super::GOLDEN)
        .join("storage-check-0.1.0.wat");
    std::fs::remove_file(guest).expect("removed");
    let faults = self::wrong(copy.path());
    assert!(
        faults[1].contains("guest storage-check-0.1.0.wat of"),
        "{faults:?}"
    );
    assert!(faults[1].contains("and is gone"), "{faults:?}");
}

/// The next version of events, as a beginning.
fn next_of_events(copy: &Path) -> PathBuf {
    let next = copy.join("wit/events/0.2.0");
    copy_all(&copy.join("wit/events/0.1.0"), &next);
    replace(
        &next.join("events.wit"),
        "holdfast:events@0.1.0",
        "holdfast:events@0.2.0",
    );
    next
}

#[test]
fn a_new_version_is_released_once_and_with_a_guest() {
    let copy = copy();
    let next = next_of_events(copy.path());
    let unguarded = release_in(copy.path()).expect_err("no guest").to_string();
    assert!(
        unguarded.contains("write extensions/host/tests/golden/events-0.2.0.wat"),
        "{unguarded}"
    );
    let guest = copy.path().join(super::GOLDEN).join("events-0.2.0.wat");
    std::fs::write(&guest, "(component)").expect("written");
    let before = record::read(copy.path()).expect("the record");
    let released = release_in(copy.path()).expect("released");
    let contract = Contract {
        package: "events".to_owned(),
        version: "0.2.0".to_owned(),
    };
    assert_eq!(released, std::slice::from_ref(&contract));
    let mut after = record::read(copy.path()).expect("the record");
    let items = after.remove(&contract).expect("on record");
    assert_eq!(
        items.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "guest events-0.2.0.wat",
            "interface handler",
            "world event-handling"
        ]
    );
    assert_eq!(after, before, "the others are as they were");
    assert!(wrong(copy.path()).is_empty());
    replace(
        &next.join("events.wit"),
        "site: option<string>,",
        "site: string,",
    );
    assert!(wrong(copy.path())[0].contains("interface handler of holdfast:events@0.2.0"));
}

#[test]
fn a_folder_and_the_package_in_it_are_of_one_version() {
    let copy = copy();
    let events = next_of_events(copy.path()).join("events.wit");
    replace(&events, "holdfast:events@0.2.0", "holdfast:events@0.3.0");
    let error = release_in(copy.path()).expect_err("refused").to_string();
    assert_eq!(
        error,
        "wit/events/0.2.0: the package in it is holdfast:events@0.3.0, not holdfast:events@0.2.0"
    );
}
