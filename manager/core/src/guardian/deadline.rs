//! The runner's deadline: when the guard must stop what this host runs.
//!
//! ```text
//! Unarmed ──arm──> Armed ──renewed(sent_at), storage_renewed(sent_at)──> Armed (later deadline)
//!                    │ per plane: sent_at of the last acknowledged write + runner_deadline_ms
//!                    │ control past it: kill what has no storage lease
//!                    └──both past it: Lapsed: kill all, and stay so
//! Lapsed ──arm(another incarnation), nothing left alive──> Armed
//! ```
//! There are two planes: *control*, the session in the store, and *storage*, the heartbeat on a lease
//! volume, where this life has one. A VM with a storage lease runs while either is valid, any other
//! while control is. Once both have lapsed at the same time there is no way back, even if one returns a
//! moment later: the taker may have moved on.
//!
//! A deadline counts from when the heartbeat was *sent*: the taker counts from when it saw it, which is
//! later. Once a deadline was found to have passed, no acknowledgement revives what it ended, however
//! early its heartbeat was sent; with two planes, control may come back while storage still holds.
//!
//! Acknowledgements are taken in before the clock is looked at: a guard that was stopped for a while
//! and finds one waiting knows that its session was renewed all along, so it must not kill for its own
//! pause. Nobody can have closed the life meanwhile: a leader closes on the last renewal.
//!
//! The guard owns one [`Deadline`], asks [`Deadline::tick`] at every wake-up and before every
//! answer, and sleeps until [`Deadline::next_wake`]. Nothing the agent says, or fails to say,
//! delays it.

use super::planes::PlaneState;
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::Incarnation;
use holdfast_model::time::Instant;
use serde::{Deserialize, Serialize};

/// The state machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    phase: Phase,
}

/// Where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "phase")]
pub enum Phase {
    /// No life of this host is watched over: nothing may run.
    #[default]
    Unarmed,
    /// VMs of this life may run until the deadline.
    Armed(Armed),
    /// The deadline has passed. Everything of this life is killed, also what turns up later.
    Lapsed {
        /// The life that ended.
        incarnation: Incarnation,
        /// The deadline it missed.
        since: Instant,
    },
}

/// A life that is watched over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Which.
    pub incarnation: Incarnation,
    /// The bounds that are sure to be declared in the session.
    pub bounds: RunnerBounds,
    /// When the last acknowledged heartbeat was sent; at first, when it was armed.
    pub last_sent: Instant,
    /// New bounds, asked for at that time. A taker may still go by the old ones, so the shorter
    /// deadline counts until a heartbeat sent after it was acknowledged.
    pub next_bounds: Option<(Instant, RunnerBounds)>,
    /// A leader has closed the session, as was found out then: control has lapsed, whatever was sent
    /// before. A heartbeat sent later, when the life opened its session again, takes it back.
    #[serde(default)]
    pub control_closed: Option<Instant>,
    /// The storage plane; none for a life that has not declared one.
    #[serde(default)]
    pub storage: Option<Storage>,
}

/// The storage plane of a life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// When the last heartbeat that the volume has was sent; none before the first.
    pub last_sent: Option<Instant>,
}

impl Armed {
    fn runner_deadline_ms(&self) -> u64 {
        let next = self.next_bounds.as_ref();
        next.map_or(self.bounds.runner_deadline_ms, |(_, bounds)| {
            bounds
                .runner_deadline_ms
                .min(self.bounds.runner_deadline_ms)
        })
    }

    /// When the control plane lapses unless a heartbeat is acknowledged before.
    pub fn control_until(&self) -> Instant {
        let until = self.last_sent.plus(self.runner_deadline_ms());
        self.control_closed
            .map_or(until, |closed| closed.min(until))
    }

    /// When the storage plane lapses unless a heartbeat is written before; none without one.
    pub fn storage_until(&self) -> Option<Instant> {
        let sent = self.storage?.last_sent?;
        Some(sent.plus(self.runner_deadline_ms()))
    }

