//! What need not be done, because what came is no reason to: most of what happens in a cluster is a heartbeat.
//!
//! ```text
//! plan that asks for nothing ─┬─ a heartbeat in time, an event told ──> it would say the same: left out
//!                             ├─ anything else, its time has come ────> made again
//!                             └─ every 16th of those left out ────────> made all the same: it has to be empty
//! ```
//! The production plans at every change. That nothing is lost here is tried all the time, and a plan or a round that
//! then finds something to do is a violation, `rests`.

use holdfast_model::id::Revision;
use holdfast_model::plan::{Plan, PlannerStep, Report};
use holdfast_model::policy::Policy;
use holdfast_model::time::Instant;
use holdfast_store::keyspace::Key;
use holdfast_store::record::ReadChange;
use holdfast_store::view::View;

/// Of so many that are left out one is tried.
const TRIED: u32 = 16;

/// Counts what is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LeftOut(u32);

impl LeftOut {
    /// One more.
    pub(super) fn count(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }

    /// The next one is not left out.
    pub(super) fn is_tried(self) -> bool {
        self.0.is_multiple_of(TRIED)
    }
}

/// A leader's last plan.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    /// What it was made on, or what has come since and was no reason for another.
    revision: Revision,
    /// When time alone is a reason.
    pub(super) wake_at: Option<Instant>,
    /// Since when the view was fresh: silences count from there at the earliest.
    fresh_since: Instant,
    /// It asks for nothing, and goes by nothing but the store.
    empty: bool,
}

impl Planned {
    pub(super) fn new(made: &Plan, revision: Revision, fresh_since: Instant) -> Self {
        // Whether a silent host is given up, heartbeats of others decide; and what an extension says may change by
        // itself.
        let silent = |report: &Report| report.step == PlannerStep::Fencing;
        // For how long a host that is just coming is waited for is counted in its heartbeats.
        let coming =
            |report: &Report| report.step == PlannerStep::Recovery && report.until.is_some();
        let by_beats = made
            .reports
            .iter()
            .any(|report| silent(report) || coming(report));
        let by_store = made.advised.is_empty() && !by_beats;
        Self {
            revision,
            wake_at: made.wake_at,
            fresh_since,
            empty: by_store && asks_for_nothing(made),
        }
    }

    /// The same, on a later revision.
    pub(super) fn stands_at(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// Another one is due.
    pub(super) fn is_over(&self, revision: Revision, now: Instant) -> bool {
        revision > self.revision || self.wake_at.is_some_and(|at| now >= at)
    }

    /// It would say the same again, if what counts was changed last by this revision.
    pub(super) fn stands(
        &self,
        changed: Revision,
        fresh_since: Option<Instant>,
        now: Instant,
    ) -> bool {
        self.empty
            && changed <= self.revision
            && fresh_since == Some(self.fresh_since)
            && self.wake_at.is_none_or(|at| now < at)
    }
}

/// Nothing is written, nobody is asked.
pub(super) fn asks_for_nothing(made: &Plan) -> bool {
    made.steps.is_empty() && made.asks.is_empty()
}

/// After which time a host must have been heard of for its next heartbeat to be one in time.
pub(super) fn heard_since(view: &View, fresh_since: Option<Instant>, now: Instant) -> Instant {
    let policy = view.policy.as_ref();
    let quiet_ms = |policy: &Policy| policy.timing.resolve().session_quiet_ms();
    let quiet_ms = policy.map_or(0, |policy| quiet_ms(&policy.value));
    let lately = Instant(now.0.saturating_sub(quiet_ms));
    fresh_since.map_or(now, |since| since.max(lately))
}

/// Whether a change is a reason to look: the planner reads it, or it decides who leads.
pub(super) fn counts(view: &View, change: &ReadChange, heard_since: Instant) -> bool {
    match change.key() {
        Some(Key::LeaderHeartbeat) => change.is_removal(),
        // Neither who is there nor who asks devices, and with what, is anything that the planner reads.
        Some(Key::Event(_) | Key::Manager(_) | Key::HostAsks(_) | Key::Errand(..)) => false,
        _ => !view.is_next_beat(change, heard_since),
    }
}
