//! The one clock that all lab measurements are in.

use rustix::time::{ClockId, Timespec, clock_gettime};

fn millis(time: Timespec) -> u64 {
    time.tv_sec.max(0) as u64 * 1000 + time.tv_nsec.max(0) as u64 / 1_000_000
}

/// Milliseconds of CLOCK_BOOTTIME: the clock of the agents' deadlines, the same in every machine
/// of the lab since they share a kernel.
pub fn now_ms() -> u64 {
    millis(clock_gettime(ClockId::Boottime))
}

/// Milliseconds since 1970, only ever shown to people.
pub fn unix_ms() -> u64 {
    millis(clock_gettime(ClockId::Realtime))
}
