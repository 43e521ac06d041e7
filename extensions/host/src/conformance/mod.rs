//! Whether a guest keeps its contract: a fixed set of questions and what has to be true of the answers, in whatever
//! language it is written. And the other way round, [`chaos`]: what becomes of a guest whose host misbehaves.
//!
//! It runs the guest as the daemons do, only with more CPU time, so that what is over a limit can be told as a share
//! of it. Kind by kind; what has to be true for every kind is in `shared`, and what only its author knows of what it is
//! to be tried with in [`TestSetup`]. What did not come about is no success: it is told as not looked at.

mod acting;
pub mod chaos;
mod events;
mod fencing;
mod log;
mod placement;
mod setup;
mod shared;
mod storage_check;

#[cfg(test)]
pub(crate) use placement::made_up;

pub use log::{Log, Logged};
pub use setup::{
    BoardSetup, ExchangeSetup, FencingSetup, PlacementSetup, SaidSetup, StatusSetup, StorageSetup,
    TestSetup,
};

use crate::error::ExtensionError;
use crate::fresh::Called;
use crate::loaded::Loaded;
use holdfast_model::extension::{COMPONENT_BYTES_MAX, ExtensionKind, Manifest};
use serde::Serialize;

/// Puts a guest through all checks of its kind. `metered` is the same guest compiled by
/// [`crate::Runtime::metered`], to count what it executes, where that is of any use ([`counts_fuel`]). The setup is what
/// its author says of what it is tried with; it has no [`TestSetup::fault`].
///
/// # Errors
/// If it does not fit its contract.
pub fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Report, ExtensionError> {
    match manifest.kind {
        ExtensionKind::Placement => placement::run(loaded, metered, manifest, setup),
        ExtensionKind::Events => events::run(loaded, metered, manifest),
        ExtensionKind::StorageCheck => storage_check::run(loaded, metered, manifest, setup),
        ExtensionKind::Fencing => fencing::run(loaded, metered, manifest, setup),
    }
}

/// Whether what a guest executes is counted, for which it is compiled a second time. Of a rule always: what it costs
/// depends on how much it is asked about. Of the other kinds if that takes a second, and not half a minute.
pub fn counts_fuel(kind: ExtensionKind, component_bytes: usize) -> bool {
    kind == ExtensionKind::Placement || component_bytes as u64 <= COMPONENT_BYTES_MAX
}

/// How something was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it has to be.
    Passed,
    /// It works, and not for long.
    Warned,
    /// Not so.
    Failed,
    /// Not looked at: something else failed, or what it is about did not come about.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: stays the same from version to version.
    pub name: &'static str,
    /// What has to be true.
    pub what: &'static str,
    /// Whether it is.
    pub outcome: Outcome,
    /// Where and why not; or what was seen.
    pub words: String,
    /// If it trapped: what it wrote to its log just before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Logged>,
}

/// What something costs, beside its limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Headroom {
    /// What it is of.
    pub of: String,
    /// So much is used.
    pub used: f64,
    /// So much is allowed.
    pub limit: f64,
    /// Of both.
    pub unit: &'static str,
}

impl Headroom {
    /// What is used of the limit.
    pub fn share_percent(&self) -> f64 {
        100.0 * self.used / self.limit
    }

    /// More than this share of a limit is too near to it: other machines are slower, other clusters larger.
    pub const NEAR_PERCENT: f64 = 70.0;

    /// What that means.
    pub fn outcome(&self) -> Outcome {
        match self.share_percent() {
            share if share > 100.0 => Outcome::Failed,
            share if share > Self::NEAR_PERCENT => Outcome::Warned,
            _ => Outcome::Passed,
        }
    }
}

/// What a guest executes, counted by wasmtime: the same on every machine, so a change of it is a change of the
/// guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Fuel {
    /// Of a rule.
    Question {
        /// For a question with one candidate.
        one_candidate: u64,
        /// For one with a hundred.
        hundred_candidates: u64,
        /// For each candidate more.
        each_candidate: u64,
    },
    /// Of the other kinds, which are started anew for each call.
    Call {
        /// Which call.
        of: &'static str,
        /// For the start and the call.
        call: u64,
    },
}

impl Fuel {
    /// Of a call that was counted and has an answer.
    fn of_call<T>(of: &'static str, called: &Called<T>) -> Option<Self> {
        let call = called.cost.fuel.filter(|_| called.answer.is_ok())?;
        Some(Self::Call { of, call })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// In a fixed order.
    pub checks: Vec<Check>,
    /// What it costs.
    pub headroom: Vec<Headroom>,
    /// If it was counted and all went well.
    pub fuel: Option<Fuel>,
    /// Questions that were asked.
    pub questions: usize,
    /// What could not be found out so, and what to do, in sentences.
    pub notes: Vec<String>,
    /// What it wrote to its log.
    pub log: Log,
}

impl Report {
    /// Whether any check failed.
    pub fn failed(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|check| check.outcome == Outcome::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_near_before_it_is_met() {
        for (used, outcome) in [
            (70.0, Outcome::Passed),
            (70.1, Outcome::Warned),
            (100.0, Outcome::Warned),
            (100.1, Outcome::Failed),
        ] {
            let headroom = Headroom {
                of: "memory".to_owned(),
                used: used * 0.32,
                limit: 32.0,
                unit: "MiB",
            };
            assert_eq!(headroom.outcome(), outcome, "{used} %");
        }
    }
}
