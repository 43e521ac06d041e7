//! What extensions had a machine send and run, as it is shown to operators: requests to targets, and programs.

use crate::id::{DeviceName, ExtensionName};
use crate::time::UnixMs;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

/// So many of each kind are told of a host, and so many bytes of both together.
const NEWEST: usize = 20;
const NEWEST_BYTES: usize = 16 << 10;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// When it was written down, by that machine's clock: before it was sent.
    pub at: UnixMs,
    /// What it was sent for.
    pub about: String,
    /// The operator's name of where it went.
    pub target: String,
    /// Scheme, host and port of that.
    pub place: String,
    /// GET, POST, …
    pub method: String,
    /// Without a query.
    pub path: String,
    /// What is known of its end.
    pub outcome: Ended,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Ended {
    /// It is under way.
    UnderWay,
    /// It was answered.
    Answered {
        /// HTTP's number.
        status: u16,
    },
    /// It was certainly not done.
    NotDone {
        /// Why, in words.
        why: String,
    },
    /// It may have been done.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// One run of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramRun {
    /// When it was written down, by that machine's clock: before it was started.
    pub at: UnixMs,
    /// What it was run for.
    pub about: String,
    /// Which extension had it run; none: the machine itself, to read back what an extension says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionName>,
    /// The operator's name of it.
    pub program: DeviceName,
    /// off, on, status.
    pub action: String,
    /// What it was told besides, each as `name=value`, without secrets.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// What is known of its end.
    pub outcome: ProgramEnd,
    /// When that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
    /// How long it ran, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum ProgramEnd {
    /// It runs.
    UnderWay,
    /// It has ended by itself.
    Exited {
        /// With this code; what it means is the program's matter.
        exit_code: i32,
    },
    /// It was not started: nothing was done.
    NotStarted {
        /// Why, in words.
        why: String,
    },
    /// It was killed, or nobody saw its end: it may have been done.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// The newest of what a host's agent had sent and run, few enough for etcd; the whole is in a file of that host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// Requests, oldest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "known"
    )]
    pub requests: Vec<Requested>,
    /// Programs, oldest first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "known"
    )]
    pub programs: Vec<ProgramRun>,
}

impl Newest {
    /// Of these, each oldest first. What is too long is left out.
    pub fn of(requests: Vec<Requested>, programs: Vec<ProgramRun>) -> Self {
        Self {
            requests: short(requests),
            programs: short(programs),
        }
    }

    /// Nothing was sent and nothing run.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.programs.is_empty()
    }
}

/// The newest, in at most half of the room.
fn short<T: Serialize>(all: Vec<T>) -> Vec<T> {
    let mut room = NEWEST_BYTES / 2;
    let newest = all.into_iter().rev().take(NEWEST);
    let mut kept: Vec<T> = newest
        .filter(|each| {
            let text = serde_json::to_string(each);
            let left = text.ok().and_then(|text| room.checked_sub(text.len()));
            room = left.unwrap_or(room);
            left.is_some()
        })
        .collect();
    kept.reverse();
    kept
}

/// What a newer version has written in another form is left out: the record that it is in has to stay readable.
fn known<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Each<T> {
        Known(T),
        Other(IgnoredAny),
    }
    let all: Vec<Each<T>> = Vec::deserialize(from)?;
    let known = all.into_iter().filter_map(|each| match each {
        Each::Known(known) => Some(known),
        Each::Other(_) => None,
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(at: u64, path: &str) -> Requested {
        Requested {
            at: UnixMs(at),
            about: "fencing of a1".to_owned(),
            target: "a1-board".to_owned(),
            place: "https://192.0.2.111".to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            outcome: Ended::Answered { status: 204 },
            ended_at: None,
        }
    }

    #[test]
    fn only_the_newest_are_told_and_only_what_there_is_room_for() {
        let many = (0..100).map(|at| requested(at, "/off")).collect();
        let newest = Newest::of(many, Vec::new()).requests;
        let ats: Vec<u64> = newest.iter().map(|each| each.at.0).collect();
        assert_eq!(ats, (80..100).collect::<Vec<_>>());
        let long = "x".repeat(3_000);
        let mut many: Vec<Requested> = (0..9).map(|at| requested(at, &long)).collect();
        many.push(requested(9, &"x".repeat(NEWEST_BYTES)));
        let newest = Newest::of(many, Vec::new());
        let ats: Vec<u64> = newest.requests.iter().map(|each| each.at.0).collect();
        assert_eq!(ats, [7, 8]);
        let text = serde_json::to_string(&newest).expect("JSON");
        assert!(text.len() <= NEWEST_BYTES, "{}", text.len());
    }

    #[test]
    fn what_a_newer_version_wrote_hides_nothing_else() {
        let mut json = serde_json::to_value(Newest {
            requests: vec![requested(1, "/off"), requested(2, "/off")],
            programs: Vec::new(),
        })
        .expect("JSON");
        json["requests"][0]["outcome"] = serde_json::json!({"state": "put-off"});
        let newest: Newest = serde_json::from_value(json).expect("all else is as it was");
        assert_eq!(newest.requests, [requested(2, "/off")]);
        let none: Newest = serde_json::from_str("{}").expect("nothing at all");
        assert!(none.is_empty());
    }

    #[test]
    fn what_a_host_has_told_in_an_earlier_version_is_read_and_reads_the_same() {
        use crate::asking::HostAsks;
        let earlier = r#"{"incarnation":"i1","life":"1","means":{}}"#;
        let asks: HostAsks = serde_json::from_str(earlier).expect("a record");
        assert!(asks.newest.is_empty());
        let text = serde_json::to_string(&asks).expect("JSON");
        assert_eq!(text, earlier);
    }
}
