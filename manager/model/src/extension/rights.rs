//! What an extension may do besides computing.

use super::ExtensionKind;
use crate::id::TargetName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an extension may do besides computing. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Write to its log.
    pub log: bool,
    /// Read the cluster's records whose keys begin with one of these (`hosts/`, `vms/web`): [`RECORDS`].
    pub state: BTreeSet<String>,
    /// Send HTTP requests to these targets, each with what may be sent: a method, a space and a path, in
    /// which a `*` stands for anything (`GET /redfish/v1/*`).
    pub http: BTreeMap<TargetName, BTreeSet<String>>,
    /// Run these programs.
    pub programs: BTreeSet<TargetName>,
    /// Look at these paths.
    pub paths: BTreeSet<TargetName>,
    /// Run these status commands.
    pub commands: BTreeSet<TargetName>,
}

/// The records that can be granted; [`Rights::state`] has one of these, or the beginning of a key under one.
pub const RECORDS: [&str; 3] = ["fences/", "hosts/", "vms/"];

/// Of them one look hands over so many, at the most.
pub const RECORDS_MAX: usize = 1_000;
/// And so many bytes of their keys and values.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Methods that a pattern of [`Rights::http`] may begin with.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The keys of [`Rights`] with lists.
const OTHERS: [&str; 4] = ["commands", "paths", "programs", "state"];

/// The line of the right to log.
const LOG: &str = "log";

/// The lines of all other rights.
mod words {
    use crate::id::TargetName;

    pub fn state(key: &str) -> String {
        format!("read state {key}")
    }

    pub fn http(target: &TargetName, request: &str) -> String {
        format!("send to {target}: {request}")
    }

    pub fn program(name: &TargetName) -> String {
        format!("run program {name}")
    }

    pub fn path(name: &TargetName) -> String {
        format!("look at path {name}")
    }

    pub fn command(name: &TargetName) -> String {
        format!("run status command {name}")
    }
}

impl Rights {
    /// Each right in one line of words, in a fixed order: what an operator is shown and asked about.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.log {
            lines.push(LOG.to_owned());
        }
        lines.extend(self.state.iter().map(|key| words::state(key)));
        for (target, requests) in &self.http {
            lines.extend(requests.iter().map(|each| words::http(target, each)));
        }
        lines.extend(self.programs.iter().map(words::program));
        lines.extend(self.paths.iter().map(words::path));
        lines.extend(self.commands.iter().map(words::command));
        lines
    }

    /// These without the one of such a line; none if there is no such line.
    pub fn without(&self, line: &str) -> Option<Rights> {
        let mut left = self.clone();
        left.log &= line != LOG;
        left.state.retain(|key| words::state(key) != line);
        for (target, requests) in &mut left.http {
            requests.retain(|each| words::http(target, each) != line);
        }
        left.http.retain(|_, requests| !requests.is_empty());
        left.programs.retain(|name| words::program(name) != line);
        left.paths.retain(|name| words::path(name) != line);
        left.commands.retain(|name| words::command(name) != line);
        (left != *self).then_some(left)
    }

    /// The names that stand for something of the operator's.
    pub fn roles(&self) -> BTreeSet<&TargetName> {
        let named = self.programs.iter().chain(&self.paths);
        self.http
            .keys()
            .chain(named)
            .chain(&self.commands)
            .collect()
    }

    /// What these have that the others do not.
    pub fn beyond(&self, others: &Rights) -> Vec<String> {
        let known: BTreeSet<String> = others.lines().into_iter().collect();
        let mut lines = self.lines();
        lines.retain(|line| !known.contains(line));
        lines
    }

    /// What is in both.
    pub fn and(&self, others: &Rights) -> Rights {
        fn both<T: Ord + Clone>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> BTreeSet<T> {
            a.intersection(b).cloned().collect()
        }
        let http = self.http.iter().filter_map(|(target, requests)| {
            let shared = both(requests, others.http.get(target)?);
            (!shared.is_empty()).then(|| (target.clone(), shared))
        });
        Rights {
            log: self.log && others.log,
            state: both(&self.state, &others.state),
            http: http.collect(),
            programs: both(&self.programs, &others.programs),
            paths: both(&self.paths, &others.paths),
            commands: both(&self.commands, &others.commands),
        }
    }

    /// What cannot be, for this kind: what is wrong, what to do.
    pub(super) fn fault(&self, kind: ExtensionKind) -> Option<(String, String)> {
        let has = |what: &str, given: bool, kinds: &[ExtensionKind]| {
            (given && !kinds.contains(&kind)).then(|| {
                (
                    format!("an extension of kind {kind} cannot have `{what}`"),
                    format!("remove `{what}` from [rights]"),
                )
            })
        };
        use ExtensionKind::{Events, Fencing, StorageCheck};
        let patterns = self.http.iter();
        let mut patterns =
            patterns.flat_map(|(role, all)| all.iter().map(move |each| (role, each)));
        let odd = patterns.find(|(_, each)| !is_request(each));
        let is_record = |key: &str| RECORDS.iter().any(|root| key.starts_with(root));
        let none = self.state.iter().find(|key| !is_record(key));
        let none = none.map(|key| {
            (
                format!("`state` has `{key}`, and no record that can be read begins so"),
                format!(
                    "use {}, or the beginning of a key under one",
                    RECORDS.join(", ")
                ),
            )
        });
        odd.map(|(role, each)| {
            let what = format!("`{each}`, of `{role}` in [rights.http], is not a request");
            (what, advice_for(role.as_str(), each))
        })
        .or(none)
        .or_else(|| has("state", !self.state.is_empty(), &[Events]))
        .or_else(|| has("http", !self.http.is_empty(), &[Fencing, Events]))
        .or_else(|| has("programs", !self.programs.is_empty(), &[Fencing]))
        .or_else(|| has("paths", !self.paths.is_empty(), &[StorageCheck]))
        .or_else(|| has("commands", !self.commands.is_empty(), &[StorageCheck]))
    }
}

