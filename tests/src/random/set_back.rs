//! Histories with a restore of the store in them: what was decided between the backup and the restore is
//! forgotten, while it goes on. All VMs have a storage lease, and hosts are connected when the store is set
//! back: what is beyond that is named in the safety document.

use super::draw::Random;
use super::history::History;
use super::{HOSTS, SITES, Seeded, VMS, demands, mend};

/// Backups and restores in one history.
const ROUNDS: u64 = 2;

/// Runs one seed.
pub fn run(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut history = History::new(&format!("Seed {seed} of the histories with a restore."));
    history.set_up_leased();
    for _ in 0..ROUNDS {
        for line in up_to_a_restore(&mut random) {
            if history.attempt(&line) {
                history.coverage.count(&line);
            }
        }
        history.carry_out("advance 20s");
        mend(&mut history, false);
    }
    for line in demands() {
        history.carry_out(line);
    }
    history.end()
}

fn wait(random: &mut Random, below_ms: u64) -> String {
    format!("advance {}ms", random.below(below_ms))
}

/// From a backup to the restore; sometimes a host is lost right after it.
fn up_to_a_restore(random: &mut Random) -> Vec<String> {
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
