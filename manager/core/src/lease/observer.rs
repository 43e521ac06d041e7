//! The peers' heartbeats, as one host sees them on the volume.
//!
//! ```text
//!  own writes               sent ── ok          sent ── ok
//!  reads         (c) new                (c) same        (c) same
//!                   │<──── unchanged ────────────>│ when the last own write before the read was sent
//! ```
//! A replica that was left behind can be read without a quorum, but not written: an own write that
//! was acknowledged proves that this host was with the quorum at some moment after it was *sent*, and
//! a read that begins after the acknowledgement shows nothing older than that. How long the read
//! itself took, and whether the quorum was lost again meanwhile, does not matter then. What is
//! assumed of the storage is exactly this; `docs/safety.md` says so.
//!
//! Conservative at both ends: the first sight of a counter counts from the *end* of that read, or from when
//! it was sent at the latest by the one before it, its last sight from the *sending* of the own write before
//! it.

use holdfast_model::id::Incarnation;
use holdfast_model::lease::{AgentState, Heartbeat, HostPhase};
use holdfast_model::time::Instant;
use holdfast_model::timing::DRIFT;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One read of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTimes {
    /// When it was begun.
    pub began: Instant,
    /// When it was answered.
    pub ended: Instant,
}

/// What is known of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watch {
    heartbeat: Heartbeat,
    /// Another heartbeat of this life was seen before it.
    is_news: bool,
    new_since: Instant,
    /// Certainly nothing newer up to then.
    same_at: Option<Instant>,
}

impl Watch {
    /// When a later heartbeat of this life was sent at the latest, by this host's clock: counters are the
    /// times of sending by the other's. So one that turns up late, because a copy of the storage is
    /// healed only then, does not begin the wait anew.
    fn sent_by(&self, counter: u64) -> Instant {
        let passed_ms = counter.saturating_sub(self.heartbeat.counter) + 1;
        let drifted = passed_ms as f64 * (1.0 + DRIFT) / (1.0 - DRIFT);
        // The cast saturates; one more for the part of a millisecond that it drops.
        self.new_since.plus((drifted as u64).saturating_add(1))
    }
}

/// What may be said of a life by its heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "finding")]
pub enum Finding {
    /// It says itself that everything it ran has stopped.
    Released,
    /// It holds, by its last heartbeat.
    Holding {
        /// The counter that was read last.
        counter: u64,
        /// For how long that has not changed, in milliseconds, up to a moment after the one asked
        /// for; 0 if it was not read since.
        unchanged_ms: u64,
        /// It was written anew since the moment asked for.
        is_new: bool,
        /// How its agent stood then.
        agent: AgentState,
    },
    /// Nothing: another life is there, or none.
    Nothing,
}

/// One host's observation of all slots.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    slots: BTreeMap<u32, Watch>,
    /// The last own write that was acknowledged: when it was sent, and when that was known.
    own_write: Option<(Instant, Instant)>,
}

impl Observer {
    /// A heartbeat was read in that slot.
    pub fn saw(&mut self, slot: u32, heartbeat: &Heartbeat, times: ReadTimes) {
        let of_this_life = |watch: &&mut Watch| {
            watch.heartbeat.incarnation == heartbeat.incarnation
                && watch.heartbeat.phase == heartbeat.phase
        };
        match self.slots.get_mut(&slot).filter(of_this_life) {
            // An older one than was seen before: a copy that is behind, or that a copy was healed from.
            // Nothing newer stands there, and that is what counts.
            Some(watch) if heartbeat.counter <= watch.heartbeat.counter => {
                if let Some((sent, acknowledged)) = self.own_write
                    && acknowledged <= times.began
                {
                    watch.same_at = watch.same_at.max(Some(sent));
                }
            }
            Some(watch) => {
                let sent_by = watch.sent_by(heartbeat.counter);
                *watch = Watch {
                    heartbeat: heartbeat.clone(),
                    is_news: true,
                    new_since: times.ended.min(sent_by),
                    same_at: None,
                };
            }
            None => {
                let watch = Watch {
                    heartbeat: heartbeat.clone(),
                    is_news: false,
                    new_since: times.ended,
                    same_at: None,
                };
                self.slots.insert(slot, watch);
            }
        }
    }

    /// The slot was read and is free: what was known of it counts no more. One that cannot be believed is
    /// no case of this: it proves nothing, and the next one that can tells.
    pub fn saw_nothing(&mut self, slot: u32) {
        self.slots.remove(&slot);
    }

    /// An own heartbeat, sent then, was acknowledged. One that failed proves nothing and takes
    /// nothing back.
    pub fn own_write_succeeded(&mut self, sent: Instant, acknowledged: Instant) {
        if self.own_write.is_none_or(|(before, _)| before < sent) {
            self.own_write = Some((sent, acknowledged));
        }
    }

    /// What may be said of that life in that slot now that its control plane has been closed, as this
    /// host learned at `closed`. The time in which its heartbeat did not change may have begun before
    /// that; what counts is that it ends after it. A plane that stood still and was written again
    /// before the other one was closed proves nothing.
    pub fn finding(&self, slot: u32, life: &Incarnation, closed: Instant) -> Finding {
        let Some(watch) = self.slots.get(&slot) else {
            return Finding::Nothing;
        };
        if watch.heartbeat.incarnation != *life {
            return Finding::Nothing;
        }
        if watch.heartbeat.phase == HostPhase::Released {
            return Finding::Released;
        }
        let same_at = watch.same_at.filter(|at| *at >= closed);
        Finding::Holding {
            counter: watch.heartbeat.counter,
            unchanged_ms: same_at.map_or(0, |at| at.since(watch.new_since)),
            is_new: watch.is_news && watch.new_since > closed,
            agent: watch.heartbeat.agent,
        }
    }

    /// The heartbeat that was read last in a slot.
    pub fn last(&self, slot: u32) -> Option<&Heartbeat> {
        self.slots.get(&slot).map(|watch| &watch.heartbeat)
    }
}
