//! Which faults a simulation carried out, how often.

use std::collections::BTreeMap;

/// Words of a line that say what kind of fault it is; the others name hosts, sites, VMs and times.
const KINDS: [&str; 12] = [
    "host", "site", "agent", "libvirt", "on", "off", "oneway", "kill", "stop", "start", "pause",
    "all",
];

/// Faults by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(pub BTreeMap<String, u64>);

impl Coverage {
    /// Counts a line that was carried out. Pauses are no faults.
    pub fn count(&mut self, line: &str) {
        if let Some(kind) = kind(line) {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// Counts what another run carried out.
    pub fn add(&mut self, other: &Coverage) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
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
            .0
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
}
