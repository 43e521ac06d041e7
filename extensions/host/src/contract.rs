//! Whether a component fits the contract of its kind, and its own manifest.

use crate::error::ExtensionError;
use crate::outside::offered;
use holdfast_model::extension::{ExtensionKind, Manifest, Rights};
use std::collections::BTreeSet;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The version of every WIT package that this host has. Later ones get adapters beside it.
pub const CONTRACT: Version = Version(0, 1);

/// A WIT package's version, as far as it says what fits: the first two numbers while the first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a component really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    /// Its kind.
    pub kind: ExtensionKind,
    /// The interfaces that it exports, without package and version: `filter`, `score`.
    pub hooks: BTreeSet<String>,
    /// The host's interfaces that it imports: `log`, `http`.
    pub imports: BTreeSet<String>,
}

/// Interfaces of the host.
const HOST: [&str; 5] = ["log", "state", "http", "agent", "probe"];

/// The exports that make a component one of a kind.
fn hooks(kind: ExtensionKind) -> &'static [&'static str] {
    match kind {
        ExtensionKind::Placement => &["filter", "score"],
        ExtensionKind::Fencing => &["fence"],
        ExtensionKind::StorageCheck => &["check"],
        ExtensionKind::Events => &["handler"],
    }
}

/// An interface's name: `holdfast:host/log@0.1.0`.
struct Interface<'n> {
    package: &'n str,
    name: &'n str,
    version: Option<Version>,
}