    /// When this life ends unless a plane is renewed before.
    pub fn deadline(&self) -> Instant {
        let control = self.control_until();
        self.storage_until()
            .map_or(control, |storage| storage.max(control))
    }

    /// How a plane stands that is valid until then.
    fn state(until: Option<Instant>, now: Instant) -> PlaneState {
        match until {
            None => PlaneState::Unused,
            Some(until) if now < until => PlaneState::Valid,
            Some(_) => PlaneState::Lapsed,
        }
    }

    /// How the two planes stand: control, storage.
    pub fn planes(&self, now: Instant) -> (PlaneState, PlaneState) {
        let control = Self::state(Some(self.control_until()), now);
        let storage = match (self.storage, self.storage_until()) {
            (Some(_), None) => PlaneState::Lapsed,
            (_, until) => Self::state(until, now),
        };
        (control, storage)
    }
}

/// Why arming is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "refused")]
pub enum ArmError {
    /// VMs of another life are still alive here.
    #[error(
        "VMs of incarnation {held} are still alive on this host: a new incarnation begins only \
         when nothing of the last one is left"
    )]
    NotEmpty {
        /// That life.
        held: Incarnation,
    },
    /// This life has missed its deadline; there is no way back into it.
    #[error("incarnation {0} has missed its deadline: open a new one")]
    Over(Incarnation),
}

/// What became of an acknowledged heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "renewal")]
pub enum Renewal {
    /// It counts.
    Until {
        /// The deadline now.
        deadline: Instant,
    },
    /// It does not: of another life, or nothing is armed.
    Ignored,
    /// It came too late: this life has missed its deadline.
    TooLate,
}

/// What the guard must do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Let the watched processes run.
    LetRun,
    /// Kill every watched process without a storage lease, and any such that is handed over while it
    /// is so.
    KillUnleased,
    /// Kill every watched process, and any that is handed over from now on.
    KillAll,
}

impl Deadline {
    /// Nothing is watched over yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Watches over a life from now on. To be called before the first heartbeat of that life is
    /// sent, and again by an agent that was restarted: that changes no deadline.
    ///
    /// `empty`: none of the processes watched for an earlier life is alive, confirmed by the
    /// kernel. `storage`: this life declares a storage plane in its session for sure; once said, it
    /// stays so. Returns the deadline.
    pub fn arm(
        &mut self,
        incarnation: Incarnation,
        bounds: RunnerBounds,
        storage: bool,
        empty: bool,
        now: Instant,
    ) -> Result<Instant, ArmError> {
        self.tick(now);
        match &mut self.phase {
            Phase::Armed(armed) if armed.incarnation == incarnation => {
                armed.next_bounds = (armed.bounds != bounds).then_some((now, bounds));
                if storage {
                    armed.storage.get_or_insert_default();
                }
                return Ok(armed.deadline());
            }
            Phase::Lapsed {
                incarnation: over, ..
            } if *over == incarnation => return Err(ArmError::Over(incarnation)),
            Phase::Armed(Armed {
                incarnation: held, ..
            })
            | Phase::Lapsed {
                incarnation: held, ..
            } if !empty => return Err(ArmError::NotEmpty { held: held.clone() }),
            Phase::Armed(_) | Phase::Lapsed { .. } | Phase::Unarmed => {}
        }
        let armed = Armed {
            incarnation,
            bounds,
            last_sent: now,
            next_bounds: None,
            control_closed: None,
            storage: storage.then(Storage::default),
        };
        let deadline = armed.deadline();
        self.phase = Phase::Armed(armed);
        Ok(deadline)
    }

