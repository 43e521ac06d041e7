//! Where seeded bugs are built and run: a copy of the tree, kept for the next time.

use std::path::PathBuf;
use std::process::Command;

use holdfast_lab::{LabError, Result};

use super::list::{Histories, Mutant, read};
use crate::root::root;

/// Packages of the tree that the simulation is made of. Built for each bug and run for seconds, quick to
/// build counts; what they depend on is shared with every other release build.
const BUILT: [&str; 5] = [
    "holdfast-model",
    "holdfast-core",
    "holdfast-store",
    "holdfast-lease",
    "holdfast-tests",
];

pub(super) struct Place {
    tree: PathBuf,
    build: PathBuf,
}

/// What came of a run.
pub(super) enum Verdict {
    /// Which seed finds it, and what it says.
    Found {
        seed: u64,
        words: String,
    },
    Missed,
}

impl Place {
    pub(super) fn new() -> Self {
        let own = holdfast_lab::programs::own_bin_dir();
        let build = own.parent().unwrap_or(&own).to_owned();
        Self {
            tree: build.join("mutants/tree"),
            build,
        }
    }

    /// The files that git tracks, as they are in the work tree now.
    pub(super) fn copy(&self) -> Result<()> {
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

    /// Puts these bugs in, all at once, runs so many seeds, and takes them out again.
    pub(super) fn try_these(
        &self,
        mutants: &[&Mutant],
        seeds: u64,
        invariant: Option<&str>,
    ) -> Result<Verdict> {
        let mut before = Vec::new();
        let mut put_in = || {
            for mutant in mutants {
                let path = self.tree.join(&mutant.file);
                let text = read(&path)?;
                let mutated = mutant.apply(&text).map_err(LabError::Refused)?;
                before.push((path.clone(), text));
                std::fs::write(&path, mutated).map_err(LabError::io("write", &path))?;
            }
            Ok(())
        };
        let histories = mutants.first().map(|mutant| mutant.histories);
        let result = put_in()
            .and_then(|()| self.build_and_run(seeds, histories.unwrap_or_default(), invariant));
        // The other way round: two may be in one file.
        for (path, text) in before.into_iter().rev() {
            std::fs::write(&path, text).map_err(LabError::io("write", &path))?;
        }
        result
    }

    fn build_and_run(
        &self,
        seeds: u64,
        histories: Histories,
        invariant: Option<&str>,
    ) -> Result<Verdict> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(&cargo);
        build
            .args(["build", "--quiet", "--release"])
            .args(["--package", "holdfast-tests", "--bin", "holdfast-sim"])
            .env("CARGO_TARGET_DIR", &self.build)
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.tree);
        for package in BUILT {
            let level = format!("profile.release.package.{package}.opt-level=1");
            build.args(["--config", &level]);
        }
        let built = build.output().map_err(LabError::io("start", &cargo))?;
        if !built.status.success() {
            return Err(LabError::Command {
                command: "cargo build of the mutant".to_owned(),
                status: built.status.to_string(),
                stderr: String::from_utf8_lossy(&built.stderr).into_owned(),
            });
        }
        // Not left where the next one looks for the simulation as it should be.
        let built = self.build.join("release/holdfast-sim");
        let sim = self.build.join("mutants/holdfast-sim");
        std::fs::rename(&built, &sim).map_err(LabError::io("move", &built))?;
        let mut run = Command::new(&sim);
        run.args(["--seeds", &seeds.to_string(), "--no-shrink"]);
        if histories == Histories::SetBack {
            run.arg("--set-back");
        }
        if let Some(invariant) = invariant {
            run.args(["--only", invariant]);
        }
        let ran = run.current_dir(&self.tree).output();
        let ran = ran.map_err(LabError::io("start", &sim))?;
        if ran.status.success() {
            return Ok(Verdict::Missed);
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        found(&said).ok_or_else(|| LabError::Command {
            command: sim.display().to_string(),
            status: ran.status.to_string(),
            stderr: said.into_owned(),
        })
    }
}

/// What the simulation says of a seed that fails: `seed N: WORDS`. Anything else is no finding: a program
/// that could not be run finds no bug.
fn found(said: &str) -> Option<Verdict> {
    said.lines().find_map(|line| {
        let (seed, words) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some(Verdict::Found {
            seed: seed.parse().ok()?,
            words: words.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_seed_is_a_finding() {
        let said = "seed 12: closed-is-stopped: a1\nseed 12: runs-once: web\nrepeat it with …\n";
        let Some(Verdict::Found { seed, words }) = found(said) else {
            panic!("it was found");
        };
        assert_eq!((seed, words.as_str()), (12, "closed-is-stopped: a1"));
        assert!(found("error: unexpected argument '--only' found\n").is_none());
    }
}
