//! Faults that are hard on probes: what makes a host look lost to whoever asks it, and is not, or only to some.

use super::draw::Random;
use super::families::{Family, wait};
use super::faults::Drawn;
use super::{HOSTS, SITES};

/// All of them, with what they are called when they are counted.
pub const PROBED: [Family; 5] = [
    ("one site asks in vain", one_site_in_vain),
    ("a manager stands still", manager_stands_still),
    ("a guard stands still", guard_stands_still),
    ("probes are lost", probes_lost),
    ("lost to all", lost_to_all),
];

/// One of them.
pub fn of_probes(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&PROBED);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

/// An agent that stands still for less than its heartbeats take to be missed.
fn short_stop(random: &mut Random, host: &str) -> String {
    format!("freeze agent {host} {}ms", 800 + random.below(1_400))
}

/// And its agent stands still besides.
fn one_site_in_vain(random: &mut Random) -> Vec<String> {
    let (host, site) = (random.of(&HOSTS), random.of(&SITES));
    let way = random.of(&["", " oneway"]);
    let (from, to) = random.of(&[(host, site), (site, host)]);
    vec![
        format!("cut {from} {to}{way}"),
        wait(random, 100, 1_500),
        short_stop(random, host),
        wait(random, 1_000, 4_000),
        "heal".to_owned(),
    ]
}

/// Hosts were well before and after it, but for one that its own site cannot reach.
fn manager_stands_still(random: &mut Random) -> Vec<String> {
    let (host, site, other) = (random.of(&HOSTS), random.of(&SITES), random.of(&SITES));
    vec![
        format!("cut {other} {host}"),
        wait(random, 300, 1_200),
        short_stop(random, host),
        format!("manager {site} pause {}ms", 500 + random.below(2_500)),
        wait(random, 1_000, 4_000),
        "heal".to_owned(),
    ]
}

/// Nobody is answered, and its heartbeats go on; or they are late as well.
fn guard_stands_still(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let mut lines = vec![
        format!("freeze guard {host} {}ms", 500 + random.below(4_000)),
        wait(random, 300, 2_000),
    ];
    if random.below(2) == 0 {
        lines.push(format!("freeze agent {host} {}ms", random.below(1_100)));
    }
    lines.push(wait(random, 1_000, 5_000));
    lines
}

fn probes_lost(random: &mut Random) -> Vec<String> {
    vec![
        format!("probes lose {}", 5 + random.below(60)),
        wait(random, 2_000, 30_000),
        "probes lose 0".to_owned(),
    ]
}

/// For about as long as it takes to be suspect, and for good.
fn lost_to_all(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let lost = random.of(&["power host HOST off", "cut HOST all", "cut HOST all oneway"]);
    vec![
        lost.replace("HOST", host),
        wait(random, 600, 2_600),
        random
            .of(&["heal", "power host HOST on"])
            .replace("HOST", host),
        wait(random, 500, 5_000),
    ]
}
