//! Faults of agents that ask fencing devices of other hosts ([`super::devices`]): what befalls whoever has been sent
//! there, while it is on its way.

use super::HOSTS;
use super::draw::Random;
use super::families::{Family, wait};
use super::faults::Drawn;

/// All of them, with what they are called when they are counted.
pub const ASKED: [Family; 6] = [
    ("an agent dies in an errand", dies),
    ("an agent stands still in an errand", stands_still),
    ("an asker falls suspect in an errand", falls_suspect),
    ("an asker is lost as well", lost_as_well),
    ("an asker is cut off from its board", cut_off),
    ("an asker hears of it late", hears_late),
];

/// One of them.
pub fn of_asked(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&ASKED);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

/// A host of which nothing is heard, with devices that take a while; and another one.
fn lost(random: &mut Random) -> (&'static str, &'static str, Vec<String>) {
    let host = random.of(&HOSTS);
    let others: Vec<&str> = HOSTS.into_iter().filter(|other| *other != host).collect();
    // The one of its own site comes first, if it may.
    let near = others.iter().find(|other| other[..1] == host[..1]);
    let other = match (random.below(2), near) {
        (0, Some(near)) => near,
        _ => random.of(&others),
    };
    let how = random.of(&[
        "cut HOST all",
        "cut HOST all",
        "freeze agent HOST 5s",
        "freeze agent HOST 9s",
        "power host HOST off",
    ]);
    let lines = vec![
        format!("fence {host} answers {}ms", 200 + random.below(3_200)),
        how.replace("HOST", host),
    ];
    (host, other, lines)
}

/// Before it has taken it, while the device is being asked, or before it has said so.
fn dies(random: &mut Random) -> Vec<String> {
    let (_, other, mut lines) = lost(random);
    lines.push(wait(random, 800, 7_000));
    lines.push(format!("agent {other} kill"));
    lines.push(wait(random, 500, 9_000));
    lines.push("heal".to_owned());
    lines
}

/// For so long that another one is asked instead, that its own host is suspect, or that the leader gives up.
fn stands_still(random: &mut Random) -> Vec<String> {
    let (_, other, mut lines) = lost(random);
    lines.push(wait(random, 500, 7_000));
    lines.push(format!(
        "freeze agent {other} {}ms",
        300 + random.below(9_000)
    ));
    lines.push(wait(random, 1_000, 12_000));
    lines.push("heal".to_owned());
    lines
}

/// It goes on when its host has just become suspect, and hears of that with the errand. With the patient profile its
/// session holds for long yet; where managers ask hosts directly, the other one is lost later.
fn falls_suspect(random: &mut Random) -> Vec<String> {
    let (host, other) = random.of(&[("a1", "a2"), ("a2", "a1"), ("b1", "b2"), ("b2", "b1")]);
    let ms = 4_300 + random.below(1_600);
    let stands = [
        format!("watch gap {other} {ms}ms"),
        format!("freeze agent {other} {ms}ms"),
    ];
    let lost = random.of(&["cut HOST all", "power host HOST off"]);
    let lost = [lost.replace("HOST", host)];
    let mut lines = Vec::new();
    match random.below(2) {
        0 => {
            lines.extend(lost);
            lines.push(wait(random, 10, 1_500));
            lines.extend(stands);
        }
        _ => {
            lines.extend(stands);
            lines.push(wait(random, 1_200, 3_200));
            lines.extend(lost);
        }
    }
    lines.push(wait(random, 6_000, 12_000));
    lines.push("heal".to_owned());
    lines
}

/// Soon after the first, or soon before anybody is asked about that.
fn lost_as_well(random: &mut Random) -> Vec<String> {
    let (_, other, mut lines) = lost(random);
    lines.push(wait(random, 10, 7_000));
    let how = random.of(&["power host HOST off", "cut HOST all", "cut HOST all oneway"]);
    lines.push(how.replace("HOST", other));
    lines.push(wait(random, 1_000, 12_000));
    lines.push("heal".to_owned());
    lines
}

/// Its own way to the store holds: who has asked in vain comes last the next time.
fn cut_off(random: &mut Random) -> Vec<String> {
    let (host, other, lines) = lost(random);
    let site = &host[..1];
    let mut lines: Vec<String> = [format!("cut {other} {site}")]
        .into_iter()
        .chain(lines)
        .collect();
    lines.push(wait(random, 3_000, 14_000));
    lines.push("heal".to_owned());
    lines
}

/// The way to the store is slow for it, or its watch brings nothing; and the lost host comes back.
fn hears_late(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let other = random.of(&HOSTS);
    let ms = 200 + random.below(1_200);
    let late = random.of(&["slow HOST all MS", "watch gap HOST MS", "slow all HOST MS"]);
    vec![
        late.replace("HOST", other)
            .replace("MS", &format!("{ms}ms")),
        format!("freeze agent {host} {}ms", 1_000 + random.below(5_000)),
        wait(random, 1_000, 9_000),
        "heal".to_owned(),
    ]
}
