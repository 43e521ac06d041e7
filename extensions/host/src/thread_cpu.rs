//! The CPU time of a thread, asked of the kernel no more often than it has to be: that alone takes as long as a question
//! about a dozen hosts, and a decision has thousands of questions.
//!
//! ```text
//! kernel asked ──── time by the clock, YOUNG at the most ────> now
//!   least: as it was then                          most: as if it had run all the time since
//! ```
//! What a thread has used lies between the two, which are never further apart than [`YOUNG`].

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What the kernel said is good for so long.
const YOUNG: Duration = Duration::from_micros(100);

/// What a thread has used of its CPU up to some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub least: Duration,
    pub most: Duration,
}

/// What the kernel said last.
#[derive(Clone, Copy)]
struct Said {
    used: Duration,
    /// Taken before it was asked: it has not said anything that is older.
    at: Instant,
}

thread_local! {
    static LAST: Cell<Option<Said>> = const { Cell::new(None) };
}

/// What this thread has used up to now, about.
pub(crate) fn about(now: Instant) -> Used {
    let last = LAST.get();
    last.and_then(|last| last.good_for(now)).unwrap_or_else(|| {
        let used = exactly(now);
        Used {
            least: used,
            most: used,
        }
    })
}

/// What this thread has used up to now, asked of the kernel.
pub(crate) fn exactly(now: Instant) -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let used = Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default());
    LAST.set(Some(Said { used, at: now }));
    used
}

impl Said {
    /// What follows from it; nothing if it is too old.
    fn good_for(self, now: Instant) -> Option<Used> {
        let age = now.checked_duration_since(self.at)?;
        (age < YOUNG).then(|| Used {
            least: self.used,
            most: self.used + age,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn what_is_said_is_good_for_a_while() {
        let at = Instant::now() + YOUNG;
        let said = Said { used: 5 * US, at };
        let good = |least, most| Some(Used { least, most });
        assert_eq!(said.good_for(at), good(5 * US, 5 * US));
        assert_eq!(said.good_for(at + 99 * US), good(5 * US, 104 * US));
        assert_eq!(said.good_for(at + YOUNG), None);
        assert_eq!(said.good_for(at - US), None, "taken before it");
    }

    #[test]
    fn each_thread_is_asked_about_itself_and_not_twice_in_a_while() {
        let of_another = std::thread::spawn(|| LAST.get().is_none());
        let now = Instant::now();
        let used = exactly(now);
        assert!(of_another.join().expect("no panic"));
        let found = about(now + 7 * US);
        assert_eq!((found.least, found.most), (used, used + 7 * US));
        let later = about(now + YOUNG);
        assert!(later.least == later.most && later.least > used, "{later:?}");
    }
}
