//! An extension's folder: its manifest, and which language it is in.

use std::path::{Path, PathBuf};

use holdfast_model::extension::Manifest;

use crate::{KitError, Language, Result};

/// The manifest's file name.
pub const MANIFEST: &str = "extension.toml";

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
        let (language, source) = source(path)?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
            language,
            source,
        })
    }
}

/// A `Cargo.toml` decides; otherwise there has to be one source file.
fn source(folder: &Path) -> Result<(Language, PathBuf)> {
    let cargo = folder.join("Cargo.toml");
    if cargo.is_file() {
        return Ok((Language::Rust, cargo));
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(KitError::io("read", folder))? {
        let path = entry.map_err(KitError::io("read", folder))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let others = [Language::JavaScript, Language::Python, Language::C];
        let language = others
            .into_iter()
            .find(|each| ending == Some(each.ending()));
        if let Some(language) = language.filter(|_| path.is_file()) {
            found.push((language, path));
        }
    }
    let refuse = |what| KitError::Sources {
        folder: folder.to_owned(),
        what,
    };
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(refuse("no sources in it".to_owned())),
        _ => {
            let mut names: Vec<_> = found
                .iter()
                .filter_map(|(_, path)| path.file_name())
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            Err(refuse(format!("several sources: {}", names.join(", "))))
        }
    }
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
            refusal(&[(MANIFEST, GOOD), ("b.py", ""), ("a.js", "")]),
            "DIR: several sources: a.js, b.py; an extension has one Cargo.toml, or one .js, .py or .c file, \
             beside its extension.toml"
        );
        assert!(refusal(&[(MANIFEST, GOOD)]).starts_with("DIR: no sources in it; "));
        let odd = GOOD.replace("1.0.0", "1");
        let refused = refusal(&[(MANIFEST, &odd), ("a.c", "")]);
        assert!(
            refused.starts_with("DIR/extension.toml, line 2, "),
            "{refused}"
        );
    }
}
