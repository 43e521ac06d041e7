//! Whether a component fits the contract of its kind, and its own manifest.

use crate::error::ExtensionError;
use holdfast_model::extension::{ExtensionKind, Manifest, Rights};
use std::collections::BTreeSet;
use wasmtime::Engine;
use wasmtime::component::Component;

/// A WIT package's version, as far as it says what fits: the first two numbers while the first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

/// The first version of every package.
pub const V0_1: Version = Version(0, 1);
/// The second one, of placement.
pub const V0_2: Version = Version(0, 2);

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
    /// The version of its kind's contract that it was built with.
    pub version: Version,
    /// The interfaces that it exports, without package and version: `filter`, `score`.
    pub hooks: BTreeSet<String>,
    /// The host's interfaces that it imports: `log`, `http`.
    pub imports: BTreeSet<String>,
}

/// Interfaces of the host, all of them of [`V0_1`].
const HOST: [&str; 5] = ["log", "state", "http", "agent", "probe"];

/// The exports that make a component one of a kind, with the version of its contract that has them. Later versions
/// get adapters beside the first ones, which stay.
fn hooks(kind: ExtensionKind) -> &'static [(Version, &'static str)] {
    match kind {
        ExtensionKind::Placement => &[(V0_1, "filter"), (V0_1, "score"), (V0_2, "rule")],
        ExtensionKind::Fencing => &[(V0_1, "fence")],
        ExtensionKind::StorageCheck => &[(V0_1, "check")],
        ExtensionKind::Events => &[(V0_1, "handler")],
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

    /// Its version, if it is one of those in which this host has it.
    fn known(&self, full: &str, there: &[Version]) -> Result<Version, ExtensionError> {
        if let Some(version) = self.version.filter(|version| there.contains(version)) {
            return Ok(version);
        }
        let found = self
            .version
            .map_or("no version".to_owned(), |v| v.to_string());
        let there: Vec<String> = there.iter().map(ToString::to_string).collect();
        let there = there.join(" and ");
        Err(ExtensionError::contract(
            format!("it was built for `{full}` ({found}); this Holdfast has {there}"),
            "build it against the WIT of this Holdfast (`holdfast ext new` writes it), or upgrade Holdfast",
        ))
    }
}

/// Looks at what a component imports and exports.
pub(crate) fn surface(engine: &Engine, component: &Component) -> Result<Surface, ExtensionError> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let imports: Vec<&str> = ty.imports(engine).map(|(name, _)| name).collect();
    let Exported {
        kind,
        version,
        names: hooks,
    } = exported(&exports)?;
    let imports = imported(kind, version, &imports)?;
    Ok(Surface {
        kind,
        version,
        hooks,
        imports,
    })
}

/// What a component's exports make it.
#[derive(Debug, PartialEq, Eq)]
struct Exported {
    kind: ExtensionKind,
    version: Version,
    names: BTreeSet<String>,
}

