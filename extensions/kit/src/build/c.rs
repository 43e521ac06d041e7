//! C: clang with WASI's C library, of which nothing is left that imports.

use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use crate::run::openly;
use crate::tools::find;
use crate::{Folder, KitError, Language, Options, Result, componentize, sources, templates, wit};

/// How to get the compiler, its linker and its libraries.
const HOW: &str = "on Debian run `apt-get install --no-install-recommends clang-16 lld-16 wasi-libc \
                   libclang-rt-16-dev-wasm32`";

/// What the sources include.
const HEADER: &str = "extension.h";

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let clang = clang()?;
    let work = super::work()?;
    let contracts = wit::prepare(folder, work.path())?;
    bindings(contracts, work.path())?;
    // The compiler takes one that is beside the sources first: it must not be that of another world.
    let beside = folder.path.join(HEADER);
    if options.output.is_none() || beside.is_file() {
        let header = work.path().join(HEADER);
        std::fs::copy(&header, &beside).map_err(KitError::io("write", &beside))?;
    }
    let sources = sources::beside_manifest(&folder.path)?.into_iter();
    let sources = sources.filter(|(language, _)| *language == Language::C);
    let sources: Vec<PathBuf> = sources.map(|(_, path)| path).collect();
    let no_wasi = work.path().join("no_wasi.c");
    std::fs::write(&no_wasi, templates::NO_WASI).map_err(KitError::io("write", &no_wasi))?;
    let made = work.path().join("core.wasm");
    let mut command = Command::new(clang);
    command.args([
        "--target=wasm32-wasi",
        "-std=gnu17",
        "-Os",
        // Names of functions with lines, so that a trap says where.
        "-g1",
        "-fdebug-info-for-profiling",
        "-Wall",
        "-Wextra",
        // A function that is called otherwise than the contract has it is nobody's.
        "-Wmissing-prototypes",
    ]);
    // Whose machine it was built on, and where, is no part of it.
    for (path, shown) in [(&*folder.path, "."), (work.path(), "made")] {
        command.arg(format!("-ffile-prefix-map={}={shown}", path.display()));
    }
    command.arg("-fdebug-compilation-dir=.");
    // A library that is called, not a program that runs.
    command.args(["-mexec-model=reactor", "-Wl,--gc-sections"]);
    command
        .arg("-I")
        .arg(work.path())
        .args(&sources)
        .arg(&no_wasi);
    for file in [
        format!("{}.c", wit::WORLD),
        format!("{}_component_type.o", wit::WORLD),
    ] {
        command.arg(work.path().join(file));
    }
    command.arg("-o").arg(&made);
    // Warnings too are the author's to see.
    openly(&mut command).map_err(|error| match undefined(work.path(), &sources) {
        Some(name) => KitError::Source {
            place: folder.source.clone(),
            what: format!(
                "`{name}` is not in it, which is what wit/world.wit exports; {HEADER} has it as it has to be written"
            ),
        },
        None => error,
    })?;
    componentize(&super::read(&made)?, &folder.source)
}

/// A function of the header that is to be exported and whose name stands in no source.
fn undefined(work: &Path, sources: &[PathBuf]) -> Option<String> {
    let header = std::fs::read_to_string(work.join(HEADER)).ok()?;
    let sources = sources.iter().map(std::fs::read_to_string);
    let sources = sources.collect::<std::io::Result<Vec<_>>>().ok()?;
    let (_, exported) = header.split_once("// Exported Functions")?;
    let exported = exported.split("// Helper Functions").next()?;
    let names = exported
        .split('(')
        .filter_map(|before| before.rsplit([' ', '*', '\n']).next());
    let mut names = names.filter(|name| name.starts_with("exports_"));
    let missing = names.find(|name| {
        let called = format!("{name}(");
        sources.iter().all(|text| !text.contains(&called))
    });
    missing.map(str::to_owned)
}

/// Writes the header alone, in which an author finds the names of the contract before anything is built.
pub(crate) fn header(folder: &Path) -> Result<()> {
    let work = super::work()?;
    let path = folder.join("wit");
    let (resolve, world) = wit::resolve(&path)?;
    let contracts = wit::Contracts {
        path,
        resolve,
        world,
    };
    bindings(contracts, work.path())?;
    let to = folder.join(HEADER);
    std::fs::copy(work.path().join(HEADER), &to).map_err(KitError::io("write", &to))?;
    Ok(())
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
        let mut contents = contents.to_vec();
        if name.ends_with(".c") {
            // Its functions are called by nobody but the host.
            contents.splice(
                ..0,
                *b"#pragma clang diagnostic ignored \"-Wmissing-prototypes\"\n",
            );
        }
        std::fs::write(&path, contents).map_err(KitError::io("write", &path))?;
    }
    Ok(())
}
