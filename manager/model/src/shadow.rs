//! A shadow: a version of an extension that is asked the same as the installed one, after it, and not heeded. What
//! its answers are compared by, and what is told of that.
//!
//! ```text
//! question ─> installed ─> answer ─> decision
//!     └──────────┴─(afterwards)─> shadow ─> answer ─> compared, counted, thrown away
//! ```
//! Two answers about placement **agree** if they rule out the same hosts and put those that are left into the same
//! order; ties are part of the order, words and the numbers behind the order are not. Two of storage checks agree if
//! they mean the same state of the storage.

use crate::advice::{Said, Score};
use crate::host::StorageState;
use crate::id::{HostName, VmName};
use crate::standing::{CallCosts, Line, Readiness};
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Hosts that are named of one difference.
const HOSTS_MAX: usize = 4;
/// Characters of a reason that are kept.
const WHY_CHARS_MAX: usize = 120;
/// Differences that are kept: all of them stand in a record that is written every few seconds.
pub const DIFFERENCES_MAX: usize = 4;

/// How a shadow does on one machine, since it was loaded there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowStanding {
    /// Whether it is asked there.
    pub readiness: Readiness,
    /// Which component all of this is about.
    pub digest: String,
    /// What came of asking it.
    #[serde(default)]
    pub counts: Counts,
    /// What its calls cost.
    #[serde(default)]
    pub costs: CallCosts,
    /// The last answers that were others than those of the installed one, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// Of a storage check the newest of its warnings and errors, the newest last; managers are asked for their lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Line>,
}

/// What came of asking a shadow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Questions that it was asked: those that follow, but for the skipped.
    pub asked: u64,
    /// It said the same.
    pub agreed: u64,
    /// It said something else.
    pub differed: u64,
    /// Of those: it ruled out other hosts, or found the storage in another state.
    pub other_verdicts: u64,
    /// Of those: it put hosts that both leave into another order.
    pub other_order: u64,
    /// Of those: another host would have been its first choice.
    pub other_first: u64,
    /// It gave no answer.
    pub failed: u64,
    /// It was not asked: too much waited for it already, or it rests after failures.
    pub skipped: u64,
}

impl Counts {
    /// One more that was compared.
    pub fn add(&mut self, differs: Differs) {
        self.asked += 1;
        match differs.at_all() {
            true => self.differed += 1,
            false => self.agreed += 1,
        }
        self.other_verdicts += u64::from(differs.verdicts);
        self.other_order += u64::from(differs.order);
        self.other_first += u64::from(differs.first);
    }
}

/// In what two answers differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differs {
    /// Other hosts are ruled out; the storage is in another state.
    pub verdicts: bool,
    /// Hosts that both leave come in another order.
    pub order: bool,
    /// The first choice is another; hosts with the same score are one choice.
    pub first: bool,
}

impl Differs {
    /// In anything.
    pub fn at_all(self) -> bool {
        self.verdicts || self.order || self.first
    }
}

/// One question to which the two said something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// When, for people.
    pub at: UnixMs,
    /// About which VM; none for a storage check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// The hosts that they judge differently, a few of them.
    pub hosts: Vec<TwoVerdicts>,
    /// So many more.
    #[serde(default)]
    pub more_hosts: u64,
}

/// What the two say of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoVerdicts {
    /// Of this host.
    pub host: HostName,
    /// What holds.
    pub installed: Verdict,
    /// What would hold.
    pub shadow: Verdict,
}

/// What one says of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It may take the VM.
    May {
        /// From 1, the best, among the hosts that it leaves; hosts with the same score have the same.
        place: u64,
        /// Its score; 0 if it gives none.
        score: Score,
    },
    /// It may not.
    MayNot {
        /// Why.
        why: String,
    },
    /// This is the state of its storage.
    Storage {
        /// "synced", "degraded", "unusable", "unknown", "not checked".
        state: String,
        /// Why, if it says so.
        why: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::May { place, score } => write!(f, "may, place {place} (score {score})"),
            Self::MayNot { why } => write!(f, "may not: {why}"),
            Self::Storage { state, why } if why.is_empty() => write!(f, "{state}"),
            Self::Storage { state, why } => write!(f, "{state}: {why}"),
        }
    }
}

/// Two answers about the same candidates, compared; none if one of them is none.
pub fn placement(
    hosts: &[HostName],
    installed: &Said,
    shadow: &Said,
) -> Option<(Differs, Vec<TwoVerdicts>)> {
    let (installed, shadow) = (Ranking::of(hosts, installed)?, Ranking::of(hosts, shadow)?);
    let both_leave = |at: usize| installed.leaves(at) && shadow.leaves(at);
    let at_all: Vec<usize> = (0..hosts.len()).collect();
    let both: Vec<usize> = at_all
        .iter()
        .copied()
        .filter(|at| both_leave(*at))
        .collect();
    let (theirs, ours) = (installed.places(&both), shadow.places(&both));
    let moved = |at: &usize| {
        let found = both.iter().position(|each| each == at);
        found.is_some_and(|found| theirs.get(found) != ours.get(found))
    };
    let other_verdict = |at: &usize| installed.leaves(*at) != shadow.leaves(*at);
    let differs = Differs {
        verdicts: at_all.iter().any(other_verdict),
        order: theirs != ours,
        first: installed.first() != shadow.first(),
    };
    let told = at_all.iter().filter(|at| other_verdict(at) || moved(at));
    let told = told.filter_map(|at| {
        Some(TwoVerdicts {
            host: hosts.get(*at)?.clone(),
            installed: installed.verdict(*at),
            shadow: shadow.verdict(*at),
        })
    });
    Some((differs, told.collect()))
}