    /// A heartbeat of that life, sent at `sent_at`, was acknowledged.
    pub fn renewed(
        &mut self,
        incarnation: &Incarnation,
        sent_at: Instant,
        now: Instant,
    ) -> Renewal {
        match &mut self.phase {
            Phase::Unarmed => Renewal::Ignored,
            Phase::Lapsed {
                incarnation: over, ..
            } => match over == incarnation {
                true => Renewal::TooLate,
                false => Renewal::Ignored,
            },
            Phase::Armed(armed) if armed.incarnation != *incarnation => Renewal::Ignored,
            Phase::Armed(armed) => {
                // A time that has not come yet is no send time; acknowledgements may overtake
                // each other, the latest counts.
                if sent_at <= now && sent_at > armed.last_sent {
                    armed.last_sent = sent_at;
                    armed.control_closed.take_if(|closed| sent_at > *closed);
                    if let Some((_, bounds)) =
                        armed.next_bounds.take_if(|(asked, _)| sent_at >= *asked)
                    {
                        armed.bounds = bounds;
                    }
                }
                Renewal::Until {
                    deadline: armed.deadline(),
                }
            }
        }
    }

    /// A heartbeat of that life, sent at `sent_at`, stands on the lease volume.
    pub fn storage_renewed(&mut self, incarnation: &Incarnation, sent_at: Instant, now: Instant) {
        if let Phase::Armed(armed) = &mut self.phase
            && armed.incarnation == *incarnation
            && let Some(storage) = &mut armed.storage
            && sent_at <= now
        {
            storage.last_sent = storage.last_sent.max(Some(sent_at));
        }
    }

    /// What must be done at this time. Once it says [`Verdict::KillAll`] it says so until another
    /// life is armed.
    pub fn tick(&mut self, now: Instant) -> Verdict {
        if let Phase::Armed(armed) = &self.phase
            && now >= armed.deadline()
        {
            self.phase = Phase::Lapsed {
                incarnation: armed.incarnation.clone(),
                since: armed.deadline(),
            };
        }
        match &self.phase {
            Phase::Lapsed { .. } => Verdict::KillAll,
            Phase::Armed(armed) if now >= armed.control_until() => Verdict::KillUnleased,
            Phase::Unarmed | Phase::Armed(_) => Verdict::LetRun,
        }
    }

    /// A leader has closed the session of that life, and not yet the life: the control plane has
    /// lapsed, whatever the clock says.
    pub fn control_closed(&mut self, incarnation: &Incarnation, now: Instant) -> Verdict {
        if let Phase::Armed(armed) = &mut self.phase
            && armed.incarnation == *incarnation
        {
            armed.control_closed = Some(now);
        }
        self.tick(now)
    }

    /// That life is closed for good, or is to end: what runs of it may run elsewhere by now. The
    /// deadline has come, whatever the clock and the storage plane say.
    pub fn revoke(&mut self, incarnation: &Incarnation, now: Instant) -> Verdict {
        if self.accepts(incarnation) {
            self.phase = Phase::Lapsed {
                incarnation: incarnation.clone(),
                since: now,
            };
        }
        self.tick(now)
    }

    /// Whether a process of that life may be handed over to be watched: only while it is armed.
    pub fn accepts(&self, incarnation: &Incarnation) -> bool {
        matches!(&self.phase, Phase::Armed(armed) if armed.incarnation == *incarnation)
    }

    /// How the two planes stand; both [`PlaneState::Lapsed`] unless a life is armed.
    pub fn planes(&self, now: Instant) -> (PlaneState, PlaneState) {
        match &self.phase {
            Phase::Armed(armed) => armed.planes(now),
            Phase::Unarmed | Phase::Lapsed { .. } => (PlaneState::Lapsed, PlaneState::Lapsed),
        }
    }

    /// Until when VMs may be set going: the control plane's deadline, since every start needs a
    /// session. None unless a life is armed.
    pub fn control_until(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Armed(armed) => Some(armed.control_until()),
            Phase::Unarmed | Phase::Lapsed { .. } => None,
        }
    }

    /// When to tick again at the latest after `now`; none while nothing can lapse.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        match &self.phase {
            Phase::Armed(armed) => {
                let control = Some(armed.control_until()).filter(|at| *at > now);
                Some(control.map_or(armed.deadline(), |at| at.min(armed.deadline())))
            }
            Phase::Unarmed | Phase::Lapsed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
