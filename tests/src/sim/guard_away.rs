//! A guard that is not there: killed and started again by the service manager, or stopped for a while;
//! and what its agent makes of that, as the production's does: no call is answered, and as soon as it
//! notices it declares in its session that nobody enforces the deadline.
//!
//! A session is *opened* here only while the guard answers; the real agent waits a while and then opens
//! it without.

use super::agent::{Agent, Phase};
use super::bounds::{KILL_MS, RESTART_MS};
use super::ctx::Ctx;
use super::event::Event;
use super::machine::Machine;
use holdfast_core::guardian::deadline::Phase as Watched;
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_model::host::{GuardState, Session};
use holdfast_model::id::Incarnation;
use holdfast_model::time::Instant;
use holdfast_store::keyspace::Key;

/// Whether a guard is there.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// It does nothing before then.
    back_at: u64,
    /// It is stopped, not dead: what its agent tells it waits in its socket.
    stopped: bool,
    /// Acknowledged heartbeats that wait there.
    waiting: Vec<(Incarnation, Instant)>,
    /// Which process of this machine it is: a new one has to be armed again.
    pub life: u32,
}

impl Presence {
    /// It is there, and does nothing.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// It does what it is for.
    pub fn is_there(&self, now: u64) -> bool {
        now >= self.back_at
    }

    /// When it goes on.
    pub fn back_at(&self) -> u64 {
        self.back_at
    }
}

impl Machine {
    /// Whether the guard answers calls.
    pub fn guard_answers(&self, ctx: &Ctx) -> bool {
        self.guard_is.is_there(ctx.now)
    }

    /// The guard dies (kill -9); the service manager starts it again.
    pub fn kill_guard(&mut self, ctx: &mut Ctx) {
        self.guard_is.life += 1;
        self.guard_is.stopped = false;
        self.guard_is.waiting.clear();
        self.guard_is.back_at = ctx.now + RESTART_MS;
        self.is_away(ctx);
        let event = Event::GuardStarts(self.name.clone(), self.boot, self.guard_is.life);
        ctx.after(RESTART_MS, event);
        // Its connection has broken.
        self.wake_agent(ctx);
    }

    /// The guard is stopped for a while (SIGSTOP).
    pub fn freeze_guard(&mut self, ctx: &mut Ctx, ms: u64) {
        self.guard_is.back_at = ctx.now + ms;
        self.guard_is.stopped = true;
        self.is_away(ctx);
        ctx.after(ms, Event::Guard(self.name.clone(), self.boot));
    }

    /// For the ground truth: one absence that another one follows is one.
    fn is_away(&self, ctx: &mut Ctx) {
        let (now, back_at) = (ctx.now, self.guard_is.back_at);
        let known = ctx.truth.guard_away.get(&self.name).copied();
        let from = known.map_or(now, |(from, to)| if now <= to { from } else { now });
        ctx.truth
            .guard_away
            .insert(self.name.clone(), (from, back_at));
    }

    /// An acknowledged heartbeat waits in the socket of a guard that is stopped.
    pub fn tell_later(&mut self, life: &Incarnation, sent_at: Instant) {
        if self.guard_is.stopped {
            self.guard_is.waiting.push((life.clone(), sent_at));
        }
    }

    /// A guard that goes on takes in what waits before it looks at the clock.
    pub(super) fn hear_what_waits(&mut self, now: Instant) {
        self.guard_is.stopped = false;
        for (life, sent_at) in std::mem::take(&mut self.guard_is.waiting) {
            self.deadline.renewed(&life, sent_at, now);
        }
    }

    /// A new guard goes on from the table of the last: the deadline, what is watched, the slot.
    pub fn guard_starts(&mut self, ctx: &mut Ctx, life: u32) {
        if self.guard_is.life != life {
            return;
        }
        let now = self.local(ctx);
        let boot_id = self.boot_id.clone();
        self.claims.process_gone();
        if let Some(lease) = &mut self.lease {
            lease.restarted(now);
            if let Watched::Armed(armed) = self.deadline.phase() {
                let of = (self.name.clone(), armed.incarnation.clone());
                let identity = Identity::new(of.0, of.1, boot_id, &armed.bounds);
                lease.keeper = Some(Keeper::new(identity, now));
            }
        }
        self.guard_wakes_at = 0;
        ctx.log(&self.name, "guard: started, goes on from its table");
        self.guard(ctx);
        self.wake_agent(ctx);
    }

    /// Nothing of a boot outlives it.
    pub(super) fn guard_power_off(&mut self) {
        self.guard_is = Presence {
            life: self.guard_is.life + 1,
            ..Presence::default()
        };
    }
}

impl Ctx {
    /// Why a VM that runs too long is nobody's fault: a guard that is away, or was until a moment ago,
    /// while the session of its host had lapsed. One that dies right before its deadline kills later by
    /// as much as it takes to be started again, and one that is stopped does not kill.
    pub(super) fn beyond(&self, violation: &str) -> Option<String> {
        let of_these = ["runs-once: ", "closed-is-stopped: "];
        if !of_these.iter().any(|name| violation.starts_with(name)) {
            return None;
        }
        let mut away = self.truth.guard_away.iter();
        let host = away.find(|(host, (from, to))| {
            let session: Option<Session> = self.record(&Key::HostSession((*host).clone()));
            let deadline_ms = session.map_or(0, |session| session.bounds.runner_deadline_ms);
            let acknowledged = self.truth.acknowledged.get(*host).copied().unwrap_or(0);
            // Clocks drift by up to 0.1 %.
            let lapses_at = acknowledged + deadline_ms - deadline_ms / 500;
            let back = to + KILL_MS + self.kill_extra_ms;
            *from <= self.now && lapses_at <= self.now && lapses_at < back
        });
        host.map(|(host, _)| format!("{host}'s guard was away when it had to kill"))
    }
}

impl Agent {
    /// Whether a guard works is declared in the session, as soon as it changes. One that was away is
    /// armed anew first. `asked`: it was just called; otherwise only a broken connection shows.
    pub(super) fn declare_guard(&mut self, m: &mut Machine, ctx: &mut Ctx, asked: bool) {
        let known = self.armed_on;
        if known == Some(m.guard_is.life) && !asked {
            return;
        }
        let Phase::Live { heartbeat, .. } = &mut self.session else {
            return;
        };
        let session = &heartbeat.record().session;
        let (life, bounds) = (session.incarnation.clone(), session.bounds.clone());
        let declared = session.guard;
        self.armed_on = match m.guard_answers(ctx) {
            true if known == Some(m.guard_is.life) => known,
            true => m.arm(ctx, &life, &bounds).then_some(m.guard_is.life),
            false => None,
        };
        let guard = match self.armed_on {
            Some(_) => GuardState::Working,
            None => GuardState::Absent,
        };
        if declared == guard {
            return;
        }
        let word = format!("{guard:?}").to_lowercase();
        ctx.log(&m.name, format!("agent: its guard is {word}"));
        if let Phase::Live { heartbeat, .. } = &mut self.session {
            heartbeat.record_mut().session.guard = guard;
            heartbeat.hurry();
            let now = m.local(ctx);
            self.wake(ctx, m, now);
        }
    }
}