/// What two storage checks found on a host, compared.
pub fn storage(
    host: &HostName,
    installed: &StorageState,
    shadow: &StorageState,
) -> (Differs, Vec<TwoVerdicts>) {
    let (installed, shadow) = (state(installed), state(shadow));
    let differs = Differs {
        verdicts: installed.0 != shadow.0,
        ..Differs::default()
    };
    let verdict = |(state, why): (&str, &str)| Verdict::Storage {
        state: state.to_owned(),
        why: cut(why),
    };
    let told = differs.at_all().then(|| TwoVerdicts {
        host: host.clone(),
        installed: verdict(installed),
        shadow: verdict(shadow),
    });
    (differs, told.into_iter().collect())
}

/// A difference, for people: a few of its hosts.
pub fn difference(at: UnixMs, vm: Option<VmName>, mut hosts: Vec<TwoVerdicts>) -> Difference {
    let more_hosts = hosts.len().saturating_sub(HOSTS_MAX) as u64;
    hosts.truncate(HOSTS_MAX);
    Difference {
        at,
        vm,
        hosts,
        more_hosts,
    }
}

fn state(found: &StorageState) -> (&'static str, &str) {
    match found {
        StorageState::NotChecked => ("not checked", ""),
        StorageState::Synced => ("synced", ""),
        StorageState::Degraded { detail } => ("degraded", detail),
        StorageState::Unusable { reason } => ("unusable", reason),
        StorageState::Unknown { reason } => ("unknown", reason),
    }
}

fn cut(why: &str) -> String {
    let mut kept: String = why.chars().take(WHY_CHARS_MAX).collect();
    if kept.len() < why.len() {
        kept.push('…');
    }
    kept
}

/// What an answer makes of the candidates, by their place in the question.
struct Ranking<'s> {
    refusals: Vec<Option<&'s str>>,
    scores: Vec<Score>,
}

impl<'s> Ranking<'s> {
    fn of(hosts: &[HostName], said: &'s Said) -> Option<Self> {
        let Said::Answer { refusals, scores } = said else {
            return None;
        };
        let refused = |at: usize| refusals.get(at).and_then(Option::as_deref);
        let score = |at: usize| scores.get(at).copied().unwrap_or_default();
        Some(Self {
            refusals: (0..hosts.len()).map(refused).collect(),
            scores: (0..hosts.len()).map(score).collect(),
        })
    }

