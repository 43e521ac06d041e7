//! What has to be true of the answers.

use super::super::Check;
use super::super::shared::{Ended, answer_size, check, host, same, traps, wrong};
use super::suite::Tried;
use crate::error::{CallError, Nonsense};
use crate::words::NO_WORDS;
use holdfast_model::advice::Said;

/// All checks of what was said; those of what it cost are in [`super::cost`].
pub(super) fn judge(tried: &[Tried<'_>], ended: &[Ended<'_>]) -> Vec<Check> {
    let given = given(tried);
    let none = "it gave no answer at all";
    let nonsense = |such: fn(&Nonsense) -> bool| {
        wrong(
            ended,
            |error| matches!(error, CallError::Nonsense(nonsense) if such(nonsense)),
        )
    };
    vec![
        traps(ended),
        check(
            "answers",
            "it has an answer for everyday clusters of 1, 2 and 100 candidates",
            refusals(tried),
            (given.answers, "answers", none),
        ),
        check(
            "one-each",
            "one verdict and one score for each candidate",
            nonsense(|nonsense| !matches!(nonsense, Nonsense::Score { .. })),
            (given.answers, "answers", none),
        ),
        check(
            "scores",
            "scores are numbers from 0 to 100",
            nonsense(|nonsense| matches!(nonsense, Nonsense::Score { .. })),
            (given.scores, "scores", "it gave no score"),
        ),
        check(
            "words",
            "whoever is refused is told why",
            wordless(tried),
            (given.refusals, "refusals", "it refused nothing"),
        ),
        answer_size(ended),
        same(
            ended,
            "the same question gets the same answer, whatever was asked before",
        ),
        host(ended),
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
