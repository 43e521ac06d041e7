//! What has to be true of the answers.

use super::super::Check;
use super::super::shared::{Ended, answer_size, check, host, same, traps};
use super::board::Mood;
use super::{Asked, Said, Tried};
use crate::fencing::{Ordered, Power};
use crate::words::NO_WORDS;
use holdfast_model::extension::Manifest;

/// All checks of what was said.
pub(super) fn judge(tried: &[Tried], ended: &[Ended<'_>], manifest: &Manifest) -> Vec<Check> {
    let answers = tried.iter().filter(|each| each.said.is_ok()).count();
    let amount = (answers, "answers", "it gave no answer at all");
    let requests = manifest.limits().requests;
    vec![
        traps(ended),
        switches(tried),
        check(
            "vouches",
            "it says on or off only after a board has said so, and that an order was taken only if it was",
            found(tried, vouched),
            amount,
        ),
        check(
            "lost",
            "an order without an answer is unknown: it may have been carried out",
            found(tried, lost),
            amount,
        ),
        check(
            "looks-only",
            "asking how the power stands changes nothing, and off orders nothing but off",
            found(tried, meddled),
            amount,
        ),
        check(
            "again",
            "off may come again: what is off stays off, and that is no failure",
            found(tried, refused_again),
            amount,
        ),
        check(
            "words",
            "each refusal and each unknown says why",
            found(tried, wordless),
            amount,
        ),
        check(
            "granted",
            "it asks for nothing that it was not granted, and not more often than `requests` allows",
            found(tried, |each, _| strayed(each, requests)),
            amount,
        ),
        answer_size(ended),
        same(ended, "the same board gets the same answer"),
        host(ended),
    ]
}

/// What an answer says and may not, whatever the host did.
pub(super) fn overstated(each: &Tried) -> Option<String> {
    let said = each.said.as_ref().ok()?;
    let vouched = vouched(each, said);
    vouched
        .or_else(|| lost(each, said))
        .or_else(|| meddled(each, said))
}

/// What is wrong with answers.
fn found(tried: &[Tried], wrong: impl Fn(&Tried, &Said) -> Option<String>) -> Vec<String> {
    let wrong = tried.iter().filter_map(|each| {
        let words = wrong(each, each.said.as_ref().ok()?)?;
        Some(format!("{}: {words}", each.name))
    });
    let mut all: Vec<String> = wrong.collect();
    all.dedup();
    all
}

/// Whether it switches a board off that obeys; one that speaks another language is not seen to.
fn switches(tried: &[Tried]) -> Check {
    let obeying = || tried.iter().filter(|each| each.mood == Mood::Obeys);
    let done = obeying().filter(|each| each.asked == Asked::Off && each.heard.ordered_off);
    let seen = done.count();
    let wrong = obeying().filter_map(|each| {
        let off = matches!(each.said, Ok(Said::Power(Power::Off)));
        let failed = each.asked == Asked::StatusAfter && !each.was_on && !off;
        failed.then(|| format!("{}: it does not say off", each.name))
    });
    check(
        "switches",
        "it switches a board off that obeys, and sees that it is off",
        wrong.collect(),
        (
            seen,
            "boards switched off",
            "it speaks neither Redfish nor to a fence agent: not seen here",
        ),
    )
}

fn vouched(each: &Tried, said: &Said) -> Option<String> {
    let heard = &each.heard;
    let wrong = match said {
        Said::Power(Power::Off) => !heard.said_off,
        Said::Power(Power::On) => !heard.said_on,
        Said::Ordered(Ordered::Accepted) => !heard.acknowledged,
        Said::Ordered(Ordered::Already) => match each.asked {
            Asked::On => !heard.said_on,
            _ => !heard.said_off,
        },
        _ => false,
    };
    wrong.then(|| format!("it says {}, and no board did", short(said)))
}

fn lost(each: &Tried, said: &Said) -> Option<String> {
    let unknown = matches!(said, Said::Ordered(Ordered::Unknown(_)));
    (each.heard.unanswered && !unknown).then(|| format!("it says {}; say `unknown`", short(said)))
}

fn meddled(each: &Tried, said: &Said) -> Option<String> {
    let heard = &each.heard;
    match said {
        Said::Power(_) if heard.ordered_off || heard.ordered_on || heard.ordered_else => {
            Some("asked for the status, it orders something".to_owned())
        }
        Said::Ordered(_) if each.asked != Asked::On && heard.ordered_on => {
            Some("told to switch off, it orders on".to_owned())
        }
        Said::Ordered(_) if each.asked == Asked::On && heard.ordered_off => {
            Some("told to switch on, it orders off".to_owned())
        }
        _ => None,
    }
}

fn refused_again(each: &Tried, said: &Said) -> Option<String> {
    let again = each.asked == Asked::OffAgain && each.mood == Mood::Obeys && !each.was_on;
    let refused = matches!(
        said,
        Said::Ordered(Ordered::Refused(_) | Ordered::Unknown(_))
    );
    (again && refused).then(|| format!("it says {}", short(said)))
}

fn wordless(_: &Tried, said: &Said) -> Option<String> {
    let why = match said {
        Said::Ordered(Ordered::Refused(why) | Ordered::Unknown(why))
        | Said::Power(Power::Unknown(why)) => why,
        _ => return None,
    };
    (why == NO_WORDS).then(|| "it does not say why".to_owned())
}

fn strayed(each: &Tried, most: u64) -> Option<String> {
    let (requests, strayed) = (each.cost.requests, each.cost.strayed);
    match (strayed, requests > most) {
        (1.., _) => Some(format!("{strayed} of its requests are in no grant")),
        (0, true) => Some(format!("it asks for {requests}, and `requests` is {most}")),
        (0, false) => None,
    }
}

pub(super) fn short(said: &Said) -> &'static str {
    match said {
        Said::Power(Power::On) => "on",
        Said::Power(Power::Off) => "off",
        Said::Power(Power::Unknown(_)) | Said::Ordered(Ordered::Unknown(_)) => "unknown",
        Said::Ordered(Ordered::Accepted) => "accepted",
        Said::Ordered(Ordered::Already) => "already",
        Said::Ordered(Ordered::Refused(_)) => "refused",
    }
}