    fn refusal(&self, at: usize) -> Option<&'s str> {
        self.refusals.get(at).copied().flatten()
    }

    fn leaves(&self, at: usize) -> bool {
        self.refusal(at).is_none()
    }

    fn score(&self, at: usize) -> Score {
        self.scores.get(at).copied().unwrap_or_default()
    }

    /// All that it leaves.
    fn left(&self) -> Vec<usize> {
        let all = 0..self.refusals.len();
        all.filter(|at| self.leaves(*at)).collect()
    }

    /// The place of each of these among them, from 1. Equal places say that no pair is ordered otherwise.
    fn places(&self, among: &[usize]) -> Vec<u64> {
        let mut scores: Vec<Score> = among.iter().map(|at| self.score(*at)).collect();
        scores.sort_unstable_by(|a, b| b.cmp(a));
        scores.dedup();
        let place = |at: &usize| {
            let better = scores.partition_point(|each| *each > self.score(*at));
            better as u64 + 1
        };
        among.iter().map(place).collect()
    }

    /// Its best hosts.
    fn first(&self) -> Vec<usize> {
        let mut left = self.left();
        let best = left.iter().map(|at| self.score(*at)).max();
        left.retain(|at| Some(self.score(*at)) == best);
        left
    }

    fn verdict(&self, at: usize) -> Verdict {
        match self.refusal(at) {
            Some(why) => Verdict::MayNot { why: cut(why) },
            None => {
                let left = self.left();
                let better = left.iter().map(|each| self.score(*each));
                let mut better: Vec<Score> = better.filter(|each| *each > self.score(at)).collect();
                better.sort_unstable();
                better.dedup();
                Verdict::May {
                    place: better.len() as u64 + 1,
                    score: self.score(at),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Fallback;

    fn hosts() -> Vec<HostName> {
        let names = ["a1", "a2", "b1"];
        names.map(|name| name.parse().expect("a name")).to_vec()
    }

    /// `-` is ruled out; a number is its score.
    fn said(text: &str) -> Said {
        let words = || text.split(' ');
        let refusal = |word: &str| (word == "-").then(|| "it is full".to_owned());
        Said::Answer {
            refusals: words().map(refusal).collect(),
            scores: words()
                .map(|word| Score::new(word.parse().unwrap_or(0.0)).expect("a score"))
                .collect(),
        }
    }

    fn compared(installed: &str, shadow: &str) -> (Differs, Vec<TwoVerdicts>) {
        placement(&hosts(), &said(installed), &said(shadow)).expect("two answers")
    }

    #[test]
    fn same_hosts_and_same_order_agree() {
        for (installed, shadow) in [
            ("50 20 10", "90 80 0"),
            ("- 20 10", "- 21 10"),
            // What is ruled out has no rank.
            ("- 20 10", "- 20 10"),
            ("5 5 5", "0 0 0"),
            ("- - -", "- - -"),
        ] {
            let (differs, told) = compared(installed, shadow);
            assert!(!differs.at_all() && told.is_empty(), "{installed} {shadow}");
        }
        // One that has nothing to say of a kind leaves all hosts, with the same score.
        let silent = Said::Answer {
            refusals: Vec::new(),
            scores: Vec::new(),
        };
        let (differs, _) = placement(&hosts(), &silent, &said("7 7 7")).expect("two answers");
        assert!(!differs.at_all());
    }

    #[test]
    fn each_way_to_differ_is_told_apart() {
        let differs = |installed, shadow| {
            let found = compared(installed, shadow).0;
            (found.verdicts, found.order, found.first)
        };
        assert_eq!(differs("50 20 10", "50 20 -"), (true, false, false));
        assert_eq!(differs("50 20 10", "- 20 10"), (true, false, true));
        assert_eq!(differs("50 20 10", "50 10 20"), (false, true, false));
        assert_eq!(differs("50 20 10", "20 50 10"), (false, true, true));
        assert_eq!(differs("50 20 10", "50 20 20"), (false, true, false));
        assert_eq!(differs("50 20 10", "50 50 10"), (false, true, true));
        assert_eq!(differs("50 20 10", "- - -"), (true, false, true));
        assert_eq!(differs("50 20 10", "- 10 20"), (true, true, true));
    }

    #[test]
    fn what_is_told_names_the_hosts_with_both_verdicts() {
        let (_, told) = compared("50 20 10", "50 - 10");
        let found = told.iter().map(|each| {
            let (installed, shadow) = (&each.installed, &each.shadow);
            format!("{}: {installed} | {shadow}", each.host)
        });
        let found: Vec<String> = found.collect();
        assert_eq!(found, ["a2: may, place 2 (score 20) | may not: it is full"]);
        let (_, told) = compared("50 20 10", "50 10 20");
        let names: Vec<&str> = told.iter().map(|each| each.host.as_str()).collect();
        assert_eq!(names, ["a2", "b1"], "a1 has its place");
    }

    #[test]
    fn no_answer_is_nothing_to_compare() {
        let nothing = Said::Nothing {
            reason: "it trapped".to_owned(),
            then: Fallback::Open,
        };
        assert_eq!(placement(&hosts(), &nothing, &said("1 1 1")), None);
        assert_eq!(placement(&hosts(), &said("1 1 1"), &nothing), None);
    }

    #[test]
    fn storage_agrees_by_its_state_and_not_by_words() {
        let host: HostName = "a1".parse().expect("a name");
        let degraded = |detail: &str| StorageState::Degraded {
            detail: detail.to_owned(),
        };
        let (differs, told) = storage(&host, &degraded("3 to heal"), &degraded("4 to heal"));
        assert!(!differs.at_all() && told.is_empty());
        let (differs, told) = storage(&host, &StorageState::Synced, &degraded(&"x".repeat(500)));
        assert!(differs.verdicts && told.len() == 1);
        let Verdict::Storage { state, why } = &told[0].shadow else {
            panic!("{told:?}");
        };
        assert_eq!((state.as_str(), why.chars().count()), ("degraded", 121));
        assert_eq!(told[0].installed.to_string(), "synced");
    }

    #[test]
    fn counts_add_up_and_a_few_hosts_are_named() {
        let mut counts = Counts::default();
        counts.add(compared("50 20 10", "20 50 10").0);
        counts.add(compared("50 20 10", "50 20 10").0);
        assert_eq!((counts.asked, counts.agreed, counts.differed), (2, 1, 1));
        assert_eq!((counts.other_order, counts.other_first), (1, 1));
        assert_eq!(counts.other_verdicts, 0);
        let told = compared("50 20 10", "- - -").1;
        let many = [told.clone(), told].concat();
        let kept = difference(UnixMs(1), None, many);
        assert_eq!((kept.hosts.len(), kept.more_hosts), (HOSTS_MAX, 2));
    }
}
