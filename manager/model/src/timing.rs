//! The bounds that make a takeover safe, and the inequality between them.
//!
//! ```text
//! runner   send ──ack──────────────── runner_deadline ── kill_bound ── (watchdog_bound) │ stopped
//! taker         seen ───────────────────────── taker_wait ───────────────────────────── │ may close
//! ```
//! The runner counts from when it *sent* its last acknowledged heartbeat, the taker from when it
//! *saw* it, which is later. Only the rates of the two clocks matter, and they differ by less than
//! [`DRIFT`]. Source of the inequality: Gray and Cheriton's leases, with the kill made explicit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest assumed difference of a clock's rate from true time (1e-3, ten times worse than any
/// healthy quartz).
pub const DRIFT: f64 = 1e-3;

/// A named set of bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Heartbeat 0.5 s, runner's deadline 2 s: short links, quiet machines.
    Fast,
    /// Heartbeat 1 s, runner's deadline 4 s.
    Default,
    /// Heartbeat 2 s, runner's deadline 15 s. What VMs get that only the control plane protects:
    /// a hiccup of etcd must not kill them.
    #[default]
    Patient,
}

/// Every bound in force, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// An agent renews its session this often.
    pub heartbeat_ms: u64,
    /// A host stops its VMs this long after it sent the last renewal that was acknowledged.
    pub runner_deadline_ms: u64,
    /// Stopping all VMs by signal takes at most this long.
    pub kill_bound_ms: u64,
    /// The hardware watchdog resets a host that could not stop them within this; 0 without one.
    pub watchdog_bound_ms: u64,
    /// A taker waits this long after it last saw a new heartbeat.
    pub taker_wait_ms: u64,
    /// A host silent for this long is suspect: it gets no new grants.
    pub suspect_after_ms: u64,
    /// A host that two managers at different sites have asked in vain for this long is suspect, if it has
    /// not renewed its session meanwhile either; 0: by its session alone.
    pub probe_suspect_ms: u64,
    /// The leader renews its key this often.
    pub leader_renew_ms: u64,
    /// A standby takes over after seeing no renewal for this long.
    pub leader_wait_ms: u64,
}

/// Why a set of bounds is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The taker could act before the runner has stopped.
    #[error(
        "taker_wait_ms = {taker_wait_ms} is too short: a host may need \
         ({runner_deadline_ms} runner_deadline_ms + {kill_bound_ms} kill_bound_ms + \
         {watchdog_bound_ms} watchdog_bound_ms) and 0.1 % clock drift on both sides to stop its \
         VMs; set taker_wait_ms to {required_ms} or more"
    )]
    TakerWait {
        /// As given.
        taker_wait_ms: u64,
        /// As given.
        runner_deadline_ms: u64,
        /// As given.
        kill_bound_ms: u64,
        /// As given.
        watchdog_bound_ms: u64,
        /// The least that is safe.
        required_ms: u64,
    },
    /// Two bounds contradict each other.
    #[error("{longer} = {longer_ms} must be more than {times} x {shorter} = {shorter_ms}")]
    Order {
        /// The bound that must be longer.
        longer: &'static str,
        /// Its value.
        longer_ms: u64,
        /// How many times.
        times: u64,
        /// The bound that must be shorter.
        shorter: &'static str,
        /// Its value.
        shorter_ms: u64,
    },
    /// Too short for a host to be asked more than once.
    #[error(
        "probe_suspect_ms = {probe_suspect_ms} is too short: a few lost packets would make a host suspect; \
         set it to {PROBE_SUSPECT_MIN_MS} or more, or to 0 for no suspicion by probes"
    )]
    ProbeSuspect {
        /// As given.
        probe_suspect_ms: u64,
    },
}

/// The shortest silence of a host that is asked directly, in milliseconds: ten probes in it are as many as
/// a manager's timer can tell apart.
pub const PROBE_SUSPECT_MIN_MS: u64 = 100;

/// The shortest taker's wait that is safe against a host with these bounds.
pub fn required_taker_wait_ms(
    runner_deadline_ms: u64,
    kill_bound_ms: u64,
    watchdog_bound_ms: u64,
) -> u64 {
    let runner = runner_deadline_ms
        .saturating_add(kill_bound_ms)
        .saturating_add(watchdog_bound_ms);
    // Strictly more than runner·(1+r)/(1−r); the cast saturates.
    ((runner as f64) * (1.0 + DRIFT) / (1.0 - DRIFT)).floor() as u64 + 1
}

