//! What `holdfast ext new` writes and what the guide for authors shows, as it stands: built, checked and tried by the
//! commands that the guide names.
#![allow(clippy::unwrap_used)]

use super::authors::{Ran, holdfast, json};
use holdfast_extension_kit::{Language, Tools};
use holdfast_model::extension::ExtensionKind;
use std::path::Path;

const GUIDE: &str = include_str!("../../../../docs/extensions-authoring.md");

/// Whether nothing in this language can be built on this machine, which is told.
pub fn skipped(language: Language) -> bool {
    match Tools::of_user().lacking(language) {
        Some(why) => eprintln!("skipped: {why}"),
        None => return false,
    }
    true
}

/// An extension that is not changed after it was written does all that its kind has to do.
pub fn works_unchanged(kind: ExtensionKind, language: Language) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    started(dir.path(), kind, language);
    works(dir.path(), kind, language);
}

/// The rule that the guide shows in this language is all that has to be written in the place of what was written.
pub fn rule_of_guide_works(language: Language) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kind = ExtensionKind::Placement;
    started(dir.path(), kind, language);
    let source = match language {
        Language::Rust => "src/lib.rs".to_owned(),
        other => format!("placement.{}", other.ending()),
    };
    let source = dir.path().join("made").join(source);
    assert!(source.is_file(), "{source:?}");
    std::fs::write(source, rule_of_guide(language)).unwrap();
    works(dir.path(), kind, language);
}

fn started(dir: &Path, kind: ExtensionKind, language: Language) {
    let ran = match language {
        Language::Rust => super::authors::started(dir, "made", kind.word()),
        other => holdfast(
            dir,
            &["new", "made", "--kind", kind.word(), "--lang", other.word()],
        ),
    };
    good(&ran);
}

/// Builds it, and has it looked at and tried.
fn works(dir: &Path, kind: ExtensionKind, language: Language) {
    good(&holdfast(dir, &["build", "made"]));
    // Python's are larger than what is taken without being asked, and take long to compile: of those what `test` looks
    // at besides is enough.
    let large: &[&str] = match language {
        Language::Python => &["--large"],
        _ => &[],
    };
    if large.is_empty() {
        let ran = holdfast(dir, &["check", "made"]);
        good(&ran);
        assert!(ran.out.starts_with("ok: made 0.1.0, kind "), "{}", ran.out);
    }
    let ran = holdfast(dir, &[&["test", "made", "-o", "json"], large].concat());
    good(&ran);
    let report = json(&ran);
    assert_eq!(report["contract_only"], false, "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    // One that does nothing passes as well: these are passed by what does something only.
    for wanted in shown_by(kind) {
        let check = checks.iter().find(|check| check["name"] == *wanted);
        let check = check.unwrap_or_else(|| panic!("no check `{wanted}`: {report:#}"));
        assert_eq!(check["outcome"], "passed", "{report:#}");
    }
    let counted = match kind {
        ExtensionKind::Placement => &report["fuel"]["each_candidate"],
        _ => &report["fuel"]["call"],
    };
    // But for what takes half a minute to compile a second time.
    let counts = large.is_empty() || kind == ExtensionKind::Placement;
    assert_eq!(counted.as_u64() > Some(0), counts, "{report:#}");
}

/// Checks that are not looked at unless an extension does what its kind is for.
fn shown_by(kind: ExtensionKind) -> &'static [&'static str] {
    match kind {
        ExtensionKind::Placement => &["one-each", "same-answer", "table"],
        ExtensionKind::Fencing => &["switches", "vouches", "lost"],
        ExtensionKind::StorageCheck => &["vouches", "blames"],
        ExtensionKind::Events => &["requests", "json"],
    }
}

fn good(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
}

/// The one block of code in this language that the guide has.
fn rule_of_guide(language: Language) -> String {
    let fence = format!("```{}\n", language.word());
    let all = GUIDE.matches(&fence).count();
    assert_eq!(
        all, 1,
        "{language}: a block that is not the rule is built by nothing"
    );
    let section = GUIDE.split_once(&format!("\n## {language}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let block = section.split_once(&fence).unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}
