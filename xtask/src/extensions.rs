//! `cargo xtask extensions`: builds the extensions of this checkout into components, which are never committed.
//!
//! Each ends up as `extensions/NAME/{component.wasm,extension.toml}` in cargo's target directory. One whose
//! sources are those of the last build is left as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use holdfast_extension_kit::{
    Folder, KitError, Language, MANIFEST, Options, Tools, build, surface,
};
use holdfast_lab::{LabError, Progress, Result};
use sha2::{Digest, Sha256};

use crate::root::root;

#[derive(Args)]
pub(crate) struct ExtensionsArguments {
    /// Only these, by their names; all if none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Build again what is up to date
    #[arg(long)]
    again: bool,
    /// Build nothing: put the versions of contracts in wit/ that are not there yet on record as released. They never
    /// change afterwards
    #[arg(long, conflicts_with_all = ["names", "again"])]
    release_wit: bool,
}

/// One line of the table.
struct Row {
    name: String,
    language: Language,
    outcome: Outcome,
}

enum Outcome {
    Built {
        bytes: usize,
        imports: Vec<String>,
        seconds: Option<f64>,
    },
    Skipped(String),
}

pub(crate) fn run(arguments: &ExtensionsArguments) -> Result<ExitCode> {
    if arguments.release_wit {
        return crate::released::release();
    }
    let progress = Progress::stderr();
    let rows = build_all(&progress, &arguments.names, arguments.again)?;
    println!(
        "{:<16} {:<10} {:>9}  {:>7}  imports",
        "name", "language", "size", "built"
    );
    for row in rows {
        let (name, language) = (row.name, row.language);
        match row.outcome {
            Outcome::Built {
                bytes,
                imports,
                seconds,
            } => {
                let size = format!("{:.1} kB", bytes as f64 / 1000.0);
                let built = seconds.map_or("before".to_owned(), |took| format!("{took:.1} s"));
                let imports = short(&imports);
                println!("{name:<16} {language:<10} {size:>9}  {built:>7}  {imports}");
            }
            Outcome::Skipped(why) => println!("{name:<16} {language:<10} skipped: {why}"),
        }
    }
    println!("in {}", output().display());
    Ok(ExitCode::SUCCESS)
}

/// For `cargo xtask test`: how many are built, and how many the machine has no tools for.
pub(crate) fn count(progress: &Progress) -> Result<(u32, u32)> {
    let rows = build_all(progress, &[], false)?;
    let (mut built, mut skipped) = (0, 0);
    for row in rows {
        match row.outcome {
            Outcome::Built { .. } => built += 1,
            Outcome::Skipped(why) => {
                progress.line(&format!("  skipped {} ({}): {why}", row.name, row.language));
                skipped += 1;
            }
        }
    }
    Ok((built, skipped))
}

/// Cargo with the extensions' own workspace.
pub(crate) fn cargo(verb: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg(verb).current_dir(root().join("extensions"));
    command.env("CARGO_TARGET_DIR", cargo_target());
    command
}

/// Where cargo puts what it makes of extensions: apart from the daemons', whose builds it would lock.
fn cargo_target() -> PathBuf {
    output().join("cargo")
}

/// Without the package's name and version, and without what is only types.
fn short(imports: &[String]) -> String {
    let name = |each: &String| {
        let name = each.strip_prefix("holdfast:").unwrap_or(each);
        let name = name.strip_prefix("host/").unwrap_or(name);
        name.split('@').next().unwrap_or(name).to_owned()
    };
    let mut names: Vec<_> = imports.iter().map(name).collect();
    names.retain(|name| name != "placement/types");
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(" "),
    }
}

/// Cargo's target directory: this very program is in it.
fn target() -> PathBuf {
    let bin = holdfast_lab::programs::own_bin_dir();
    bin.parent().map_or(bin.clone(), Path::to_owned)
}

fn output() -> PathBuf {
    target().join("extensions")
}

/// Builds what is not up to date.
fn build_all(progress: &Progress, names: &[String], again: bool) -> Result<Vec<Row>> {
    let folders = folders()?;
    if let Some(unknown) = names.iter().find(|name| !folders.contains_key(*name)) {
        let known: Vec<_> = folders.keys().map(String::as_str).collect();
        let text = format!("no extension `{unknown}`; there are {}", known.join(", "));
        return Err(LabError::Refused(text));
    }
    crate::setup::ensure_for_extensions(progress)?;
    let tools = Tools::of_user();
    let (all, rust) = shared()?;
    let wanted = folders
        .into_iter()
        .filter(|(name, _)| names.is_empty() || names.contains(name));
    wanted
        .map(|(name, folder)| {
            let outcome = match tools.lacking(folder.language) {
                Some(why) => Outcome::Skipped(why),
                None => {
                    let shared = if folder.language == Language::Rust {
                        &rust
                    } else {
                        &all
                    };
                    one(progress, &name, &folder, shared, again)?
                }
            };
            let language = folder.language;
            Ok(Row {
                name,
                language,
                outcome,
            })
        })
        .collect()
}

