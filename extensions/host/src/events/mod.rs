//! Event handlers: told by the leader of what happens. They decide nothing, and nothing waits for them.

mod v0_1;

use crate::breaker::BreakerState;
use crate::error::{CallError, ExtensionError};
use crate::fresh::{Called, Fresh, Resting};
use crate::journal::Journal;
use crate::loaded::Loaded;
use crate::outside::Reach;
use crate::words::one_line;
use holdfast_model::extension::{ExtensionKind, Limits};
use v0_1::Hooks;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When, in milliseconds since 1970, by the clock of who wrote it.
    pub at_unix_ms: u64,
    /// Who wrote it.
    pub actor: String,
    /// Such as `host-fenced`.
    pub kind: String,
    /// The host it is about.
    pub host: Option<String>,
    /// The site it is about.
    pub site: Option<String>,
    /// The VM it is about.
    pub vm: Option<String>,
    /// For people.
    pub text: String,
}

/// One event handler, ready to be told.
pub struct EventHandler {
    fresh: Fresh,
    hooks: Hooks,
}

impl EventHandler {
    /// Prepares it; nothing of it runs yet. What it can reach comes with each call.
    ///
    /// # Errors
    /// If it is none, or does not fit the contract.
    pub fn new(loaded: &Loaded, limits: Limits) -> Result<Self, ExtensionError> {
        let kind = ExtensionKind::Events;
        let fresh = Fresh::new(loaded, kind, limits, Reach::default(), Resting::May)?;
        Ok(Self {
            hooks: Hooks::of(fresh.instance_pre())?,
            fresh,
        })
    }

    /// What it wrote to its log here.
    pub fn journal(&self) -> &Journal {
        self.fresh.journal()
    }

    /// Whether it is told at present.
    pub fn breaker(&self) -> BreakerState {
        self.fresh.breaker()
    }

    /// Tells it, on this thread, within its limits. That it could not do what it wanted ([`CallError::Refused`])
    /// is no sign that it is broken.
    pub fn handle(&self, events: &[Told], reach: Reach) -> Called<()> {
        let Called { answer, cost } = self.fresh.call(reach, |store, instance| {
            self.hooks.handle(store, instance, events)
        });
        let answer = answer.and_then(|said| said.map_err(|why| CallError::Refused(one_line(&why))));
        Called { answer, cost }
    }
}
