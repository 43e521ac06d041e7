//! The one clock that all lab measurements are in, and those of the machines.
//!
//! All machines share a kernel, and so its clocks; but no two real hosts were switched on in the same
//! second. So each machine has a time namespace in which its steady clocks begin at its power-on, at
//! another hour in each site. The wall clock has no such thing: it is the real machine's, unless [`wall`]
//! shows the daemons another one.
//!
//! [`wall`]: crate::wall

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::error::{LabError, Result};
use crate::layout::{Machine, subnet};

fn millis(time: Timespec) -> u64 {
    time.tv_sec.max(0) as u64 * 1000 + time.tv_nsec.max(0) as u64 / 1_000_000
}

/// Milliseconds of the real machine's CLOCK_BOOTTIME.
pub fn now_ms() -> u64 {
    millis(clock_gettime(ClockId::Boottime))
}

/// Milliseconds since 1970, only ever shown to people.
pub fn unix_ms() -> u64 {
    millis(clock_gettime(ClockId::Realtime))
}

/// What a machine's steady clocks show when its power comes on, in seconds: an hour apart from site to
/// site, a minute from machine to machine.
pub(crate) fn begins_at_s(machine: &Machine) -> i64 {
    let number = machine.address.rsplit('.').next();
    let number: i64 = number.and_then(|last| last.parse().ok()).unwrap_or(0);
    i64::from(subnet(&machine.site)) * 3600 + number * 60
}

/// Arguments of `unshare` for a machine that is switched on now.
pub(crate) fn unshare_arguments(machine: &Machine) -> [String; 5] {
    let offset = |id| begins_at_s(machine) - clock_gettime(id).tv_sec;
    [
        "--time".to_owned(),
        "--boottime".to_owned(),
        offset(ClockId::Boottime).to_string(),
        "--monotonic".to_owned(),
        offset(ClockId::Monotonic).to_string(),
    ]
}

const OFFSETS: &str = "/proc/self/timens_offsets";

/// How far CLOCK_BOOTTIME in here is ahead of the real machine's, in seconds.
pub(crate) fn ahead_s() -> Result<i64> {
    let text = std::fs::read_to_string(OFFSETS).map_err(LabError::io("read", OFFSETS))?;
    ahead_in(&text).ok_or_else(|| LabError::Refused(format!("cannot read {OFFSETS}: {text}")))
}

fn ahead_in(offsets: &str) -> Option<i64> {
    let line = offsets.lines().find(|line| line.starts_with("boottime"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        let text = "monotonic           0         0\nboottime        -1000         0\n";
        assert_eq!(ahead_in(text), Some(-1000));
        assert_eq!(ahead_in("monotonic 0 0\n"), None);
        assert_eq!(ahead_s().unwrap(), 0);
    }

    #[test]
    fn sites_are_an_hour_apart() {
        let layout = crate::layout::Layout::new(2).unwrap();
        let begins = |name| begins_at_s(layout.machine(name).unwrap());
        assert_eq!(begins("b1") - begins("a1"), 3600);
        assert_eq!(begins("a2") - begins("a1"), 60);
    }
}
