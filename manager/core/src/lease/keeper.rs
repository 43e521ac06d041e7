//! This host's own heartbeat on the volume.
//!
//! ```text
//!   sent ──────── acknowledged                 sent
//!    │<──── runner_deadline_ms ────────────>│ lapsed
//! ```
//! The plane is valid until the deadline counted from when the last acknowledged write was *sent*:
//! an observer cannot have seen it before that. It may lapse and come back; that both planes have
//! lapsed at once is for whoever combines them.

use crate::guardian::planes::PlaneState;
use holdfast_model::id::{BootId, HostName, Incarnation};
use holdfast_model::lease::{Heartbeat, HostPhase};
use holdfast_model::time::Instant;

/// After a failed write the next one is tried after this part of the period.
const RETRY_PART: u64 = 4;

/// Who writes, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// This host.
    pub host: HostName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its boot.
    pub boot_id: BootId,
    /// Between two heartbeats, in milliseconds.
    pub period_ms: u32,
    /// From sending the last heartbeat that was written to the kill, in milliseconds.
    pub runner_deadline_ms: u32,
    /// From the kill to the last VM gone, in milliseconds.
    pub kill_bound_ms: u32,
    /// From there to the watchdog's reset, in milliseconds; 0 without one.
    pub watchdog_bound_ms: u32,
}

/// This host's heartbeat.
#[derive(Debug, Clone)]
pub struct Keeper {
    identity: Identity,
    counter: u64,
    phase: HostPhase,
    answered: u64,
    under_way: Option<(u64, Instant)>,
    /// When the last write that was acknowledged was sent.
    last_sent: Option<Instant>,
    next_at: Instant,
}

impl Keeper {
    /// Of a life that begins now.
    pub fn new(identity: Identity, now: Instant) -> Self {
        Self {
            identity,
            counter: 0,
            phase: HostPhase::Holding,
            answered: 0,
            under_way: None,
            last_sent: None,
            next_at: now,
        }
    }

    /// The heartbeat to write now, if one is due. Its end is told by [`Self::written`] or
    /// [`Self::failed`]; until then there is no other.
    pub fn poll(&mut self, now: Instant) -> Option<Heartbeat> {
        if self.under_way.is_some() || now < self.next_at {
            return None;
        }
        self.counter += 1;
        self.under_way = Some((self.counter, now));
        let identity = &self.identity;
        Some(Heartbeat {
            host: identity.host.clone(),
            incarnation: identity.incarnation.clone(),
            boot_id: identity.boot_id.clone(),
            counter: self.counter,
            phase: self.phase,
            answered: self.answered,
            period_ms: identity.period_ms,
            runner_deadline_ms: identity.runner_deadline_ms,
            kill_bound_ms: identity.kill_bound_ms,
            watchdog_bound_ms: identity.watchdog_bound_ms,
        })
    }

    /// The storage has the heartbeat with this counter.
    pub fn written(&mut self, counter: u64) {
        if let Some((_, sent)) = self.under_way.take_if(|(own, _)| *own == counter) {
            self.last_sent = Some(sent);
            self.next_at = sent.plus(u64::from(self.identity.period_ms));
        }
    }

    /// It does not have it, or nobody knows: the next one has a new counter.
    pub fn failed(&mut self, counter: u64, now: Instant) {
        if self.under_way.take_if(|(own, _)| *own == counter).is_some() {
            self.next_at = now.plus(u64::from(self.identity.period_ms) / RETRY_PART);
        }
    }

    /// Everything that this life ran has stopped, confirmed. The next heartbeat says so, at once.
    pub fn release(&mut self, answered: u64, now: Instant) {
        self.phase = HostPhase::Released;
        self.answered = self.answered.max(answered);
        self.next_at = now;
    }

    /// Until when VMs may run by this plane; none before the first heartbeat was written, and none
    /// after a release.
    pub fn valid_until(&self) -> Option<Instant> {
        let sent = self
            .last_sent
            .filter(|_| self.phase == HostPhase::Holding)?;
        Some(sent.plus(u64::from(self.identity.runner_deadline_ms)))
    }

    /// How the plane stands.
    pub fn state(&self, now: Instant) -> PlaneState {
        match self.valid_until() {
            Some(until) if now < until => PlaneState::Valid,
            _ => PlaneState::Lapsed,
        }
    }

    /// When to poll again at the latest; none while a write is under way.
    pub fn next_wake(&self) -> Option<Instant> {
        self.under_way.is_none().then_some(self.next_at)
    }
}
