//! What everything that git tracks has to keep to and no compiler looks at.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use holdfast_lab::{LabError, Progress, Result};

use super::tally::Tally;
use crate::root::root;

/// No Rust file is longer; aim for less than 400.
const LONGEST_FILE: usize = 500;

/// The sandbox of extensions. Spelled in two parts, so that this file passes; as all below.
const SANDBOX: &str = concat!("wasm", "time");
/// The one crate that may name it: whatever else runs extensions goes through its limits.
const HOST: &str = "extensions/host/";
/// How WASM begins, as a module and as a component.
const WASM: &[u8] = b"\0asm";
/// What files of it and of its machine code are called.
const BUILT: [&str; 3] = [".wasm", ".cwasm", ".native"];

/// Long files, leftovers and what stands where it does not belong.
pub(super) fn tidy(_: &Progress) -> Result<Tally> {
    let mut wrong = Vec::new();
    for file in tracked()? {
        let path = root().join(&file);
        if file.ends_with(".rs") || is_manifest(&file) {
            let text = std::fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
            wrong.extend(faults(&file, &text));
        }
        if is_built(&file, &beginning(&path)) {
            wrong.push(format!(
                "{file}: is built, from sources that are here: remove it, `cargo xtask extensions` makes it"
            ));
        }
    }
    for text in &wrong {
        println!("{text}");
    }
    Ok(if wrong.is_empty() {
        Tally::passed(1)
    } else {
        Tally::failed(1)
    })
}

fn is_manifest(file: &str) -> bool {
    Path::new(file)
        .file_name()
        .is_some_and(|name| name == "Cargo.toml")
}

/// What is wrong with a Rust file or a manifest.
fn faults(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if names_the_sandbox(file, text) {
        wrong.push(format!("{file}: names {SANDBOX}; that is for {HOST} alone"));
    }
    if !file.ends_with(".rs") {
        return wrong;
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        wrong.push(format!(
            "{file}: {lines} lines, at most {LONGEST_FILE}: split it by concern"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        let leftovers = [
            concat!("FIX", "ME"),
            concat!("TO", "DO"),
            concat!("X", "XX"),
        ];
        let words = || line.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(word) = words().find(|word| leftovers.contains(word)) {
            wrong.push(format!("{file}:{}: {word}", number + 1));
        }
    }
    let spelled = concat!("\"/hold", "fast/v1");
    let test = file.contains("/tests/") || file.ends_with("tests.rs");
    if text.contains(spelled) && !file.ends_with("keyspace.rs") && !test {
        wrong.push(format!(
            "{file}: spells a store key; that is keyspace.rs's alone"
        ));
    }
    wrong
}

/// Comments may. The table of versions has to.
fn names_the_sandbox(file: &str, text: &str) -> bool {
    let comment = match file.ends_with(".rs") {
        true => "//",
        false => "#",
    };
    let code = |line: &str| {
        let code = line.split(comment).next().unwrap_or_default();
        code.contains(SANDBOX)
    };
    !file.starts_with(HOST) && file != "Cargo.toml" && text.lines().any(code)
}

fn is_built(file: &str, beginning: &[u8]) -> bool {
    BUILT.iter().any(|end| file.ends_with(end)) || beginning.starts_with(WASM)
}

/// Its first bytes. None of what is no file, or cannot be read: git has it, and says so itself.
fn beginning(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(WASM.len() as u64).read_to_end(&mut bytes);
    }
    bytes
}

fn tracked() -> Result<Vec<String>> {
    let out = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .map_err(LabError::io("start", "git"))?;
    if !out.status.success() {
        return Err(LabError::Refused(
            "`git ls-files` failed: is this a git checkout?".into(),
        ));
    }
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, text: &str) -> bool {
        let faults = faults(file, text);
        faults.iter().any(|fault| fault.contains(HOST))
    }

    #[test]
    fn the_sandbox_is_named_by_its_own_crate_alone() {
        let uses = format!("use {SANDBOX}::Engine;\n");
        let needs = format!("[dependencies]\n{SANDBOX}.workspace = true\n");
        let renamed = format!("[dependencies]\nengine = {{ package = \"{SANDBOX}-c-api\" }}\n");
        for (file, text) in [
            ("manager/src/lib.rs", &uses),
            ("extensions/kit/src/build/rust.rs", &uses),
            ("manager/Cargo.toml", &needs),
            ("extensions/sdk/Cargo.toml", &renamed),
        ] {
            assert!(named(file, text), "{file}");
        }
        for (file, text) in [
            ("extensions/host/src/engine.rs", &uses),
            ("extensions/host/Cargo.toml", &needs),
            ("Cargo.toml", &needs),
            ("manager/src/lib.rs", &format!("// As {SANDBOX} does.\n")),
            ("manager/Cargo.toml", &format!("# Without {SANDBOX}.\n")),
        ] {
            assert!(!named(file, text), "{file}");
        }
    }

    #[test]
    fn what_is_built_is_known_by_its_name_and_by_its_first_bytes() {
        for (file, beginning) in [
            ("extensions/redfish/component.wasm", &b""[..]),
            ("tests/old.cwasm", b""),
            ("docs/example.bin", b"\0asm"),
        ] {
            assert!(is_built(file, beginning), "{file}");
        }
        for (file, beginning) in [
            ("docs/extensions.md", &b"# Ex"[..]),
            ("extensions/host/tests/golden/events-0.1.0.wat", b";; A"),
            ("empty", b""),
        ] {
            assert!(!is_built(file, beginning), "{file}");
        }
    }

    #[test]
    fn long_files_and_leftovers_are_found() {
        let long = "\n".repeat(LONGEST_FILE + 1);
        let left = concat!("// TO", "DO: later\n");
        let key = concat!("const KEY: &str = \"/hold", "fast/v1/x\";\n");
        for (text, says) in [
            (long.as_str(), "501 lines"),
            (left, "a.rs:1: "),
            (key, "spells a store key"),
        ] {
            let found = faults("manager/src/a.rs", text);
            assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        }
        assert_eq!(faults("manager/src/a.rs", "fn main() {}\n"), [""; 0]);
    }
}
