//! How extensions do on one machine: ready or not, what their calls cost, what they wrote to their log.

use crate::id::{ExtensionName, Incarnation, TargetName};
use crate::shadow::ShadowStanding;
use crate::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How an extension stands on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Readiness {
    /// It is asked.
    Ready {
        /// Which component: another than the installed one is asked until that is ready.
        digest: String,
    },
    /// It failed too often, and is not asked for a while.
    Resting {
        /// Which component.
        digest: String,
        /// Its last failure, in words.
        why: String,
    },
    /// Its component is being fetched and compiled.
    Loading,
    /// It cannot be asked there.
    Failed {
        /// Why, in words.
        why: String,
        /// The component of the version before, which is asked on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
    },
}

/// What calls cost, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCosts {
    /// Calls since the daemon started; answers that were kept are none.
    pub calls: u64,
    /// Of them without an answer.
    pub failed: u64,
    /// Why the last of those had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// CPU time of the call in the middle of the newest thousand, in microseconds.
    pub cpu_p50_us: u64,
    /// Of the one that only one in a hundred exceeds.
    pub cpu_p99_us: u64,
    /// That, in per cent of what is allowed.
    pub cpu_p99_percent: u64,
    /// Most memory of the newest, in KiB.
    pub memory_kib: u64,
    /// That, in per cent of what is allowed.
    pub memory_percent: u64,
}

/// How serious a line of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For its author.
    Debug,
    /// For who wonders.
    Info,
    /// Somebody should look.
    Warn,
    /// Something failed.
    Error,
}

/// A line of an extension's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, by that machine's clock.
    pub at: UnixMs,
    /// How serious.
    pub level: Level,
    /// What it says, without control characters.
    pub text: String,
}

/// `hosts/H/extensions`: how the extensions that a host asks do there. For people; no decision reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostExtensions {
    /// Who says so.
    pub incarnation: Incarnation,
    /// Those that its configuration names, installed or not.
    pub extensions: BTreeMap<ExtensionName, OnHost>,
    /// Paths that have a name there.
    #[serde(default)]
    pub paths: BTreeSet<TargetName>,
    /// Status commands that have a name there.
    #[serde(default)]
    pub commands: BTreeSet<TargetName>,
}

/// How one does on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnHost {
    /// None: the host wants it, and it is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// What its calls cost there, as of the last time this was told.
    #[serde(default)]
    pub costs: CallCosts,
    /// The newest of its warnings and errors, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Line>,
    /// How its shadow does there, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Box<ShadowStanding>>,
}
