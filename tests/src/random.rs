//! Random faults on the simulated cluster: safety under any of them, then a healed cluster in which
//! everything that should run does.
//!
//! The same seed gives the same run. What is done is recorded as a scenario, so a failure is a text
//! file that repeats it without the generator: a fixed bug becomes a scenario file.

use crate::scenario::Run;
use crate::scenario::verbs::carry_out;
use crate::sim::Sim;
use std::fmt::Write;

/// Faults per run.
const STEPS: u32 = 60;
/// A healed cluster has come to rest after this long: two hold-downs at their longest, the longest
/// wait after failures, and the migrations home.
const REST: &str = "40m";

/// SplitMix64: small, and good enough to choose faults.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all.get(self.below(all.len() as u64) as usize)
            .copied()
            .unwrap_or_default()
    }
}

const SITES: [&str; 3] = ["a", "b", "w"];
const HOSTS: [&str; 4] = ["a1", "a2", "b1", "b2"];
const VMS: [&str; 5] = ["db1", "db2", "web1", "web2", "app1"];
const PROFILES: [&str; 3] = ["fast", "default", "patient"];

const SETUP: &str = "\
site a
site b
witness w
host a1 site=a
host a2 site=a
host b1 site=b
host b2 site=b
PROFILE
policy failback.hold_down_ms = 30000
policy rejoin.hold_down_max_ms = 60000
policy restart.shutdown_grace_ms = 20000
advance 2s
vm db1 memory=1024 site=a priority=20
vm db2 memory=1024 site=b priority=20
vm web1 memory=512 site=a priority=10
vm web2 memory=512 site=b priority=10
vm app1 memory=512
advance 20s
";

/// What a run is mostly about, drawn from its seed: faults meet each other more often than if all
/// were as likely.
#[derive(Clone, Copy)]
enum Theme {
    Mixed,
    Links,
    Migrations,
}

/// One random fault, or an operator's doing.
fn fault(random: &mut Random, theme: Theme) -> String {
    let often = random.below(3) > 0;
    match theme {
        Theme::Links if often => of_links(random),
        Theme::Migrations if often => of_migrations(random),
        Theme::Links | Theme::Migrations | Theme::Mixed => of_any_kind(random),
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
    match random.below(30) {
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

/// Everything is mended.
fn healing() -> Vec<String> {
    let mut lines = vec!["heal".to_owned()];
    lines.extend(SITES.map(|site| format!("power site {site} on")));
    lines.extend(SITES.map(|site| format!("manager {site} start")));
    lines.extend(HOSTS.map(|host| format!("power host {host} on")));
    lines.extend(HOSTS.map(|host| format!("agent {host} start")));
    lines.extend(VMS.map(|vm| format!("lose-finish {vm} off")));
    lines
}

/// What must hold at the end.
fn demands() -> Vec<String> {
    let mut lines: Vec<String> = VMS.iter().map(|vm| format!("start {vm}")).collect();
    lines.extend(HOSTS.map(|host| format!("resume {host}")));
    lines.push(format!("wait {REST} until all running"));
    lines.push("advance 5m".to_owned());
    lines.push("expect all running".to_owned());
    lines.push("expect quiet".to_owned());
    lines.push("expect no-strays".to_owned());
    lines.push("expect runs-once".to_owned());
    lines
}

/// A run of one seed.
pub struct Seeded {
    /// What was done, as a scenario.
    pub text: String,
    /// How it ended.
    pub run: Run,
}

/// Runs one seed.
pub fn run(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut sim = Sim::default();
    let mut text = format!("# Seed {seed} of the random-fault simulation.\n");
    let profile = format!("policy timing.profile = \"{}\"", random.of(&PROFILES));
    let theme = match random.below(3) {
        0 => Theme::Links,
        1 => Theme::Migrations,
        _ => Theme::Mixed,
    };
    let mut errors = Vec::new();
    for line in SETUP.replace("PROFILE", &profile).lines() {
        step(&mut sim, &mut text, line, &mut errors);
    }
    for host in HOSTS {
        let ppm = random.below(2_001) as i64 - 1_000;
        let line = format!("clock {host} drift {ppm}");
        step(&mut sim, &mut text, &line, &mut errors);
    }
    for _ in 0..STEPS {
        // What cannot be done now (a crash of a VM that is down) is not done.
        step(
            &mut sim,
            &mut text,
            &fault(&mut random, theme),
            &mut Vec::new(),
        );
        let pause_ms = match random.below(4) {
            0 => random.below(50),
            1 => random.below(1_000),
            _ => random.below(10_000),
        };
        step(
            &mut sim,
            &mut text,
            &format!("advance {pause_ms}ms"),
            &mut errors,
        );
    }
    for line in healing() {
        step(&mut sim, &mut text, &line, &mut Vec::new());
    }
    // The store and the hosts are there before operators ask for anything.
    step(&mut sim, &mut text, "advance 60s", &mut errors);
    for line in demands() {
        step(&mut sim, &mut text, &line, &mut errors);
    }
    errors.extend(sim.ctx.truth.violations.iter().cloned());
    let log = sim.ctx.log.join("\n");
    Seeded {
        text,
        run: Run { log, errors },
    }
}

fn step(sim: &mut Sim, text: &mut String, line: &str, errors: &mut Vec<String>) {
    match carry_out(sim, line) {
        Ok(()) => {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
        Err(error) => errors.push(format!("`{line}`: {error}")),
    }
}
