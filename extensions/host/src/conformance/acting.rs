//! What the drills of guests that act on the world have in common: fencing and events. Both wait for answers from
//! outside, and may end otherwise than within their limits only if these were cut.

use super::shared::outlasts;
use crate::error::CallError;
use holdfast_model::extension::{Limits, Rights};
use std::time::{Duration, Instant};

/// What a call has by the clock where that is to run out: so much that a busy machine is not the guest's fault.
const SHORT_WALL_MS: u64 = 2_000;
/// So long before a call may not wait any more do late answers come.
const LATE: Duration = Duration::from_millis(100);
/// The most that a host hands over with an answer.
pub(super) const GIANT_BYTES: usize = 256 * 1024;

/// With little time by the clock.
pub(super) fn hurried(limits: Limits) -> Limits {
    Limits {
        wall_ms: SHORT_WALL_MS,
        ..limits
    }
}

/// Whether that is what they are.
pub(super) fn is_hurried(limits: Limits) -> bool {
    limits.wall_ms == SHORT_WALL_MS
}

/// Takes all the time there is.
pub(super) fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// Takes a little less.
pub(super) fn wait_almost(until: Instant) {
    wait(until.checked_sub(LATE).unwrap_or(until));
}

/// All rights but that to write to its log are taken away.
pub(super) fn without(rights: &Rights) -> Rights {
    Rights {
        log: rights.log,
        ..Rights::default()
    }
}

/// Why a drill is none.
pub(super) const SENT_NOTHING: &str = "it sent nothing";

/// How the guest may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Within its limits.
    Within,
    /// They were cut, so as it likes.
    Anyhow,
}

impl Ends {
    /// What is wrong with a call that ended so, if anything is.
    pub(super) fn wrong(self, error: &CallError) -> Option<String> {
        match error {
            CallError::Host(_) => Some(error.to_string()),
            _ if self == Self::Within && outlasts(error) => {
                Some(format!("it does not end by itself: {error}"))
            }
            _ => None,
        }
    }
}
