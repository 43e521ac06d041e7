//! `holdfast ext …` for authors, as a person types it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command ended with.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn holdfast(dir: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("ext")
        .args(arguments)
        .current_dir(dir)
        // What guests are built with is there already, and does not come from the network.
        .env("CARGO_TARGET_DIR", extensions().join("cargo"))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

pub fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// Where `cargo xtask extensions` builds.
fn extensions() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_holdfast")).ancestors().nth(2);
    target.unwrap().join("extensions")
}

/// A guest of that.
pub fn built(name: &str) -> PathBuf {
    let path = extensions().join(name).join("component.wasm");
    let place = path.display();
    assert!(
        path.is_file(),
        "{place}: `cargo xtask extensions` builds it"
    );
    path
}

/// A new extension in Rust, with the versions that our own guests are locked to.
pub fn started(dir: &Path, name: &str, kind: &str) -> Ran {
    let ran = holdfast(dir, &["new", name, "--kind", kind, "--lang", "rust"]);
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../extensions/Cargo.lock");
    std::fs::copy(lock, dir.join(name).join("Cargo.lock")).unwrap();
    ran
}
