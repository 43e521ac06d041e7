//! Rust: cargo, for the target without an operating system.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{openly, quietly};
use crate::tools::{find, needed};
use crate::{Folder, KitError, Language, Options, Result, componentize};

/// No WASI in it, so nothing is imported that the extension does not call.
const TARGET: &str = "wasm32-unknown-unknown";

/// How to get a compiler for it.
const HOW: &str = "run `rustup target add wasm32-unknown-unknown`, or on Debian \
                   `apt-get install --no-install-recommends rustc-web rust-web-src lld-16`";

/// Which compiler has the target.
#[derive(Debug, PartialEq, Eq)]
enum Compiler {
    /// That which cargo takes.
    Own,
    /// Debian's, which builds the standard library too, from Debian's sources of the very same version.
    Debian(PathBuf),
}

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let how = "install Rust 1.90 or newer: https://rustup.rs, or your distribution's cargo";
    let cargo = match std::env::var_os("CARGO") {
        Some(own) => PathBuf::from(own),
        None => needed("cargo", Language::Rust, how)?,
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--target", TARGET]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.arg("--manifest-path").arg(&folder.source);
    if let Some(target) = &options.cargo_target {
        command.arg("--target-dir").arg(target);
    }
    if let Compiler::Debian(rustc) = compiler(&folder.path, options.say)? {
        // The compiler is a release that is told to take what only a nightly one does: building `std`.
        command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-16");
        command.arg("-Zbuild-std=std,panic_abort");
    }
    let messages = openly(&mut command)?;
    let module = artifact(&messages).ok_or_else(|| KitError::Sources {
        folder: folder.path.clone(),
        what: "cargo made no module of it: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`"
            .to_owned(),
    })?;
    componentize(&super::read(&module)?, &module)
}

/// The module among cargo's messages: the last one is of the package itself.
fn artifact(messages: &str) -> Option<PathBuf> {
    let files = messages.lines().rev().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?.clone();
        let mut files = files.iter().filter_map(|file| file.as_str());
        files
            .find(|file| file.ends_with(".wasm"))
            .map(PathBuf::from)
    });
    files.into_iter().next()
}

/// Makes sure that there is a compiler, adding the target with rustup if that is what it takes.
pub fn ensure_compiler(say: &dyn Fn(&str)) -> Result<()> {
    compiler(Path::new("."), say).map(drop)
}

/// The one that cargo takes, with the target added if rustup can do it; else Debian's.
fn compiler(folder: &Path, say: &dyn Fn(&str)) -> Result<Compiler> {
    let own = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if has_target(Path::new(&own), folder) {
        return Ok(Compiler::Own);
    }
    if let Some(rustup) = find("rustup") {
        say(&format!("adding the target {TARGET} with rustup (once)"));
        let mut add = Command::new(rustup);
        add.args(["target", "add", TARGET]).current_dir(folder);
        if quietly(&mut add).is_ok() && has_target(Path::new(&own), folder) {
            return Ok(Compiler::Own);
        }
    }
    let debian = Path::new("/usr/bin/rustc");
    let sources = sysroot(debian, folder)
        .is_some_and(|root| root.join("lib/rustlib/src/rust/library/std").is_dir());
    match sources && find("wasm-ld-16").is_some() {
        true => Ok(Compiler::Debian(debian.to_owned())),
        false => Err(KitError::Missing {
            what: format!("a compiler for {TARGET}"),
            language: Language::Rust,
            how: HOW.to_owned(),
        }),
    }
}

fn has_target(rustc: &Path, folder: &Path) -> bool {
    sysroot(rustc, folder).is_some_and(|root| root.join("lib/rustlib").join(TARGET).is_dir())
}

/// Asked in the extension's folder: a `rust-toolchain.toml` there decides.
fn sysroot(rustc: &Path, folder: &Path) -> Option<PathBuf> {
    let mut ask = Command::new(rustc);
    ask.args(["--print", "sysroot"]).current_dir(folder);
    let answer = quietly(&mut ask).ok()?;
    Some(PathBuf::from(answer.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_that_of_the_last_artifact() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/libx.rlib"]}
{"reason":"compiler-artifact","filenames":["/t/x.wasm","/t/x.d"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(artifact(messages), Some(PathBuf::from("/t/x.wasm")));
        assert_eq!(artifact("warning: odd"), None);
    }
}
