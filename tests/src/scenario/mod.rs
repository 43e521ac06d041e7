//! Scenario files: text in, golden text out.
//!
//! A file is a purpose line (`# …`), then one verb a line. `NN-name.golden` beside it is the log
//! of its run. [`run`] carries one out; [`check`] compares with the golden file. The verbs are in
//! [`verbs`], the expectations in [`expect`].

pub mod expect;
mod extension;
pub mod golden;
mod mend;
pub mod steps;
pub mod verbs;
mod volume;
mod words;

pub use golden::{Outcome, check};
pub use words::WordError;
pub(crate) use words::Words;

use crate::sim::Sim;
use std::fmt::Write;

/// How a scenario ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its log, line by line.
    pub log: String,
    /// What went wrong: refused verbs, expectations not met, broken invariants.
    pub errors: Vec<String>,
}

/// The lines of a scenario that do something, with their numbers, without remarks.
pub fn actions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| {
        let line = line.split_once(" #").map_or(line, |(verb, _)| verb);
        (index + 1, line.trim())
    });
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Carries out a scenario's text.
pub fn run(text: &str) -> Run {
    let mut sim = Sim::default();
    let mut errors = Vec::new();
    if !text.starts_with("# ") {
        errors.push("line 1: a scenario begins with its purpose, `# …`".to_owned());
    }
    for (number, line) in actions(text) {
        if let Err(error) = verbs::carry_out(&mut sim, line) {
            let error = format!("line {number}: `{line}`: {error}");
            sim.ctx.log("ERROR", &error);
            errors.push(error);
        }
    }
    errors.extend(sim.ctx.truth.violations.iter().cloned());
    // No written scenario may prove nothing.
    errors.extend(sim.ctx.truth.beyond.iter().cloned());
    let mut log = String::new();
    for line in &sim.ctx.log {
        // Writing to a String cannot fail.
        let _ = writeln!(log, "{line}");
    }
    Run { log, errors }
}
