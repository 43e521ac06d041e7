//! The cluster's records as a guest reads them: a picture of one moment, of which it sees what was granted.

use crate::instance::Guest;
use holdfast_model::extension::{RECORD_BYTES_MAX, RECORDS_MAX};
use std::collections::BTreeSet;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Such as `vms/web1/owner`.
    pub key: String,
    /// JSON.
    pub value: String,
    /// Of its last write.
    pub revision: u64,
    /// How long that had been seen at that moment, in milliseconds.
    pub age_ms: u64,
}

/// What the cluster looked like at one moment.
pub trait Records: Send + Sync {
    /// The record under this key.
    fn get(&self, key: &str) -> Option<Entry>;

    /// The keys that begin so, in their order.
    fn keys(&self, prefix: &str) -> Vec<String>;
}

impl Guest {
    /// None: it is not there, or not granted.
    pub(super) fn record(&self, key: &str) -> Option<Entry> {
        let may = is_granted(&self.reach.rights.state, key);
        self.reach.records.as_ref().filter(|_| may)?.get(key)
    }

    /// The granted ones that begin so. What is beyond the bounds is left out, and its log says so.
    pub(super) fn records(&mut self, prefix: &str) -> Vec<Entry> {
        let Some(records) = self.reach.records.clone() else {
            return Vec::new();
        };
        let keys: Vec<String> = looked_at(&self.reach.rights.state, prefix)
            .into_iter()
            .flat_map(|range| records.keys(range))
            .collect();
        let found = within_bounds(keys.iter().filter_map(|key| records.get(key)));
        if found.len() < keys.len() {
            self.note(&format!(
                "state: {} of {} records that begin with `{prefix}` are handed over; ask for less at a time",
                found.len(),
                keys.len()
            ));
        }
        found
    }
}

fn is_granted(granted: &BTreeSet<String>, key: &str) -> bool {
    let mut granted = granted.iter();
    granted.any(|prefix| key.starts_with(prefix.as_str()))
}

/// The first ones that fit into one look.
fn within_bounds(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut bytes = 0;
    let fits = |entry: &Entry| {
        bytes += entry.key.len() + entry.value.len();
        bytes <= RECORD_BYTES_MAX
    };
    entries.take(RECORDS_MAX).take_while(fits).collect()
}

/// The parts of what was granted that begin so: none of them holds another, so that each key is met once, in order.
fn looked_at<'p>(granted: &'p BTreeSet<String>, prefix: &'p str) -> Vec<&'p str> {
    let mut parts: Vec<&str> = Vec::new();
    for each in granted {
        let part = match (prefix.starts_with(each.as_str()), each.starts_with(prefix)) {
            (true, _) => prefix,
            (false, true) => each,
            (false, false) => continue,
        };
        if !parts.iter().any(|known| part.starts_with(known)) {
            parts.push(part);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_was_granted_and_begins_so() {
        let granted: BTreeSet<String> = ["hosts/", "vms/db", "vms/web", "vms/web1"]
            .map(str::to_owned)
            .into();
        for (prefix, parts) in [
            ("", &["hosts/", "vms/db", "vms/web"][..]),
            ("hosts/a1", &["hosts/a1"]),
            ("vms/", &["vms/db", "vms/web"]),
            ("vms/web12/", &["vms/web12/"]),
            ("vms/x", &[]),
            ("policy", &[]),
        ] {
            assert_eq!(looked_at(&granted, prefix), parts, "{prefix}");
        }
        assert!(looked_at(&BTreeSet::new(), "").is_empty());
        for (key, may) in [
            ("hosts/a1/spec", true),
            ("vms/web1/owner", true),
            ("vms/we", false),
            ("xhosts/", false),
            ("", false),
        ] {
            assert_eq!(is_granted(&granted, key), may, "{key}");
        }
    }

    #[test]
    fn one_look_has_an_end_by_number_and_by_bytes() {
        let entry = |bytes: usize| Entry {
            key: String::new(),
            value: "x".repeat(bytes),
            revision: 1,
            age_ms: 0,
        };
        let of = |count: usize, bytes| within_bounds((0..count).map(|_| entry(bytes))).len();
        assert_eq!(of(RECORDS_MAX, 1), RECORDS_MAX);
        assert_eq!(of(2 * RECORDS_MAX, 1), RECORDS_MAX);
        assert_eq!(of(10, RECORD_BYTES_MAX / 4), 4);
        assert_eq!(of(10, RECORD_BYTES_MAX / 4 + 1), 3);
        assert_eq!(of(1, RECORD_BYTES_MAX + 1), 0);
    }
}
