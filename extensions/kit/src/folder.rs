//! An extension's folder: its manifest, and which language it is in.

use std::path::{Path, PathBuf};

use holdfast_model::extension::{MANIFEST, Manifest};

use crate::{KitError, Language, Result, sources};

/// An extension's folder that can be built.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What it is written in.
    pub language: Language,
    /// Its `Cargo.toml`, or its one source file.
    pub source: PathBuf,
}

impl Folder {
    /// Reads one.
    pub fn open(path: &Path) -> Result<Self> {
        let manifest = holdfast_strict::load(&path.join(MANIFEST), |text, name| {
            holdfast_strict::read_checked(text, name, Manifest::fault)
        })?;
        let (language, source) = source(path, &manifest)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            language,
            source,
        })
    }
}

/// A `Cargo.toml` decides; otherwise the source that is called as `holdfast ext new` calls it, after the kind, or after
/// the extension, or the only one that there is.
fn source(folder: &Path, manifest: &Manifest) -> Result<(Language, PathBuf)> {
    let cargo = folder.join("Cargo.toml");
    if cargo.is_file() {
        return Ok((Language::Rust, cargo));
    }
    let mut found = sources::beside_manifest(folder)?;
    let called = |name: &str| {
        let stem = module_name(name);
        found
            .iter()
            .position(|(_, path)| path.file_stem().is_some_and(|own| *own == *stem))
    };
    let named = called(manifest.kind.word()).or_else(|| called(manifest.name.as_str()));
    // All of C is compiled; which file comes first makes no difference.
    let is_c = !found.is_empty() && found.iter().all(|(language, _)| *language == Language::C);
    if let Some(at) = named.or((found.len() == 1 || is_c).then_some(0)) {
        return Ok(found.swap_remove(at));
    }
    let names = found.iter().filter_map(|(_, path)| path.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    let what = match found.first() {
        None => "no sources in it; an extension has one Cargo.toml, or one .js, .py or .c file, beside its extension.toml"
            .to_owned(),
        Some((language, _)) => {
            let name = format!("{}.{}", module_name(manifest.kind.word()), language.ending());
            format!(
                "several sources: {}; call the one that the others are imported by `{name}`, or move the others into a \
                 folder such as lib/",
                names.join(", ")
            )
        }
    };
    Err(KitError::Sources {
        folder: folder.to_owned(),
        what,
    })
}

/// A file's name without its ending: one that Python can import.
pub(crate) fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "name = \"x\"\nversion = \"1.0.0\"\nkind = \"events\"\nsummary = \"Tells.\"\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    #[test]
    fn the_language_is_told_by_the_files() {
        for (name, language) in [
            ("Cargo.toml", Language::Rust),
            ("a.js", Language::JavaScript),
            ("a.py", Language::Python),
            ("a.c", Language::C),
        ] {
            let dir = folder(&[(MANIFEST, GOOD), (name, ""), ("README.md", "")]);
            let read = Folder::open(dir.path()).expect(name);
            assert_eq!(read.language, language);
            assert!(read.source.ends_with(name));
            assert_eq!(language.word().parse(), Ok(language));
        }
    }

    #[test]
    fn a_refusal_says_where_and_what_to_do() {
        let refusal = |files: &[(&str, &str)]| {
            let dir = folder(files);
            let error = Folder::open(dir.path()).expect_err("refused").to_string();
            error.replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(
            refusal(&[(MANIFEST, GOOD), ("b.js", ""), ("a.js", "")]),
            "DIR: several sources: a.js, b.js; call the one that the others are imported by `events.js`, or move the \
             others into a folder such as lib/"
        );
        assert!(refusal(&[(MANIFEST, GOOD)]).starts_with("DIR: no sources in it; "));
        let odd = GOOD.replace("1.0.0", "1");
        let refused = refusal(&[(MANIFEST, &odd), ("a.c", "")]);
        assert!(
            refused.starts_with("DIR/extension.toml, line 2, "),
            "{refused}"
        );
    }

    #[test]
    fn of_several_sources_the_named_one_is_taken() {
        let taken = |files: &[&str]| {
            let files: Vec<_> = files.iter().map(|name| (*name, "")).collect();
            let dir = folder(&[&[(MANIFEST, GOOD)], files.as_slice()].concat());
            let read = Folder::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
            let name = read.source.file_name().expect("a name");
            name.to_string_lossy().into_owned()
        };
        assert_eq!(taken(&["a.js", "events.js", "x.js"]), "events.js");
        // The manifest's name.
        assert_eq!(taken(&["a.py", "x.py"]), "x.py");
        assert_eq!(taken(&["a.js", "eslint.config.js", "a.test.js"]), "a.js");
        assert_eq!(taken(&["b.c", "a.c"]), "a.c");
    }
}
