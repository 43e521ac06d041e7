//! What new extensions begin with, as the kit carries it with it: files under `templates/`, and the SDK.

use holdfast_model::extension::ExtensionKind;

use crate::Language;

/// What there is for one kind.
pub(crate) struct Template {
    pub(crate) manifest: &'static str,
    pub(crate) world: &'static str,
    rust: &'static str,
    javascript: &'static str,
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
}

macro_rules! template {
    ($kind:literal) => {
        Template {
            manifest: include_str!(concat!("../templates/", $kind, "/extension.toml")),
            world: include_str!(concat!("../templates/", $kind, "/world.wit")),
            rust: include_str!(concat!("../templates/", $kind, "/source.rs")),
            javascript: include_str!(concat!("../templates/", $kind, "/source.js")),
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
    "src/storage_check.rs",
];