fn exported(exports: &[&str]) -> Result<Exported, ExtensionError> {
    let mut found: Option<Exported> = None;
    for full in exports {
        let Some(interface) = Interface::parse(full) else {
            continue;
        };
        let package = interface.package.strip_prefix("holdfast:");
        let mut kinds = ExtensionKind::ALL.into_iter();
        let Some(kind) = kinds.find(|kind| package == Some(kind.word())) else {
            continue;
        };
        let named = hooks(kind).iter();
        let named = named.filter(|(_, name)| *name == interface.name);
        let there: Vec<Version> = named.map(|(version, _)| *version).collect();
        if there.is_empty() {
            continue;
        }
        let version = interface.known(full, &there)?;
        let exported = found.get_or_insert_with(|| Exported {
            kind,
            version,
            names: BTreeSet::new(),
        });
        exported.is_of(kind, version)?;
        exported.names.insert(interface.name.to_owned());
    }
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

impl Exported {
    fn is_of(&self, kind: ExtensionKind, version: Version) -> Result<(), ExtensionError> {
        if self.kind != kind {
            return Err(ExtensionError::contract(
                format!("it is of two kinds, {} and {kind}", self.kind),
                "make two extensions of it",
            ));
        }
        if self.version != version {
            let own = self.version;
            return Err(ExtensionError::contract(
                format!("it exports two versions of its contract, {own} and {version}"),
                "leave one of them out: it would be asked by only one",
            ));
        }
        Ok(())
    }
}

fn imported(
    kind: ExtensionKind,
    version: Version,
    imports: &[&str],
) -> Result<BTreeSet<String>, ExtensionError> {
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
        if interface.package != "holdfast:host" {
            if interface.version != Some(version) {
                return Err(ExtensionError::contract(
                    format!("it imports `{full}`, and exports what is of {version}"),
                    "build it against one version of its contract",
                ));
            }
            continue;
        }
        interface.known(full, &[V0_1])?;
        if !kind.offered().contains(&interface.name) {
            return Err(ExtensionError::contract(
                format!("it imports `{full}`, which an extension for {kind} does not get"),
                format!("it can use {}", kind.offered().join(", ")),
            ));
        }
        names.insert(interface.name.to_owned());
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
    // What stands in the manifest, and an example of it.
    let asked = [
        ("log", rights.log, "log", "log = true"),
        (
            "state",
            !rights.state.is_empty(),
            "state",
            "state = [\"vms/\"]",
        ),
        (
            "http",
            !rights.http.is_empty(),
            "http",
            "[rights.http], and in it a role with what is sent to it: webhook = [\"POST /\"]",
        ),
        (
            "agent",
            !rights.programs.is_empty(),
            "programs",
            "programs = [\"agent\"]",
        ),
        (
            "probe",
            !(rights.paths.is_empty() && rights.commands.is_empty()),
            "paths or commands",
            "paths = [\"storage\"]",
        ),
    ];
    for (interface, asked, key, example) in asked {
        match (surface.imports.contains(interface), asked) {
            (true, false) => found.push(format!(
                "the component imports `{interface}`, and [rights] in the manifest has no `{key}`; add it, such as \
                 {example}"
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
        for (export, name, version) in [
            ("holdfast:placement/filter@0.1.0", "filter", V0_1),
            ("holdfast:placement/rule@0.2.1", "rule", V0_2),
        ] {
            let found = exported(&[export, "memory"]).expect("one for placement");
            let wanted = Exported {
                kind: ExtensionKind::Placement,
                version,
                names: [name.to_owned()].into(),
            };
            assert_eq!(found, wanted);
        }
        for (exports, says) in [
            (vec![], "exports nothing"),
            (vec!["wasi:cli/run@0.2.0"], "exports wasi:cli/run"),
            (
                vec!["holdfast:placement/score@0.2.0"],
                "this Holdfast has 0.1",
            ),
            (vec!["holdfast:placement/score@1.0.0"], "(1.0)"),
            (
                vec!["holdfast:placement/rule@0.1.0"],
                "this Holdfast has 0.2",
            ),
            (
                vec!["holdfast:placement/rule@0.3.0"],
                "this Holdfast has 0.2",
            ),
            (
                vec![
                    "holdfast:placement/score@0.1.0",
                    "holdfast:placement/rule@0.2.0",
                ],
                "two versions of its contract, 0.1 and 0.2",
            ),
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
            imported(placement, V0_1, &good).expect("fine"),
            ["log".to_owned()].into()
        );
        for (import, says) in [
            ("wasi:cli/environment@0.2.3", "holdfast ext build"),
            ("wasi:sockets/tcp@0.2.0", "no files, sockets"),
            ("holdfast:host/log@0.3.0", "this Holdfast has 0.1"),
            ("holdfast:host/files@0.1.0", "which is not there"),
            ("holdfast:host/http@0.1.0", "it can use log"),
            ("holdfast:fencing/types@0.1.0", "which is not there"),
            ("holdfast:placement/types@0.2.0", "exports what is of 0.1"),
            ("env", "which is not there"),
        ] {
            let found = imported(placement, V0_1, &[import]);
            let error = found.expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
