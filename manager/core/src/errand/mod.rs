//! Errands: a fencing device that the leader does not reach is asked by a manager that does, or by the agent of another
//! host.
//!
//! ```text
//! leader   Tried: who    ──> Course: send ── not taken ──> send to the next ── … ──> unknown
//!                                   └──── taken ──> answered: on, off, unknown
//!                                             └──── no answer ──────────────────> unknown
//! others   duty: take it, say that nothing is known of it, or nothing
//! ```
//! What is proven by an answer is no different from that of a device that the leader asks itself: off is what was
//! read after the order. It counts from when the errand was *sent*, by the leader's own clock: whatever the host
//! does after that contradicts it.

mod course;
mod duty;
mod line;

pub use course::{ANSWER_MS, Course, Outcome, TAKEN_WITHIN_MS, Turn};
pub use duty::{AgentView, Duty, Memory, agent_duty, duty};
pub use line::{EACH_MAX, Scene, Tried, Way, held_against, standing_at};

use holdfast_model::errand::{Addressee, Errand};
use holdfast_model::id::{ErrandId, ManagerName, Revision, SiteName};
use holdfast_model::leader::ManagerPresence;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use std::collections::{BTreeMap, BTreeSet};

/// Managers that are tried for one ask; after that it is asked anew, in due time.
pub const CANDIDATES_MAX: usize = 3;

/// Who may be asked to do it where only managers may: those at these sites, those first that were heard of last. Never `own`.
pub fn candidates(
    managers: &BTreeMap<ManagerName, Seen<ManagerPresence>>,
    from: &[SiteName],
    own: &ManagerName,
    now: Instant,
) -> Vec<Addressee> {
    let there = managers
        .iter()
        .filter(|(name, seen)| *name != own && from.contains(&seen.value.site));
    let mut found: Vec<_> = there
        .map(|(name, seen)| (now.since(seen.seen_at), name, &seen.value.life))
        .collect();
    found.sort();
    let first = found.into_iter().take(CANDIDATES_MAX);
    first
        .map(|(_, name, life)| Addressee::manager(name.clone(), life.clone()))
        .collect()
}

/// Nobody waits for it any more, so that the leader of this epoch may remove it: it is of an earlier one, or none
/// of those that it waits for.
pub fn is_over(errand: &Errand, epoch: Revision, awaited: &BTreeSet<ErrandId>) -> bool {
    errand.epoch < epoch || (errand.epoch == epoch && !awaited.contains(&errand.id))
}
