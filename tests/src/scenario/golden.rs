//! A scenario file against the golden log beside it.

use super::{Run, run};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The environment variable that has golden files written anew.
pub const UPDATE: &str = "UPDATE_GOLDEN";

/// What a check found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run.
    pub run: Run,
    /// What is wrong, in words; empty: nothing.
    pub problems: Vec<String>,
}

/// Runs a file and compares its log with the golden one. With `update` the golden file is written
/// instead, if the run itself was well: a golden file never records a broken invariant.
pub fn check(file: &Path, update: bool) -> Outcome {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            let problem = format!("{}: {error}", file.display());
            let run = Run {
                log: String::new(),
                errors: vec![problem.clone()],
            };
            let problems = vec![problem];
            return Outcome { run, problems };
        }
    };
    let run = run(&text);
    let mut problems = run.errors.clone();
    let golden = golden_of(file);
    if update && problems.is_empty() {
        if let Err(error) = std::fs::write(&golden, &run.log) {
            problems.push(format!("{}: {error}", golden.display()));
        }
        return Outcome { run, problems };
    }
    match std::fs::read_to_string(&golden) {
        Ok(expected) if expected == run.log => {}
        Ok(expected) => problems.push(difference(&expected, &run.log)),
        Err(_) => problems.push(format!(
            "{} is missing: run again with {UPDATE}=1 and review what it writes",
            golden.display()
        )),
    }
    Outcome { run, problems }
}

/// The golden file beside a scenario.
pub fn golden_of(file: &Path) -> PathBuf {
    file.with_extension("golden")
}

/// Lines of context around a difference.
const CONTEXT: usize = 3;
/// Lines of a difference that are shown.
const SHOWN: usize = 12;

/// Where two logs part, with what comes before and after.
fn difference(expected: &str, found: &str) -> String {
    let expected: Vec<&str> = expected.lines().collect();
    let found: Vec<&str> = found.lines().collect();
    let same = expected
        .iter()
        .zip(&found)
        .take_while(|(a, b)| a == b)
        .count();
    let mut text = format!(
        "the log differs from the golden file from line {} on (- golden, + now; {UPDATE}=1 writes \
         it anew):\n",
        same + 1
    );
    for line in &expected[same.saturating_sub(CONTEXT)..same] {
        let _ = writeln!(text, "  {line}");
    }
    for (sign, lines) in [('-', &expected), ('+', &found)] {
        for line in lines.iter().skip(same).take(SHOWN) {
            let _ = writeln!(text, "{sign} {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_where_it_begins() {
        let text = difference("a\nb\nc\n", "a\nx\nc\n");
        assert!(text.contains("from line 2 on"), "{text}");
        assert!(text.contains("  a\n- b\n- c\n+ x\n+ c\n"), "{text}");
    }
}
