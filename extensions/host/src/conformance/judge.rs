//! What has to be true of the answers.

use super::suite::{State, Tried};
use super::{Check, Outcome};
use crate::error::{CallError, Nonsense};
use crate::words::NO_WORDS;
use holdfast_model::advice::Said;
use std::collections::BTreeMap;

/// All checks of what was said; those of what it cost are in [`super::cost`].
pub(super) fn judge(tried: &[Tried<'_>]) -> Vec<Check> {
    let (all, given) = (tried.len(), given(tried));
    let none = "it gave no answer at all";
    vec![
        check(
            "traps",
            "no question makes it trap",
            wrong(tried, |error| matches!(error, CallError::Trapped(_))),
            (all, "questions", none),
        ),
        check(
            "answers",
            "it has an answer for everyday clusters of 1, 2 and 100 candidates",
            refusals(tried),
            (given.answers, "answers", none),
        ),
        check(
            "one-each",
            "one verdict and one score for each candidate",
            wrong(tried, |error| {
                matches!(error, CallError::Nonsense(Nonsense::Count { .. }))
            }),
            (given.answers, "answers", none),
        ),
        check(
            "scores",
            "scores are numbers from 0 to 100",
            wrong(tried, |error| {
                matches!(error, CallError::Nonsense(Nonsense::Score { .. }))
            }),
            (given.scores, "scores", "it gave no score"),
        ),
        check(
            "words",
            "whoever is refused is told why",
            wordless(tried),
            (given.refusals, "refusals", "it refused nothing"),
        ),
        check(
            "answer-size",
            "an answer is not larger than `answer_kib` allows",
            wrong(tried, |error| matches!(error, CallError::TooMuch { .. })),
            (given.answers, "answers", none),
        ),
        same(tried),
        check(
            "host",
            "the host stays well",
            wrong(tried, |error| matches!(error, CallError::Host(_))),
            (all, "questions", none),
        ),
    ]
}

/// What there is to judge.
#[derive(Default)]
struct Amount {
    answers: usize,
    scores: usize,
    refusals: usize,
}

fn given(tried: &[Tried<'_>]) -> Amount {
    let mut amount = Amount::default();
    for each in tried {
        match &each.answered.said {
            Ok(Said::Answer { refusals, scores }) => {
                amount.answers += 1;
                amount.scores += scores.len();
                amount.refusals += refusals.iter().flatten().count();
            }
            Err(CallError::Refused(_)) => {
                amount.answers += 1;
                amount.refusals += 1;
            }
            _ => {}
        }
    }
    amount
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
    }
}

/// Questions with such an end, and how it was.
pub(super) fn wrong(tried: &[Tried<'_>], such: impl Fn(&CallError) -> bool) -> Vec<String> {
    let ended = tried.iter().filter_map(|each| {
        let error = each.answered.said.as_ref().err()?;
        such(error).then(|| format!("{}: {error}", each.asked.name))
    });
    ended.collect()
}

/// "I cannot say", where nothing is odd.
fn refusals(tried: &[Tried<'_>]) -> Vec<String> {
    let plain = tried.iter().filter(|each| each.asked.plain);
    let refused = plain.filter_map(|each| match &each.answered.said {
        Err(error @ CallError::Refused(_)) => Some(format!("{}: {error}", each.asked.name)),
        _ => None,
    });
    refused.collect()
}

fn wordless(tried: &[Tried<'_>]) -> Vec<String> {
    let mute = |each: &&Tried<'_>| match &each.answered.said {
        Ok(Said::Answer { refusals, .. }) => refusals.iter().flatten().any(|why| why == NO_WORDS),
        Err(CallError::Refused(why)) => why == NO_WORDS,
        _ => false,
    };
    let tell = |each: &Tried<'_>| format!("{}: it refuses without a word", each.asked.name);
    tried.iter().filter(mute).map(tell).collect()
}

/// The first answer to each question, and those that differ from it.
fn same(tried: &[Tried<'_>]) -> Check {
    let mut first: BTreeMap<&str, (State, String)> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for each in tried {
        let said = match &each.answered.said {
            said @ (Ok(_) | Err(CallError::Refused(_))) => format!("{said:?}"),
            Err(_) => continue,
        };
        match first.get(each.asked.name) {
            None => {
                first.insert(each.asked.name, (each.state, said));
            }
            Some((_, before)) if *before == said => compared += 1,
            Some((state, _)) => wrong.push(format!(
                "{}: {} answers other than {}; keep nothing between questions",
                each.asked.name,
                each.state.words(),
                state.words()
            )),
        }
    }
    check(
        "same-answer",
        "the same question gets the same answer, whatever was asked before",
        wrong,
        (compared, "answers compared", "it gave too few answers"),
    )
}
