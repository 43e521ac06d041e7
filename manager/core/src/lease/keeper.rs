//! This host's own heartbeat on the volume.
//!
//! ```text
//!   sent ──────── acknowledged                 sent
//!    │<──── runner_deadline_ms ────────────>│ lapsed
//! ```
//! The plane is valid until the deadline counted from when the last acknowledged write was *sent*:
//! an observer cannot have seen it before that. It may lapse and come back; that is for
//! [`Deadline`](crate::guardian::deadline::Deadline), which combines it with the other plane.

use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{BootId, HostName, Incarnation};
use holdfast_model::lease::{AgentState, Heartbeat, HostPhase};
use holdfast_model::time::Instant;

/// After a failed write the next one is tried after this part of the period.
const RETRY_PART: u64 = 4;

/// The longest time between two heartbeats, in milliseconds: observers count from the last one they
/// saw, so a long period makes every failover longer.
const PERIOD_MAX_MS: u64 = 2_000;

/// Between two heartbeats, in milliseconds: four in the runner's deadline, so that one that is late or
/// lost costs nothing.
pub fn period_ms(runner_deadline_ms: u64) -> u32 {
    let period = (runner_deadline_ms / 4).clamp(1, PERIOD_MAX_MS);
    u32::try_from(period).unwrap_or(u32::MAX)
}

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

impl Identity {
    /// Of a life that keeps these bounds.
    pub fn new(
        host: HostName,
        incarnation: Incarnation,
        boot_id: BootId,
        bounds: &RunnerBounds,
    ) -> Self {
        let mut identity = Self {
            host,
            incarnation,
            boot_id,
            period_ms: 0,
            runner_deadline_ms: 0,
            kill_bound_ms: 0,
            watchdog_bound_ms: 0,
        };
        identity.set_bounds(bounds);
        identity
    }

    fn set_bounds(&mut self, bounds: &RunnerBounds) {
        let short = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
        self.period_ms = period_ms(bounds.runner_deadline_ms);
        self.runner_deadline_ms = short(bounds.runner_deadline_ms);
        self.kill_bound_ms = short(bounds.kill_bound_ms);
        self.watchdog_bound_ms = short(bounds.watchdog_bound_ms);
    }
}

/// This host's heartbeat.
#[derive(Debug, Clone)]
pub struct Keeper {
    identity: Identity,
    /// The last number that was used.
    counter: Option<u64>,
    phase: HostPhase,
    agent: AgentState,
    answered: u64,
    under_way: Option<(u64, Instant)>,
    hurried: bool,
    next_at: Instant,
}

impl Keeper {
    /// Of a life that begins now.
    pub fn new(identity: Identity, now: Instant) -> Self {
        Self {
            identity,
            counter: None,
            phase: HostPhase::Holding,
            agent: AgentState::Connected,
            answered: 0,
            under_way: None,
            hurried: false,
            next_at: now,
        }
    }

    fn is_new(&self, now: Instant) -> bool {
        self.counter.is_none_or(|last| now.0 > last)
    }

    /// The heartbeat to write now, if one is due. Its end is told by [`Self::written`] or
    /// [`Self::failed`]; until then there is no other.
    pub fn poll(&mut self, now: Instant) -> Option<Heartbeat> {
        // Its number is the time of sending: never the same twice, also in a guard that was restarted,
        // and an observer can tell how long after another one it was sent.
        if self.under_way.is_some() || now < self.next_at || !self.is_new(now) {
            return None;
        }
        self.counter = Some(now.0);
        self.under_way = Some((now.0, now));
        let identity = &self.identity;
        Some(Heartbeat {
            host: identity.host.clone(),
            incarnation: identity.incarnation.clone(),
            boot_id: identity.boot_id.clone(),
            counter: now.0,
            phase: self.phase,
            agent: self.agent,
            answered: self.answered,
            period_ms: identity.period_ms,
            runner_deadline_ms: identity.runner_deadline_ms,
            kill_bound_ms: identity.kill_bound_ms,
            watchdog_bound_ms: identity.watchdog_bound_ms,
        })
    }

    /// The storage has the heartbeat with this counter: when it was sent, if it was under way. While
    /// VMs may run, the plane is valid from then on for the runner's deadline.
    pub fn written(&mut self, counter: u64) -> Option<Instant> {
        let (_, sent) = self.under_way.take_if(|(own, _)| *own == counter)?;
        let due = sent.plus(u64::from(self.identity.period_ms));
        self.next_at = match std::mem::take(&mut self.hurried) {
            true => sent,
            false => due,
        };
        Some(sent)
    }

    /// It does not have it, or nobody knows: the next one has a new counter.
    pub fn failed(&mut self, counter: u64, now: Instant) {
        if self.under_way.take_if(|(own, _)| *own == counter).is_some() {
            self.next_at = now.plus(u64::from(self.identity.period_ms) / RETRY_PART);
        }
    }

    /// New bounds: declared, and heeded, from the next heartbeat on.
    pub fn set_bounds(&mut self, bounds: &RunnerBounds) {
        self.identity.set_bounds(bounds);
    }

    /// The heartbeat under way.
    pub fn counter_under_way(&self) -> Option<u64> {
        self.under_way.map(|(counter, _)| counter)
    }

    /// Whose heartbeat it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Everything that this life ran has stopped, confirmed. The next heartbeat says so, at once;
    /// `answered`: the message that asked for it, if one did.
    pub fn release(&mut self, answered: u64, now: Instant) {
        if self.phase != HostPhase::Released {
            self.phase = HostPhase::Released;
            self.answered = self.answered.max(answered);
            self.hurry(now);
        }
    }

    /// It has said, or will say with the next heartbeat, that nothing of this life runs.
    pub fn is_released(&self) -> bool {
        self.phase == HostPhase::Released
    }

    /// How the agent stands; told with the next heartbeat.
    pub fn set_agent(&mut self, agent: AgentState) {
        self.agent = agent;
    }

    /// The next heartbeat is due at once, or as soon as the one under way has ended.
    pub fn hurry(&mut self, now: Instant) {
        self.hurried = self.under_way.is_some();
        self.next_at = now;
    }

    /// When to poll again at the latest; none while a write is under way.
    pub fn next_wake(&self) -> Option<Instant> {
        let number = self
            .counter
            .map_or(Instant(0), |last| Instant(last).plus(1));
        let free = self.under_way.is_none();
        free.then_some(self.next_at.max(number))
    }
}
