//! What `holdfast ext new` writes in JavaScript and C, and the rules of the guide. Of Python there is a program of its own,
//! since it takes minutes; in Rust each kind is built by the other tests.
#![cfg(feature = "extensions")]

use crate::support::scaffolds::{rule_of_guide_works, skipped, works_unchanged};
use holdfast_extension_kit::Language;
use holdfast_model::extension::ExtensionKind;

#[test]
fn each_kind_in_javascript_works_as_it_is_written() {
    if skipped(Language::JavaScript) {
        return;
    }
    for kind in ExtensionKind::ALL {
        works_unchanged(kind, Language::JavaScript);
    }
}

#[test]
fn each_kind_in_c_works_as_it_is_written() {
    for kind in ExtensionKind::ALL {
        works_unchanged(kind, Language::C);
    }
}

#[test]
fn the_guides_rules_in_rust_and_c_work() {
    rule_of_guide_works(Language::Rust);
    rule_of_guide_works(Language::C);
}

#[test]
fn the_guides_rule_in_javascript_works() {
    if !skipped(Language::JavaScript) {
        rule_of_guide_works(Language::JavaScript);
    }
}
