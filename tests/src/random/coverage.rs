//! What a simulation carried out and what it came through, how often.

use super::around::AROUND;
use super::asked::ASKED;
use super::families::FAMILIES;
use super::faults::Drawn;
use super::probes::PROBED;
use super::rules::RULED;
use super::several::SEVERAL;
use super::states;
use std::collections::BTreeMap;

/// Words of a line that say what kind of fault it is; the others name hosts, sites, VMs and times.
const KINDS: [&str; 33] = [
    "guard",
    "torn",
    "zeroed",
    "foreign",
    "flipped",
    "host",
    "site",
    "agent",
    "libvirt",
    "on",
    "off",
    "oneway",
    "kill",
    "stop",
    "start",
    "pause",
    "all",
    "gap",
    "compact",
    "answers",
    "half-lies",
    "hangs",
    "refuses",
    "mumbles",
    "idles",
    "lies",
    "keeps-off",
    "prefers",
    "fails",
    "removed",
    "slow",
    "step",
    "repair",
];

/// Faults by kind, faults that belong together, and states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Lines that were carried out, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Of those that belong together: how often all of them were.
    pub together: BTreeMap<&'static str, u64>,
    /// What the log tells.
    pub states: BTreeMap<&'static str, u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            faults: BTreeMap::new(),
            together: (FAMILIES.iter().chain(&PROBED).chain(&RULED).chain(&SEVERAL))
                .chain(&ASKED)
                .chain(&AROUND)
                .map(|(name, _)| (*name, 0))
                .collect(),
            states: states::all(),
        }
    }
}

impl Coverage {
    /// Counts a line that was carried out. Pauses are no faults.
    pub fn count(&mut self, line: &str) {
        if let Some(kind) = kind(line) {
            *self.faults.entry(kind).or_default() += 1;
        }
    }

    /// Counts lines that belong together, all of which were carried out.
    pub fn count_together(&mut self, drawn: &Drawn) {
        if let Some(name) = drawn.together {
            *self.together.entry(name).or_default() += 1;
        }
    }

    /// Counts what a log tells.
    pub fn count_states(&mut self, log: &[String]) {
        add(&mut self.states, &states::states(log));
    }

    /// Counts what another run carried out.
    pub fn add(&mut self, other: &Coverage) {
        add(&mut self.faults, &other.faults);
        add(&mut self.together, &other.together);
        add(&mut self.states, &other.states);
    }

    /// All faults.
    pub fn total(&self) -> u64 {
        self.faults.values().sum()
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = self.together.iter().chain(&self.states);
        all.filter(|(_, count)| **count == 0)
            .map(|(name, _)| *name)
            .collect()
    }
}

fn add<T: Ord + Clone>(sum: &mut BTreeMap<T, u64>, other: &BTreeMap<T, u64>) {
    for (kind, count) in other {
        *sum.entry(kind.clone()).or_default() += count;
    }
}

/// The kind of a fault: `power host a1 off` is of kind `power host off`.
fn kind(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let verb = words.next().filter(|verb| *verb != "advance")?;
    let kinds = words.filter(|word| KINDS.contains(word));
    Some(
        std::iter::once(verb)
            .chain(kinds)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_do_not_make_a_kind() {
        let mut coverage = Coverage::default();
        for line in [
            "power host a1 off",
            "power host b2 off",
            "cut a b oneway",
            "advance 30ms",
            "manager w pause 300ms",
            "crash db1 on a1",
        ] {
            coverage.count(line);
        }
        let mut twice = coverage.clone();
        twice.add(&coverage);
        let found: Vec<_> = twice
            .faults
            .iter()
            .map(|(kind, n)| (kind.as_str(), *n))
            .collect();
        let expected = [
            ("crash on", 2),
            ("cut oneway", 2),
            ("manager pause", 2),
            ("power host off", 4),
        ];
        assert_eq!(found, expected);
        assert_eq!(twice.total(), 10);
    }

    #[test]
    fn what_never_happened_is_missing() {
        let mut coverage = Coverage::default();
        let all = coverage.missing();
        assert!(all.contains(&"host flaps") && all.contains(&"storm brake holds"));
        coverage.count_together(&Drawn {
            together: Some("host flaps"),
            lines: Vec::new(),
        });
        let log = "1.000 m-a: waits: 3 of 4 hosts at 2 sites fell silent together or are just back";
        coverage.count_states(&[log.to_owned()]);
        let left = coverage.missing();
        assert_eq!(left.len() + 2, all.len());
        assert!(!left.contains(&"host flaps") && !left.contains(&"storm brake holds"));
    }
}
