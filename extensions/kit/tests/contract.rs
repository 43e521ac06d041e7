//! Built components against the contracts of their kinds, types and all.

use std::path::{Path, PathBuf};

use holdfast_extension_kit::fits;
use holdfast_model::extension::ExtensionKind;

/// A guest as `cargo xtask extensions` built it.
fn wasm(name: &str) -> Vec<u8> {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let path: PathBuf = target.join("extensions").join(name).join("component.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask extensions` builds it",
            path.display()
        )
    })
}

/// What is wrong with it.
fn refused(wasm: &[u8], kind: ExtensionKind) -> String {
    let error = fits(wasm, kind, Path::new("a.wasm")).expect_err("refused");
    error.to_string()
}

/// The same component with another word in it, of the same length, wherever the word stands.
fn renamed(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = wasm(name);
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|window| window == from.as_bytes())
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    assert_ne!(at, 0, "{name} has no `{from}`");
    bytes
}

#[test]
fn those_of_every_language_fit() {
    for name in ["site-affinity", "free-memory", "label-match", "bad-traps"] {
        let fits = fits(
            &wasm(name),
            ExtensionKind::Placement,
            Path::new("component.wasm"),
        );
        fits.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// What was built with a released contract is installed as before.
#[test]
fn golden_guests_fit() {
    for (name, kind) in [
        ("placement-0.1.0", ExtensionKind::Placement),
        ("placement-0.2.0", ExtensionKind::Placement),
        ("fencing-0.1.0-http", ExtensionKind::Fencing),
        ("fencing-0.1.0-agent", ExtensionKind::Fencing),
        ("storage-check-0.1.0", ExtensionKind::StorageCheck),
        ("events-0.1.0", ExtensionKind::Events),
    ] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/tests/golden");
        let wasm = wat::parse_file(golden.join(format!("{name}.wat")));
        let wasm = wasm.unwrap_or_else(|error| panic!("{error}"));
        fits(&wasm, kind, Path::new(name)).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let placement = ExtensionKind::Placement;
    let other = refused(&wasm("site-affinity"), ExtensionKind::Fencing);
    assert!(
        other.contains(
            "holdfast:placement/types@0.2.0, which extensions of kind fencing do not get"
        ),
        "{other}"
    );
    let field = refused(
        &renamed("label-match", "memory-free-mib", "memory-left-mib"),
        placement,
    );
    assert!(
        field.starts_with("a.wasm: its types are others than in the contract: "),
        "{field}"
    );
    assert!(
        field.contains("`candidates`: one has field name `memory-left-mib`, the other `memory-free-mib`; build it"),
        "{field}"
    );
    // Of the host, and not for this kind.
    let import = refused(
        &renamed("site-affinity", "holdfast:host/log@", "holdfast:host/xyz@"),
        placement,
    );
    assert!(
        import.contains("it imports holdfast:host/xyz@0.1.0, which"),
        "{import}"
    );
}
