//! What calls to an extension cost, and how many failed: the newest of them, for `ext show`.

use holdfast_model::extension::Limits;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use holdfast_model::standing::CallCosts as Shown;

/// Calls that are looked at.
const NEWEST: usize = 1_000;

/// Of one extension on this machine.
#[derive(Debug, Default)]
pub struct Costs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    calls: u64,
    failed: u64,
    last_failure: Option<String>,
    /// CPU time and memory of the newest.
    newest: VecDeque<(Duration, usize)>,
}

impl Costs {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change is complete before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is over; why it had no answer, if it had none.
    pub fn count(&self, cpu: Duration, memory_bytes: usize, failure: Option<String>) {
        let mut kept = self.kept();
        kept.calls += 1;
        if failure.is_some() {
            kept.failed += 1;
            kept.last_failure = failure;
        }
        if kept.newest.len() == NEWEST {
            kept.newest.pop_front();
        }
        kept.newest.push_back((cpu, memory_bytes));
    }

    /// Why the last call without an answer had none.
    pub fn last_failure(&self) -> Option<String> {
        self.kept().last_failure.clone()
    }

    /// In numbers, beside these limits.
    pub fn shown(&self, limits: Limits) -> Shown {
        let kept = self.kept();
        let mut cpu: Vec<Duration> = kept.newest.iter().map(|(cpu, _)| *cpu).collect();
        cpu.sort_unstable();
        let at = |per_cent: usize| {
            let index = cpu.len().saturating_sub(1) * per_cent / 100;
            let found = cpu.get(index).copied().unwrap_or_default();
            u64::try_from(found.as_micros()).unwrap_or(u64::MAX)
        };
        let memory = kept.newest.iter().map(|(_, bytes)| *bytes).max();
        let memory_kib = memory.unwrap_or_default() as u64 / 1024;
        let p99 = at(99);
        Shown {
            calls: kept.calls,
            failed: kept.failed,
            last_failure: kept.last_failure.clone(),
            cpu_p50_us: at(50),
            cpu_p99_us: p99,
            cpu_p99_percent: p99 / (limits.cpu_ms * 10).max(1),
            memory_kib,
            memory_percent: memory_kib * 100 / (limits.memory_mib * 1024).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::extension::ExtensionKind;

    #[test]
    fn shares_of_the_limits() {
        let costs = Costs::default();
        let limits = ExtensionKind::Placement.default_limits(); // 20 ms, 32 MiB
        assert_eq!(costs.shown(limits), Shown::default());
        for n in 1..=2_000 {
            let failure = (n == 2_000).then(|| "it trapped".to_owned());
            costs.count(Duration::from_micros(n), 8 << 20, failure);
        }
        let shown = costs.shown(limits);
        assert_eq!((shown.calls, shown.failed), (2_000, 1));
        assert_eq!((shown.cpu_p50_us, shown.cpu_p99_us), (1_500, 1_990));
        assert_eq!((shown.cpu_p99_percent, shown.memory_percent), (9, 25));
        assert_eq!(shown.last_failure.as_deref(), Some("it trapped"));
    }
}