/// What to write instead of what is no request.
fn advice_for(role: &str, pattern: &str) -> String {
    let (method, path) = pattern
        .split_once(' ')
        .unwrap_or((pattern, "/redfish/v1/*"));
    let capitals = method.to_ascii_uppercase();
    if OTHERS.contains(&role) {
        // In TOML what follows a table's head belongs to it.
        format!("a right `{role}` stands above [rights.http], in [rights]")
    } else if METHODS.contains(&capitals.as_str()) && path.starts_with('/') {
        format!("write \"{capitals} {path}\"")
    } else {
        "write a method, a space and a path, such as \"GET /redfish/v1/*\"".to_owned()
    }
}

/// Whether it is a request as [`Rights::http`] has it: a method, a space and a path.
pub fn is_request(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(method, path)| {
        METHODS.contains(&method) && path.starts_with('/') && !path.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(requests: &[&str]) -> Rights {
        let requests = requests.iter().map(|each| (*each).to_owned()).collect();
        Rights {
            http: BTreeMap::from([("bmc".parse().expect("a name"), requests)]),
            ..Rights::default()
        }
    }

    #[test]
    fn what_is_no_request_is_put_right() {
        for (role, pattern, advice) in [
            ("bmc", "post /a", "write \"POST /a\""),
            ("bmc", "POST", "write \"POST /redfish/v1/*\""),
            ("bmc", "/a", "a method, a space and a path"),
            ("bmc", "FETCH /a", "a method, a space and a path"),
            (
                "state",
                "vms/",
                "a right `state` stands above [rights.http]",
            ),
        ] {
            let role = role.parse().expect("a name");
            let rights = Rights {
                http: [(role, [pattern.to_owned()].into())].into(),
                ..Rights::default()
            };
            let (what, to_do) = rights.fault(ExtensionKind::Events).expect(pattern);
            assert!(
                what.contains(pattern) && to_do.contains(advice),
                "{what}; {to_do}"
            );
        }
        assert_eq!(http(&["POST /"]).fault(ExtensionKind::Events), None);
    }

    #[test]
    fn each_right_can_be_left_out_by_its_line() {
        let names = |name: &str| BTreeSet::from([name.parse().expect("a name")]);
        let all = Rights {
            log: true,
            state: ["hosts/".to_owned(), "vms/".to_owned()].into(),
            programs: names("agent"),
            paths: names("storage"),
            commands: names("heal"),
            ..http(&["GET /a", "POST /b"])
        };
        let lines = all.lines();
        assert_eq!(lines.len(), 8, "{lines:?}");
        for line in &lines {
            let left = all.without(line).expect(line);
            assert_eq!(all.beyond(&left), std::slice::from_ref(line));
            assert_eq!(left.beyond(&all), [""; 0]);
            assert_eq!(left.without(line), None, "{line}");
        }
        let none = lines
            .iter()
            .try_fold(all.clone(), |left, line| left.without(line));
        assert_eq!(none, Some(Rights::default()));
        for no_line in ["", "Log", "send to bmc", "read state vms/web"] {
            assert_eq!(all.without(no_line), None, "{no_line}");
        }
    }

    #[test]
    fn rights_are_cut_and_compared() {
        let old = http(&["GET /a", "GET /b"]);
        let new = http(&["GET /b", "POST /c"]);
        assert_eq!(new.beyond(&old), ["send to bmc: POST /c"]);
        assert_eq!(new.and(&old), http(&["GET /b"]));
        assert_eq!(old.beyond(&old), [""; 0]);
        assert_eq!(http(&["GET /a"]).and(&http(&["GET /b"])).http.len(), 0);
    }
}
