//! Moments in which the machine itself stood still: nothing that happens in them is Holdfast's doing.
//!
//! Two threads sleep a little again and again and note it when that took long: an ordinary one, and one with
//! a higher real-time priority than anything of the lab. Where both stood still, so did the whole machine (a
//! virtual one that its hypervisor had stopped); where only the ordinary one did, something took all CPUs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::clock::{now_ms, unix_ms};

const STEP: Duration = Duration::from_millis(50);
/// Shorter than any deadline of the cluster, and longer than what a busy machine makes of [`STEP`].
const LONG_MS: u64 = 1_000;
/// Above the guards, which have 20.
const PRIORITY: u8 = 60;

/// Who stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Processes without a real-time priority: something took all CPUs.
    Ordinary,
    /// The machine.
    Machine,
}

/// A moment without a step.
#[derive(Debug, Clone, Serialize)]
pub struct Stall {
    /// Who.
    pub who: Who,
    /// When it ended, by the wall clock.
    pub ended_unix_ms: u64,
    /// How long it was.
    pub length_ms: u64,
}

/// Notes them for as long as it lives.
pub struct Stalls {
    seen: Arc<Mutex<Vec<Stall>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Stalls {
    /// From now on. Where no real-time priority is to be had, the machine's own are told as ordinary ones.
    pub fn watch() -> Self {
        let seen: Arc<Mutex<Vec<Stall>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let thread = |who: Who| {
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            std::thread::spawn(move || {
                if who == Who::Machine && !is_first_in_line() {
                    return;
                }
                note(who, &seen, &over);
            })
        };
        let threads = [Who::Ordinary, Who::Machine].map(thread).into();
        Self {
            seen,
            over,
            threads,
        }
    }

    /// So far, by their ends.
    pub fn seen(&self) -> Vec<Stall> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It only sleeps and looks at a clock.
            let _ = thread.join();
        }
    }
}

fn note(who: Who, seen: &Mutex<Vec<Stall>>, over: &AtomicBool) {
    let mut last_ms = now_ms();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(STEP);
        if let Some(length_ms) = long_step(&mut last_ms, now_ms()) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(Stall {
                who,
                ended_unix_ms: unix_ms(),
                length_ms,
            });
        }
    }
}

/// How long the step to this time was, if that is long.
fn long_step(last_ms: &mut u64, at_ms: u64) -> Option<u64> {
    let length_ms = at_ms.saturating_sub(std::mem::replace(last_ms, at_ms));
    (length_ms >= LONG_MS).then_some(length_ms)
}

fn is_first_in_line() -> bool {
    let Ok(priority) = PRIORITY.try_into() else {
        return false;
    };
    let priority = ThreadPriority::Crossplatform(priority);
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), priority, policy).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_step_is_noted() {
        let mut last_ms = 100;
        let times = [150, 230, 1_229, 2_229, 2_280, 54_000];
        let noted: Vec<_> = times.map(|at_ms| long_step(&mut last_ms, at_ms)).into();
        assert_eq!(noted, [None, None, None, Some(1_000), None, Some(51_720)]);
    }
}
