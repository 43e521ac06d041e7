//! A heartbeat key whose every write is guarded by the revision of the last. Sessions of hosts and
//! the leader's heartbeat are two uses of this one mechanism. Pure: time and answers come in.
//!
//! ```text
//!             Committed                         refused, or no answer
//!   ┌──────┐ ◄───────── ┌──────┐ ───────────────────────────────────► ┌───────────┐
//!   │ Rest │            │ Sent │                                      │ Must read │
//!   └──────┘ ─────────► └──────┘ ◄─ revision as before: send again ── └───────────┘
//!      ▲       period                                                  │   │
//!      └── an earlier write of ours is there: acknowledged ────────────┘   │ anything else
//!                                                                          ▼
//!                                                          Lost: closed, taken, gone, outranked
//! ```
//! Why not etcd's leases: they restart when etcd's leader changes, and old servers revoked live
//! ones. A guarded write proves that nobody wrote in between, on any server.
//!
//! **No answer.** All writes that are under way compare the same revision and write the same key,
//! so at most one of them ever happens, however late a copy reaches the store. Reading tells which:
//! each carries its number ([`Beat::value`]). If none has, another may be sent; the store sorts it
//! out.
//!
//! **Deadline.** [`Ack::sent_at`] is the time at which the acknowledged write was *sent*: an
//! observer saw it later than that, so counting from it errs to the safe side.

mod protocol;

pub use protocol::{Ack, Answer, Ask, BEATS_PER_MS, Beat, Lost, Numbers, Start, Whose};

use crate::api::{Compare, KeyValue, Listing, StoreError, Txn, TxnOp, TxnOutcome};
use holdfast_model::id::Revision;
use holdfast_model::time::Instant;
use std::collections::BTreeMap;

/// Writes under way that are remembered with the time they were sent. More can only pile up while
/// neither writes nor reads are answered; of an older one that turns out to have happened only the
/// revision is used, not the time.
const PENDING_MAX: usize = 64;

/// The machine. See the module's picture.
#[derive(Debug, Clone)]
pub struct Heartbeat<B> {
    record: B,
    also: Vec<Compare>,
    period_ms: u64,
    /// The revision the next write compares; `None`: the key must not exist.
    base: Option<Revision>,
    numbers: Numbers,
    /// Numbers from here on are this process's. `None`: nothing sent yet.
    first_beat: Option<u64>,
    next_beat: u64,
    /// Writes on `base` that may have happened or may still happen, with their send times.
    pending: BTreeMap<u64, Instant>,
    acknowledged: Option<Ack>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Rest { until: Instant },
    Sent { beat: u64 },
    MustRead { not_before: Instant, refused: bool },
    Reading { refused: bool },
    Over(Lost),
}

impl<B: Beat> Heartbeat<B> {
    /// A heartbeat whose first write is due at once.
    pub fn new(record: B, start: Start) -> Self {
        Self {
            record,
            also: start.also,
            period_ms: start.period_ms.max(1),
            base: start.base,
            numbers: start.numbers,
            first_beat: None,
            next_beat: 0,
            pending: BTreeMap::new(),
            acknowledged: None,
            phase: Phase::Rest { until: Instant(0) },
        }
    }

    /// A heartbeat whose first write has already happened.
    pub fn acknowledged_start(record: B, start: Start, ack: Ack) -> Self {
        let mut heartbeat = Self::new(record, start);
        heartbeat.base = Some(ack.revision);
        heartbeat.acknowledged = Some(ack);
        heartbeat.phase = Phase::Rest {
            until: ack.sent_at.plus(heartbeat.period_ms),
        };
        heartbeat
    }

    /// The record as the next write will have it.
    pub fn record(&self) -> &B {
        &self.record
    }

    /// Changes what the next write says. Call [`Self::hurry`] if it should not wait for its turn.
    pub fn record_mut(&mut self) -> &mut B {
        &mut self.record
    }

    /// The next write is due now.
    pub fn hurry(&mut self) {
        if let Phase::Rest { until } = &mut self.phase {
            *until = Instant(0);
        }
    }

    /// Policy changed the pace.
    pub fn set_period_ms(&mut self, period_ms: u64) {
        self.period_ms = period_ms.max(1);
    }

    /// The last heartbeat known to have happened. `None` until the first one has.
    pub fn acknowledged(&self) -> Option<Ack> {
        self.acknowledged
    }

    /// Why it ended, if it did.
    pub fn lost(&self) -> Option<&Lost> {
        match &self.phase {
            Phase::Over(lost) => Some(lost),
            _ => None,
        }
    }

    /// A transaction that gives the key up by removing it, if it is known to be held.
    pub fn release(&self) -> Option<Txn> {
        let ack = self.acknowledged.filter(|_| self.lost().is_none())?;
        let key = self.record.key().path();
        let mut compares = vec![Compare::Revision(key.clone(), ack.revision)];
        compares.extend(self.also.iter().cloned());
        Some(Txn {
            compares,
            ops: vec![TxnOp::Delete(key)],
        })
    }

    /// What to do now.
    pub fn poll(&mut self, now: Instant) -> Ask {
        match self.phase.clone() {
            Phase::Over(lost) => Ask::Over(lost),
            Phase::Rest { until }
            | Phase::MustRead {
                not_before: until, ..
            } if now < until => Ask::Wait(until),
            Phase::Rest { .. } => self.send(now),
            // Asked again without an answer: the caller gave the call up.
            Phase::Sent { .. } => self.read(false),
            Phase::MustRead { refused, .. } | Phase::Reading { refused } => self.read(refused),
        }
    }

