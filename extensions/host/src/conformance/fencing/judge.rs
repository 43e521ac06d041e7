//! What has to be true of the answers.

use super::super::Check;
use super::super::shared::{Ended, answer_size, check, host, same, traps};
use super::board::Mood;
use super::speech::Speech;
use super::{Asked, Said, Tried};
use crate::fencing::{Ordered, Power};
use crate::words::NO_WORDS;
use holdfast_model::extension::Manifest;

/// Why something was not looked at.
const NOT_UNDERSTOOD: &str =
    "no board understood it: say in [fencing.board] of test.toml how yours speaks";

/// See [`NOT_UNDERSTOOD`].
const NOT_SWITCHED: &str =
    "it switched no board off: if yours speaks otherwise, say how in [fencing.board] of test.toml";
/// What to do about a request that is taken for an order.
const SAY_SO: &str = "say so under `also` in [fencing.board] of test.toml";

/// All checks of what was said. Only answers about boards that did what a check is about count for it.
pub(super) fn judge(
    tried: &[Tried],
    ended: &[Ended<'_>],
    speech: &Speech,
    manifest: &Manifest,
) -> Vec<Check> {
    let answers = |such: fn(&Tried) -> bool| {
        let answered = tried.iter().filter(|each| each.said.is_ok());
        answered.filter(|each| such(each)).count()
    };
    let requests = manifest.limits().requests;
    let sent = tried.iter().map(requests_of).sum();
    vec![
        traps(ended),
        switches(tried, speech),
        check(
            "vouches",
            "it says on or off only after a board has said so, and that an order was taken only if it was",
            found(tried, vouched),
            (
                answers(|each| each.heard.understood),
                "answers",
                NOT_UNDERSTOOD,
            ),
        ),
        check(
            "lost",
            "an order without an answer is unknown: it may have been carried out",
            found(tried, lost),
            (
                answers(|each| each.heard.unanswered && is_order(each)),
                "orders without an answer",
                "no order of it was lost; one by GET is known as one only from [fencing.board] of test.toml",
            ),
        ),
        check(
            "looks-only",
            "asking how the power stands changes nothing, and off orders nothing but off",
            found(tried, meddled),
            (
                answers(|each| each.heard.understood),
                "answers",
                NOT_UNDERSTOOD,
            ),
        ),
        check(
            "again",
            "off may come again: what is off stays off, and that is no failure",
            found(tried, refused_again),
            (
                answers(is_again),
                "answers",
                "it switched no board off before",
            ),
        ),
        check(
            "words",
            "each refusal and each unknown says why",
            found(tried, wordless),
            (
                answers(|each| why(each).is_some()),
                "answers",
                "it refused nothing and knew everything",
            ),
        ),
        check(
            "granted",
            "it asks for nothing that it was not granted, and not more often than `requests` allows",
            found(tried, |each, _| strayed(each, requests)),
            (sent, "requests", "it sent nothing"),
        ),
        answer_size(ended),
        same(ended, "the same board gets the same answer"),
        host(ended),
    ]
}

fn is_order(each: &Tried) -> bool {
    !matches!(each.asked, Asked::Status | Asked::StatusAfter)
}

/// Requests that it asked for, and programs.
fn requests_of(each: &Tried) -> usize {
    let requests = usize::try_from(each.cost.requests).unwrap_or(usize::MAX);
    requests.max(each.heard.sent)
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

/// Whether it switches a board off that obeys; one that speaks another language is not seen to, unless that is
/// described.
fn switches(tried: &[Tried], speech: &Speech) -> Check {
    let obeying = || tried.iter().filter(|each| each.mood == Mood::Obeys);
    let done = obeying().filter(|each| each.asked == Asked::Off && each.heard.ordered_off);
    let seen = done.count();
    let wrong = obeying().filter_map(|each| {
        let off = matches!(each.said, Ok(Said::Power(Power::Off)));
        let wrong = match (each.asked, speech.wanted_off()) {
            (Asked::Off, Some(wanted)) if !each.heard.ordered_off => not_ordered(each, wanted),
            (Asked::StatusAfter, _) if !each.was_on && !off => "it does not say off".to_owned(),
            _ => return None,
        };
        Some(format!("{}: {wrong}", each.name))
    });
    let mut wrong: Vec<String> = wrong.collect();
    wrong.dedup();
    check(
        "switches",
        "it switches a board off that obeys, and sees that it is off",
        wrong,
        (seen, "boards switched off", NOT_SWITCHED),
    )
}

/// It speaks otherwise than the board that its author described.
fn not_ordered(each: &Tried, wanted: &str) -> String {
    let sent = match &each.heard.strange {
        Some(strange) => format!("sends `{strange}`"),
        None => "sends no order".to_owned(),
    };
    format!("it {sent}, and the board of test.toml switches off for `{wanted}`")
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
    let Said::Ordered(ordered) = said else {
        return None;
    };
    let heard = &each.heard;
    if !heard.unanswered || matches!(ordered, Ordered::Unknown(_)) {
        return None;
    }
    let says = format!("it says {}; say `unknown`", short(said));
    Some(match &heard.strange {
        Some(strange) if !heard.ordered_off && !heard.ordered_on => {
            format!("{says}: `{strange}` may be an order; if it is none, {SAY_SO}")
        }
        _ => says,
    })
}

fn meddled(each: &Tried, said: &Said) -> Option<String> {
    let heard = &each.heard;
    match said {
        Said::Power(_) if heard.ordered_off || heard.ordered_on => {
            Some("asked for the status, it orders something".to_owned())
        }
        Said::Power(_) if heard.ordered_else => Some(not_only_asked(each)),
        Said::Ordered(_) if each.asked != Asked::On && heard.ordered_on => {
            Some("told to switch off, it orders on".to_owned())
        }
        Said::Ordered(_) if each.asked == Asked::On && heard.ordered_off => {
            Some("told to switch on, it orders off".to_owned())
        }
        _ => None,
    }
}

/// A board that does not understand it cannot tell whether that was an order.
fn not_only_asked(each: &Tried) -> String {
    let request = each.heard.strange.as_deref().unwrap_or("something");
    format!(
        "asked for the status, it sends `{request}`, which may be an order; if it is none, {SAY_SO}"
    )
}

/// It is told to switch off what it switched off.
fn is_again(each: &Tried) -> bool {
    each.asked == Asked::OffAgain && each.mood == Mood::Obeys && !each.was_on
}

fn refused_again(each: &Tried, said: &Said) -> Option<String> {
    let refused = matches!(
        said,
        Said::Ordered(Ordered::Refused(_) | Ordered::Unknown(_))
    );
    (is_again(each) && refused).then(|| format!("it says {}", short(said)))
}

/// What it says why.
fn why(each: &Tried) -> Option<&str> {
    match each.said.as_ref().ok()? {
        Said::Ordered(Ordered::Refused(why) | Ordered::Unknown(why))
        | Said::Power(Power::Unknown(why)) => Some(why),
        _ => None,
    }
}

fn wordless(each: &Tried, _: &Said) -> Option<String> {
    (why(each)? == NO_WORDS).then(|| "it does not say why".to_owned())
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
