//! Since when a view of the store has been fresh without a gap. Pure.
//!
//! ```text
//!   heard  h  h  h  h . . . . . . . . . h  h  h
//!   since  ├── the first ──┤ none ──────├── the return ──
//!                     silence > bound
//! ```
//! Silence of a host is counted from there at the earliest: while this process heard nothing from
//! the store, nobody was silent. A pause of this very process looks the same, and should.

use holdfast_model::time::Instant;

/// A view is stale when one of its prefixes has not been heard of for this long, in milliseconds.
/// The store's watches say something at least every second (see [`crate::api::Store::watch`]); the
/// rest is for a change of the member that serves it, which then goes unnoticed.
pub const FRESH_BOUND_MS: u64 = 1_500;

/// Freshness of a view made of several prefixes.
#[derive(Debug, Clone)]
pub struct Freshness {
    /// When each prefix was last heard of.
    heard: Vec<Option<Instant>>,
    since: Option<Instant>,
}

impl Freshness {
    /// Of a view with this many prefixes; nothing heard yet.
    pub fn new(prefixes: usize) -> Self {
        Self {
            heard: vec![None; prefixes],
            since: None,
        }
    }

    /// Prefix `index` was complete at `asked_at`, and this is known at `now`. True if the view
    /// became fresh by it.
    pub fn hear(&mut self, index: usize, asked_at: Instant, now: Instant) -> bool {
        if !self.all_heard(now) {
            self.since = None;
        }
        if let Some(heard) = self.heard.get_mut(index) {
            *heard = (*heard).max(Some(asked_at));
        }
        let becomes = self.since.is_none() && self.all_heard(now);
        if becomes {
            self.since = Some(now);
        }
        becomes
    }

    /// Since when the view has been fresh without a gap; `None` if it is not fresh now.
    pub fn since(&self, now: Instant) -> Option<Instant> {
        self.since.filter(|_| self.all_heard(now))
    }

    /// For how long the prefix that was silent longest has been so, in milliseconds; `None` if one was never heard of.
    pub fn age_ms(&self, now: Instant) -> Option<u64> {
        let ages = self.heard.iter().map(|heard| heard.map(|at| now.since(at)));
        ages.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    fn all_heard(&self, now: Instant) -> bool {
        let fresh =
            |heard: &Option<Instant>| heard.is_some_and(|at| now.since(at) <= FRESH_BOUND_MS);
        self.heard.iter().all(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms)
    }

    #[test]
    fn fresh_once_every_prefix_was_heard() {
        let mut view = Freshness::new(2);
        assert!(!view.hear(0, at(10), at(10)));
        assert_eq!((view.since(at(10)), view.age_ms(at(10))), (None, None));
        assert!(view.hear(1, at(20), at(25)));
        assert_eq!(view.since(at(30)), Some(at(25)));
        assert_eq!(view.age_ms(at(9_030)), Some(9_020), "of the older one");
    }

    #[test]
    fn a_gap_starts_it_anew_at_the_return() {
        let mut view = Freshness::new(1);
        view.hear(0, at(0), at(0));
        assert!(
            !view.hear(0, at(FRESH_BOUND_MS), at(FRESH_BOUND_MS)),
            "just in time"
        );
        assert_eq!(view.since(at(FRESH_BOUND_MS)), Some(at(0)));
        assert_eq!(view.since(at(2 * FRESH_BOUND_MS + 1)), None, "stale now");
        assert!(view.hear(0, at(9_000), at(9_100)));
        assert_eq!(view.since(at(9_100)), Some(at(9_100)));
    }

    #[test]
    fn one_silent_prefix_makes_the_whole_view_stale() {
        let mut view = Freshness::new(2);
        view.hear(0, at(0), at(0));
        view.hear(1, at(0), at(0));
        for ms in (0..5_000).step_by(500) {
            view.hear(0, at(ms), at(ms));
        }
        assert_eq!(view.since(at(5_000)), None);
        assert!(view.hear(1, at(5_000), at(5_000)));
        assert_eq!(view.since(at(5_000)), Some(at(5_000)));
    }

    #[test]
    fn a_late_answer_counts_from_when_it_was_asked_for() {
        let mut view = Freshness::new(1);
        assert!(
            !view.hear(0, at(0), at(4_000)),
            "four seconds old when it came"
        );
        assert_eq!(view.since(at(4_000)), None);
    }
}
