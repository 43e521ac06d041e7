//! Which files of an extension's folder go into its component.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::{KitError, Language, Result};

/// Languages that are told by the endings of files; for Rust there is a `Cargo.toml`.
const BY_ENDING: [Language; 3] = [Language::JavaScript, Language::Python, Language::C];

/// What builds and tools leave behind.
const MADE: [&str; 6] = [
    "target",
    "__pycache__",
    "node_modules",
    "wit_world",
    "extension.h",
    "Cargo.lock",
];

/// Folders and files of tests.
const TESTS: [&str; 3] = ["test", "tests", "conftest.py"];

/// The sources of these languages right in the folder, sorted: the component begins with one of them.
pub(crate) fn beside_manifest(folder: &Path) -> Result<Vec<(Language, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(KitError::io("read", folder))? {
        let path = entry.map_err(KitError::io("read", folder))?.path();
        let language = BY_ENDING.into_iter().find(|each| is_of(&path, *each));
        if let Some(language) = language.filter(|_| path.is_file()) {
            found.push((language, path));
        }
    }
    found.sort();
    Ok(found)
}

/// When something that goes into the component was last written. The manifest does not, nor do tests, words for people
/// and keys; what cannot be read is passed over.
pub fn newest(folder: &Path) -> Option<SystemTime> {
    let wit = newest_of(&folder.join("wit"), &|path| has_ending(path, "wit"));
    let own = match folder.join("Cargo.toml").is_file() {
        true => {
            let files = ["Cargo.toml", "build.rs"].map(|name| modified(&folder.join(name)));
            // Whatever is there may be included by the code.
            let folders = ["src", "sdk"].map(|name| newest_of(&folder.join(name), &|_| true));
            files.into_iter().chain(folders).flatten().max()
        }
        false => newest_of(folder, &|path| {
            has_ending(path, "h")
                || has_ending(path, "mjs")
                || BY_ENDING.into_iter().any(|each| is_of(path, each))
        }),
    };
    own.max(wit)
}

/// A source of the language, by its name, and neither a test nor settings of a tool.
fn is_of(path: &Path, language: Language) -> bool {
    let stem = path.file_stem().and_then(|name| name.to_str());
    let beside = |stem: &str| {
        let ends = [".test", "_test", ".config"];
        stem.starts_with('.')
            || stem.starts_with("test_")
            || ends.iter().any(|end| stem.ends_with(end))
            || ["conftest", "setup"].contains(&stem)
    };
    has_ending(path, language.ending()) && stem.is_some_and(|stem| !beside(stem))
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|own| own == ending)
}

/// Of the files that count in this folder and those below it.
fn newest_of(folder: &Path, counts: &dyn Fn(&Path) -> bool) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let times = entries.filter_map(|entry| {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let skip = name.starts_with('.') || MADE.iter().chain(&TESTS).any(|each| *each == name);
        match (skip, path.is_dir()) {
            (true, _) => None,
            (false, true) => newest_of(&path, counts),
            (false, false) => modified(&path).filter(|_| counts(&path)),
        }
    });
    times.max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|found| found.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether the component counts as older once this file is written a minute later than all others.
    fn counts(files: &[&str], changed: &str) -> bool {
        let dir = tempfile::tempdir().expect("a directory");
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let put = |name: &str, at: SystemTime| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
            let file = std::fs::File::create(&path).expect("a file");
            file.set_modified(at).expect("a time");
        };
        for name in files {
            put(name, then);
        }
        let later = then + Duration::from_secs(60);
        put(changed, later);
        newest(dir.path()) == Some(later)
    }

    #[test]
    fn only_what_goes_into_the_component_counts() {
        let js = ["placement.js", "wit/world.wit"];
        for changed in ["placement.js", "lib/rule.js", "wit/world.wit"] {
            assert!(counts(&js, changed), "{changed}");
        }
        for changed in [
            "extension.toml",
            "README.md",
            "release.pem",
            "package.json",
            "test/rule.test.js",
            "lib/rule.test.js",
            "eslint.config.js",
            "node_modules/x/index.js",
            "x.wasm",
        ] {
            assert!(!counts(&js, changed), "{changed}");
        }
        assert!(counts(&["a.py"], "own/part.py"));
        assert!(!counts(&["a.py"], "tests/test_a.py"));
        assert!(!counts(&["a.py"], "wit_world/__init__.py"));
        assert!(counts(&["a.c"], "list.h"));
        assert!(!counts(&["a.c"], "extension.h"));
        let rust = ["Cargo.toml", "src/lib.rs"];
        for changed in ["Cargo.toml", "src/words.txt", "sdk/src/lib.rs", "build.rs"] {
            assert!(counts(&rust, changed), "{changed}");
        }
        for changed in [
            "extension.toml",
            "Cargo.lock",
            "tests/all.rs",
            "target/x.rs",
        ] {
            assert!(!counts(&rust, changed), "{changed}");
        }
    }
}
