//! Faults that hurt only together, in an order and at times that chance alone seldom finds. Each is what
//! one rule is for.

use super::draw::Random;
use super::faults::{Drawn, device};
use super::{HOSTS, SITES, UNLEASED, VMS};

pub type Family = (&'static str, fn(&mut Random) -> Vec<String>);

/// All of them, with what they are called when they are counted.
pub const FAMILIES: [Family; 22] = [
    ("a copy arrives under a late view", copy_under_a_late_view),
    ("a copy dies unseen", copy_dies_unseen),
    ("agent away at a migration's end", agent_away_at_the_end),
    ("last acknowledgement late", last_acknowledgement_late),
    ("host gone at a migration's end", host_gone_at_the_end),
    ("away for about the taker's wait", away_for_a_wait),
    ("off and on again", off_and_on),
    ("cut off with its storage", cut_off_with_storage),
    ("planes lost one by one", planes_one_by_one),
    ("storage hangs, host lost", storage_hangs),
    ("last heartbeat on the volume late", last_heartbeat_late),
    ("stale observer", stale_observer),
    ("report under way for long", late_report),
    ("lapsed while its agent was stopped", lapsed_while_stopped),
    ("a copy outlives its grant", copy_outlives_its_grant),
    ("host flaps", flaps),
    ("most hosts of both sites vanish", storm),
    ("watch gap in a plan", watch_gap_in_a_plan),
    ("answers lost in a plan", answers_lost_in_a_plan),
    ("leader changes in a plan", leader_changes_in_a_plan),
    ("libvirtd killed in a plan", libvirtd_killed_in_a_plan),
    ("a device fails when it is needed", device_fails),
];

/// One of them.
pub fn of_one_kind(random: &mut Random) -> Drawn {
    let (name, lines) = random.of(&FAMILIES);
    Drawn {
        together: Some(name),
        lines: lines(random),
    }
}

pub fn wait(random: &mut Random, from: u64, to: u64) -> String {
    format!("advance {}ms", from + random.below(to - from))
}

/// Its agent stands still meanwhile, and its view is late.
fn copy_under_a_late_view(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    vec![
        format!("freeze agent {host} {}ms", 2_000 + random.below(6_000)),
        format!("move {vm} {host}"),
        wait(random, 1_000, 9_000),
    ]
}

/// Its agent is not there, and the copy dies before anybody has seen it.
fn copy_dies_unseen(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    vec![
        format!("agent {host} stop"),
        format!("move {vm} {host}"),
        wait(random, 3_000, 3_900),
        format!("crash {vm} on {host}"),
        format!("agent {host} start"),
        wait(random, 1_000, 9_000),
    ]
}

/// Whether it ends well or not.
fn agent_away_at_the_end(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    vec![
        format!("lose-finish {vm} {}", random.of(&["on", "off"])),
        format!("move {vm} {host}"),
        wait(random, 100, 3_000),
        format!("agent {host} stop"),
        wait(random, 500, 5_000),
        format!("agent {host} start"),
    ]
}

/// It comes as late as it may, and then nothing comes.
fn last_acknowledgement_late(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("slow all {host} {}ms", random.below(1_490)),
        wait(random, 2_000, 6_000),
        format!("cut {host} all"),
        wait(random, 3_000, 25_000),
        "heal".to_owned(),
    ]
}

fn host_gone_at_the_end(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    vec![
        format!("move {vm} {host}"),
        wait(random, 2_900, 3_600),
        format!("power host {} off", random.of(&HOSTS)),
        wait(random, 1_000, 20_000),
    ]
}

/// About as long as it takes to be given up.
fn away_for_a_wait(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("cut {host} all"),
        wait(random, 1_500, 7_000),
        "heal".to_owned(),
    ]
}

/// At once, or later.
fn off_and_on(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("power host {host} off"),
        wait(random, 10, 9_000),
        format!("power host {host} on"),
    ]
}

/// For as long as it takes to be given up, and back.
fn cut_off_with_storage(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("cut {host} all"),
        wait(random, 3_000, 30_000),
        "heal".to_owned(),
        wait(random, 10, 3_000),
    ]
}

/// One comes back at about the deadline.
fn planes_one_by_one(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("san cut {host}"),
        wait(random, 10, 6_000),
        format!("cut {host} all"),
        wait(random, 10, 8_000),
        random
            .of(&["san heal HOST", "heal HOST all"])
            .replace("HOST", host),
        wait(random, 10, 20_000),
    ]
}

/// It hangs for everybody while hosts are cut off or lose power.
fn storage_hangs(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        "san stall".to_owned(),
        wait(random, 10, 9_000),
        random
            .of(&["cut HOST all", "power host HOST off", "cut a b"])
            .replace("HOST", host),
        wait(random, 10, 20_000),
        "san go".to_owned(),
    ]
}

/// It comes as late as it may, and then both planes are gone, the storage a little later.
fn last_heartbeat_late(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let longest_ms = random.of(&[1, 4_000]);
    vec![
        format!("san slow {}ms", random.below(4_000)),
        wait(random, 4_000, 9_000),
        format!("cut {host} all"),
        format!("advance {}ms", random.below(longest_ms)),
        format!("san cut {host}"),
        "san slow 0ms".to_owned(),
        wait(random, 3_000, 25_000),
        "heal".to_owned(),
    ]
}

