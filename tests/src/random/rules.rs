//! Placement extensions that come, change their minds, fail and go while hosts are lost. A hard rule may keep a VM
//! down for as long as it is there, so all of them are gone before everything has to run again.

use super::draw::Random;
use super::families::{Family, wait};
use super::faults::Drawn;
use super::history::History;
use super::{HOSTS, VMS};

const RULES: [&str; 2] = ["spread", "licence"];

/// All of them, with what they are called when they are counted.
pub const RULED: [Family; 3] = [
    ("a rule keeps VMs off where they would go", keeps_off),
    ("a rule fails when it is needed", fails),
    ("a rule changes in a plan", changes),
];

/// One of them.
pub fn of_rules(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&RULED);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

/// Nobody is in anybody's way any more.
pub fn remove(history: &mut History) {
    for rule in RULES {
        // One that is not there is as good.
        history.attempt(&format!("extension {rule} removed"));
    }
}

/// What VMs have to be placed for.
fn need(random: &mut Random) -> String {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    match random.below(4) {
        0 => format!("power host {host} off"),
        1 => format!("restart {vm}"),
        2 => format!("drain {host}"),
        _ => format!("crash {vm}"),
    }
}

fn keeps_off(random: &mut Random) -> Vec<String> {
    let lines = RULES.map(|rule| format!("extension {rule} keeps-off {}", random.of(&HOSTS)));
    let mut lines = lines.to_vec();
    lines.extend([need(random), wait(random, 1_000, 12_000)]);
    lines
}

fn fails(random: &mut Random) -> Vec<String> {
    let then = random.of(&["", " open"]);
    vec![
        format!("extension {} fails{then}", random.of(&RULES)),
        need(random),
        wait(random, 1_000, 12_000),
    ]
}

fn changes(random: &mut Random) -> Vec<String> {
    let rule = random.of(&RULES);
    let (one, other) = (random.of(&HOSTS), random.of(&HOSTS));
    let change = random.of(&["keeps-off OTHER", "prefers OTHER", "fails", "removed"]);
    vec![
        format!("extension {rule} keeps-off {one}"),
        need(random),
        wait(random, 10, 4_000),
        format!("extension {rule} {}", change.replace("OTHER", other)),
        wait(random, 10, 8_000),
    ]
}
