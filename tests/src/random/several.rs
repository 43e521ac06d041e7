//! Faults of several fencing devices of one host ([`super::devices`]): each fails in its own way, one supply holds
//! where the other is cut, one says off and the other that it is on.

use super::draw::Random;
use super::families::{Family, wait};
use super::faults::Drawn;
use super::{SITES, VMS};

/// All of them, with what they are called when they are counted.
pub const SEVERAL: [Family; 8] = [
    ("one supply is cut, the other holds", one_supply),
    ("a lie is contradicted", contradicted),
    ("the next order is asked", next_order),
    ("devices, each in its own way", each_its_way),
    ("a device answers for a life that is over", late),
    ("a manager dies in an errand", dies_in_an_errand),
    ("a manager stands still in an errand", stands_still),
    ("a host comes back in an errand", comes_back),
];

/// A host, and its devices by their order.
const DEVICES: [(&str, &[&str]); 4] = [
    ("a1", &["a1", "a1-strip"]),
    ("a2", &["a2", "a2-left", "a2-right"]),
    ("b1", &["b1", "b1-strip"]),
    ("b2", &["b2-left", "b2-right"]),
];

/// One of them.
pub fn of_several(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&SEVERAL);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

/// What has a host asked about; it has power, but for the last.
fn lost(random: &mut Random, host: &str) -> String {
    let how = random.of(&[
        "cut HOST all",
        "cut HOST all",
        "freeze agent HOST 4s",
        "freeze agent HOST 9s",
        "power host HOST off",
    ]);
    how.replace("HOST", host)
}

/// A device that is of no use, or that does what it is told and nobody hears of it.
fn useless(random: &mut Random, device: &str) -> String {
    let ms = 100 + random.below(3_000);
    match random.below(4) {
        0 => format!("fence {device} hangs"),
        1 => format!("fence {device} refuses {ms}ms"),
        2 => format!("fence {device} idles {ms}ms"),
        _ => format!("fence {device} mumbles {ms}ms"),
    }
}

/// It says off, truly, and its host runs on. The other is cut later, or not.
fn one_supply(random: &mut Random) -> Vec<String> {
    let host = random.of(&["a2", "b2"]);
    let (cut, holds) = random.of(&[("left", "right"), ("right", "left")]);
    let (cut, holds) = (format!("{host}-{cut}"), format!("{host}-{holds}"));
    let mut lines = vec![
        useless(random, &holds),
        format!("fence {cut} answers {}ms", 100 + random.below(2_000)),
    ];
    if host == "a2" {
        lines.push(useless(random, host));
    }
    lines.push(lost(random, host));
    lines.push(wait(random, 1_000, 14_000));
    if random.below(2) == 0 {
        lines.push(format!("fence {holds} answers"));
        lines.push(wait(random, 1_000, 9_000));
    }
    lines.push("heal".to_owned());
    lines
}

/// One that does nothing says so after the other, which does nothing either, was asked how the power stands, and
/// before that one says off.
fn contradicted(random: &mut Random) -> Vec<String> {
    let (liar, honest) = random.of(&[("a1", "a1-strip"), ("a1-strip", "a1")]);
    let lie_ms = 600 + random.below(1_800);
    let on_ms = lie_ms * 3 / 5 + random.below(lie_ms / 4);
    vec![
        format!("fence {honest} idles {on_ms}ms"),
        format!("fence {liar} lies {lie_ms}ms"),
        lost(random, "a1"),
        wait(random, 1_000, 14_000),
        format!("fence {liar} answers"),
        format!("fence {honest} answers"),
        wait(random, 10, 3_000),
        "heal".to_owned(),
    ]
}

/// The first is of no use.
fn next_order(random: &mut Random) -> Vec<String> {
    let host = random.of(&["a2", "b1"]);
    vec![
        useless(random, host),
        lost(random, host),
        wait(random, 1_000, 14_000),
        "heal".to_owned(),
    ]
}

