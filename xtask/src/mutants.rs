//! `cargo xtask mutants`: does the simulation find what it should? Builds it once for each seeded bug
//! of `tests/mutants.toml`, in a copy of the tree, and runs seeds until one finds the bug.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anstyle::{AnsiColor, Style};
use clap::Args;
use holdfast_lab::{LabError, Progress, Result, catch_interrupts};
use serde::Deserialize;

#[derive(Args)]
pub(crate) struct MutantsArguments {
    /// Only this one
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Seeds that may be needed to find one
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Say which there are, and run nothing
    #[arg(long)]
    list: bool,
}

#[derive(Deserialize)]
struct File {
    mutant: Vec<Mutant>,
}

/// One seeded bug.
#[derive(Deserialize)]
struct Mutant {
    name: String,
    what: String,
    file: PathBuf,
    find: String,
    replace: String,
}

impl Mutant {
    /// The file's text with the bug in it.
    fn apply(&self, text: &str) -> std::result::Result<String, String> {
        match text.matches(&self.find).count() {
            1 => Ok(text.replacen(&self.find, &self.replace, 1)),
            count => Err(format!(
                "{}: its text stands {count} times in {}; bring tests/mutants.toml up to date",
                self.name,
                self.file.display()
            )),
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(LabError::io("read", path))
}

fn all() -> Result<Vec<Mutant>> {
    let path = root().join("tests/mutants.toml");
    let file: File = toml::from_str(&read(&path)?)
        .map_err(|error| LabError::Refused(format!("{}: {error}", path.display())))?;
    Ok(file.mutant)
}

/// The verb.
pub(crate) fn run(arguments: &MutantsArguments) -> Result<ExitCode> {
    catch_interrupts()?;
    let mut mutants = all()?;
    if let Some(only) = &arguments.only {
        mutants.retain(|mutant| mutant.name == *only);
        if mutants.is_empty() {
            let text = format!("there is no mutant `{only}`; --list shows all");
            return Err(LabError::Refused(text));
        }
    }
    if arguments.list {
        for mutant in &mutants {
            anstream::println!("  {:<40} {}", mutant.name, mutant.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::stderr();
    let place = Place::new()?;
    progress.step("copy the tree", || place.copy())?;
    let mut missed = 0;
    for mutant in &mutants {
        let found = progress.step(&mutant.name, || place.try_one(mutant, arguments.seeds))?;
        let (colour, verdict) = match &found {
            Some(found) => (AnsiColor::Green, format!("found    {found}")),
            None => {
                missed += 1;
                let text = format!("MISSED   by {} seeds: {}", arguments.seeds, mutant.what);
                (AnsiColor::Red, text)
            }
        };
        let style = Style::new().fg_color(Some(colour.into()));
        anstream::println!("  {:<40} {style}{verdict}{style:#}", mutant.name);
    }
    let caught = mutants.len() - missed;
    anstream::println!("{caught} of {} seeded bugs found", mutants.len());
    Ok(match missed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Where mutants are built: beside this program, kept for the next time.
struct Place {
    tree: PathBuf,
    build: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let own = holdfast_lab::programs::own_bin_dir();
        let dir = own.parent().unwrap_or(&own).join("mutants");
        Ok(Self {
            tree: dir.join("tree"),
            build: dir.join("build"),
        })
    }

    /// The files that git tracks, as they are in the work tree now.
    fn copy(&self) -> Result<()> {
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .map_err(LabError::io("start", "git"))?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        // What went since the last copy.
        let list = self.tree.with_extension("list");
        let before = std::fs::read_to_string(&list).unwrap_or_default();
        for gone in before.lines().filter(|file| !root().join(file).exists()) {
            let path = self.tree.join(gone);
            if path.exists() {
                std::fs::remove_file(&path).map_err(LabError::io("remove", &path))?;
            }
        }
        for file in listed.lines() {
            let (from, to) = (root().join(file), self.tree.join(file));
            let Ok(bytes) = std::fs::read(&from) else {
                continue; // removed, and not committed yet
            };
            if std::fs::read(&to).is_ok_and(|old| old == bytes) {
                continue; // its date stays, and what was built of it
            }
            if let Some(dir) = to.parent() {
                std::fs::create_dir_all(dir).map_err(LabError::io("make", dir))?;
            }
            std::fs::write(&to, bytes).map_err(LabError::io("write", &to))?;
        }
        std::fs::write(&list, listed.as_bytes()).map_err(LabError::io("write", &list))
    }

    /// The seed that finds it and what it says, if one does.
    fn try_one(&self, mutant: &Mutant, seeds: u64) -> Result<Option<String>> {
        let path = self.tree.join(&mutant.file);
        let before = read(&path)?;
        let mutated = mutant.apply(&before).map_err(LabError::Refused)?;
        std::fs::write(&path, mutated).map_err(LabError::io("write", &path))?;
        let result = self.build_and_run(seeds);
        std::fs::write(&path, before).map_err(LabError::io("write", &path))?;
        result
    }

    fn build_and_run(&self, seeds: u64) -> Result<Option<String>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(&cargo)
            .args([
                "build",
                "--quiet",
                "--release",
                "--package",
                "holdfast-tests",
            ])
            .args(["--bin", "holdfast-sim"])
            .env("CARGO_TARGET_DIR", &self.build)
            // Built many times and run for seconds: quick to build counts.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.tree)
            .output()
            .map_err(LabError::io("start", &cargo))?;
        if !built.status.success() {
            return Err(LabError::Command {
                command: "cargo build of the mutant".to_owned(),
                status: built.status.to_string(),
                stderr: String::from_utf8_lossy(&built.stderr).into_owned(),
            });
        }
        let began = Instant::now();
        let sim = self.build.join("release/holdfast-sim");
        let ran = Command::new(&sim)
            .args(["--seeds", &seeds.to_string(), "--no-shrink"])
            .current_dir(&self.tree)
            .output()
            .map_err(LabError::io("start", &sim))?;
        if ran.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&ran.stderr);
        let first = text.lines().find(|line| !line.trim().is_empty());
        let words = first.unwrap_or("it ended without a word").trim().to_owned();
        Ok(Some(format!(
            "{words} ({:.1} s)",
            began.elapsed().as_secs_f64()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seeded_bug_still_fits_the_code() {
        let mutants = all().expect("a readable list");
        assert!(mutants.len() >= 12, "{} seeded bugs", mutants.len());
        for mutant in &mutants {
            let text = read(&root().join(&mutant.file)).expect("its file");
            let mutated = mutant.apply(&text).expect("it fits");
            assert_ne!(mutated, text, "{}", mutant.name);
        }
    }
}
