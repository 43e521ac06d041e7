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

/// Debian's compiler and its linker.
const DEBIAN: &str = "/usr/bin/rustc";
const LINKER: &str = "wasm-ld-16";

/// Which compiler has the target.
#[derive(Debug, PartialEq, Eq)]
enum Compiler {
    /// That which cargo takes.
    Own,
    /// Debian's, which builds the standard library too, from Debian's sources of the very same version.
    Debian(PathBuf),
}

/// What the choice of a compiler depends on.
struct Machine<'a> {
    /// The compiler that cargo takes.
    own: &'a Path,
    /// Where a compiler has its libraries; none if there is no such compiler.
    sysroot: &'a dyn Fn(&Path) -> Option<PathBuf>,
    /// Adds the target with rustup; false if there is none, or if it cannot.
    add: &'a dyn Fn() -> bool,
    /// Whether Debian's linker is there, which its compiler has to be told of.
    linker: bool,
}

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let how = "install Rust 1.90 or newer: https://rustup.rs, or your distribution's cargo";
    let cargo = match std::env::var_os("CARGO") {
        Some(own) => PathBuf::from(own),
        None => needed("cargo", Language::Rust, how)?,
    };
    let compiler = compiler(&folder.path, options.say)?;
    let target = options.cargo_target.as_deref();
    let messages = openly(&mut command(&cargo, &folder.source, target, compiler))?;
    let module = artifact(&messages).ok_or_else(|| KitError::Sources {
        folder: folder.path.clone(),
        what: "cargo made no module of it: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`"
            .to_owned(),
    })?;
    componentize(&super::read(&module)?, &module)
}

/// What cargo is told.
fn command(cargo: &Path, manifest: &Path, target: Option<&Path>, compiler: Compiler) -> Command {
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--target", TARGET]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.arg("--manifest-path").arg(manifest);
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    if let Compiler::Debian(rustc) = compiler {
        // The compiler is a release that is told to take what only a nightly one does: building `std`.
        command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER);
        command.arg("-Zbuild-std=std,panic_abort");
    }
    command
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

/// That of this machine.
fn compiler(folder: &Path, say: &dyn Fn(&str)) -> Result<Compiler> {
    let own = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let add = || {
        let Some(rustup) = find("rustup") else {
            return false;
        };
        say(&format!("adding the target {TARGET} with rustup (once)"));
        let mut add = Command::new(rustup);
        add.args(["target", "add", TARGET]).current_dir(folder);
        quietly(&mut add).is_ok()
    };
    chosen(&Machine {
        own: Path::new(&own),
        sysroot: &|rustc| sysroot(rustc, folder),
        add: &add,
        linker: find(LINKER).is_some(),
    })
}

/// The one that cargo takes, with the target added if rustup can do it; else Debian's.
fn chosen(machine: &Machine<'_>) -> Result<Compiler> {
    let has = |rustc: &Path, what: &str| {
        let root = (machine.sysroot)(rustc);
        root.is_some_and(|root| root.join("lib/rustlib").join(what).is_dir())
    };
    let own = || has(machine.own, TARGET);
    if own() || ((machine.add)() && own()) {
        return Ok(Compiler::Own);
    }
    let debian = Path::new(DEBIAN);
    match machine.linker && has(debian, "src/rust/library/std") {
        true => Ok(Compiler::Debian(debian.to_owned())),
        false => Err(KitError::Missing {
            what: format!("a compiler for {TARGET}"),
            language: Language::Rust,
            how: HOW.to_owned(),
        }),
    }
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

    /// A machine with these in the libraries of cargo's compiler and of Debian's; rustup adds what it is said to add.
    fn choice(own: &str, debian: &str, added: Option<&str>, linker: bool) -> Result<Compiler> {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |root: &str, what: &str| {
            let path = dir.path().join(root).join("lib/rustlib").join(what);
            std::fs::create_dir_all(path).expect("a directory");
        };
        put("own", own);
        put("debian", debian);
        chosen(&Machine {
            own: Path::new("rustc"),
            sysroot: &|rustc| {
                let name = match rustc == Path::new(DEBIAN) {
                    true => "debian",
                    false => "own",
                };
                Some(dir.path().join(name))
            },
            add: &|| {
                if let Some(what) = added {
                    put("own", what);
                }
                added.is_some()
            },
            linker,
        })
    }

    /// Where the sources of the standard library are.
    const STD: &str = "src/rust/library/std";

    #[test]
    fn debians_compiler_is_taken_where_cargos_cannot_have_the_target() {
        let debian = || Compiler::Debian(PathBuf::from(DEBIAN));
        for (own, theirs, added, linker, wanted) in [
            (TARGET, STD, None, true, Some(Compiler::Own)),
            (TARGET, "", None, false, Some(Compiler::Own)),
            ("x86_64", STD, Some(TARGET), true, Some(Compiler::Own)),
            // rustup says that it did it, and did not.
            ("x86_64", STD, Some("x86_64"), true, Some(debian())),
            ("x86_64", STD, None, true, Some(debian())),
            ("x86_64", STD, None, false, None),
            // `rustc` without `rust-src`, or with the library's tests alone.
            ("x86_64", "", None, true, None),
            ("x86_64", "src/rust/library/test", None, true, None),
        ] {
            let case = format!("{own}, {theirs}, {added:?}, {linker}");
            match (choice(own, theirs, added, linker), wanted) {
                (Ok(found), Some(wanted)) => assert_eq!(found, wanted, "{case}"),
                (Err(error), None) => {
                    let told = error.to_string();
                    assert!(told.contains("apt-get install"), "{case}: {told}");
                    assert!(told.contains("rust-web-src lld-16"), "{case}: {told}");
                }
                (found, _) => panic!("{case}: {found:?}"),
            }
        }
    }

    #[test]
    fn rustup_is_not_asked_for_a_target_that_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let there = dir.path().join("lib/rustlib").join(TARGET);
        std::fs::create_dir_all(there).expect("a directory");
        let found = chosen(&Machine {
            own: Path::new("rustc"),
            sysroot: &|_| Some(dir.path().to_owned()),
            add: &|| panic!("it was asked"),
            linker: false,
        });
        assert_eq!(found.ok(), Some(Compiler::Own));
    }

    #[test]
    fn debians_compiler_is_told_to_build_the_standard_library_and_how_to_link() {
        let told = |compiler| {
            let (cargo, manifest) = (Path::new("cargo"), Path::new("x/Cargo.toml"));
            let command = command(cargo, manifest, Some(Path::new("t")), compiler);
            let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
            let arguments = command.get_args().map(text).collect::<Vec<_>>().join(" ");
            let set = command.get_envs();
            let set =
                set.filter_map(|(key, value)| Some(format!("{}={}", text(key), text(value?))));
            (arguments, set.collect::<Vec<_>>().join(" "))
        };
        let (own, set) = told(Compiler::Own);
        assert_eq!(
            own,
            "build --release --target wasm32-unknown-unknown --message-format json-render-diagnostics --manifest-path \
             x/Cargo.toml --target-dir t"
        );
        assert_eq!(set, "");
        let (theirs, set) = told(Compiler::Debian(PathBuf::from(DEBIAN)));
        assert_eq!(theirs, format!("{own} -Zbuild-std=std,panic_abort"));
        assert_eq!(
            set,
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-16 RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1"
        );
    }
}
