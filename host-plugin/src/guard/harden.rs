//! What keeps the guard running when the host is short of everything: memory locked, first in line
//! for a CPU, last in line for the out-of-memory killer. Each is tried; what the system does not
//! permit is said, in the log and in the status.

use rustix::mm::{MlockAllFlags, mlockall};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Above every ordinary process, below the kernel's own threads (which begin at 50).
const PRIORITY: u8 = 20;

/// Hardens this process, called from the thread that runs the guard's loop. Returns what was not
/// permitted, in words.
pub fn harden() -> Vec<String> {
    let mut warnings = Vec::new();
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE) {
        warnings.push(format!(
            "memory is not locked ({error}): give the unit LimitMEMLOCK=infinity"
        ));
    }
    if let Err(error) = spare_from_oom() {
        warnings.push(format!(
            "the out-of-memory killer may take the guard ({error}): give the unit \
             OOMScoreAdjust=-1000"
        ));
    }
    if let Some(error) = real_time(PRIORITY) {
        warnings.push(format!(
            "no real-time priority ({error}): give the unit LimitRTPRIO={PRIORITY}"
        ));
    }
    warnings
}

/// Whoever started the guard may have done it already, and then it needs no right.
fn spare_from_oom() -> std::io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    const LAST: &str = "-1000";
    if std::fs::read_to_string(FILE)?.trim() == LAST {
        return Ok(());
    }
    std::fs::write(FILE, LAST)
}

/// Puts the calling thread behind the guard's own, and before all ordinary ones. Where the guard's own is
/// not before them either, as it was not permitted, neither is this one.
pub fn behind_the_guard() {
    let _ = real_time(PRIORITY - 1);
}

fn real_time(priority: u8) -> Option<String> {
    let priority = match priority.try_into() {
        Ok(priority) => ThreadPriority::Crossplatform(priority),
        Err(_) => return Some("no such priority".to_owned()),
    };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let result = set_thread_priority_and_policy(thread_native_id(), priority, policy);
    result.err().map(|error| format!("{error:?}"))
}