fn one(
    progress: &Progress,
    name: &str,
    folder: &Folder,
    shared: &Sha256,
    again: bool,
) -> Result<Outcome> {
    let dir = output().join(name);
    let (component, stamp) = (dir.join("component.wasm"), dir.join("sources.sha256"));
    let mut hash = shared.clone();
    add(&mut hash, &folder.path)?;
    let hash = format!("{:x}", hash.finalize());
    let built = std::fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == hash);
    if let (true, false, Ok(bytes)) = (built, again, std::fs::read(&component)) {
        let imports = surface(&bytes, &component).map_err(refused)?.imports;
        return Ok(Outcome::Built {
            bytes: bytes.len(),
            imports,
            seconds: None,
        });
    }
    std::fs::create_dir_all(&dir).map_err(LabError::io("create", &dir))?;
    // Whatever happens from here on, the old one is not taken for the new one.
    if stamp.exists() {
        std::fs::remove_file(&stamp).map_err(LabError::io("remove", &stamp))?;
    }
    let built = progress.step(&format!("build {name} ({})", folder.language), || {
        let options = Options {
            output: Some(component.clone()),
            cargo_target: Some(cargo_target()),
            tools: Tools::of_user(),
            say: &|text| progress.line(&format!("  {text}")),
        };
        build(folder, &options).map_err(refused)
    })?;
    let manifest = dir.join(MANIFEST);
    std::fs::copy(folder.path.join(MANIFEST), &manifest)
        .map_err(LabError::io("write", &manifest))?;
    std::fs::write(&stamp, &hash).map_err(LabError::io("write", &stamp))?;
    Ok(Outcome::Built {
        bytes: built.bytes,
        imports: built.surface.imports,
        seconds: Some(built.took.as_secs_f64()),
    })
}

/// The extensions of this checkout by name: folders with a manifest.
fn folders() -> Result<BTreeMap<String, Folder>> {
    let mut all = BTreeMap::new();
    for parent in ["extensions", "extensions/bad"] {
        for path in entries(&root().join(parent))? {
            if path.join(MANIFEST).is_file() {
                let folder = Folder::open(&path).map_err(refused)?;
                all.insert(folder.manifest.name.to_string(), folder);
            }
        }
    }
    Ok(all)
}

/// What builds depend on besides the extension's own folder: all of them on the contracts and the kit, those in
/// Rust on the SDK too.
fn shared() -> Result<(Sha256, Sha256)> {
    let mut all = Sha256::new();
    for path in ["wit", "extensions/kit/src", "extensions/kit/templates"] {
        add(&mut all, &root().join(path))?;
    }
    let mut rust = all.clone();
    for path in ["sdk", "Cargo.toml", "Cargo.lock"] {
        add(&mut rust, &root().join("extensions").join(path))?;
    }
    Ok((all, rust))
}

/// Adds a file, or all files under a directory, names and contents.
fn add(hash: &mut Sha256, path: &Path) -> Result<()> {
    if path.is_dir() {
        return entries(path)?.iter().try_for_each(|each| add(hash, each));
    }
    let bytes = std::fs::read(path).map_err(LabError::io("read", path))?;
    let name = path.strip_prefix(root()).unwrap_or(path);
    let name = name.as_os_str().as_encoded_bytes();
    for part in [name, &bytes] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(())
}

/// What is in a directory, in a fixed order; none if it is not there. Without what tools leave there, and without the
/// record of releases, which is no part of a contract.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(LabError::io("read", dir))?,
    };
    let mut paths = Vec::new();
    for entry in read {
        paths.push(entry.map_err(LabError::io("read", dir))?.path());
    }
    let left_behind = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name == "target"
            || name == "__pycache__"
            || name == "released.toml"
            || path.extension().is_some_and(|end| end == "wasm")
    };
    paths.retain(|path| !left_behind(path));
    paths.sort();
    Ok(paths)
}

fn refused(error: KitError) -> LabError {
    LabError::Refused(error.to_string())
}
