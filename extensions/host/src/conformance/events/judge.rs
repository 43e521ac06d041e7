//! What has to be true of a handler.

use super::super::shared::{check, told};
use super::super::{Check, Headroom, Outcome};
use super::web::Mood;
use super::{Costs, Granted, Tried};
use crate::error::CallError;
use crate::words::NO_WORDS;
use holdfast_model::extension::Limits;

const MIB: f64 = (1 << 20) as f64;
/// As [`super::questions`] name them.
const UNKNOWN: &str = "kinds that are yet to come";

/// All checks.
pub(super) fn judge(tried: &[Tried<'_>], headroom: &[Headroom], limits: Limits) -> Vec<Check> {
    let calls = tried.len();
    let sent: usize = tried.iter().map(|each| each.sent.len()).sum();
    let refusals = tried.iter().filter(|each| refusal(each).is_some()).count();
    let good = |each: &&Tried<'_>| each.mood == Mood::Takes && each.granted == Granted::All;
    let everyday = tried.iter().filter(good).filter(|each| each.asked.plain);
    let (unknown, everyday): (Vec<_>, Vec<_>) =
        everyday.partition(|each| each.asked.name == UNKNOWN);
    let erring = tried
        .iter()
        .filter(|each| each.mood.is_error() && !each.sent.is_empty());
    let nothing = "it sends nothing";
    let hanging = tried
        .iter()
        .filter(|each| each.mood == Mood::Hangs && !each.sent.is_empty());
    let traps = |error: &CallError| matches!(error, CallError::Trapped(_));
    let trapped = tried
        .iter()
        .find(|each| each.called.answer.as_ref().is_err_and(traps));
    vec![
        Check {
            log: trapped.map_or_else(Vec::new, |each| each.written.last(&each.which())),
            ..check(
                "traps",
                "no events and no target make it trap",
                ended(tried, traps),
                (calls, "calls", nothing),
            )
        },
        check(
            "takes",
            "it takes everyday events if its target does: none, 1, 50, about nothing",
            everyday.iter().filter_map(|each| refused(each)).collect(),
            (everyday.len(), "batches", "it was told nothing"),
        ),
        check(
            "unknown-kinds",
            "it passes over kinds that it does not know",
            unknown.iter().filter_map(|each| refused(each)).collect(),
            (unknown.len(), "batches", "it was told of none"),
        ),
        check(
            "errors",
            "what its target answers with an error it does not take for told",
            erring.clone().filter_map(|each| untold(each)).collect(),
            (erring.count(), "answers with an error", nothing),
        ),
        check(
            "words",
            "what it could not do it says in words",
            tried
                .iter()
                .filter(|each| refusal(each) == Some(NO_WORDS))
                .map(wordless)
                .collect(),
            (refusals, "refusals", "it refused nothing"),
        ),
        check(
            "requests",
            "it asks for no more requests than `requests` allows",
            tried
                .iter()
                .filter_map(|each| too_many(each, limits))
                .collect(),
            (sent, "requests sent", nothing),
        ),
        check(
            "granted",
            "it asks for nothing that its manifest does not",
            tried.iter().filter_map(strayed).collect(),
            (sent, "requests sent", nothing),
        ),
        check(
            "json",
            "what it sends is JSON, whatever the events say",
            tried.iter().filter_map(no_json).collect(),
            (sent, "requests sent", nothing),
        ),
        check(
            "ends",
            "it ends in time when its target hangs",
            ended(tried, |error| matches!(error, CallError::WallTime { .. })),
            (hanging.count(), "calls", nothing),
        ),
        check(
            "answer-size",
            "it hands over no more than `answer_kib` allows",
            ended(tried, |error| matches!(error, CallError::TooMuch { .. })),
            (calls, "calls", nothing),
        ),
        limit(
            "cpu",
            "50 events are far from the limit of CPU time",
            ended(tried, |error| matches!(error, CallError::CpuTime { .. })),
            headroom.first(),
        ),
        limit(
            "memory",
            "and from that of memory",
            ended(tried, |error| matches!(error, CallError::Memory { .. })),
            headroom.last(),
        ),
        check(
            "host",
            "the host stays well",
            ended(tried, |error| matches!(error, CallError::Host(_))),
            (calls, "calls", nothing),
        ),
    ]
}

/// What 50 events cost, beside the limits.
pub(super) fn headroom(costs: &Costs, limits: Limits) -> Vec<Headroom> {
    vec![
        Headroom {
            of: "CPU time, 50 events".to_owned(),
            used: costs.cpu.as_secs_f64() * 1_000.0,
            limit: limits.cpu_ms as f64,
            unit: "ms",
        },
        Headroom {
            of: "memory".to_owned(),
            used: costs.memory_bytes as f64 / MIB,
            limit: limits.memory_mib as f64,
            unit: "MiB",
        },
    ]
}

/// Calls with such an end, and how it was.
fn ended(tried: &[Tried<'_>], such: impl Fn(&CallError) -> bool) -> Vec<String> {
    let ended = tried.iter().filter_map(|each| {
        let error = each.called.answer.as_ref().err()?;
        such(error).then(|| format!("{}: {}", each.which(), told(error)))
    });
    ended.collect()
}

fn refusal<'t>(tried: &'t Tried<'_>) -> Option<&'t str> {
    match &tried.called.answer {
        Err(CallError::Refused(why)) => Some(why),
        _ => None,
    }
}

fn refused(tried: &&Tried<'_>) -> Option<String> {
    let why = refusal(tried)?;
    Some(format!("{}: it says: {why}", tried.which()))
}

fn untold(tried: &Tried<'_>) -> Option<String> {
    let told = tried.called.answer.is_ok();
    told.then(|| {
        format!(
            "{}: it says that it told; return an error, and the events come again",
            tried.which()
        )
    })
}

fn wordless(tried: &Tried<'_>) -> String {
    format!("{}: it refuses without a word", tried.which())
}

fn too_many(tried: &Tried<'_>, limits: Limits) -> Option<String> {
    // What it was not granted is another matter.
    let asked = tried
        .called
        .cost
        .requests
        .saturating_sub(tried.called.cost.strayed);
    (asked > limits.requests).then(|| {
        format!(
            "{}: it asks for {asked}, and `requests` is {}; tell several events in one request, or raise it",
            tried.which(),
            limits.requests
        )
    })
}

fn strayed(tried: &Tried<'_>) -> Option<String> {
    let strayed = tried.called.cost.strayed;
    // Without any grant that is what each of them does.
    (strayed > 0 && tried.granted == Granted::All).then(|| {
        format!(
            "{}: {strayed} of its requests are in no grant of [rights.http]; its log may say which",
            tried.which()
        )
    })
}

fn no_json(tried: &Tried<'_>) -> Option<String> {
    let bodies = tried
        .sent
        .iter()
        .filter_map(|request| request.body.as_deref());
    let mut faults =
        bodies.filter_map(|body| serde_json::from_str::<serde::de::IgnoredAny>(body).err());
    let fault = faults.next()?;
    Some(format!(
        "{}: what it sends is no JSON: {fault}",
        tried.which()
    ))
}

fn limit(
    name: &'static str,
    what: &'static str,
    wrong: Vec<String>,
    measured: Option<&Headroom>,
) -> Check {
    let (outcome, words) = match (wrong.into_iter().next(), measured) {
        (Some(first), _) => (Outcome::Failed, first),
        (None, None) => (Outcome::Skipped, "it takes too little".to_owned()),
        (None, Some(measured)) => {
            let outcome = measured.outcome();
            let advice = match outcome {
                Outcome::Passed => "",
                _ => "; make it cheaper, or raise the limit in [limits]",
            };
            (
                outcome,
                format!("{:.0} %{advice}", measured.share_percent()),
            )
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