impl<'n> Interface<'n> {
    fn parse(text: &'n str) -> Option<Self> {
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let (package, name) = path.split_once('/')?;
        let numbers = version.map(|text| {
            let mut numbers = text.split('.').map(str::parse);
            Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        Some(Self {
            package,
            name,
            version: numbers.flatten(),
        })
    }

    fn is_ours(&self, full: &str) -> Result<(), ExtensionError> {
        if self.version == Some(CONTRACT) {
            return Ok(());
        }
        let found = self
            .version
            .map_or("no version".to_owned(), |v| v.to_string());
        Err(ExtensionError::contract(
            format!("it was built for `{full}` ({found}); this Holdfast has {CONTRACT}"),
            "build it against the WIT of this Holdfast (`holdfast ext new` writes it), or upgrade Holdfast",
        ))
    }
}

/// Looks at what a component imports and exports.
pub(crate) fn surface(engine: &Engine, component: &Component) -> Result<Surface, ExtensionError> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let imports: Vec<&str> = ty.imports(engine).map(|(name, _)| name).collect();
    let (kind, hooks) = exported(&exports)?;
    let imports = imported(kind, &imports)?;
    Ok(Surface {
        kind,
        hooks,
        imports,
    })
}

fn exported(exports: &[&str]) -> Result<(ExtensionKind, BTreeSet<String>), ExtensionError> {
    let mut found: Option<ExtensionKind> = None;
    let mut names = BTreeSet::new();
    for full in exports {
        let Some(interface) = Interface::parse(full) else {
            continue;
        };
        let kind = ExtensionKind::ALL.into_iter().find(|kind| {
            let package = interface.package.strip_prefix("holdfast:");
            package == Some(kind.word()) && hooks(*kind).contains(&interface.name)
        });
        let Some(kind) = kind else {
            continue;
        };
        interface.is_ours(full)?;
        if let Some(other) = found.filter(|other| *other != kind) {
            return Err(ExtensionError::contract(
                format!("it is of two kinds, {other} and {kind}"),
                "make two extensions of it",
            ));
        }
        found = Some(kind);
        names.insert(interface.name.to_owned());
    }
    let found = found.map(|kind| (kind, names));
    found.ok_or_else(|| {
        let list = match exports.is_empty() {
            true => "nothing".to_owned(),
            false => exports.join(", "),
        };
        ExtensionError::contract(
            format!("it exports {list}, and nothing that Holdfast would call"),
            "export one of the worlds in wit/, such as holdfast:placement/scoring",
        )
    })
}

fn imported(kind: ExtensionKind, imports: &[&str]) -> Result<BTreeSet<String>, ExtensionError> {
    let mut names = BTreeSet::new();
    for full in imports {
        let interface = Interface::parse(full);
        let ours = interface.filter(|interface| {
            let types = interface.package.strip_prefix("holdfast:") == Some(kind.word());
            let host = interface.package == "holdfast:host" && HOST.contains(&interface.name);
            host || types
        });
        let Some(interface) = ours else {
            let advice = match full.starts_with("wasi:") {
                true => {
                    "Holdfast gives no files, sockets, clocks or randomness: build it with `holdfast ext \
                     build`, which leaves WASI out"
                }
                false => "use only what the WIT of its kind has",
            };
            return Err(ExtensionError::contract(
                format!("it imports `{full}`, which is not there"),
                advice,
            ));
        };
        interface.is_ours(full)?;
        if interface.package == "holdfast:host" {
            if !offered(kind).contains(&interface.name) {
                return Err(ExtensionError::contract(
                    format!("it imports `{full}`, which an extension for {kind} does not get"),
                    format!("it can use {}", offered(kind).join(", ")),
                ));
            }
            names.insert(interface.name.to_owned());
        }
    }
    Ok(names)
}

/// The rights that a component can use at all: those whose interface it imports.
pub fn usable(surface: &Surface, rights: &Rights) -> Rights {
    let has = |name: &str| surface.imports.contains(name);
    let mut usable = rights.clone();
    usable.log &= has("log");
    if !has("state") {
        usable.state.clear();
    }
    if !has("http") {
        usable.http.clear();
    }
    if !has("agent") {
        usable.programs.clear();
    }
    if !has("probe") {
        usable.paths.clear();
        usable.commands.clear();
    }
    usable
}

/// What in the manifest and the component does not fit each other, in words. An import without its right would
/// fail in the middle of a failover; a right without its import would be granted for nothing.
pub fn mismatches(surface: &Surface, manifest: &Manifest) -> Vec<String> {
    let mut found = Vec::new();
    if surface.kind != manifest.kind {
        found.push(format!(
            "the manifest says kind = \"{}\", the component is one for {}; correct `kind`, or export that kind's \
             world",
            manifest.kind, surface.kind
        ));
    }
    let rights = &manifest.rights;
    let asked = [
        ("log", rights.log, "log = true"),
        ("state", !rights.state.is_empty(), "state"),
        ("http", !rights.http.is_empty(), "http"),
        ("agent", !rights.programs.is_empty(), "programs"),
        (
            "probe",
            !(rights.paths.is_empty() && rights.commands.is_empty()),
            "paths or commands",
        ),
    ];
    for (interface, asked, key) in asked {
        match (surface.imports.contains(interface), asked) {
            (true, false) => found.push(format!(
                "the component imports `{interface}`, and [rights] in the manifest has no `{key}`; add it"
            )),
            (false, true) => found.push(format!(
                "[rights] in the manifest has `{key}`, and the component does not import `{interface}`; \
                 remove it"
            )),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_exports() {
        let found = exported(&["holdfast:placement/filter@0.1.0", "memory"]).expect("a filter");
        assert_eq!(
            found,
            (ExtensionKind::Placement, ["filter".to_owned()].into())
        );
        for (exports, says) in [
            (vec![], "exports nothing"),
            (vec!["wasi:cli/run@0.2.0"], "exports wasi:cli/run"),
            (
                vec!["holdfast:placement/score@0.2.0"],
                "this Holdfast has 0.1",
            ),
            (vec!["holdfast:placement/score@1.0.0"], "(1.0)"),
            (
                vec![
                    "holdfast:placement/score@0.1.0",
                    "holdfast:fencing/fence@0.1.0",
                ],
                "two kinds",
            ),
        ] {
            let error = exported(&exports).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn imports_are_the_hosts_or_refused() {
        let placement = ExtensionKind::Placement;
        let good = ["holdfast:host/log@0.1.0", "holdfast:placement/types@0.1.3"];
        assert_eq!(
            imported(placement, &good).expect("fine"),
            ["log".to_owned()].into()
        );
        for (import, says) in [
            ("wasi:cli/environment@0.2.3", "holdfast ext build"),
            ("wasi:sockets/tcp@0.2.0", "no files, sockets"),
            ("holdfast:host/log@0.3.0", "this Holdfast has 0.1"),
            ("holdfast:host/files@0.1.0", "which is not there"),
            ("holdfast:host/http@0.1.0", "it can use log"),
            ("holdfast:fencing/types@0.1.0", "which is not there"),
            ("env", "which is not there"),
        ] {
            let error = imported(placement, &[import]).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
