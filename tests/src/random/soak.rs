//! A long time of small troubles in the simulated cluster: every process stands still for three seconds in
//! turn, links and storage are slow. Nothing of it is a reason to give a host up or to stop a VM.

use super::draw::Random;
use super::history::History;
use super::{HOSTS, SITES, Seeded};

/// How long each stands still, in milliseconds.
const STOP_MS: u64 = 3_000;
const HOUR_MS: u64 = 3_600_000;

/// Runs one seed for so many simulated hours.
pub fn run(seed: u64, hours: u64) -> Seeded {
    let mut random = Random(seed);
    let mut history = History::new(&format!("Seed {seed} of a soak of {hours} h."));
    history.set_up_leased();
    history.carry_out("mark");
    let until = history.sim.ctx.now + hours * HOUR_MS;
    let calm = history.sim.ctx.log.len();
    while history.sim.ctx.now < until {
        for line in trouble(&mut random) {
            if history.carry_out(&line) {
                history.coverage.count(&line);
            }
        }
    }
    for line in [
        "heal",
        "san slow 0ms",
        "advance 60s",
        "expect no-boots",
        "expect all running",
        "expect runs-once",
    ] {
        history.carry_out(line);
    }
    let log = &history.sim.ctx.log[calm..];
    let lost = log.iter().filter(|line| line.contains(": lapsed: "));
    let lost: Vec<String> = lost
        .map(|line| format!("a host was given up: {line}"))
        .collect();
    history.errors.extend(lost);
    history.end()
}

fn trouble(random: &mut Random) -> Vec<String> {
    let (host, site) = (random.of(&HOSTS), random.of(&SITES));
    let stop = format!("advance {STOP_MS}ms");
    let mut lines = match random.below(8) {
        0 => vec![format!("freeze agent {host} {STOP_MS}ms"), stop],
        1 => vec![format!("freeze guard {host} {STOP_MS}ms"), stop],
        2 => vec![format!("freeze libvirt {host} {STOP_MS}ms"), stop],
        3 => vec![format!("manager {site} pause {STOP_MS}ms"), stop],
        4 => vec![
            format!("voter {site} stop"),
            stop,
            format!("voter {site} start"),
        ],
        5 => vec!["san stall".to_owned(), stop, "san go".to_owned()],
        6 => vec![format!("slow all {host} {}ms", random.below(300)), stop],
        _ => vec![format!("san slow {}ms", random.below(300)), stop],
    };
    // One thing at a time, but for what is slow.
    lines.push(format!("advance {}ms", 2_000 + random.below(8_000)));
    if random.below(4) == 0 {
        lines.extend(["heal".to_owned(), "san slow 0ms".to_owned()]);
    }
    lines
}
