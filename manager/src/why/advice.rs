//! What placement extensions say of a VM, one by one: the planner tells of each host only the first that refuses it.

use super::{Asked, trial_of_move};
use holdfast_core::advice::Advisor;
use holdfast_model::advice::{Advice, Advised, Fallback, Said, Score};
use holdfast_model::id::{ExtensionName, HostName, VmName};
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Hosts of an answer that are named in words.
const HOSTS_MAX: usize = 4;

/// What they say of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// What they were asked.
    pub asked: Question,
    /// One for each, by name; none if they were not asked.
    pub extensions: Vec<Voice>,
}

/// What they were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "about")]
pub enum Question {
    /// Where it may go, which is what is being decided.
    Placement,
    /// It runs, and nothing is decided about it: what they would say if it were to be moved now.
    Move,
    /// Nothing.
    Nothing {
        /// Why not.
        why: String,
    },
}

/// What one says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voice {
    /// Which.
    pub extension: ExtensionName,
    /// Its version.
    pub version: String,
    /// Of each host that could take it otherwise; empty without an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<OfHost>,
    /// Why it has no answer, and what happens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<NoAnswer>,
    /// What that means for the VM, in words; none if nothing out of the ordinary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub means: Option<String>,
}

/// What one says of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfHost {
    /// Which.
    pub host: HostName,
    /// Whether the VM may go there.
    pub may: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How much rather, in thousandths of a point; none if it does not rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoAnswer {
    /// In words.
    pub reason: String,
    /// What happens then.
    pub then: Fallback,
}

/// What extensions say of a VM. `advised`: what was said in the plan that explains how it stands. None without any.
pub fn heard(view: &View, asked: &Asked, advised: &[Advised], vm: &VmName) -> Option<Heard> {
    if asked.extensions.trial().is_silent() {
        return None;
    }
    if let Some(found) = last(advised, vm) {
        return Some(Heard::new(Question::Placement, found));
    }
    let nothing = |why: &str| Heard {
        asked: Question::Nothing {
            why: why.to_owned(),
        },
        extensions: Vec::new(),
    };
    let known = view.vms.get(vm)?;
    let spec = known.spec.as_ref().map(|spec| &spec.value);
    if spec.is_none_or(|spec| !spec.run || spec.deleting) {
        return Some(nothing("it is not to run"));
    }
    let owner = known.owner.as_ref().map(|owner| &owner.value);
    if owner.is_none_or(|owner| owner.possible_runners().next().is_none()) {
        return Some(nothing("no host is left that could take it without them"));
    }
    let trial = trial_of_move(view, asked, vm, None);
    let found = trial.as_ref().and_then(|trial| last(&trial.advised, vm));
    Some(match found {
        Some(found) => Heard::new(Question::Move, found),
        None => nothing("it cannot be moved now, or no other host could take it without them"),
    })
}

/// The last word counts, as in a decision.
fn last<'a>(advised: &'a [Advised], vm: &VmName) -> Option<&'a Advised> {
    advised.iter().rev().find(|each| each.vm == *vm)
}

impl Heard {
    fn new(asked: Question, advised: &Advised) -> Self {
        let each = advised.advice.iter();
        Self {
            asked,
            extensions: each.map(|one| Voice::new(one, &advised.hosts)).collect(),
        }
    }

    /// In words, one line for each.
    pub fn lines(&self) -> Vec<String> {
        let head = match &self.asked {
            Question::Placement => "extensions on where it may go:".to_owned(),
            Question::Move => {
                "it stays where it runs, whatever extensions say; if it were to be moved now:"
                    .to_owned()
            }
            Question::Nothing { why } => format!("extensions are not asked about it: {why}"),
        };
        let each = self.extensions.iter().map(Voice::line);
        std::iter::once(head).chain(each).collect()
    }
}

impl Voice {
    fn new(advice: &Advice, hosts: &[HostName]) -> Self {
        let mut voice = Self {
            extension: advice.extension.clone(),
            version: advice.version.clone(),
            hosts: Vec::new(),
            no_answer: None,
            means: None,
        };
        match &advice.said {
            Said::Answer { refusals, scores } => {
                let of_host = |(at, host): (usize, &HostName)| {
                    let why = refusals.get(at).cloned().flatten();
                    OfHost {
                        host: host.clone(),
                        may: why.is_none(),
                        why,
                        score: scores.get(at).copied(),
                    }
                };
                voice.hosts = hosts.iter().enumerate().map(of_host).collect();
                if voice.hosts.iter().all(|each| !each.may) {
                    voice.means = Some("so it goes nowhere".to_owned());
                }
            }
            Said::Nothing { reason, then } => {
                let means = match then {
                    Fallback::Closed => "nothing goes anywhere without its answer (closed)",
                    Fallback::Open => "decided without it (open)",
                };
                voice.means = Some(means.to_owned());
                voice.no_answer = Some(NoAnswer {
                    reason: reason.clone(),
                    then: *then,
                });
            }
        }
        voice
    }

