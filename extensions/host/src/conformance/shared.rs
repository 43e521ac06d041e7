//! What is the same for every kind: how a question ended, and what has to be true of that.

use super::log::{self, Log, Written};
use super::{Check, Headroom, Outcome};
use crate::budget::Cost;
use crate::error::CallError;
use holdfast_model::extension::{LIMITS_MAX, Limits};
use std::collections::BTreeMap;

/// So many times the CPU time that it may have: what is over a limit is told as a share of it.
const CPU_TIMES: u64 = 10;

/// A trap of a guest whose language tells nobody what was thrown.
const UNSAID: &str = "wasm trap: wasm `unreachable` instruction executed";

const MIB: f64 = (1 << 20) as f64;

/// Limits under which a guest is tried.
pub(super) fn relaxed(limits: Limits) -> Limits {
    Limits {
        cpu_ms: limits
            .cpu_ms
            .saturating_mul(CPU_TIMES)
            .min(LIMITS_MAX.cpu_ms),
        // A guest that never waits is slow by the clock only where the machine is busy.
        wall_ms: LIMITS_MAX.wall_ms,
        ..limits
    }
}

/// A question that was asked, and how that ended.
pub(super) struct Ended<'a> {
    /// What it was, in a few words.
    pub question: &'a str,
    /// Who was asked, in words.
    pub by: &'static str,
    /// The answer, written down; or why there is none.
    pub said: Result<String, &'a CallError>,
    /// What it wrote to its log.
    pub written: &'a Written,
}

