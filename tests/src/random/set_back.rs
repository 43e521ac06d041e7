//! Histories with a restore of the store in them: what was decided between the backup and the restore is
//! forgotten, while it goes on. All VMs have a storage lease, and hosts are connected when the store is set
//! back: what is beyond that is named in the safety document.

use super::coverage::Coverage;
use super::draw::Random;
use super::{HOSTS, SETUP, SITES, Seeded, VMS, demands, mend, step};
use crate::scenario::Run;
use crate::sim::Sim;

/// Backups and restores in one history.
const ROUNDS: u64 = 2;

/// Runs one seed.
pub fn run(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut sim = Sim::default();
    let mut text = format!("# Seed {seed} of the histories with a restore.\n");
    let (mut errors, mut coverage) = (Vec::new(), Coverage::default());
    let setup = SETUP
        .replace("PROFILE", "policy timing.profile = \"default\"")
        .replace("VOLUME", "volume quorum")
        .replace("DEVICES", "# no fencing device")
        .replace(" lease=false", "");
    for line in setup.lines().filter(|line| !line.starts_with('#')) {
        step(&mut sim, &mut text, line, &mut errors);
    }
    for _ in 0..ROUNDS {
        for line in history(&mut random) {
            // What cannot be done now is not done.
            if step(&mut sim, &mut text, &line, &mut Vec::new()) {
                coverage.count(&line);
            }
        }
        step(&mut sim, &mut text, "advance 20s", &mut errors);
        mend(&mut sim, &mut text, &mut errors);
    }
    for line in demands() {
        step(&mut sim, &mut text, line, &mut errors);
    }
    errors.extend(sim.ctx.truth.violations.iter().cloned());
    let log = sim.ctx.log.join("\n");
    Seeded {
        text,
        run: Run { log, errors },
        simulated_ms: sim.ctx.now,
        coverage,
    }
}

fn wait(random: &mut Random, below_ms: u64) -> String {
    format!("advance {}ms", random.below(below_ms))
}

/// From a backup to the restore; sometimes a host is lost right after it.
fn history(random: &mut Random) -> Vec<String> {
    let mut lines = vec![wait(random, 9_000), "store backup".to_owned()];
    for _ in 0..=random.below(6) {
        lines.extend(event(random));
        lines.push(wait(random, 25_000));
    }
    lines.push("store restore".to_owned());
    if random.below(3) == 0 {
        lines.push(wait(random, 4_000));
        lines.push(format!("power host {} off", random.of(&HOSTS)));
    }
    lines
}

fn event(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    match random.below(9) {
        0 => vec![
            format!("power host {host} off"),
            wait(random, 30_000),
            format!("power host {host} on"),
        ],
        1 => vec![format!("move {vm} {host}")],
        2 => vec![format!("restart {vm}")],
        3 => vec![format!("crash {vm}")],
        4 => vec![
            format!("cut {host} all"),
            wait(random, 15_000),
            "heal".to_owned(),
        ],
        5 => vec![format!(
            "manager {} pause {}ms",
            random.of(&SITES),
            500 + random.below(5_500)
        )],
        6 => vec![format!("agent {host} kill")],
        7 => vec![format!(
            "freeze agent {host} {}ms",
            500 + random.below(8_500)
        )],
        _ => vec![
            format!("stop {vm}"),
            wait(random, 9_000),
            format!("start {vm}"),
        ],
    }
}
