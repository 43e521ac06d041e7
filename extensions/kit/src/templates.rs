//! What new extensions begin with, as the kit carries it with it: files under `templates/`, and the SDK.

use holdfast_model::extension::ExtensionKind;

use crate::Language;

/// What there is for one kind.
pub(crate) struct Template {
    pub(crate) manifest: &'static str,
    pub(crate) world: &'static str,
    rust: &'static str,
    javascript: &'static str,
    javascript_logic: &'static str,
    javascript_test: &'static str,
    python: &'static str,
    c: &'static str,
}

impl Template {
    pub(crate) fn source(&self, language: Language) -> &'static str {
        match language {
            Language::Rust => self.rust,
            Language::JavaScript => self.javascript,
            Language::Python => self.python,
            Language::C => self.c,
        }
    }

    /// What is beside the source, by its path in the folder.
    pub(crate) fn beside(&self, language: Language) -> Vec<(&'static str, &'static str)> {
        match language {
            Language::JavaScript => vec![
                ("lib/logic.js", self.javascript_logic),
                ("test/logic.test.js", self.javascript_test),
                ("package.json", PACKAGE),
            ],
            Language::Rust | Language::Python | Language::C => Vec::new(),
        }
    }
}

macro_rules! template {
    ($kind:literal) => {
        Template {
            manifest: include_str!(concat!("../templates/", $kind, "/extension.toml")),
            world: include_str!(concat!("../templates/", $kind, "/world.wit")),
            rust: include_str!(concat!("../templates/", $kind, "/source.rs")),
            javascript: include_str!(concat!("../templates/", $kind, "/source.js")),
            javascript_logic: include_str!(concat!("../templates/", $kind, "/logic.js")),
            javascript_test: include_str!(concat!("../templates/", $kind, "/logic.test.js")),
            python: include_str!(concat!("../templates/", $kind, "/source.py")),
            c: include_str!(concat!("../templates/", $kind, "/source.c")),
        }
    };
}

pub(crate) fn of(kind: ExtensionKind) -> Template {
    match kind {
        ExtensionKind::Placement => template!("placement"),
        ExtensionKind::Fencing => template!("fencing"),
        ExtensionKind::StorageCheck => template!("storage-check"),
        ExtensionKind::Events => template!("events"),
    }
}

/// The same for all.
pub(crate) const README: &str = include_str!("../templates/README.md");
/// For those in JavaScript: what Node.js is told, so that it runs their tests.
const PACKAGE: &str = include_str!("../templates/javascript/package.json");
/// For those in Rust.
pub(crate) const CARGO: &str = include_str!("../templates/rust/Cargo.toml");

/// Compiled into those in C.
pub(crate) const NO_WASI: &str = include_str!("../templates/c/no_wasi.c");

macro_rules! sdk {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../sdk/", $name)))),*]
    };
}

/// The SDK, which is in no registry: an extension in Rust has it beside its own sources.
pub(crate) const SDK: &[(&str, &str)] = sdk![
    "Cargo.toml",
    "src/bindings.rs",
    "src/events.rs",
    "src/fencing.rs",
    "src/host.rs",
    "src/lib.rs",
    "src/panics.rs",
    "src/placement.rs",
    "src/placement/v0_1.rs",
    "src/storage_check.rs",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::wit;

    /// The files under a directory, by their paths in it.
    fn files(dir: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            match path.is_dir() {
                true => found.extend(
                    files(&path)
                        .into_iter()
                        .map(|each| format!("{name}/{each}")),
                ),
                false => drop(found.insert(name)),
            }
        }
        found
    }

    /// A file that was forgotten here would be missing only in what authors get.
    #[test]
    fn all_of_the_sdk_and_the_contracts_is_carried() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sdk = SDK.iter().map(|(name, _)| (*name).to_owned());
        let sdk: BTreeSet<String> = sdk
            .filter_map(|name| Some(name.strip_prefix("src/")?.to_owned()))
            .collect();
        assert_eq!(sdk, files(&own.join("../sdk/src")));
        let contracts = wit::FILES.iter();
        let contracts: BTreeSet<String> = contracts
            .map(|file| format!("{}/{}/{}", file.package, file.version, file.name))
            .collect();
        let mut there = files(&own.join("../../wit"));
        // Which of them are released: for the checkout's own test.
        assert!(there.remove("released.toml"));
        assert_eq!(contracts, there);
    }
}
