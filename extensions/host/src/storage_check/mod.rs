//! Storage checks: asked by the agent of the very host, every few seconds.

mod v0_1;

use crate::breaker::BreakerState;
use crate::error::ExtensionError;
use crate::fresh::{Called, Fresh, Resting};
use crate::journal::Journal;
use crate::loaded::Loaded;
use crate::outside::Reach;
use holdfast_model::extension::{ExtensionKind, Limits};
use v0_1::Hooks;

/// A storage that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The operator's name of it.
    pub name: String,
    /// Where it is on the host.
    pub path: String,
    /// What the operator set for the check.
    pub settings: Vec<(String, String)>,
}

/// One of three answers. What a check does not know is unknown, and never a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is so.
    Yes,
    /// It is not, and why.
    No(String),
    /// Nobody can tell, and why.
    Unknown(String),
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// There is a way to it.
    pub reachable: Answer,
    /// Machines can read and write there now.
    pub usable: Answer,
    /// Both sites have the same.
    pub synced: Answer,
}

/// One storage check, ready to be asked.
pub struct StorageCheck {
    fresh: Fresh,
    hooks: Hooks,
}

impl StorageCheck {
    /// Prepares it; nothing of it runs yet.
    ///
    /// # Errors
    /// If it is none, or does not fit the contract.
    pub fn new(loaded: &Loaded, limits: Limits, reach: Reach) -> Result<Self, ExtensionError> {
        let kind = ExtensionKind::StorageCheck;
        let fresh = Fresh::new(loaded, kind, limits, reach, Resting::May)?;
        Ok(Self {
            hooks: Hooks::of(fresh.instance_pre())?,
            fresh,
        })
    }

    /// What it wrote to its log here.
    pub fn journal(&self) -> &Journal {
        self.fresh.journal()
    }

    /// Whether it is asked at present.
    pub fn breaker(&self) -> BreakerState {
        self.fresh.breaker()
    }

    /// Asks it, on this thread, within its limits.
    pub fn check(&self, domain: &Domain) -> Called<Findings> {
        let reach = self.fresh.reach().clone();
        self.fresh.call(reach, |store, instance| {
            self.hooks.check(store, instance, domain)
        })
    }
}
