//! C: clang with WASI's C library, of which nothing is left that imports.

use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use crate::run::openly;
use crate::tools::find;
use crate::{Folder, KitError, Language, Result, componentize, sources, templates, wit};

/// How to get the compiler, its linker and its libraries.
const HOW: &str = "on Debian run `apt-get install --no-install-recommends clang-16 lld-16 wasi-libc \
                   libclang-rt-16-dev-wasm32`";

pub(super) fn build(folder: &Folder) -> Result<Vec<u8>> {
    let clang = clang()?;
    let work = super::work()?;
    let contracts = wit::prepare(folder, work.path())?;
    bindings(contracts, work.path())?;
    let sources = sources::beside_manifest(&folder.path)?.into_iter();
    let sources = sources.filter(|(language, _)| *language == Language::C);
    let sources = sources.map(|(_, path)| path);
    let no_wasi = work.path().join("no_wasi.c");
    std::fs::write(&no_wasi, templates::NO_WASI).map_err(KitError::io("write", &no_wasi))?;
    let made = work.path().join("core.wasm");
    let mut command = Command::new(clang);
    command.args([
        "--target=wasm32-wasi",
        "-std=c17",
        "-Os",
        "-Wall",
        "-Wextra",
    ]);
    // A library that is called, not a program that runs.
    command.args(["-mexec-model=reactor", "-Wl,--gc-sections"]);
    command
        .arg("-I")
        .arg(work.path())
        .args(sources)
        .arg(&no_wasi);
    for file in [
        format!("{}.c", wit::WORLD),
        format!("{}_component_type.o", wit::WORLD),
    ] {
        command.arg(work.path().join(file));
    }
    command.arg("-o").arg(&made);
    // Warnings too are the author's to see.
    openly(&mut command)?;
    componentize(&super::read(&made)?, &folder.source)
}

/// Debian 12's, or whichever there is with a linker of its own version.
fn clang() -> Result<PathBuf> {
    let versions = ["-16", "-17", "-18", "-19", "-20", "-21", ""];
    let pair = versions.iter().find_map(|version| {
        find(&format!("wasm-ld{version}"))?;
        find(&format!("clang{version}"))
    });
    pair.ok_or_else(|| KitError::Missing {
        what: "clang with wasm-ld".to_owned(),
        language: Language::C,
        how: HOW.to_owned(),
    })
}

/// Writes `extension.h`, `extension.c` and the object file with the contract in it.
fn bindings(contracts: wit::Contracts, out: &Path) -> Result<()> {
    let wit::Contracts {
        path,
        mut resolve,
        world,
    } = contracts;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| KitError::wit(&path, format!("{error:#}")))?;
    for (name, contents) in files.iter() {
        let path = out.join(name);
        std::fs::write(&path, contents).map_err(KitError::io("write", &path))?;
    }
    Ok(())
}
