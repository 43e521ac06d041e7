//! What came of asking a shadow, counted.

use crate::cost::Costs;
use holdfast_model::extension::Limits;
use holdfast_model::shadow::{Counts, DIFFERENCES_MAX, Difference, Differs, ShadowStanding};
use holdfast_model::standing::Readiness;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One question, asked.
#[derive(Debug)]
pub struct Asked {
    /// CPU time of the call.
    pub cpu: Duration,
    /// Memory after it, in bytes.
    pub memory_bytes: usize,
    /// What came of it.
    pub judged: Judged,
}

/// What came of one question.
#[derive(Debug)]
pub enum Judged {
    /// An answer, with what is to be shown of it if it differs.
    Compared(Differs, Option<Difference>),
    /// None, and why.
    Failed(String),
    /// It rests after failures, and was not asked.
    Rests,
}

/// Of one shadow on this machine.
#[derive(Debug, Default)]
pub(super) struct Tally {
    costs: Costs,
    kept: Mutex<Kept>,
    /// Counted by whoever decides, which waits for no thread of a low priority.
    skipped: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    counts: Counts,
    differences: VecDeque<Difference>,
}

impl Tally {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change is complete before anything in it could panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, asked: Asked) {
        let (differs, difference) = match asked.judged {
            Judged::Rests => return self.skipped(),
            Judged::Failed(why) => {
                self.costs.count(asked.cpu, asked.memory_bytes, Some(why));
                let counts = &mut self.kept().counts;
                counts.asked += 1;
                counts.failed += 1;
                return;
            }
            Judged::Compared(differs, difference) => (differs, difference),
        };
        self.costs.count(asked.cpu, asked.memory_bytes, None);
        let mut kept = self.kept();
        kept.counts.add(differs);
        if let Some(difference) = difference {
            if kept.differences.len() == DIFFERENCES_MAX {
                kept.differences.pop_front();
            }
            kept.differences.push_back(difference);
        }
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        self.costs.last_failure()
    }

    pub(super) fn standing(
        &self,
        readiness: Readiness,
        digest: &str,
        limits: Limits,
    ) -> ShadowStanding {
        let kept = self.kept();
        ShadowStanding {
            readiness,
            digest: digest.to_owned(),
            counts: Counts {
                skipped: self.skipped.load(Ordering::Relaxed),
                ..kept.counts
            },
            costs: self.costs.shown(limits),
            differences: kept.differences.iter().cloned().collect(),
            log: Vec::new(),
        }
    }
}