fn each_its_way(random: &mut Random) -> Vec<String> {
    let (host, devices) = random.of(&DEVICES);
    let mut lines = Vec::new();
    for device in devices {
        let ms = 100 + random.below(3_800);
        lines.push(match random.below(5) {
            0 | 1 => useless(random, device),
            2 => format!("fence {device} half-lies {ms}ms"),
            _ => format!("fence {device} answers {ms}ms"),
        });
    }
    lines.push(lost(random, host));
    lines.push(wait(random, 1_000, 20_000));
    lines
}

/// It takes so long that the host has come back meanwhile, has VMs again, and is lost again.
fn late(random: &mut Random) -> Vec<String> {
    let away = random.of(&["cut b1 all", "cut b1 all", "power host b1 off"]);
    let lies = random.of(&["lies", "half-lies"]);
    let mut lines = vec![
        format!("fence b1 {lies} {}ms", 8_000 + random.below(6_000)),
        away.to_owned(),
        wait(random, 4_000, 8_000),
        "heal".to_owned(),
    ];
    if away.starts_with("power") {
        lines.push("power host b1 on".to_owned());
    }
    lines.extend([
        // Held down for as long after its first loss.
        wait(random, 10_500, 13_000),
        format!("move {} b1", random.of(&VMS)),
        wait(random, 3_200, 4_500),
        random.of(&["cut b1 all", "freeze agent b1 9s"]).to_owned(),
        wait(random, 2_000, 9_000),
        "fence b1 answers".to_owned(),
        wait(random, 10, 5_000),
        "heal".to_owned(),
    ]);
    lines
}

/// What a leader has another manager ask of a device that takes a while, if not every site reaches it.
fn errand(random: &mut Random) -> (&'static str, Vec<String>) {
    let (host, devices) = random.of(&DEVICES);
    let slow = |device: &&str| format!("fence {device} answers {}ms", 400 + random.below(3_200));
    let mut lines: Vec<String> = devices.iter().map(slow).collect();
    lines.push(lost(random, host));
    (host, lines)
}

/// Before it has taken it, while the device is being asked, or before it has said so.
fn dies_in_an_errand(random: &mut Random) -> Vec<String> {
    let (_, mut lines) = errand(random);
    lines.push(wait(random, 500, 6_000));
    lines.push(format!("manager {} kill", random.of(&SITES)));
    lines.push(wait(random, 500, 9_000));
    lines.push("heal".to_owned());
    lines
}

/// For as long as another one is asked instead, or the leader gives up.
fn stands_still(random: &mut Random) -> Vec<String> {
    let (_, mut lines) = errand(random);
    lines.push(wait(random, 500, 4_000));
    lines.push(format!(
        "manager {} pause {}ms",
        random.of(&SITES),
        300 + random.below(9_000)
    ));
    lines.push(wait(random, 1_000, 12_000));
    lines.push("heal".to_owned());
    lines
}

/// And the way to the store is slow for the manager that has it, or its watch brings nothing.
fn comes_back(random: &mut Random) -> Vec<String> {
    let (host, devices) = random.of(&DEVICES);
    let site = random.of(&SITES);
    let mut lines = vec![random.of(&["slow SITE all MS", "watch gap SITE MS"])];
    lines.push("freeze agent HOST STOP");
    let ms = format!("{}ms", 200 + random.below(1_200));
    let stop = format!("{}ms", 1_000 + random.below(3_500));
    let each = lines.iter().map(|line| {
        let line = line.replace("SITE", site).replace("HOST", host);
        line.replace("MS", &ms).replace("STOP", &stop)
    });
    let mut lines: Vec<String> = each.collect();
    let slow = |device: &&str| format!("fence {device} answers {}ms", 100 + random.below(900));
    lines.extend(devices.iter().map(slow));
    lines.push(wait(random, 1_000, 9_000));
    lines.push("heal".to_owned());
    lines
}
