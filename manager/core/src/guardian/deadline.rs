//! The runner's deadline: when the guard must stop everything this host runs.
//!
//! ```text
//! Unarmed ──arm──> Armed ──renewed(sent_at)──> Armed (later deadline)
//!                    │ deadline = sent_at of the last acknowledged heartbeat + runner_deadline_ms
//!                    └──now ≥ deadline──> Lapsed: kill all, and stay so
//! Lapsed ──arm(another incarnation), nothing left alive──> Armed
//! ```
//! The deadline counts from when the heartbeat was *sent*: the taker counts from when it saw it,
//! which is later. An acknowledgement that arrives after the deadline revives nothing, however
//! early it was sent: the VMs may be dead and the taker may have moved on.
//!
//! The guard owns one [`Deadline`], asks [`Deadline::tick`] at every wake-up and before every
//! answer, and sleeps until [`Deadline::next_wake`]. Nothing the agent says, or fails to say,
//! delays it.

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
}

impl Armed {
    /// When it ends unless a heartbeat is acknowledged before.
    pub fn deadline(&self) -> Instant {
        let next = self.next_bounds.as_ref();
        let deadline_ms = next.map_or(self.bounds.runner_deadline_ms, |(_, bounds)| {
            bounds
                .runner_deadline_ms
                .min(self.bounds.runner_deadline_ms)
        });
        self.last_sent.plus(deadline_ms)
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
    /// kernel. Returns the deadline.
    pub fn arm(
        &mut self,
        incarnation: Incarnation,
        bounds: RunnerBounds,
        empty: bool,
        now: Instant,
    ) -> Result<Instant, ArmError> {
        self.tick(now);
        match &mut self.phase {
            Phase::Armed(armed) if armed.incarnation == incarnation => {
                armed.next_bounds = (armed.bounds != bounds).then_some((now, bounds));
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
        self.tick(now);
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
        match self.phase {
            Phase::Lapsed { .. } => Verdict::KillAll,
            Phase::Unarmed | Phase::Armed(_) => Verdict::LetRun,
        }
    }

    /// A leader has closed the session of that life: what runs of it may run elsewhere by now. The
    /// deadline has come, whatever the clock says.
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

    /// When to tick again at the latest; none while nothing can lapse.
    pub fn next_wake(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Armed(armed) => Some(armed.deadline()),
            Phase::Unarmed | Phase::Lapsed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(name: &str) -> Incarnation {
        name.parse().expect("a legal incarnation")
    }

    fn bounds(runner_deadline_ms: u64) -> RunnerBounds {
        RunnerBounds {
            runner_deadline_ms,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        }
    }

    fn armed_at(now: u64) -> Deadline {
        let mut deadline = Deadline::new();
        let until = deadline.arm(life("i1"), bounds(4_000), true, Instant(now));
        assert_eq!(until, Ok(Instant(now + 4_000)));
        deadline
    }

    #[test]
    fn it_counts_from_the_send_time() {
        let mut deadline = armed_at(1_000);
        assert_eq!(
            deadline.renewed(&life("i1"), Instant(2_000), Instant(3_500)),
            Renewal::Until {
                deadline: Instant(6_000)
            }
        );
        assert_eq!(deadline.next_wake(), Some(Instant(6_000)));
        assert_eq!(deadline.tick(Instant(5_999)), Verdict::LetRun);
        assert_eq!(deadline.tick(Instant(6_000)), Verdict::KillAll);
    }

    #[test]
    fn a_late_acknowledgement_revives_nothing() {
        let mut deadline = armed_at(0);
        let answer = deadline.renewed(&life("i1"), Instant(3_999), Instant(4_000));
        assert_eq!(answer, Renewal::TooLate);
        assert_eq!(deadline.tick(Instant(4_001)), Verdict::KillAll);
        assert_eq!(
            deadline.arm(life("i1"), bounds(4_000), true, Instant(5_000)),
            Err(ArmError::Over(life("i1")))
        );
    }

    #[test]
    fn acknowledgements_out_of_order_never_shorten_it_and_none_comes_from_the_future() {
        let mut deadline = armed_at(0);
        deadline.renewed(&life("i1"), Instant(3_000), Instant(3_100));
        deadline.renewed(&life("i1"), Instant(2_000), Instant(3_200));
        deadline.renewed(&life("i1"), Instant(9_000), Instant(3_300));
        assert_eq!(deadline.next_wake(), Some(Instant(7_000)));
    }

    #[test]
    fn another_life_is_armed_only_when_nothing_is_left() {
        let mut deadline = armed_at(0);
        assert!(deadline.accepts(&life("i1")));
        let held = ArmError::NotEmpty { held: life("i1") };
        for now in [1_000, 4_000] {
            let refused = deadline.arm(life("i2"), bounds(4_000), false, Instant(now));
            assert_eq!(refused, Err(held.clone()));
        }
        assert!(!deadline.accepts(&life("i1")), "lapsed at 4 000");
        let until = deadline.arm(life("i2"), bounds(4_000), true, Instant(5_000));
        assert_eq!(until, Ok(Instant(9_000)));
        assert!(deadline.accepts(&life("i2")) && !deadline.accepts(&life("i1")));
        assert_eq!(
            deadline.renewed(&life("i1"), Instant(5_500), Instant(5_600)),
            Renewal::Ignored
        );
        assert_eq!(deadline.next_wake(), Some(Instant(9_000)));
    }

    #[test]
    fn a_restarted_agent_arms_again_and_gains_no_time() {
        let mut deadline = armed_at(0);
        let until = deadline.arm(life("i1"), bounds(4_000), false, Instant(3_000));
        assert_eq!(until, Ok(Instant(4_000)));
    }

    #[test]
    fn longer_bounds_count_once_a_heartbeat_has_declared_them_and_shorter_ones_at_once() {
        let mut deadline = armed_at(0);
        let until = deadline.arm(life("i1"), bounds(15_000), false, Instant(1_000));
        assert_eq!(until, Ok(Instant(4_000)), "not declared yet");
        deadline.renewed(&life("i1"), Instant(900), Instant(1_100));
        assert_eq!(deadline.next_wake(), Some(Instant(4_900)), "sent before it");
        deadline.renewed(&life("i1"), Instant(2_000), Instant(2_100));
        assert_eq!(deadline.next_wake(), Some(Instant(17_000)));
        let until = deadline.arm(life("i1"), bounds(2_000), false, Instant(2_200));
        assert_eq!(until, Ok(Instant(4_000)), "shorter: at once");
    }

    #[test]
    fn a_closed_session_is_a_deadline() {
        let mut deadline = armed_at(0);
        assert_eq!(deadline.revoke(&life("i0"), Instant(1)), Verdict::LetRun);
        assert_eq!(deadline.revoke(&life("i1"), Instant(1)), Verdict::KillAll);
        assert_eq!(
            deadline.renewed(&life("i1"), Instant(2), Instant(3)),
            Renewal::TooLate
        );
    }

    #[test]
    fn nothing_lapses_before_it_is_armed() {
        let mut deadline = Deadline::new();
        assert_eq!(deadline.tick(Instant(u64::MAX)), Verdict::LetRun);
        assert_eq!(deadline.next_wake(), None);
        assert_eq!(
            deadline.renewed(&life("i1"), Instant(0), Instant(1)),
            Renewal::Ignored
        );
        assert!(!deadline.accepts(&life("i1")));
    }
}
