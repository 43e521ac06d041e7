//! `tests/mutants.toml`, read.

use std::path::{Path, PathBuf};

use holdfast_lab::{LabError, Result};
use serde::Deserialize;

use crate::root::root;

/// One seeded bug.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutant {
    pub name: String,
    pub what: String,
    pub file: PathBuf,
    pub find: String,
    pub replace: String,
    /// What is done to the cluster with the bug.
    #[serde(default)]
    pub histories: Histories,
    /// It has to be found by this many seeds, the first ones.
    #[serde(default)]
    pub seeds: Option<u64>,
    /// One of those that are tried by every full run of the tests.
    #[serde(default)]
    pub quick: bool,
    /// It is not found, and this is why.
    #[serde(default)]
    pub hole: Option<String>,
    /// Another rule stands behind the one that it breaks.
    #[serde(default)]
    pub behind: Option<Behind>,
}

/// Which runs have to find it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Histories {
    /// Random faults.
    #[default]
    Faults,
    /// The store is set back to a backup.
    SetBack,
}

/// A rule that hides a seeded bug: with that one broken as well it has to be found.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Behind {
    /// The rule, in words.
    pub rule: String,
    /// The seeded bugs that break it.
    pub broken_by: Vec<String>,
    /// What all of them together break, and those alone do not.
    pub breaks: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutant: Vec<Mutant>,
}

/// All of them.
pub(super) struct List {
    pub mutants: Vec<Mutant>,
}

pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(LabError::io("read", path))
}

impl List {
    pub(super) fn read() -> Result<Self> {
        let path = root().join("tests/mutants.toml");
        let file: File = toml::from_str(&read(&path)?)
            .map_err(|error| LabError::Refused(format!("{}: {error}", path.display())))?;
        let list = Self {
            mutants: file.mutant,
        };
        for mutant in &list.mutants {
            list.check(mutant).map_err(|why| {
                LabError::Refused(format!("{}: {}: {why}", path.display(), mutant.name))
            })?;
        }
        Ok(list)
    }

    fn check(&self, mutant: &Mutant) -> std::result::Result<(), String> {
        match (mutant.seeds, &mutant.hole, &mutant.behind) {
            (Some(_), None, None) | (None, Some(_), None) => Ok(()),
            (Some(_), None, Some(behind)) => {
                let mut others = behind.broken_by.iter();
                match others.find(|other| self.named(other).is_none()) {
                    None => Ok(()),
                    Some(other) => Err(format!("there is no `{other}`")),
                }
            }
            _ => {
                Err("give either `seeds`, or `hole` with the reason; `behind` needs `seeds`".into())
            }
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Mutant> {
        self.mutants.iter().find(|mutant| mutant.name == name)
    }
}

impl Mutant {
    /// The file's text with the bug in it.
    pub(super) fn apply(&self, text: &str) -> std::result::Result<String, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Fewer would say little about the simulation.
    const FOUND_AT_LEAST: usize = 12;
    /// More seeds than that are no check that anybody runs.
    const SEEDS_MAX: u64 = 1_500;

    #[test]
    fn every_seeded_bug_still_fits_the_code() {
        let list = List::read().expect("a readable list");
        let alone = |mutant: &&Mutant| mutant.seeds.is_some() && mutant.behind.is_none();
        let found = list.mutants.iter().filter(alone).count();
        assert!(found >= FOUND_AT_LEAST, "{found} seeded bugs");
        for mutant in &list.mutants {
            let text = read(&root().join(&mutant.file)).expect("its file");
            let mutated = mutant.apply(&text).expect("it fits");
            assert_ne!(mutated, text, "{}", mutant.name);
            assert!(
                mutant.seeds.is_none_or(|n| n <= SEEDS_MAX),
                "{}",
                mutant.name
            );
        }
    }

    #[test]
    fn a_quick_one_is_found_by_its_first_seeds() {
        let list = List::read().expect("a readable list");
        let quick: Vec<&Mutant> = list.mutants.iter().filter(|mutant| mutant.quick).collect();
        assert!((2..=3).contains(&quick.len()), "{} quick ones", quick.len());
        for mutant in quick {
            assert!(mutant.seeds.is_some_and(|n| n <= 30), "{}", mutant.name);
        }
    }
}
