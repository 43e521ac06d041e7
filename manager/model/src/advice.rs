//! What placement extensions are asked and what they answer, as data: a recorded decision has it all, and can
//! be made again without any extension.

use crate::id::{ExtensionName, HostName, SiteName, VmName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Words that operators put on hosts and VMs (`rack` = `r12`).
pub type Labels = BTreeMap<String, String>;

/// Longest key and longest value of a label, in bytes.
const LABEL_MAX: usize = 63;
/// Labels of one host or VM at the most: each question carries those of all candidates.
const LABELS_MAX: usize = 16;

/// What is wrong with labels, in words.
pub fn label_fault(labels: &Labels) -> Option<String> {
    if labels.len() > LABELS_MAX {
        return Some(format!(
            "{} labels; there can be {LABELS_MAX}",
            labels.len()
        ));
    }
    let good = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        !text.is_empty() && text.len() <= LABEL_MAX && text.chars().all(allowed)
    };
    let bad = labels
        .iter()
        .find(|(key, value)| !good(key) || !good(value));
    bad.map(|(key, value)| {
        let (key, value): (String, String) = (
            key.chars().take(LABEL_MAX).collect(),
            value.chars().take(LABEL_MAX).collect(),
        );
        format!("the label {key:?} = {value:?}: use 1 to {LABEL_MAX} characters out of a-z A-Z 0-9 . _ - /")
    })
}

/// Which host for this VM?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    /// The VM.
    pub vm: VmFacts,
    /// The hosts that could take it, by name.
    pub candidates: Vec<Candidate>,
}

/// A VM that needs a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VmFacts {
    /// Its name.
    pub name: VmName,
    /// Memory it needs, in MiB.
    pub memory_mib: u64,
    /// vCPUs it needs.
    pub vcpus: u32,
    /// Higher ones are placed first.
    pub priority: i32,
    /// Where it should be.
    pub preferred_site: Option<SiteName>,
    /// VMs with the same word belong together.
    pub group: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// The others of its group that have a host, this round's decisions included.
    pub peers: Vec<Peer>,
    /// Where it ran last.
    pub last_host: Option<HostName>,
    /// It runs and is to be moved; else it is started.
    pub live: bool,
}

/// A VM of the same group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: VmName,
    /// Where it is, or is about to be.
    pub host: HostName,
    /// That host's site.
    pub site: Option<SiteName>,
    /// That host's labels.
    pub labels: Arc<Labels>,
}

/// A host that could take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub host: HostName,
    /// Its site.
    pub site: Option<SiteName>,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// What is left of that with the VM there.
    pub memory_free_mib: u64,
    /// Its CPUs.
    pub vcpus: u32,
    /// vCPUs of the VMs that are there, without this one.
    pub vcpus_used: u32,
    /// VMs that are there.
    pub vms: u32,
}

/// What one extension said to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Which.
    pub extension: ExtensionName,
    /// Its version.
    pub version: String,
    /// What it said.
    pub said: Said,
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "said")]
pub enum Said {
    /// An answer. The lists have an entry for each candidate, in the question's order, or are empty if the
    /// extension has nothing to say of that kind.
    Answer {
        /// Why a host may not take the VM; none: it may.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refusals: Vec<Option<String>>,
        /// How much rather.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scores: Vec<Score>,
    },
    /// None: it trapped, took too long, answered nonsense, or is not asked for a while.
    Nothing {
        /// Why, in words.
        reason: String,
        /// What then.
        then: Fallback,
    },
}

/// What happens without an answer. Ranks are always done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// The VM waits: the rule is a hard one.
    Closed,
    /// The decision is made without it, and says so.
    Open,
}

/// From 0 to 100, in thousandths: whole numbers, so that the same answers give the same order everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(u32);

impl Score {
    /// None for what is no number from 0 to 100.
    #[inline]
    pub fn new(score: f64) -> Option<Self> {
        (0.0..=100.0).contains(&score).then(|| {
            // Rounded as `f64::round` does, without a call for each candidate of each question: what is cut off is
            // exact.
            let thousandths = score * 1_000.0;
            let whole = thousandths as u32;
            Self(whole + u32::from(thousandths - f64::from(whole) >= 0.5))
        })
    }

    /// In thousandths.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1_000.0)
    }
}

/// All that was said to one question of a plan, in the order in which the plan asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advised {
    /// About which VM.
    pub vm: VmName,
    /// The candidates, in the question's order.
    pub hosts: Vec<HostName>,
    /// One for each extension, by name.
    pub advice: Vec<Advice>,
}

#[cfg(test)]
mod tests {
    use super::Score;

    #[test]
    fn scores_are_numbers_from_0_to_100() {
        for (given, thousandths) in [
            (0.0, 0),
            (-0.0, 0),
            (100.0, 100_000),
            (33.333_49, 33_333),
            (0.000_5, 1),
            (0.000_499_999_999_999_999_9, 0),
            (99.999_5, 100_000),
        ] {
            assert_eq!(Score::new(given).map(Score::thousandths), Some(thousandths));
        }
        for n in 0..100_000_u32 {
            let given = f64::from(n) * 0.001_000_007 % 100.0;
            let rounded = (given * 1_000.0).round() as u32;
            assert_eq!(Score::new(given).map(Score::thousandths), Some(rounded));
        }
        for bad in [f64::NAN, f64::INFINITY, -0.001, 100.001, f64::NEG_INFINITY] {
            assert_eq!(Score::new(bad), None, "{bad}");
        }
        assert_eq!(
            Score::new(12.5).map(|s| s.to_string()).as_deref(),
            Some("12.5")
        );
    }
}
