//! The records of a made-up cluster: two hosts, a VM that runs, one that moves, one that nobody has, and one that nobody
//! was ever given.

use crate::outside::{Entry, Records};

/// Each with its value: as managers write them, cut to what a handler may look for.
const ALL: [(&str, &str); 10] = [
    (
        "hosts/a1/session",
        r#"{"incarnation":"i-1","boot_id":"b-1","beat":7,"state":"open"}"#,
    ),
    (
        "hosts/a1/spec",
        r#"{"name":"a1","site":"a","maintenance":false}"#,
    ),
    (
        "hosts/a1/state",
        r#"{"membership":"online","incarnation":"i-1","boot_id":"b-1","losses":0,"reason":""}"#,
    ),
    (
        "hosts/b1/spec",
        r#"{"name":"b1","site":"b","maintenance":false}"#,
    ),
    (
        "vms/db-1/owner",
        r#"{"holder":{"host":"a1","incarnation":"i-1"},"incoming":{"host":"b1","incarnation":"i-2"},"generation":9,"intent":"run","reason":"made up"}"#,
    ),
    (
        "vms/db-1/spec",
        r#"{"name":"db-1","run":true,"memory_mib":512,"vcpus":1}"#,
    ),
    (
        "vms/new-1/spec",
        r#"{"name":"new-1","run":false,"memory_mib":512,"vcpus":1}"#,
    ),
    (
        "vms/off-1/owner",
        r#"{"holder":null,"incoming":null,"generation":4,"intent":"stop","reason":"made up"}"#,
    ),
    (
        "vms/web-1/owner",
        r#"{"holder":{"host":"a1","incarnation":"i-1"},"generation":3,"intent":"run","reason":"made up"}"#,
    ),
    (
        "vms/web-1/spec",
        r#"{"name":"web-1","run":true,"memory_mib":512,"vcpus":1}"#,
    ),
];

/// See the module.
pub(super) struct MadeUp;

impl Records for MadeUp {
    fn get(&self, key: &str) -> Option<Entry> {
        let at = ALL.iter().position(|(known, _)| *known == key)?;
        let (key, value) = ALL[at];
        Some(Entry {
            key: key.to_owned(),
            value: value.to_owned(),
            revision: 100 + at as u64,
            age_ms: 2_000,
        })
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = ALL.iter().map(|(key, _)| (*key).to_owned());
        keys.filter(|key| key.starts_with(prefix)).collect()
    }
}