    fn line(&self) -> String {
        let mut parts = Vec::new();
        if let Some(none) = &self.no_answer {
            parts.push(format!("no answer: {}", none.reason));
        }
        parts.extend(self.may());
        parts.extend(self.may_not());
        parts.extend(self.means.clone());
        format!("{} {}: {}", self.extension, self.version, parts.join("; "))
    }

    /// The best ones.
    fn may(&self) -> Option<String> {
        let mut may: Vec<&OfHost> = self.hosts.iter().filter(|each| each.may).collect();
        may.sort_by_key(|each| Reverse(each.score));
        let each = may.iter().map(|each| match each.score {
            Some(score) => format!("{} ({score})", each.host),
            None => each.host.to_string(),
        });
        Some(format!("may: {}", listed(each.collect())?))
    }

    /// Words that are the same for all of them are said once.
    fn may_not(&self) -> Option<String> {
        let not: Vec<(&HostName, &str)> = self
            .hosts
            .iter()
            .filter_map(|each| Some((&each.host, each.why.as_deref()?)))
            .collect();
        let (_, words) = not.first()?;
        let same = not.iter().all(|(_, others)| others == words);
        let each = not.iter().map(|(host, words)| match same {
            true => host.to_string(),
            false => format!("{host} ({words})"),
        });
        let hosts = listed(each.collect())?;
        Some(match same {
            true => format!("may not: {hosts} ({words})"),
            false => format!("may not: {hosts}"),
        })
    }
}

/// A few of them; none if there are none.
fn listed(mut hosts: Vec<String>) -> Option<String> {
    let more = hosts.len().saturating_sub(HOSTS_MAX);
    hosts.truncate(HOSTS_MAX);
    if more > 0 {
        hosts.push(format!("{more} more"));
    }
    (!hosts.is_empty()).then(|| hosts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T: std::str::FromStr>(all: &[&str]) -> Vec<T>
    where
        T::Err: std::fmt::Debug,
    {
        let each = all.iter();
        each.map(|name| name.parse().expect("a name")).collect()
    }

    fn advice(said: Said) -> Advice {
        Advice {
            extension: "rule".parse().expect("a name"),
            version: "1.0.0".to_owned(),
            said,
        }
    }

    fn line(hosts: &[&str], refusals: &[Option<&str>], scores: &[f64]) -> String {
        let refusals = refusals.iter();
        let said = Said::Answer {
            refusals: refusals.map(|each| each.map(str::to_owned)).collect(),
            scores: scores
                .iter()
                .filter_map(|score| Score::new(*score))
                .collect(),
        };
        Voice::new(&advice(said), &names(hosts)).line()
    }

    #[test]
    fn answers_are_told_with_the_best_hosts_first_and_reasons_once() {
        for (told, wanted) in [
            (line(&["a", "b"], &[], &[]), "rule 1.0.0: may: a, b"),
            (
                line(
                    &["a", "b", "c"],
                    &[Some("full"), None, None],
                    &[50.0, 1.5, 2.5],
                ),
                "rule 1.0.0: may: c (2.5), b (1.5); may not: a (full)",
            ),
            (
                line(&["a", "b"], &[Some("full"), Some("full")], &[]),
                "rule 1.0.0: may not: a, b (full); so it goes nowhere",
            ),
            (
                line(&["a", "b", "c"], &[Some("full"), Some("old"), None], &[]),
                "rule 1.0.0: may: c; may not: a (full), b (old)",
            ),
            (
                line(&["a", "b", "c", "d", "e", "f"], &[], &[]),
                "rule 1.0.0: may: a, b, c, d, 2 more",
            ),
        ] {
            assert_eq!(told, wanted);
        }
    }

    #[test]
    fn without_an_answer_it_is_said_what_that_means() {
        for (then, wanted) in [
            (
                Fallback::Closed,
                "rule 1.0.0: no answer: it trapped; nothing goes anywhere without its answer (closed)",
            ),
            (
                Fallback::Open,
                "rule 1.0.0: no answer: it trapped; decided without it (open)",
            ),
        ] {
            let reason = "it trapped".to_owned();
            let said = Said::Nothing { reason, then };
            assert_eq!(Voice::new(&advice(said), &names(&["a"])).line(), wanted);
        }
    }
}
