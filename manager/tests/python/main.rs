//! What `holdfast ext new` writes in Python, and the guide's rule. Each is built with CPython in it and compiled by the
//! command line: minutes, and so the stage `extensions` of `cargo xtask test` runs them, and not `cargo test`.
#![allow(missing_docs, dead_code, clippy::unwrap_used)]

#[path = "../manager/support/authors.rs"]
mod authors;
#[path = "../manager/support/scaffolds.rs"]
mod scaffolds;

use holdfast_extension_kit::Language;
use holdfast_model::extension::ExtensionKind;
use scaffolds::{rule_of_guide_works, skipped, works_unchanged};

fn works(kind: ExtensionKind) {
    if !skipped(Language::Python) {
        works_unchanged(kind, Language::Python);
    }
}

#[test]
fn a_rule_works_as_it_is_written() {
    works(ExtensionKind::Placement);
}

#[test]
fn one_for_fencing_works_as_it_is_written() {
    works(ExtensionKind::Fencing);
}

#[test]
fn a_storage_check_works_as_it_is_written() {
    works(ExtensionKind::StorageCheck);
}

#[test]
fn an_event_handler_works_as_it_is_written() {
    works(ExtensionKind::Events);
}

#[test]
fn the_guides_rule_works() {
    if !skipped(Language::Python) {
        rule_of_guide_works(Language::Python);
    }
}

/// The one that the benchmarks ask.
#[test]
fn the_rule_of_this_checkout_passes() {
    if skipped(Language::Python) {
        return;
    }
    let (wasm, dir) = (authors::built("free-vcpus"), env!("CARGO_TARGET_TMPDIR"));
    let arguments = ["test", wasm.to_str().unwrap(), "--large"];
    let ran = authors::holdfast(dir.as_ref(), &arguments);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("✔  table"), "{}", ran.out);
}
