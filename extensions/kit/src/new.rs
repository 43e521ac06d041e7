//! Starts an extension: a folder whose sources build and work as they are.

use std::path::{Path, PathBuf};

use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::ExtensionName;

use crate::folder::module_name;
use crate::templates::{self, SDK};
use crate::{KitError, Language, Result, build, wit};
use holdfast_model::extension::MANIFEST;

/// What becomes of a folder.
#[derive(Debug, Clone)]
pub struct Start {
    /// The extension's name.
    pub name: ExtensionName,
    /// What it is for.
    pub kind: ExtensionKind,
    /// What it is written in.
    pub language: Language,
}

/// Writes the folder, and says where the author's code is. A folder that is there has to be empty.
pub fn new(folder: &Path, start: &Start) -> Result<PathBuf> {
    if folder.is_dir() {
        let mut there = std::fs::read_dir(folder).map_err(KitError::io("read", folder))?;
        if there.next().is_some() {
            let path = folder.to_owned();
            return Err(KitError::Occupied { path });
        }
    }
    let template = templates::of(start.kind);
    let source = start.source();
    let put = |name: &str, text: &str| put(&folder.join(name), text);
    put(MANIFEST, &start.manifest(template.manifest))?;
    put("README.md", &start.filled(templates::README))?;
    put(
        ".gitignore",
        "/target\n*.wasm\n__pycache__/\nnode_modules/\n/extension.h\n",
    )?;
    put(&source, template.source(start.language))?;
    for (name, text) in template.beside(start.language) {
        put(name, text)?;
    }
    if start.language == Language::Rust {
        put("Cargo.toml", &start.filled(templates::CARGO))?;
        for (name, text) in SDK {
            put(&format!("sdk/{name}"), text)?;
        }
        for file in wit::FILES {
            let path = format!("{}/{}/{}", file.package, file.version, file.name);
            put(&format!("sdk/wit/{path}"), file.text)?;
        }
    } else {
        put("wit/world.wit", template.world)?;
        wit::write_deps_for(template.world, &folder.join("wit/deps"))?;
    }
    if start.language == Language::C {
        build::c::header(folder)?;
    }
    Ok(folder.join(source))
}

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(KitError::io("create", dir))?;
    }
    std::fs::write(path, text).map_err(KitError::io("write", path))
}

impl Start {
    /// Called after the kind: an extension's name need not be one of a Python module.
    fn source(&self) -> String {
        match self.language {
            Language::Rust => "src/lib.rs".to_owned(),
            other => format!("{}.{}", module_name(self.kind.word()), other.ending()),
        }
    }

    fn contracts(&self) -> &'static str {
        match self.language {
            Language::Rust => "sdk/wit/",
            _ => "wit/",
        }
    }

    /// An engine inside the component needs more memory than what a call gets by default.
    fn limits(&self) -> &'static str {
        match self.language {
            Language::Rust | Language::C => "",
            Language::JavaScript => "\n[limits]\nmemory_mib = 64\n",
            Language::Python => "\n[limits]\nmemory_mib = 128\n",
        }
    }

    /// Of one in Rust, besides the SDK: what a board answers is JSON.
    fn dependencies(&self) -> &'static str {
        match self.kind {
            ExtensionKind::Fencing => {
                "serde_json = { version = \"1\", default-features = false, features = [\"std\"] }\n"
            }
            ExtensionKind::Placement | ExtensionKind::StorageCheck | ExtensionKind::Events => "",
        }
    }

    /// A component in C imports only what it calls, and none begins with a call of the log: a right to what is not
    /// imported would be granted for nothing, and is refused.
    fn manifest(&self, template: &str) -> String {
        let own = match self.language {
            Language::C => "# Once it calls `holdfast_host_log_write`:\n# log = true\n",
            _ => "log = true\n",
        };
        self.filled(template).replace("log = true\n", own)
    }

    /// For the README: where else the code is, and how it is tested.
    fn tests(&self) -> &'static str {
        match self.language {
            Language::Rust => "`cargo test` runs tests of the logic, natively.",
            Language::JavaScript => {
                "What needs nothing of Holdfast is in `lib/`, and `node --test` tests that (`test/`). Files in subfolders and \
                 packages\nof npm become part of the component if they are imported; Node's own modules are not there."
            }
            Language::Python => {
                "Modules and packages beside it become part of the component if they are imported at the top; packages \
                 of\nthis machine do not (`pip install --target . NAME`)."
            }
            Language::C => {
                "`extension.h` has the contract as C sees it; it is made from `wit/` with each build. All `.c` files of \
                 this\nfolder are compiled."
            }
        }
    }

    /// CPython is larger than what is taken without being asked.
    fn large(&self) -> (&'static str, &'static str) {
        match self.language {
            Language::Python => (" --large", " --allow-large"),
            Language::Rust | Language::JavaScript | Language::C => ("", ""),
        }
    }

    /// A text with what is in double braces filled in.
    fn filled(&self, text: &str) -> String {
        text.replace("{{name}}", self.name.as_str())
            .replace("{{crate}}", &crate_name(self.name.as_str()))
            .replace("{{kind}}", self.kind.word())
            .replace("{{language}}", &self.language.to_string())
            .replace("{{source}}", &self.source())
            .replace("{{contracts}}", self.contracts())
            .replace("{{limits}}", self.limits())
            .replace("{{tests}}", self.tests())
            .replace("{{large}}", self.large().0)
            .replace("{{allow-large}}", self.large().1)
            .replace("{{dependencies}}", self.dependencies())
    }
}

/// Cargo takes no dots, and no digit at the begin.
fn crate_name(name: &str) -> String {
    let name = name.replace('.', "-");
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("ext-{name}"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_have_names_that_cargo_takes() {
        assert_eq!(crate_name("rack-spread"), "rack-spread");
        assert_eq!(crate_name("1.x"), "ext-1-x");
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("mine"), "").expect("a file");
        let start = Start {
            name: "x".parse().expect("a name"),
            kind: ExtensionKind::Placement,
            language: Language::C,
        };
        let refused = new(dir.path(), &start).expect_err("refused").to_string();
        assert!(refused.ends_with("is there already and is not empty; give another name"));
    }
}