/// A host saw a peer's heartbeat stand still for long, and does not see that it goes on right before
/// the peer loses etcd.
fn stale_observer(random: &mut Random) -> Vec<String> {
    let (host, observer) = (random.of(&HOSTS), random.of(&HOSTS));
    let still_ms = random.of(&[3_500, 7_000, 20_000]);
    vec![
        format!("san cut {host}"),
        wait(random, still_ms, still_ms + 3_000),
        format!("san cut {observer}"),
        format!("cut {host} all"),
        wait(random, 10, 1_500),
        format!("san heal {host}"),
        wait(random, 3_000, 22_000),
        "heal".to_owned(),
    ]
}

/// What a host has to say gets there after it was given up.
fn late_report(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        format!("slow {host} all {}ms", 3_000 + random.below(18_000)),
        format!("storage {host} syncing"),
        wait(random, 3_000, 25_000),
        "heal".to_owned(),
        format!("storage {host} synced"),
    ]
}

/// A copy stands on a host whose life ends while its agent is stopped: what it finds when it goes on is
/// of an earlier life.
fn lapsed_while_stopped(random: &mut Random) -> Vec<String> {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    vec![
        format!("move {vm} {host}"),
        wait(random, 100, 3_200),
        format!("freeze agent {host} {}ms", 2_000 + random.below(20_000)),
        wait(random, 1_000, 20_000),
    ]
}

/// A copy without a storage lease stands on a host whose session is closed, so that it is granted to
/// others, and opened again by the same life.
fn copy_outlives_its_grant(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let vm = UNLEASED;
    let closed_ms = random.of(&[2_750, 5_500, 18_000]);
    vec![
        format!("lose-finish {vm} on"),
        format!("move {vm} {host}"),
        wait(random, 3_060, 4_500),
        format!("cut {host} all"),
        wait(random, closed_ms - 1_000, closed_ms + 2_000),
        "heal".to_owned(),
        wait(random, 1_000, 9_000),
        format!("lose-finish {vm} off"),
    ]
}

/// Five times at the most: longer hold-downs, and none of its VMs goes back and forth.
fn flaps(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let (down, up, longest_ms) = random.of(&[
        ("power host HOST off", "power host HOST on", 25_000),
        ("cut HOST all", "heal HOST all", 9_000),
        ("agent HOST stop", "agent HOST start", 9_000),
    ]);
    let mut lines = Vec::new();
    for _ in 0..3 + random.below(3) {
        lines.push(down.replace("HOST", host));
        lines.push(wait(random, 1_000, longest_ms));
        lines.push(up.replace("HOST", host));
        lines.push(wait(random, 500, longest_ms + 10_000));
    }
    lines
}

/// All but one, or all, of both sites at once; for a moment or for longer than the brake holds.
fn storm(random: &mut Random) -> Vec<String> {
    let spared = random.below(HOSTS.len() as u64 + 1) as usize;
    let (down, up) = random.of(&[
        ("cut HOST all", "heal HOST all"),
        ("power host HOST off", "power host HOST on"),
    ]);
    let gone = HOSTS.iter().enumerate().filter(|(n, _)| *n != spared);
    let gone: Vec<&str> = gone.map(|(_, host)| *host).collect();
    let each = |verb: &str| -> Vec<String> {
        let lines = gone.iter().map(|host| verb.replace("HOST", host));
        lines.collect()
    };
    let mut lines = each(down);
    lines.push(wait(random, 2_000, 50_000));
    lines.extend(each(up));
    lines
}

/// What has the leader plan several steps, and hosts carry them out.
pub fn plan(random: &mut Random) -> String {
    let (host, vm) = (random.of(&HOSTS), random.of(&VMS));
    match random.below(6) {
        0 | 1 => format!("power host {host} off"),
        2 | 3 => format!("move {vm} {host}"),
        4 => format!("drain {host}"),
        _ => format!("restart {vm}"),
    }
}

/// A manager, by its site, or an agent, by its host.
fn watcher(random: &mut Random) -> &'static str {
    match random.below(2) {
        0 => random.of(&SITES),
        _ => random.of(&HOSTS),
    }
}

/// Its history may be gone when it goes on.
fn watch_gap_in_a_plan(random: &mut Random) -> Vec<String> {
    let mut lines = vec![plan(random), wait(random, 10, 6_000)];
    lines.push(format!(
        "watch gap {} {}ms",
        watcher(random),
        500 + random.below(9_000)
    ));
    lines.push(wait(random, 10, 6_000));
    if random.below(2) == 0 {
        lines.push("store compact".to_owned());
    }
    lines.push(wait(random, 10, 6_000));
    lines
}

fn answers_lost_in_a_plan(random: &mut Random) -> Vec<String> {
    vec![
        format!("lose-replies {} {}", watcher(random), 1 + random.below(4)),
        plan(random),
        wait(random, 10, 9_000),
    ]
}

/// At any step of it.
fn leader_changes_in_a_plan(random: &mut Random) -> Vec<String> {
    let (step, ms) = (1 + random.below(6), 200 + random.below(4_000));
    vec![
        format!("pause-leader {step} {ms}ms"),
        plan(random),
        wait(random, 100, 9_000),
    ]
}

/// At any moment of a start, a stop or a migration.
fn libvirtd_killed_in_a_plan(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    vec![
        plan(random),
        wait(random, 10, 6_500),
        format!("libvirt {host} kill {}ms", 200 + random.below(9_000)),
        wait(random, 10, 9_000),
    ]
}

/// Nothing, or the wrong thing, is heard of it.
fn device_fails(random: &mut Random) -> Vec<String> {
    let host = random.of(&HOSTS);
    let lost = random.of(&[
        "power host HOST off",
        "cut HOST all",
        "freeze agent HOST 4s",
    ]);
    vec![
        device(random, host),
        lost.replace("HOST", host),
        wait(random, 1_000, 20_000),
    ]
}
