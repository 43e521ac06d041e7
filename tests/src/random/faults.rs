//! Which faults: chance, leaning to what a run is mostly about.

use super::draw::Random;
use super::families::of_one_kind;
use super::{HOSTS, SITES, VMS};

/// What a run is mostly about, drawn from its seed: faults meet each other more often than if all
/// were as likely.
#[derive(Clone, Copy)]
pub enum Theme {
    Mixed,
    Links,
    Migrations,
}

/// What is done next.
pub struct Drawn {
    /// What its lines are together, where they belong together.
    pub together: Option<&'static str>,
    /// In their order.
    pub lines: Vec<String>,
}

/// Random faults, or an operator's doing: one, or a few that belong together.
pub fn faults(random: &mut Random, theme: Theme) -> Drawn {
    if random.below(6) == 0 {
        return of_one_kind(random);
    }
    let often = random.below(3) > 0;
    let line = match theme {
        Theme::Links if often => of_links(random),
        Theme::Migrations if often => of_migrations(random),
        Theme::Links | Theme::Migrations | Theme::Mixed => of_any_kind(random),
    };
    Drawn {
        together: None,
        lines: vec![line],
    }
}

/// How a device behaves; a lie is one that shows, since no one could tell another from the truth.
pub fn device(random: &mut Random, host: &str) -> String {
    let ms = 100 + random.below(3_500);
    match random.below(8) {
        0 | 1 => format!("fence {host} half-lies {ms}ms"),
        2 => format!("fence {host} hangs"),
        3 => format!("fence {host} refuses"),
        4 => format!("fence {host} mumbles {ms}ms"),
        _ => format!("fence {host} answers {ms}ms"),
    }
}

/// Guards that die or stand still, and sectors of the lease volume that are damaged, if there is one.
pub fn of_guards(random: &mut Random, leased: bool) -> Drawn {
    let host = random.of(&HOSTS);
    let line = match random.below(if leased { 6 } else { 3 }) {
        0 | 1 => format!("guard {host} kill"),
        // Long enough for its VMs to leave, now and then.
        2 if random.below(4) == 0 => format!("freeze guard {host} {}s", 35 + random.below(60)),
        2 => format!("freeze guard {host} {}ms", 100 + random.below(8_000)),
        _ => {
            let damage = random.of(&["torn", "zeroed", "foreign", "flipped"]);
            format!("sector {host} {damage}")
        }
    };
    Drawn {
        together: None,
        lines: vec![line],
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
    match random.below(46) {
        40 | 41 => format!("libvirt {host} kill {ms}ms"),
        42 => format!("voter {site} stop"),
        43 => format!("voter {site} start"),
        44 | 45 => device(random, host),
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