impl Timing {
    /// The bounds of a named profile.
    pub fn of(profile: Profile) -> Self {
        let (heartbeat_ms, runner_deadline_ms, kill_bound_ms, taker_wait_ms) = match profile {
            Profile::Fast => (500, 2_000, 500, 2_750),
            Profile::Default => (1_000, 4_000, 1_000, 5_500),
            Profile::Patient => (2_000, 15_000, 2_000, 18_000),
        };
        Self {
            heartbeat_ms,
            runner_deadline_ms,
            kill_bound_ms,
            watchdog_bound_ms: 0,
            taker_wait_ms,
            suspect_after_ms: heartbeat_ms * 5 / 2,
            probe_suspect_ms: Self::probe_suspect_of(heartbeat_ms * 5 / 2),
            leader_renew_ms: 250,
            leader_wait_ms: 1_000,
        }
    }

    /// Suspicion by probes, where the policy does not set it: about a third of the one by heartbeats (800 ms
    /// of 2500). How seldom that is wrong: `docs/safety.md`.
    pub fn probe_suspect_of(suspect_after_ms: u64) -> u64 {
        let ms = suspect_after_ms * 8 / 25;
        match suspect_after_ms > PROBE_SUSPECT_MIN_MS {
            true => ms.max(PROBE_SUSPECT_MIN_MS),
            false => 0,
        }
    }

    /// A session that has not been renewed for this long may be overdue, in milliseconds: what probes say
    /// counts only then. One heartbeat and a quarter, so that no heartbeat that is merely a little late
    /// leaves a host to its probes alone.
    pub fn session_quiet_ms(&self) -> u64 {
        self.probe_suspect_ms.max(self.heartbeat_ms * 5 / 4)
    }

    /// A host is asked this often while it answers, in milliseconds.
    pub fn probe_every_ms(&self) -> u64 {
        self.probe_suspect_ms / 5
    }

    /// And this often while it does not.
    pub fn probe_again_ms(&self) -> u64 {
        self.probe_suspect_ms / 10
    }

    /// Refuses bounds under which a VM could run twice, or that cannot work.
    pub fn check(&self) -> Result<(), TimingError> {
        let required_ms = required_taker_wait_ms(
            self.runner_deadline_ms,
            self.kill_bound_ms,
            self.watchdog_bound_ms,
        );
        if self.taker_wait_ms < required_ms {
            return Err(TimingError::TakerWait {
                taker_wait_ms: self.taker_wait_ms,
                runner_deadline_ms: self.runner_deadline_ms,
                kill_bound_ms: self.kill_bound_ms,
                watchdog_bound_ms: self.watchdog_bound_ms,
                required_ms,
            });
        }
        if (1..PROBE_SUSPECT_MIN_MS).contains(&self.probe_suspect_ms) {
            return Err(TimingError::ProbeSuspect {
                probe_suspect_ms: self.probe_suspect_ms,
            });
        }
        let orders = [
            ("heartbeat_ms", self.heartbeat_ms, 1, "zero", 0),
            ("kill_bound_ms", self.kill_bound_ms, 1, "zero", 0),
            ("leader_renew_ms", self.leader_renew_ms, 1, "zero", 0),
            (
                "runner_deadline_ms",
                self.runner_deadline_ms,
                2,
                "heartbeat_ms",
                self.heartbeat_ms,
            ),
            (
                "suspect_after_ms",
                self.suspect_after_ms,
                1,
                "heartbeat_ms",
                self.heartbeat_ms,
            ),
            (
                "taker_wait_ms",
                self.taker_wait_ms,
                1,
                "suspect_after_ms",
                self.suspect_after_ms,
            ),
            (
                "suspect_after_ms",
                self.suspect_after_ms,
                1,
                "probe_suspect_ms",
                self.probe_suspect_ms,
            ),
            (
                "leader_wait_ms",
                self.leader_wait_ms,
                2,
                "leader_renew_ms",
                self.leader_renew_ms,
            ),
        ];
        for (longer, longer_ms, times, shorter, shorter_ms) in orders {
            if longer_ms <= shorter_ms.saturating_mul(times) {
                return Err(TimingError::Order {
                    longer,
                    longer_ms,
                    times,
                    shorter,
                    shorter_ms,
                });
            }
        }
        Ok(())
    }
}