    /// What came of it. An acknowledged heartbeat if there is a new one.
    pub fn answer(&mut self, now: Instant, answer: Answer) -> Option<Ack> {
        match (self.phase.clone(), answer) {
            (Phase::Sent { beat }, Answer::Txn(result)) => self.on_txn(now, beat, result),
            (Phase::Reading { refused }, Answer::Read(result)) => {
                self.on_read(now, refused, result)
            }
            // An answer nobody waits for any more. What it says will be read if it matters.
            _ => None,
        }
    }

    fn send(&mut self, now: Instant) -> Ask {
        let beat = self.number(now);
        self.pending.insert(beat, now);
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_first();
        }
        self.phase = Phase::Sent { beat };
        let key = self.record.key().path();
        let mut compares = vec![match self.base {
            Some(revision) => Compare::Revision(key.clone(), revision),
            None => Compare::Absent(key.clone()),
        }];
        compares.extend(self.also.iter().cloned());
        Ask::Txn(Txn {
            compares,
            ops: vec![TxnOp::Put(key, self.record.value(beat))],
        })
    }

    /// Another process of this life was there before.
    fn goes_on(&self) -> bool {
        matches!(self.numbers, Numbers::FromClock { .. })
    }

    fn number(&mut self, now: Instant) -> u64 {
        let beat = match (self.first_beat, self.numbers) {
            (Some(_), _) => self.next_beat,
            (None, Numbers::From(first)) => first,
            (None, Numbers::FromClock { above }) => now
                .0
                .saturating_mul(BEATS_PER_MS)
                .max(above.saturating_add(1)),
        };
        self.first_beat.get_or_insert(beat);
        self.next_beat = beat + 1;
        beat
    }

    /// A number of this process's own.
    fn is_own(&self, beat: u64) -> bool {
        self.first_beat
            .is_some_and(|first| (first..self.next_beat).contains(&beat))
    }

    fn read(&mut self, refused: bool) -> Ask {
        self.phase = Phase::Reading { refused };
        Ask::Read(self.record.key().path())
    }

    fn on_txn(
        &mut self,
        now: Instant,
        beat: u64,
        result: Result<TxnOutcome, StoreError>,
    ) -> Option<Ack> {
        match result {
            Ok(TxnOutcome::Committed(revision)) => return self.happened(now, beat, revision),
            Ok(TxnOutcome::Refused(_)) => {
                // This one has not happened and will not.
                self.pending.remove(&beat);
                self.phase = Phase::MustRead {
                    not_before: now,
                    refused: true,
                };
            }
            Err(StoreError::OutcomeUnknown { .. }) => {
                self.phase = Phase::MustRead {
                    not_before: now,
                    refused: false,
                };
            }
            // Nothing was done.
            Err(_) => {
                self.pending.remove(&beat);
                self.phase = Phase::Rest {
                    until: now.plus(self.retry_ms()),
                };
            }
        }
        None
    }

    fn on_read(
        &mut self,
        now: Instant,
        refused: bool,
        result: Result<Listing, StoreError>,
    ) -> Option<Ack> {
        let Ok(listing) = result else {
            let not_before = now.plus(self.retry_ms());
            self.phase = Phase::MustRead {
                not_before,
                refused,
            };
            return None;
        };
        let key = self.record.key().path();
        let found = listing.items.into_iter().find(|item| item.key == key);
        if found.as_ref().map(|item| item.revision) == self.base {
            // As we left it. If a write of ours was refused all the same, another compare failed.
            self.phase = match refused {
                true => Phase::Over(Lost::Outranked),
                false => Phase::Rest { until: now },
            };
            return None;
        }
        match found {
            None => {
                self.phase = Phase::Over(Lost::Gone);
                None
            }
            Some(item) => self.on_changed(now, item),
        }
    }

    /// The key was written since `base`: by an earlier write of ours, or by somebody else.
    fn on_changed(&mut self, now: Instant, item: KeyValue) -> Option<Ack> {
        let lost = match self.record.recognise(&item.value) {
            Whose::Mine(beat) if self.is_own(beat) => {
                return self.happened(now, beat, item.revision);
            }
            // A write of an earlier process of this very life that arrived late. It acknowledges
            // nothing that this process sent.
            Whose::Mine(_) if self.goes_on() && self.acknowledged.is_none() => {
                self.base = Some(item.revision);
                self.pending.clear();
                self.phase = Phase::Rest { until: now };
                return None;
            }
            Whose::Mine(beat) => Lost::Taken(format!(
                "another process writes in this one's name (beat {beat})"
            )),
            Whose::Closed => Lost::Closed,
            Whose::Other(who) => Lost::Taken(who),
        };
        self.phase = Phase::Over(lost);
        None
    }

    /// Write `beat` is at `revision`. All others on the old base are dead.
    fn happened(&mut self, now: Instant, beat: u64, revision: Revision) -> Option<Ack> {
        self.base = Some(revision);
        let sent_at = self.pending.remove(&beat);
        self.pending.clear();
        let Some(sent_at) = sent_at else {
            // Too old to be remembered: held, but nothing to count a deadline from.
            self.phase = Phase::Rest { until: now };
            return None;
        };
        let ack = Ack { sent_at, revision };
        self.acknowledged = Some(ack);
        self.phase = Phase::Rest {
            until: sent_at.plus(self.period_ms),
        };
        Some(ack)
    }

    /// Wait after a call that failed without having done anything.
    fn retry_ms(&self) -> u64 {
        (self.period_ms / 4).max(10)
    }
}
