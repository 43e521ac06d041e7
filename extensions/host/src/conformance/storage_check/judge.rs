//! What has to be true of the answers.

use super::super::Check;
use super::super::shared::{Ended, answer_size, check, host, same, traps};
use super::situations::WELL;
use super::suite::Tried;
use crate::storage_check::{Answer, Findings};
use crate::words::NO_WORDS;
use holdfast_model::extension::Rights;

/// All checks of what was said.
pub(super) fn judge(tried: &[Tried], ended: &[Ended<'_>], rights: &Rights) -> Vec<Check> {
    let answers = tried
        .iter()
        .filter(|each| each.called.answer.is_ok())
        .count();
    let none = "it gave no answer at all";
    let content = match tried.iter().any(is_content) {
        true => answers,
        false => 0,
    };
    vec![
        traps(ended),
        check(
            "vouches",
            "it says yes to nothing that it has not found out",
            found(tried, |each, findings| vouched(each, findings, rights)),
            (
                content,
                "answers",
                "it is content with no storage: say in [storage-check] of test.toml what yours is like",
            ),
        ),
        check(
            "blames",
            "where nothing was found out it does not say no: that would have VMs leave",
            found(tried, blamed),
            (answers, "answers", none),
        ),
        check(
            "words",
            "each no and each unknown says why",
            found(tried, wordless),
            (
                tried
                    .iter()
                    .filter(|each| reasons(each).count() > 0)
                    .count(),
                "answers",
                "it says yes to everything",
            ),
        ),
        answer_size(ended),
        same(ended, "the same storage gets the same answer"),
        host(ended),
    ]
}

/// It says yes of storage that is well: only then is it seen whether it takes it back.
fn is_content(each: &Tried) -> bool {
    let findings = each.called.answer.as_ref();
    each.situation.name == WELL
        && findings.is_ok_and(|findings| {
            let Findings {
                reachable,
                usable,
                synced,
            } = findings;
            [reachable, usable, synced].contains(&&Answer::Yes)
        })
}

/// What is wrong with answers, each once.
fn found(tried: &[Tried], wrong: impl Fn(&Tried, &Findings) -> Option<String>) -> Vec<String> {
    let wrong = tried.iter().filter_map(|each| {
        let findings = each.called.answer.as_ref().ok()?;
        let words = wrong(each, findings)?;
        Some(format!("{}: {words}", each.situation.name))
    });
    let mut all: Vec<String> = wrong.collect();
    all.dedup();
    all
}

fn vouched(each: &Tried, findings: &Findings, rights: &Rights) -> Option<String> {
    let barred = each.situation.barred;
    let said = |barred: bool, answer: &Answer, what: &str| {
        (barred && *answer == Answer::Yes).then(|| format!("it says that it is {what}"))
    };
    // Who may look at nothing of that sort has another source.
    let by_commands = !rights.commands.is_empty() || barred.reachable;
    said(barred.reachable, &findings.reachable, "reachable")
        .or_else(|| said(barred.usable, &findings.usable, "usable"))
        .or_else(|| said(barred.synced && by_commands, &findings.synced, "synced"))
}

fn blamed(each: &Tried, findings: &Findings) -> Option<String> {
    let no = |answer: &Answer, what: &str| match answer {
        Answer::No(why) if each.situation.barred.no => Some(format!(
            "it says that it is not {what}: {why}; say `unknown`"
        )),
        _ => None,
    };
    no(&findings.reachable, "reachable").or_else(|| no(&findings.usable, "usable"))
}

fn wordless(each: &Tried, _: &Findings) -> Option<String> {
    let any = reasons(each).any(|why| why == NO_WORDS);
    any.then(|| "it does not say why".to_owned())
}

/// Why it says no, or does not know.
fn reasons(each: &Tried) -> impl Iterator<Item = &str> {
    let findings = each.called.answer.as_ref().ok();
    let answers = findings.map(|findings| {
        let Findings {
            reachable,
            usable,
            synced,
        } = findings;
        [reachable, usable, synced]
    });
    answers
        .into_iter()
        .flatten()
        .filter_map(|answer| match answer {
            Answer::No(why) | Answer::Unknown(why) => Some(why.as_str()),
            Answer::Yes => None,
        })
}