/// A profile and what differs from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimingPolicy {
    /// The set of bounds to begin with.
    #[serde(default)]
    pub profile: Profile,
    /// Instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
    /// Instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_deadline_ms: Option<u64>,
    /// Instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_bound_ms: Option<u64>,
    /// Instead of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_bound_ms: Option<u64>,
    /// Instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taker_wait_ms: Option<u64>,
    /// Instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect_after_ms: Option<u64>,
    /// Instead of about a third of that; 0: hosts are suspect by their heartbeats alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_suspect_ms: Option<u64>,
    /// Instead of 250.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_renew_ms: Option<u64>,
    /// Instead of 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_wait_ms: Option<u64>,
}

impl TimingPolicy {
    /// The bounds in force.
    pub fn resolve(&self) -> Timing {
        let base = Timing::of(self.profile);
        let heartbeat_ms = self.heartbeat_ms.unwrap_or(base.heartbeat_ms);
        let suspect_after_ms = self.suspect_after_ms.unwrap_or(heartbeat_ms * 5 / 2);
        Timing {
            heartbeat_ms,
            runner_deadline_ms: self.runner_deadline_ms.unwrap_or(base.runner_deadline_ms),
            kill_bound_ms: self.kill_bound_ms.unwrap_or(base.kill_bound_ms),
            watchdog_bound_ms: self.watchdog_bound_ms.unwrap_or(base.watchdog_bound_ms),
            taker_wait_ms: self.taker_wait_ms.unwrap_or(base.taker_wait_ms),
            suspect_after_ms,
            probe_suspect_ms: self
                .probe_suspect_ms
                .unwrap_or_else(|| Timing::probe_suspect_of(suspect_after_ms)),
            leader_renew_ms: self.leader_renew_ms.unwrap_or(base.leader_renew_ms),
            leader_wait_ms: self.leader_wait_ms.unwrap_or(base.leader_wait_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_safe() {
        for profile in [Profile::Fast, Profile::Default, Profile::Patient] {
            Timing::of(profile).check().expect("a shipped profile");
        }
    }

    #[test]
    fn a_short_taker_wait_is_refused_with_the_number_to_use() {
        let mut timing = Timing::of(Profile::Default);
        timing.taker_wait_ms = 5_000;
        let error = timing
            .check()
            .expect_err("4 + 1 s of runner in 5 s of taker");
        assert!(
            error.to_string().contains("set taker_wait_ms to 5011"),
            "{error}"
        );
        timing.taker_wait_ms = 5_011;
        timing.check().expect("the number it named");
    }

    #[test]
    fn zero_and_contradictions_are_refused() {
        for change in [
            |t: &mut Timing| t.heartbeat_ms = 0,
            |t: &mut Timing| t.leader_wait_ms = t.leader_renew_ms,
            |t: &mut Timing| t.runner_deadline_ms = t.heartbeat_ms,
            |t: &mut Timing| t.suspect_after_ms = t.taker_wait_ms,
            |t: &mut Timing| t.probe_suspect_ms = t.suspect_after_ms,
            |t: &mut Timing| t.probe_suspect_ms = 1,
        ] {
            let mut timing = Timing::of(Profile::Default);
            change(&mut timing);
            assert!(timing.check().is_err(), "{timing:?}");
        }
    }

    #[test]
    fn probes_are_as_patient_as_the_profile_and_can_be_switched_off() {
        let ms = |profile| Timing::of(profile).probe_suspect_ms;
        let profiles = [Profile::Fast, Profile::Default, Profile::Patient];
        assert_eq!(profiles.map(ms), [400, 800, 1_600]);
        let mut timing = Timing::of(Profile::Default);
        assert_eq!(timing.session_quiet_ms(), 1_250);
        timing.probe_suspect_ms = 0;
        timing.check().expect("off");
        assert_eq!(Timing::probe_suspect_of(100), 0);
        assert_eq!(Timing::probe_suspect_of(150), 100);
    }
}
