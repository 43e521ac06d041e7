//! What the guard keeps in memory for itself: all of it is locked, and counts against the limit of its unit.

use crate::bench::{Bench, DEADLINE_MS};

/// What may be locked and not in use. An allocator that reserves 64 MiB for each thread is far beyond it.
const RESERVED_KIB: u64 = 1024;

#[test]
fn it_locks_no_more_than_it_uses() {
    let bench = Bench::with("[lease]\nvolume = \"DIR/leases\"\n");
    let mut agent = bench.connect();
    agent.arm("i1", DEADLINE_MS).expect("armed");
    let warnings = agent.status().warnings;
    if let Some(why) = warnings
        .iter()
        .find(|one| one.contains("memory is not locked"))
    {
        eprintln!("not looked at: {why}");
        return;
    }
    let status = format!("/proc/{}/status", bench.guard.0.id());
    let status = std::fs::read_to_string(status).expect("it runs");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or_else(|| panic!("{name} in kB: {status}"))
    };
    let (locked, resident) = (kib("VmLck:"), kib("VmRSS:"));
    assert!(locked > 0, "it says that its memory is locked: {status}");
    assert!(
        locked < resident + RESERVED_KIB,
        "{locked} kB locked, {resident} kB resident"
    );
}
