//! What a new extension is written with holds together: manifest, contracts, versions.

use std::path::Path;

use holdfast_extension_kit::{Folder, Language, Start, new, wit};
use holdfast_model::extension::ExtensionKind;

fn each(check: impl Fn(&Start, &Path)) {
    each_source(|start, folder, _| check(start, folder));
}

fn each_source(check: impl Fn(&Start, &Path, &Path)) {
    for kind in ExtensionKind::ALL {
        for language in Language::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            let folder = dir.path().join("made");
            let name = format!("my-{kind}").parse().expect("a name");
            let start = Start {
                name,
                kind,
                language,
            };
            let source = new(&folder, &start).expect("a new extension");
            assert!(source.is_file(), "{source:?}");
            check(&start, &folder, &source);
        }
    }
}

#[test]
fn manifest_and_language_are_read_back() {
    each(|start, path| {
        let folder = Folder::open(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(folder.language, start.language);
        assert_eq!(folder.manifest.kind, start.kind);
        assert_eq!(folder.manifest.name, start.name);
        let log = folder.manifest.rights.log;
        assert_eq!(
            log,
            start.language != Language::C,
            "C imports only what it calls"
        );
    });
}

#[test]
fn nothing_is_left_to_fill_in() {
    each(|_, path| {
        for name in ["README.md", "extension.toml", "Cargo.toml"] {
            let text = std::fs::read_to_string(path.join(name)).unwrap_or_default();
            assert!(!text.contains("{{"), "{name}:\n{text}");
        }
    });
}

#[test]
fn the_contracts_resolve_and_export_the_kind() {
    each(|start, path| {
        if start.language == Language::Rust {
            return;
        }
        let (resolve, world) = wit::resolve(&path.join("wit")).unwrap_or_else(|e| panic!("{e}"));
        let exports = resolve.worlds[world].exports.keys();
        let wanted = format!("holdfast:{}/", start.kind);
        for name in exports.map(|key| resolve.name_world_key(key)) {
            assert!(name.starts_with(&wanted), "{name}");
        }
    });
}

/// They hold as they are written, with what the extension itself is built from.
#[test]
fn tests_of_javascript_pass() {
    let Some(node) = holdfast_extension_kit::find("node") else {
        eprintln!("skipped: there is no node");
        return;
    };
    each(|start, path| {
        if start.language != Language::JavaScript {
            return;
        }
        let mut command = std::process::Command::new(&node);
        let ran = command.arg("--test").current_dir(path).output();
        let ran = ran.expect("node");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{}:\n{said}", start.kind);
        assert!(!said.contains("# tests 0\n"), "{}:\n{said}", start.kind);
    });
}

/// Of all that can become of an order only one leaves open whether it was carried out.
#[test]
fn an_order_that_was_not_sent_is_told_from_one_without_an_answer() {
    each_source(|start, folder, source| {
        if start.kind != ExtensionKind::Fencing {
            return;
        }
        let logic = folder.join("lib/logic.js");
        let source = match start.language {
            Language::JavaScript => logic.as_path(),
            _ => source,
        };
        let apart = match start.language {
            Language::Rust => "error @ Error::Unanswered(_)) => Ordered::Unknown",
            Language::JavaScript => "UNSENT.includes(error.payload?.tag)",
            Language::Python => "Ordered_Unknown(said) if unanswered else",
            Language::C => "HOLDFAST_HOST_HTTP_ERROR_UNANSWERED ?",
        };
        let text = std::fs::read_to_string(source).expect("a source");
        assert!(text.contains(apart), "{}:\n{text}", start.language);
    });
}

/// A new extension and its SDK are built with what those of this checkout are built with.
#[test]
fn rust_takes_the_same_bindings_as_our_own() {
    let line = |text: &str, what: &str| {
        let mut lines = text.lines().map(str::to_owned);
        lines.find(|line| line.starts_with(what))
    };
    let ours = |what| line(include_str!("../../Cargo.toml"), what);
    let bindings = ours("wit-bindgen = ");
    assert!(bindings.is_some());
    let json = ours("serde_json = ");
    assert!(json.is_some());
    each(|start, path| {
        if start.language != Language::Rust {
            return;
        }
        let made = std::fs::read_to_string(path.join("Cargo.toml")).expect("a text");
        assert_eq!(line(&made, "wit-bindgen = "), bindings);
        let wanted = json
            .clone()
            .filter(|_| start.kind == ExtensionKind::Fencing);
        assert_eq!(line(&made, "serde_json = "), wanted, "{}", start.kind);
    });
}
