//! A long time of small troubles in the simulated cluster: every process stands still for three seconds in
//! turn, links and storage are slow. Nothing of it is a reason to give a host up or to stop a VM.

use super::coverage::Coverage;
use super::draw::Random;
use super::{HOSTS, SETUP, SITES, Seeded, step};
use crate::scenario::Run;
use crate::sim::Sim;

/// How long each stands still, in milliseconds.
const STOP_MS: u64 = 3_000;
const HOUR_MS: u64 = 3_600_000;

/// Runs one seed for so many simulated hours.
pub fn run(seed: u64, hours: u64) -> Seeded {
    let mut random = Random(seed);
    let mut sim = Sim::default();
    let mut text = format!("# Seed {seed} of a soak of {hours} h.\n");
    let (mut errors, mut coverage) = (Vec::new(), Coverage::default());
    let setup = SETUP
        .replace("PROFILE", "policy timing.profile = \"default\"")
        .replace("VOLUME", "volume quorum")
        .replace("DEVICES", "# no fencing device")
        .replace(" lease=false", "");
    for line in setup.lines().filter(|line| !line.starts_with('#')) {
        step(&mut sim, &mut text, line, &mut errors);
    }
    step(&mut sim, &mut text, "mark", &mut errors);
    let until = sim.ctx.now + hours * HOUR_MS;
    let calm = sim.ctx.log.len();
    while sim.ctx.now < until {
        for line in trouble(&mut random) {
            if step(&mut sim, &mut text, &line, &mut errors) {
                coverage.count(&line);
            }
        }
    }
    for line in [
        "heal",
        "san slow 0ms",
        "advance 60s",
        "expect no-boots",
        "expect all running",
    ] {
        step(&mut sim, &mut text, line, &mut errors);
    }
    step(&mut sim, &mut text, "expect runs-once", &mut errors);
    let lost = sim.ctx.log[calm..]
        .iter()
        .filter(|line| line.contains(": lapsed: "));
    errors.extend(lost.map(|line| format!("a host was given up: {line}")));
    errors.extend(sim.ctx.truth.violations.iter().cloned());
    let log = sim.ctx.log.join("\n");
    Seeded {
        text,
        run: Run { log, errors },
        simulated_ms: sim.ctx.now,
        coverage,
    }
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
