//! Asks recorded questions again, as a manager asks them, and compares the answers as shadows are compared.

use crate::extensions::Decided;
use holdfast_extension_host::{CallError, ExtensionError, Loaded, Placement};
use holdfast_extension_ready::cost::{Costs, Shown};
use holdfast_model::advice::{Advice, Said};
use holdfast_model::extension::Limits;
use holdfast_model::id::{ExtensionName, HostName, VmName};
use holdfast_model::shadow::{Verdict, placement};
use holdfast_model::time::UnixMs;
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// The same hosts are ruled out, and those that are left are in the same order.
    Same,
    /// Not so.
    Different,
    /// There is no answer now.
    Failed,
    /// There is one now, and there was none then.
    New,
}

/// What both said of a host.
#[derive(Debug, Serialize)]
pub(super) struct OfHost {
    pub host: HostName,
    pub was: Verdict,
    pub is: Verdict,
}

/// One question, asked again.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    /// When it was asked last in a decision.
    pub at: UnixMs,
    /// About this VM.
    pub vm: VmName,
    /// By the version that was asked then.
    pub version: String,
    pub outcome: Outcome,
    /// The hosts that they judge differently.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<OfHost>,
    /// Why there was no answer then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing_then: Option<String>,
    /// Why there is none now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// So many of each kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub asked: u64,
    pub same: u64,
    /// Of these: scores and words are the same too.
    pub to_the_letter: u64,
    pub different: u64,
    /// Of these: other hosts are ruled out.
    pub other_verdicts: u64,
    /// Of these: hosts that both leave come in another order.
    pub other_order: u64,
    /// Of these: another host would have been the first choice.
    pub other_first: u64,
    pub failed: u64,
    pub new: u64,
}

/// What came of all of them.
#[derive(Debug, Serialize)]
pub(super) struct Replay {
    pub counts: Counts,
    /// Questions by the version that was asked then.
    pub versions: BTreeMap<String, u64>,
    /// What the calls cost, beside the limits.
    pub costs: Shown,
    /// In the order of the file.
    pub questions: Vec<Replayed>,
}

/// Asks all that this one was asked. A manager would let it rest after a few failures; here it is asked on, by a new
/// instance each time.
///
/// # Errors
/// If it does not fit the contract.
pub(super) fn replay(
    loaded: &Loaded,
    (limits, may_log): (Limits, bool),
    of: &ExtensionName,
    decisions: &[Decided],
) -> Result<Replay, ExtensionError> {
    let costs = Costs::default();
    let mut replay = Replay {
        counts: Counts::default(),
        versions: BTreeMap::new(),
        costs: Shown::default(),
        questions: Vec::new(),
    };
    let mut asked = Placement::new(loaded, limits, may_log)?;
    for decided in decisions {
        let then = decided.advice.iter().find(|each| each.extension == *of);
        let Some(then) = then else { continue };
        let answered = asked.ask(&decided.question);
        let failure = answered.said.as_ref().err().map(ToString::to_string);
        costs.count(answered.cost.cpu, answered.cost.memory_bytes, failure);
        if !matches!(answered.said, Ok(_) | Err(CallError::Refused(_))) {
            asked = Placement::new(loaded, limits, may_log)?;
        }
        replay.take_in(decided, then, &answered.said);
    }
    replay.costs = costs.shown(limits);
    Ok(replay)
}

impl Replay {
    fn take_in(&mut self, decided: &Decided, then: &Advice, now: &Result<Said, CallError>) {
        let mut replayed = Replayed {
            at: decided.at,
            vm: decided.question.vm.name.clone(),
            version: then.version.clone(),
            outcome: Outcome::New,
            hosts: Vec::new(),
            nothing_then: match &then.said {
                Said::Nothing { reason, .. } => Some(reason.clone()),
                Said::Answer { .. } => None,
            },
            failure: None,
        };
        let counts = &mut self.counts;
        counts.asked += 1;
        *self.versions.entry(then.version.clone()).or_default() += 1;
        match now {
            Err(why) => {
                counts.failed += 1;
                replayed.outcome = Outcome::Failed;
                replayed.failure = Some(why.to_string());
            }
            Ok(now) => {
                let candidates = decided.question.candidates.iter();
                let hosts: Vec<HostName> = candidates.map(|each| each.host.clone()).collect();
                match placement(&hosts, &then.said, now) {
                    None => counts.new += 1,
                    Some((differs, _)) if !differs.at_all() => {
                        replayed.outcome = Outcome::Same;
                        counts.same += 1;
                        counts.to_the_letter += u64::from(then.said == *now);
                    }
                    Some((differs, told)) => {
                        replayed.outcome = Outcome::Different;
                        counts.different += 1;
                        counts.other_verdicts += u64::from(differs.verdicts);
                        counts.other_order += u64::from(differs.order);
                        counts.other_first += u64::from(differs.first);
                        let each = told.into_iter().map(|two| OfHost {
                            host: two.host,
                            was: two.installed,
                            is: two.shadow,
                        });
                        replayed.hosts = each.collect();
                    }
                }
            }
        }
        self.questions.push(replayed);
    }
}
