//! A machine's own steady clock: another zero than everybody else's, and a rate that may be off.

use holdfast_model::time::Instant;

/// A clock.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The simulation's time at which it stood at `base`.
    since: u64,
    base: u64,
    /// How much faster than true time it runs.
    ppm: i64,
}

impl Clock {
    /// A clock that stands at `base` now.
    pub fn new(now: u64, base: u64) -> Self {
        Self {
            since: now,
            base,
            ppm: 0,
        }
    }

    /// From now on it runs faster (or slower) than true time by so many parts in a million.
    pub fn drift(&mut self, now: u64, ppm: i64) {
        self.base = self.at(now).0;
        self.since = now;
        self.ppm = ppm;
    }

    /// Its reading at a time of the simulation.
    pub fn at(&self, now: u64) -> Instant {
        // A run of years would be needed to leave this range.
        let passed = i64::try_from(now.saturating_sub(self.since)).unwrap_or(i64::MAX);
        let shown = passed + passed.saturating_mul(self.ppm) / 1_000_000;
        Instant(self.base + u64::try_from(shown).unwrap_or(0))
    }

    /// The first time of the simulation, not before `now`, at which it shows `at` or more.
    pub fn when(&self, now: u64, at: Instant) -> u64 {
        let left = at.since(self.at(now));
        if left == 0 {
            return now;
        }
        let rate = 1_000_000 + self.ppm;
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let guess = left.saturating_mul(1_000_000) / rate.max(1);
        let mut when = now + u64::try_from(guess).unwrap_or(0).saturating_sub(2);
        while self.at(when) < at {
            when += 1;
        }
        when.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_drifts_and_can_be_waited_for() {
        for ppm in [-1_000, 0, 1_000] {
            let mut clock = Clock::new(100, 5_000);
            clock.drift(100, ppm);
            let shown = clock.at(1_000_100).0;
            assert_eq!(shown, 1_005_000u64.saturating_add_signed(ppm));
            let when = clock.when(100, Instant(50_000));
            assert!(clock.at(when).0 >= 50_000 && clock.at(when - 1).0 < 50_000);
        }
    }
}
