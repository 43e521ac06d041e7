//! What happens around a plan and is drawn apart, in every third run: an operator's word about a host, a libvirt that is
//! slow, clocks on the wall, VMs' sectors on the lease volume, and storage that a host can make no use of.

use super::draw::Random;
use super::families::{Family, plan, wait};
use super::faults::Drawn;
use super::{HOSTS, SITES, VMS};

/// All of them, with what they are called when they are counted.
pub const AROUND: [Family; 6] = [
    ("an operator vouches for a host without power", vouched_for),
    ("libvirt is slow in a plan", slow_in_a_plan),
    ("libvirt is past its bounds in a plan", past_its_bounds),
    ("a clock on the wall is set in a plan", clock_is_set),
    ("a claim is damaged, its host lost", claim_damaged),
    ("storage of no use, another host lost", storage_of_no_use),
];

/// One of them.
pub fn of_around(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&AROUND);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

fn lost(random: &mut Random, host: &str) -> String {
    let how = random.of(&["power host HOST off", "cut HOST all"]);
    how.replace("HOST", host)
}

/// Before it is given up, while its lease on the volume is waited for, or after that.
fn vouched_for(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let (least_ms, most_ms) = random.of(&[(10, 2_000), (1_000, 6_000), (3_000, 20_000)]);
    let mut lines = vec![
        format!("power host {host} off"),
        wait(random, least_ms, most_ms),
        format!("confirm-off {host}"),
    ];
    // Refused the first time, if it was heard of too lately.
    if random.below(2) == 0 {
        lines.push(wait(random, 500, 4_000));
        lines.push(format!("confirm-off {host}"));
    }
    lines.push(wait(random, 10, 9_000));
    lines.push(format!("power host {host} on"));
    lines
}

/// In time, all of them.
fn slow_in_a_plan(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let mut lines = vec![
        format!(
            "libvirt {host} slow {}ms{}",
            200 + random.below(5_500),
            random.of(&["", " lists"])
        ),
        plan(random),
        wait(random, 10, 12_000),
    ];
    // The host is lost with calls under way, now and then.
    if random.below(3) == 0 {
        lines.push(format!("cut {host} all"));
        lines.push(wait(random, 1_000, 12_000));
        lines.push("heal".to_owned());
    }
    lines.push(format!("libvirt {host} slow 0ms"));
    lines
}

/// Too late for lists, for short calls, for destroying, or for any; and done all the same, when nobody listens any more.
fn past_its_bounds(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let (slow_ms, longest_ms) = random.of(&[
        (6_500, 9_000),
        (15_500, 25_000),
        (60_500, 90_000),
        (90_500, 150_000),
    ]);
    let mut lines = vec![
        format!(
            "libvirt {host} slow {}ms{}",
            slow_ms + random.below(5_000),
            random.of(&["", "", " lists"])
        ),
        plan(random),
        wait(random, 10, 4_000),
    ];
    lines.push(match random.below(4) {
        0 => format!("agent {host} kill"),
        1 => format!("cut {host} all"),
        2 => format!("libvirt {host} slow 0ms"),
        _ => plan(random),
    });
    lines.push(wait(random, 1_000, longest_ms));
    lines.push("heal".to_owned());
    lines.push(format!("libvirt {host} slow 0ms"));
    lines
}

/// An hour forward, or back.
fn clock_is_set(random: &mut Random) -> Vec<String> {
    let mut lines = vec![plan(random), wait(random, 10, 4_000)];
    for _ in 0..1 + random.below(2) {
        let (site, step) = (random.of(&SITES), random.of(&["+1h", "-1h"]));
        lines.push(format!("clock {site} step {step}"));
    }
    lines.push(wait(random, 10, 9_000));
    lines
}

/// Before its holder has looked again, or when nobody can tell any more that it is the holder's.
fn claim_damaged(random: &mut Random) -> Vec<String> {
    let vm = random.of(&VMS);
    let damage = random.of(&["torn", "zeroed", "foreign", "flipped"]);
    let host = random.of(&HOSTS);
    let (first, second) = match random.below(2) {
        0 => (format!("claim {vm} {damage}"), lost(random, host)),
        _ => (lost(random, host), format!("claim {vm} {damage}")),
    };
    let longest_ms = random.of(&[20, 2_500]);
    vec![
        first,
        wait(random, 10, longest_ms),
        second,
        wait(random, 2_000, 20_000),
        // As soon as somebody sees that it does not start.
        random.of(&["heal", "san repair"]).to_owned(),
    ]
}

/// For long enough that everybody knows; those of the lost host have to go elsewhere.
fn storage_of_no_use(random: &mut Random) -> Vec<String> {
    let (host, other) = (random.of(&HOSTS), random.of(&HOSTS));
    vec![
        format!("storage {host} unusable"),
        wait(random, 30_500, 45_000),
        lost(random, other),
        wait(random, 3_000, 25_000),
        format!("storage {host} synced"),
    ]
}
