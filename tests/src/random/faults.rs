//! Which faults: chance, leaning to what a run is mostly about.

use super::draw::Random;
use super::{HOSTS, SITES, VMS};

/// What a run is mostly about, drawn from its seed: faults meet each other more often than if all
/// were as likely.
#[derive(Clone, Copy)]
pub enum Theme {
    Mixed,
    Links,
    Migrations,
}

/// Random faults, or an operator's doing: one, or a few that belong together.
pub fn faults(random: &mut Random, theme: Theme) -> Vec<String> {
    if random.below(6) == 0 {
        return of_one_kind(random);
    }
    let often = random.below(3) > 0;
    vec![match theme {
        Theme::Links if often => of_links(random),
        Theme::Migrations if often => of_migrations(random),
        Theme::Links | Theme::Migrations | Theme::Mixed => of_any_kind(random),
    }]
}

/// Faults that hurt only together, in an order and at times that chance alone seldom finds. Each is
/// what one rule is for.
fn of_one_kind(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    let wait = |random: &mut Random, from: u64, to: u64| {
        format!("advance {}ms", from + random.below(to - from))
    };
    match random.below(11) {
        // The last heartbeat comes as late as it may on the storage, and then both planes are gone.
        10 => vec![
            format!("san slow {}ms", random.below(4_000)),
            wait(random, 4_000, 9_000),
            format!("cut {host} all"),
            format!("san cut {host}"),
            "san slow 0ms".to_owned(),
            wait(random, 3_000, 25_000),
            "heal".to_owned(),
        ],
        // Cut off while its storage holds, for as long as it takes to be given up, and back.
        7 => vec![
            format!("cut {host} all"),
            wait(random, 3_000, 30_000),
            "heal".to_owned(),
            wait(random, 10, 3_000),
        ],
        // Both planes go, one after the other, and one comes back at about the deadline.
        8 => vec![
            format!("san cut {host}"),
            wait(random, 10, 6_000),
            format!("cut {host} all"),
            wait(random, 10, 8_000),
            random
                .of(&["san heal HOST", "heal HOST all"])
                .replace("HOST", host),
            wait(random, 10, 20_000),
        ],
        // The storage hangs for everybody while hosts are cut off or lose power.
        9 => vec![
            "san stall".to_owned(),
            wait(random, 10, 9_000),
            random
                .of(&["cut HOST all", "power host HOST off", "cut a b"])
                .replace("HOST", host),
            wait(random, 10, 20_000),
            "san go".to_owned(),
        ],
        // A copy arrives while its host's agent stands still, and its view is late.
        0 => vec![
            format!("freeze agent {host} {}ms", 2_000 + random.below(6_000)),
            format!("move {vm} {host}"),
            wait(random, 1_000, 9_000),
        ],
        // Its agent is not there, and the copy dies before anybody has seen it.
        1 => vec![
            format!("agent {host} stop"),
            format!("move {vm} {host}"),
            wait(random, 3_000, 3_900),
            format!("crash {vm} on {host}"),
            format!("agent {host} start"),
            wait(random, 1_000, 9_000),
        ],
        // The agent is away while a migration ends, well or not.
        2 => vec![
            format!("lose-finish {vm} {}", random.of(&["on", "off"])),
            format!("move {vm} {host}"),
            wait(random, 100, 3_000),
            format!("agent {host} stop"),
            wait(random, 500, 5_000),
            format!("agent {host} start"),
        ],
        // The last acknowledgement comes as late as it may, and then nothing comes.
        3 => vec![
            format!("slow all {host} {}ms", random.below(1_490)),
            wait(random, 2_000, 6_000),
            format!("cut {host} all"),
            wait(random, 3_000, 25_000),
            "heal".to_owned(),
        ],
        // A host is gone just when a migration ends.
        4 => vec![
            format!("move {vm} {host}"),
            wait(random, 2_900, 3_600),
            format!("power host {} off", random.of(&HOSTS)),
            wait(random, 1_000, 20_000),
        ],
        // Away for about as long as it takes to be given up.
        5 => vec![
            format!("cut {host} all"),
            wait(random, 1_500, 7_000),
            "heal".to_owned(),
        ],
        // Off and on again, at once or later.
        _ => vec![
            format!("power host {host} off"),
            wait(random, 10, 9_000),
            format!("power host {host} on"),
        ],
    }
}

fn of_links(random: &mut Random) -> String {
    let ends = ["a", "b", "w", "a1", "a2", "b1", "b2", "all"];
    let (from, to, ms) = (random.of(&ends), random.of(&ends), random.below(2_000));
    match random.below(8) {
        _ if from == to => "heal".to_owned(),
        0 => format!("cut {from} {to}"),
        1 => format!("cut {from} {to} oneway"),
        2..=4 => format!("slow {from} {to} {ms}ms"),
        5 => format!("freeze agent {} {ms}ms", random.of(&HOSTS)),
        _ => "heal".to_owned(),
    }
}

fn of_migrations(random: &mut Random) -> String {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    match random.below(12) {
        0..=4 => format!("move {vm} {host}"),
        5 => format!("lose-finish {vm} {}", random.of(&["on", "on", "off"])),
        6 => format!("agent {host} {}", random.of(&["stop", "kill"])),
        7 => format!("agent {host} start"),
        8 => format!("crash {vm}"),
        9 => format!(
            "cut {} {}",
            random.of(&["a", "a1", "a2"]),
            random.of(&["b", "b1"])
        ),
        10 => "heal".to_owned(),
        _ => format!("{} {host}", random.of(&["drain", "resume", "resume"])),
    }
}

fn of_any_kind(random: &mut Random) -> String {
    let (site, host, vm) = (random.of(&SITES), random.of(&HOSTS), random.of(&VMS));
    let (other, ms) = (random.of(&SITES), 100 + random.below(12_000));
    let on = random.of(&["on", "off"]);
    match random.below(40) {
        36 => format!("storage {host} unusable"),
        37 => format!("storage {host} synced"),
        38 | 39 => format!("io-error {vm}"),
        30 | 31 => format!("san cut {host}"),
        32 => format!("san heal {host}"),
        33 => "san stall".to_owned(),
        34 | 35 => "san go".to_owned(),
        0 | 1 => format!("power host {host} off"),
        2..=4 => format!("power host {host} on"),
        5 => format!("power site {site} off"),
        6 | 7 => format!("power site {site} on"),
        8 if site != other => format!("cut {site} {other}"),
        9 if site != other => format!("cut {site} {other} oneway"),
        10 => format!("cut {host} all"),
        11 => format!("cut all {host} oneway"),
        12 => format!("cut {host} all oneway"),
        13..=16 => "heal".to_owned(),
        17 => format!("manager {site} kill"),
        18 => format!("manager {site} pause {ms}ms"),
        19 => format!("agent {host} kill"),
        20 => format!("freeze agent {host} {ms}ms"),
        21 => format!("freeze libvirt {host} {ms}ms"),
        22 => format!("crash {vm}"),
        23 => format!("fail-start {host} {vm} \"no such bridge\" 2"),
        24 | 25 => format!("move {vm} {host}"),
        26 => format!("lose-finish {vm} {on}"),
        27 => format!("{} {host}", random.of(&["drain", "resume"])),
        28 => format!("{} {vm}", random.of(&["stop", "start", "start", "restart"])),
        _ => format!("guest-shutdown {vm}"),
    }
}