/// What it wrote to its log in all of them.
pub(super) fn written(all: &[Ended<'_>]) -> Log {
    log::all(all.iter().map(|each| (each.question, each.written)))
}

/// Failed with the first of what is wrong; passed if nothing is and there was anything to look at: so many, what
/// these are, and what it means if there are none.
pub(super) fn check(
    name: &'static str,
    what: &'static str,
    wrong: Vec<String>,
    (seen, of, none): (usize, &str, &str),
) -> Check {
    let (outcome, words) = match wrong.split_first() {
        None if seen == 0 => (Outcome::Skipped, none.to_owned()),
        None => (Outcome::Passed, format!("{seen} {of}")),
        Some((first, [])) => (Outcome::Failed, first.clone()),
        Some((first, others)) => (
            Outcome::Failed,
            format!("{first}; and {} more", others.len()),
        ),
    };
    Check {
        name,
        what,
        outcome,
        words,
        log: Vec::new(),
    }
}

/// Questions with such an end, and how it was.
pub(super) fn wrong(all: &[Ended<'_>], such: impl Fn(&CallError) -> bool) -> Vec<String> {
    let ended = all.iter().filter_map(|each| {
        let error = each.said.as_ref().err()?;
        such(error).then(|| format!("{}: {}", each.question, told(error)))
    });
    ended.collect()
}

/// In words; of a trap that says nothing, with what to do to learn more.
pub(super) fn told(error: &CallError) -> String {
    match error {
        CallError::Trapped(why) if why.starts_with(UNSAID) => {
            format!("{error}; what nobody catches ends so: catch it, and write it to the log")
        }
        _ => error.to_string(),
    }
}

/// It did not end by itself within what it may take.
pub(super) fn outlasts(error: &CallError) -> bool {
    matches!(
        error,
        CallError::CpuTime { .. } | CallError::WallTime { .. } | CallError::Memory { .. }
    )
}

/// No question makes it trap. What it wrote before the first one that did stands with it.
pub(super) fn traps(all: &[Ended<'_>]) -> Check {
    let trapped = |error: &CallError| matches!(error, CallError::Trapped(_));
    let first = all
        .iter()
        .find(|each| each.said.as_ref().is_err_and(|error| trapped(error)));
    Check {
        log: first.map_or_else(Vec::new, |each| each.written.last(each.question)),
        ..check(
            "traps",
            "no question makes it trap",
            wrong(all, trapped),
            (all.len(), "questions", "nothing was asked"),
        )
    }
}

/// It hands over no more than it may.
pub(super) fn answer_size(all: &[Ended<'_>]) -> Check {
    let answers = all.iter().filter(|each| each.said.is_ok()).count();
    check(
        "answer-size",
        "an answer is not larger than `answer_kib` allows",
        wrong(all, |error| matches!(error, CallError::TooMuch { .. })),
        (answers, "answers", "it gave no answer at all"),
    )
}

/// The host has no part in it.
pub(super) fn host(all: &[Ended<'_>]) -> Check {
    check(
        "host",
        "the host stays well",
        wrong(all, |error| matches!(error, CallError::Host(_))),
        (all.len(), "questions", "nothing was asked"),
    )
}

/// The first answer to each question, and those that differ from it: no matter what was asked before.
pub(super) fn same(all: &[Ended<'_>], what: &'static str) -> Check {
    no_other("same-answer", what, all, "keep nothing between questions")
}

/// The first answer to each question, and those that differ from it; what its author is to do then.
pub(super) fn no_other(
    name: &'static str,
    what: &'static str,
    all: &[Ended<'_>],
    advice: &str,
) -> Check {
    let mut first: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for each in all {
        let Ok(said) = &each.said else { continue };
        match first.get(each.question) {
            None => {
                first.insert(each.question, (each.by, said));
            }
            Some((_, before)) if *before == said => compared += 1,
            Some((by, _)) => wrong.push(format!(
                "{}: {} answers other than {by}; {advice}",
                each.question, each.by
            )),
        }
    }
    check(
        name,
        what,
        wrong,
        (compared, "answers compared", "it gave too few answers"),
    )
}

/// What the dearest question cost, where a fresh instance is asked each time: starting it is a part of that.
pub(super) fn dearest<'a>(
    costs: impl Iterator<Item = (&'a str, Cost)> + Clone,
    limits: Limits,
) -> Vec<Headroom> {
    let cpu = costs.clone().max_by_key(|(_, cost)| cost.cpu);
    let cpu = cpu.map(|(name, cost)| Headroom {
        of: format!("CPU time, {name}"),
        used: cost.cpu.as_secs_f64() * 1_000.0,
        limit: limits.cpu_ms as f64,
        unit: "ms",
    });
    let memory = costs.map(|(_, cost)| cost.memory_bytes).max();
    let memory = memory.map(|bytes| Headroom {
        of: "memory".to_owned(),
        used: bytes as f64 / MIB,
        limit: limits.memory_mib as f64,
        unit: "MiB",
    });
    cpu.into_iter().chain(memory).collect()
}

/// CPU time and memory, by what was measured or by the limit that was met.
pub(super) fn limits(all: &[Ended<'_>], headroom: &[Headroom], limits: Limits) -> [Check; 2] {
    let large = |error: &CallError| matches!(error, CallError::Memory { .. });
    let of_unit = |unit: &str| -> Vec<&Headroom> {
        headroom.iter().filter(|each| each.unit == unit).collect()
    };
    [
        limit(
            "cpu",
            "its CPU time stays below `cpu_ms`",
            &late(all, limits),
            &of_unit("ms"),
        ),
        limit(
            "memory",
            "its memory stays below `memory_mib`",
            &wrong(all, large),
            &of_unit("MiB"),
        ),
    ]
}

/// Questions that were ended. The limit that was met is not the guest's own: it got more time than that.
fn late(all: &[Ended<'_>], limits: Limits) -> Vec<String> {
    let ended = all.iter().filter_map(|each| {
        let used_ms = match each.said {
            Err(CallError::CpuTime { used_ms, .. }) => *used_ms,
            Err(CallError::WallTime { limit_ms }) => *limit_ms,
            _ => return None,
        };
        let (name, limit_ms) = (each.question, limits.cpu_ms);
        Some(format!(
            "{name}: no answer after {used_ms} ms; `cpu_ms` is {limit_ms}"
        ))
    });
    ended.collect()
}

fn limit(
    name: &'static str,
    what: &'static str,
    wrong: &[String],
    measured: &[&Headroom],
) -> Check {
    let most = measured
        .iter()
        .max_by(|a, b| a.share_percent().total_cmp(&b.share_percent()));
    let (outcome, words) = match (wrong.first(), most) {
        (Some(first), _) => (Outcome::Failed, first.clone()),
        (None, None) => (Outcome::Skipped, "it answers too little".to_owned()),
        (None, Some(most)) => {
            let outcome = most.outcome();
            let advice = match outcome {
                Outcome::Passed => "",
                _ => "; make it cheaper, or raise the limit in [limits]",
            };
            let share = most.share_percent();
            (outcome, format!("{share:.0} % ({}){advice}", most.of))
        }
    };
    Check {
        name,
        what,
        outcome,
        words,
        log: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_that_says_nothing_is_told_with_what_to_do() {
        let trapped = |why: &str| told(&CallError::Trapped(why.to_owned()));
        let bare = trapped(&format!("{UNSAID}; in extension-off"));
        assert!(bare.starts_with("it trapped: wasm trap: "), "{bare}");
        assert!(bare.ends_with("; what nobody catches ends so: catch it, and write it to the log"));
        let own = trapped(&format!("it broke, at lib.rs:3 ({UNSAID})"));
        assert_eq!(own, format!("it trapped: it broke, at lib.rs:3 ({UNSAID})"));
    }
}
