//! systemd as the guard's watchdog, by the addition to its unit that is shipped: this end of the socket is
//! systemd's.

use super::bench::{Bench, Owned, guard_command};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const ADDITION: &str = include_str!("../../packaging/systemd-watchdog.conf");

/// `WatchdogSec=` of the addition.
fn watchdog_sec() -> u64 {
    let line = ADDITION
        .lines()
        .find_map(|line| line.strip_prefix("WatchdogSec="));
    let number = line.and_then(|text| text.strip_suffix('s')?.parse().ok());
    number.expect("WatchdogSec=, in seconds")
}

#[test]
fn a_guard_with_the_addition_to_its_unit_gives_a_sign_in_time() {
    let mut bench = Bench::with("[guard.watchdog]\nkind = \"systemd\"\n");
    let warnings = bench.connect().status().warnings;
    let without = warnings.iter().any(|one| one.contains("WatchdogSec="));
    assert!(without, "without the addition it says so: {warnings:?}");
    bench.guard.0.kill().expect("a child");
    bench.guard.0.wait().expect("a child");
    let seconds = watchdog_sec();
    let path = bench.path().join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    // Longer than this without a sign, and systemd would end it.
    let limit = Some(Duration::from_secs(seconds));
    systemd.set_read_timeout(limit).expect("a socket");
    let guard = guard_command(&bench.config)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", (seconds * 1_000_000).to_string())
        .spawn();
    bench.guard = Owned(guard.expect("a guard"));
    let mut sign = [0; 64];
    // Once as it starts, and then by the clock.
    for number in 0..3 {
        let length = systemd.recv(&mut sign);
        let length = length.unwrap_or_else(|error| panic!("sign {number}: {error}"));
        assert_eq!(&sign[..length], b"WATCHDOG=1");
    }
    assert!(bench.guard.is_alive());
}
