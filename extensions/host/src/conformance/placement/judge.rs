//! What has to be true of the answers.

use super::super::shared::{Ended, answer_size, check, host, same, traps, wrong};
use super::super::{Check, PlacementSetup};
use super::suite::{State, Tried};
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
            (
                given.lists,
                "answers",
                "it refused nobody and gave no score",
            ),
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
            (given.refusals, "refusals", "it refused nobody"),
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
    /// Those with a verdict or a score.
    lists: usize,
    scores: usize,
    refusals: usize,
}

fn given(tried: &[Tried<'_>]) -> Amount {
    let mut amount = Amount::default();
    for each in tried {
        match &each.answered.said {
            Ok(Said::Answer { refusals, scores }) => {
                amount.answers += 1;
                amount.lists += usize::from(!refusals.is_empty() || !scores.is_empty());
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

/// What its author should know, and is no failure.
pub(super) fn notes(tried: &[Tried<'_>], setup: Option<&PlacementSetup>) -> Vec<String> {
    let unable = unable(tried);
    unable
        .into_iter()
        .chain(no_difference(tried, setup))
        .collect()
}

/// It may say so where something is odd; so does a defect in it, in languages in which that is an error.
fn unable(tried: &[Tried<'_>]) -> Option<String> {
    let odd = tried
        .iter()
        .filter(|each| !each.asked.plain && each.state == State::Fresh);
    let mut unable = odd.filter_map(|each| match &each.answered.said {
        Err(error @ CallError::Refused(_)) => Some(format!("{}: {error}", each.asked.name)),
        _ => None,
    });
    let first = unable.next()?;
    let more = match unable.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!(
        "it has no answer where something is odd, and is that meant? {first}{more}"
    ))
}

/// Whoever ranks and refuses nothing was asked nothing that concerns it.
fn no_difference(tried: &[Tried<'_>], setup: Option<&PlacementSetup>) -> Option<String> {
    let answers = || {
        tried.iter().filter_map(|each| match &each.answered.said {
            Ok(Said::Answer { refusals, scores }) => Some((refusals, scores)),
            _ => None,
        })
    };
    let ranks = answers().any(|(_, scores)| scores.windows(2).any(|two| two[0] != two[1]));
    let refuses = answers().any(|(refusals, _)| refusals.iter().any(Option::is_some));
    let advice = match setup {
        None => "name your labels in test.toml",
        Some(_) => "name the labels that it heeds in test.toml; it heeds none of those there",
    };
    let none = answers().next().is_some() && !ranks && !refuses;
    none.then(|| format!("it refused nobody and made no difference: {advice}"))
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
