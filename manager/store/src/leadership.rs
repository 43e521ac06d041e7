//! Leadership: the leader renews `leader/heartbeat`; a standby that saw no renewal for
//! `leader_wait` by its own clock takes over. Pure, and the same mechanism as a host's session.
//!
//! ```text
//!                     silence, or nobody               Committed
//!   ┌─────────┐ ───────────────────────► ┌──────────┐ ──────────► ┌─────────┐
//!   │ Standby │   txn on the revisions   │ Claiming │             │ Leading │ renews, guarded
//!   └─────────┘ ◄─────────────────────── └──────────┘             └─────────┘ by both keys
//!        ▲           another was faster                                │
//!        └──────────────────── a renewal finds itself superseded ──────┘
//! ```
//! `leader/epoch` is written only at a takeover, in one transaction that compares the last seen
//! revisions of both keys: a renewal that the standby has not seen yet makes it fail. Its mod
//! revision is the epoch, and every write of that leader compares it; so a leader that was only
//! paused finds its writes refused, whatever it believes.
//!
//! Only revisions and silence count, never what the records say: a record that cannot be read
//! (a newer version's) neither blocks a takeover nor makes one.

mod beat;

use self::beat::LeaderBeat;
use crate::api::{Compare, KeyValue, Listing, StoreError, Txn, TxnOp, TxnOutcome};
use crate::guarded::{Ack, Answer, Ask, Beat, Heartbeat, Lost, Numbers, Start, Whose};
use crate::guards::{encode, expect};
use crate::keyspace::{Key, LEADER};
use crate::view::View;
use holdfast_model::id::{ManagerName, Revision, SiteName};
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::time::Instant;
use std::collections::BTreeMap;

/// One life of a manager daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// Its name.
    pub name: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// Unique per start of the daemon.
    pub life: String,
}

/// What a standby sees of the leader: revisions, and when it first saw them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seat {
    /// `leader/epoch`.
    pub epoch: Option<(Revision, Instant)>,
    /// `leader/heartbeat`.
    pub heartbeat: Option<(Revision, Instant)>,
    /// Since when the view has been fresh; `None`: it is stale, so nothing can be said.
    pub view_since: Option<Instant>,
    /// A standby that another one should precede waits so much longer, in milliseconds.
    pub stand_back_ms: u64,
}

impl Seat {
    /// From a manager's view.
    pub fn of(view: &View, view_since: Option<Instant>) -> Self {
        Self {
            epoch: view.seen(&Key::LeaderEpoch),
            heartbeat: view.seen(&Key::LeaderHeartbeat),
            view_since,
            stand_back_ms: 0,
        }
    }

    /// Behind another standby that is fitter to lead.
    pub fn behind(mut self, stand_back_ms: u64) -> Self {
        self.stand_back_ms = stand_back_ms;
        self
    }
}

/// What changed by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// This manager leads now, with this epoch.
    Elected {
        /// Guards every write from here on.
        epoch: Revision,
    },
    /// The lead was renewed.
    Renewed(Ack),
    /// This manager does not lead any more. Forget all plans.
    Deposed(Lost),
}

/// The bounds, from policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A leader renews this often, in milliseconds.
    pub renew_ms: u64,
    /// A standby takes over after this much silence, in milliseconds.
    pub wait_ms: u64,
}

/// The machine. See the module's picture.
#[derive(Debug, Clone)]
pub struct Leadership {
    me: Me,
    pace: Pace,
    /// Numbers of this life's heartbeats and claims never repeat.
    next_beat: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Standby {
        not_before: Instant,
        /// Since when it knows that nobody leads.
        vacant_since: Option<Instant>,
    },
    Claiming(Claim),
    Leading {
        epoch: Revision,
        heartbeat: Heartbeat<LeaderBeat>,
    },
}

/// Claims under way, all on the same two revisions: at most one of them happens.
#[derive(Debug, Clone)]
struct Claim {
    epoch: Option<Revision>,
    heartbeat: Option<Revision>,
    /// Numbers of the claims with their send times.
    sent: BTreeMap<u64, Instant>,
    phase: ClaimPhase,
}

#[derive(Debug, Clone, Copy)]
enum ClaimPhase {
    Sent { beat: u64 },
    MustRead { not_before: Instant },
    Reading,
}

fn standby(not_before: Instant) -> State {
    State::Standby {
        not_before,
        vacant_since: None,
    }
}

impl Leadership {
    /// A standby.
    pub fn new(me: Me, pace: Pace) -> Self {
        let state = standby(Instant(0));
        Self {
            me,
            pace,
            next_beat: 1,
            state,
        }
    }

