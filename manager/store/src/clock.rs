//! The only place in this crate that reads a clock.

use holdfast_model::time::{Instant, UnixMs};
use rustix::time::{ClockId, clock_gettime};

/// This machine's steady clock: milliseconds of CLOCK_BOOTTIME, which goes on while the machine
/// is suspended. Every bound and deadline is counted on it.
pub fn boottime() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let ms = now
        .tv_sec
        .saturating_mul(1_000)
        .saturating_add(now.tv_nsec / 1_000_000);
    Instant(u64::try_from(ms).unwrap_or(0))
}

/// Wall-clock time, for people. No decision uses it.
pub fn wall() -> UnixMs {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since_1970.map(|d| d.as_millis()).unwrap_or(0);
    UnixMs(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_does_not_go_back() {
        let first = boottime();
        let second = boottime();
        assert!(second >= first && first > Instant(0));
        assert!(wall() > UnixMs(1_700_000_000_000));
    }
}
