//! The circuit breaker: who fails again and again is not asked for a while.
//!
//! ```text
//!            3 failures within 60 s                 300 s over
//!   Closed ─────────────────────────> Open ──────────────────────> one trial call
//!     ^                                ^                              │   │
//!     └───────────── it answers ───────┼──────────────────────────────┘   │
//!                                      └────────────── it fails ──────────┘
//! ```
//! Pure: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

/// So many failures open it.
const FAILURES: usize = 3;
/// If they come within this time.
const WITHIN: Duration = Duration::from_secs(60);
/// And it stays open for so long.
const OPEN_FOR: Duration = Duration::from_secs(300);

/// One extension's. Times are of any clock that only goes on.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failed_at: VecDeque<Duration>,
    opened_at: Option<Duration>,
    /// The trial call is under way.
    trying: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls are made.
    Closed,
    /// No call is made for so long.
    Open(Duration),
    /// One call is made, to see.
    Trial,
}

impl Breaker {
    /// How it stands.
    pub fn state(&self, now: Duration) -> BreakerState {
        let Some(opened_at) = self.opened_at else {
            return BreakerState::Closed;
        };
        match (opened_at + OPEN_FOR).saturating_sub(now) {
            Duration::ZERO => BreakerState::Trial,
            left => BreakerState::Open(left),
        }
    }

    /// Whether a call may be made now. An error says how long to wait.
    pub fn ask(&mut self, now: Duration) -> Result<(), Duration> {
        match self.state(now) {
            BreakerState::Closed => Ok(()),
            BreakerState::Open(left) => Err(left),
            BreakerState::Trial if self.trying => Err(OPEN_FOR),
            BreakerState::Trial => {
                self.trying = true;
                Ok(())
            }
        }
    }

    /// A call was answered. The failures before it still count: one that fails every other time costs a
    /// decision as much as one that always does.
    pub fn answered(&mut self) {
        if self.opened_at.is_some() {
            *self = Self::default();
        }
    }

    /// A call failed.
    pub fn failed(&mut self, now: Duration) {
        if self.opened_at.is_some() {
            self.opened_at = Some(now);
            self.trying = false;
            return;
        }
        self.failed_at.push_back(now);
        while self.failed_at.front().is_some_and(|at| *at + WITHIN < now) {
            self.failed_at.pop_front();
        }
        if self.failed_at.len() >= FAILURES {
            self.failed_at.clear();
            self.opened_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_failures_within_a_minute_open_it() {
        let mut breaker = Breaker::default();
        for at in [0, 30, 91] {
            assert_eq!(breaker.ask(s(at)), Ok(()));
            breaker.failed(s(at));
        }
        assert_eq!(
            breaker.state(s(92)),
            BreakerState::Closed,
            "the first was too long ago"
        );
        breaker.failed(s(92));
        assert_eq!(breaker.state(s(92)), BreakerState::Closed, "and the second");
        breaker.failed(s(93));
        assert_eq!(breaker.ask(s(94)), Err(s(299)));
    }

    #[test]
    fn answers_in_between_excuse_nothing() {
        let mut breaker = Breaker::default();
        for at in 0..3 {
            breaker.answered();
            breaker.failed(s(at));
        }
        assert_eq!(breaker.ask(s(3)), Err(s(299)));
    }

    #[test]
    fn one_call_is_tried_afterwards_and_decides() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(s(0));
        }
        assert_eq!(breaker.ask(s(299)), Err(s(1)));
        assert_eq!(breaker.ask(s(300)), Ok(()));
        assert!(breaker.ask(s(300)).is_err(), "one at a time");
        breaker.failed(s(301));
        assert_eq!(breaker.ask(s(302)), Err(s(299)));
        assert_eq!(breaker.ask(s(601)), Ok(()));
        breaker.answered();
        assert_eq!(breaker.ask(s(601)), Ok(()));
        assert_eq!(breaker.state(s(601)), BreakerState::Closed);
    }
}