    /// Policy changed the bounds.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        if let State::Leading { heartbeat, .. } = &mut self.state {
            heartbeat.set_period_ms(pace.renew_ms);
        }
    }

    /// The epoch, if this manager took the lead and has not found itself superseded. It may be
    /// superseded all the same: the guard of its writes decides.
    pub fn epoch(&self) -> Option<Revision> {
        match &self.state {
            State::Leading { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }

    /// It leads, and no standby that keeps the bounds can have taken over yet. For what no guard
    /// covers: a fencing call, and "I lead" in a status.
    pub fn is_sure(&self, now: Instant) -> bool {
        let State::Leading { heartbeat, .. } = &self.state else {
            return false;
        };
        heartbeat
            .acknowledged()
            .is_some_and(|ack| now.since(ack.sent_at) < self.pace.wait_ms)
    }

    /// Gives the lead up (at shutdown): a transaction to try once. A standby that sees the
    /// heartbeat gone need not wait for silence. This life stands back for a while.
    pub fn release(&mut self, now: Instant) -> Option<Txn> {
        let State::Leading { heartbeat, .. } = &self.state else {
            return None;
        };
        let txn = heartbeat.release();
        self.state = standby(now.plus(self.pace.wait_ms * 3));
        txn
    }

    /// What to do now. See [`Ask`] for the protocol.
    pub fn poll(&mut self, now: Instant, seat: &Seat) -> Ask {
        match &mut self.state {
            State::Standby {
                not_before,
                vacant_since,
            } => {
                let is_vacant = seat.view_since.is_some() && seat.heartbeat.is_none();
                *vacant_since = is_vacant.then(|| vacant_since.unwrap_or(now));
                let (not_before, vacant_since) = (*not_before, vacant_since.unwrap_or(now));
                self.stand_by(now, not_before, vacant_since, seat)
            }
            State::Claiming(claim) => match claim.phase {
                ClaimPhase::MustRead { not_before } if now < not_before => Ask::Wait(not_before),
                // `Sent`: asked again without an answer: the caller gave the call up.
                _ => {
                    claim.phase = ClaimPhase::Reading;
                    Ask::Read(LEADER.into())
                }
            },
            State::Leading { heartbeat, .. } => heartbeat.poll(now),
        }
    }

    /// What came of it.
    pub fn answer(&mut self, now: Instant, answer: Answer) -> Option<Turn> {
        match (&mut self.state, answer) {
            (State::Standby { .. }, _) => None,
            (State::Leading { heartbeat, .. }, answer) => {
                let ack = heartbeat.answer(now, answer);
                let Some(lost) = heartbeat.lost().cloned() else {
                    return ack.map(Turn::Renewed);
                };
                self.state = standby(now);
                Some(Turn::Deposed(lost))
            }
            (State::Claiming(claim), answer) => match (claim.phase, answer) {
                (ClaimPhase::Sent { beat }, Answer::Txn(result)) => {
                    self.on_claim(now, beat, result)
                }
                (ClaimPhase::Reading, Answer::Read(Ok(listing))) => self.on_read(now, listing),
                (ClaimPhase::Reading, Answer::Read(Err(_))) => {
                    claim.phase = ClaimPhase::MustRead {
                        not_before: now.plus(self.pace.renew_ms),
                    };
                    None
                }
                _ => None,
            },
        }
    }

    fn stand_by(
        &mut self,
        now: Instant,
        not_before: Instant,
        vacant_since: Instant,
        seat: &Seat,
    ) -> Ask {
        let Some(view_since) = seat.view_since else {
            // Deaf: nobody's silence. The view's return wakes the caller earlier.
            return Ask::Wait(now.plus(self.pace.renew_ms));
        };
        let due = match (seat.heartbeat, seat.epoch) {
            (Some((_, heartbeat)), epoch) => {
                let moved = epoch.map_or(heartbeat, |(_, at)| at.max(heartbeat));
                moved
                    .max(view_since)
                    .plus(self.pace.wait_ms + seat.stand_back_ms)
            }
            // Never led, or given up: nobody to wait for but one that is fitter.
            (None, _) if seat.stand_back_ms > 0 => vacant_since.plus(seat.stand_back_ms),
            (None, _) => view_since,
        };
        let due = due.max(not_before);
        if now < due {
            return Ask::Wait(due);
        }
        let claim = Claim {
            epoch: seat.epoch.map(|(revision, _)| revision),
            heartbeat: seat.heartbeat.map(|(revision, _)| revision),
            sent: BTreeMap::new(),
            phase: ClaimPhase::Reading,
        };
        self.claim(now, claim)
    }

    fn claim(&mut self, now: Instant, mut claim: Claim) -> Ask {
        let beat = self.next_beat;
        self.next_beat += 1;
        claim.sent.insert(beat, now);
        claim.phase = ClaimPhase::Sent { beat };
        let txn = Txn {
            compares: vec![
                expect(&Key::LeaderEpoch, claim.epoch),
                expect(&Key::LeaderHeartbeat, claim.heartbeat),
            ],
            ops: vec![
                TxnOp::Put(Key::LeaderEpoch.path(), encode(&self.epoch_record())),
                TxnOp::Put(Key::LeaderHeartbeat.path(), self.beat().value(beat)),
            ],
        };
        self.state = State::Claiming(claim);
        Ask::Txn(txn)
    }

    fn on_claim(
        &mut self,
        now: Instant,
        beat: u64,
        result: Result<TxnOutcome, StoreError>,
    ) -> Option<Turn> {
        let State::Claiming(claim) = &mut self.state else {
            return None;
        };
        match result {
            Ok(TxnOutcome::Committed(revision)) => {
                let sent_at = claim.sent.get(&beat).copied().unwrap_or(now);
                return Some(self.elected(revision, sent_at));
            }
            Ok(TxnOutcome::Refused(_)) => {
                claim.sent.remove(&beat);
                // An earlier claim without an answer may be what this one ran into.
                if !claim.sent.is_empty() {
                    claim.phase = ClaimPhase::MustRead { not_before: now };
                    return None;
                }
            }
            Err(StoreError::OutcomeUnknown { .. }) => {
                claim.phase = ClaimPhase::MustRead { not_before: now };
                return None;
            }
            // Nothing was done.
            Err(_) => {
                claim.sent.remove(&beat);
                if !claim.sent.is_empty() {
                    let not_before = now.plus(self.pace.renew_ms);
                    claim.phase = ClaimPhase::MustRead { not_before };
                    return None;
                }
            }
        }
        self.state = standby(now.plus(self.pace.renew_ms));
        None
    }

    /// Which of the claims happened, if one did. If none has, stand by; a copy that still arrives
    /// late makes an epoch that nobody leads with, which is taken over like any other.
    fn on_read(&mut self, now: Instant, listing: Listing) -> Option<Turn> {
        let State::Claiming(claim) = &self.state else {
            return None;
        };
        let find = |key: Key| -> Option<&KeyValue> {
            let path = key.path();
            listing.items.iter().find(|item| item.key == path)
        };
        let mine = find(Key::LeaderEpoch)
            .zip(find(Key::LeaderHeartbeat))
            .and_then(|(e, h)| {
                // Written together, and since.
                let together = e.revision == h.revision && Some(e.revision) != claim.epoch;
                match self.beat().recognise(&h.value) {
                    Whose::Mine(beat) if together => {
                        claim.sent.get(&beat).map(|sent_at| (e.revision, *sent_at))
                    }
                    _ => None,
                }
            });
        if let Some((revision, sent_at)) = mine {
            return Some(self.elected(revision, sent_at));
        }
        self.state = standby(now);
        None
    }

    fn elected(&mut self, epoch: Revision, sent_at: Instant) -> Turn {
        let start = Start {
            base: Some(epoch),
            numbers: Numbers::From(self.next_beat),
            also: vec![Compare::Revision(Key::LeaderEpoch.path(), epoch)],
            period_ms: self.pace.renew_ms,
        };
        // A lead that is lost and won again counts on above everything that was sent in this one.
        self.next_beat += BEATS_PER_LEAD;
        let ack = Ack {
            sent_at,
            revision: epoch,
        };
        let heartbeat = Heartbeat::acknowledged_start(self.beat(), start, ack);
        self.state = State::Leading { epoch, heartbeat };
        Turn::Elected { epoch }
    }

    fn beat(&self) -> LeaderBeat {
        LeaderBeat {
            manager: self.me.name.clone(),
            life: self.me.life.clone(),
        }
    }

    fn epoch_record(&self) -> LeaderEpoch {
        LeaderEpoch {
            manager: self.me.name.clone(),
            site: self.me.site.clone(),
            life: self.me.life.clone(),
        }
    }
}

/// More heartbeats than one lead can send: at 10 a second, for 3,000 years.
const BEATS_PER_LEAD: u64 = 1 << 40;
