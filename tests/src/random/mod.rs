//! Random faults on the simulated cluster: safety under any of them, then a healed cluster in which
//! everything that should run does.
//!
//! The same seed gives the same run. What is done is recorded as a scenario, so a failure is a text
//! file that repeats it without the generator: a fixed bug becomes a scenario file.

pub mod coverage;
mod draw;
mod families;
mod faults;
pub mod large;
pub mod set_back;
pub mod shrink;
pub mod soak;
mod states;

use crate::scenario::verbs::carry_out;
use crate::scenario::{Run, WordError};
use crate::sim::Sim;
use coverage::Coverage;
use draw::Random;
use faults::{Theme, faults};
use holdfast_model::timing::{Profile, Timing};
use std::fmt::Write;

/// After each round everything is mended and must run again: a state without a way out does not wait
/// for a later fault that happens to end it.
const ROUNDS: u32 = 4;
/// Faults per round.
const STEPS: u32 = 15;
/// A healed cluster has come to rest after this long: two hold-downs at their longest, the longest
/// wait after failures, and the migrations home.
const REST: &str = "40m";

const SITES: [&str; 3] = ["a", "b", "w"];
const HOSTS: [&str; 4] = ["a1", "a2", "b1", "b2"];
const VMS: [&str; 5] = ["db1", "db2", "web1", "web2", "app1"];
/// The one that has no storage lease.
const UNLEASED: &str = "app1";
const PROFILES: [(&str, Profile); 3] = [
    ("fast", Profile::Fast),
    ("default", Profile::Default),
    ("patient", Profile::Patient),
];

const SETUP: &str = "\
site a
site b
witness w
VOLUME
host a1 site=a
host a2 site=a
host b1 site=b
host b2 site=b
PROFILE
DEVICES
policy failback.hold_down_ms = 30000
policy rejoin.hold_down_max_ms = 60000
policy restart.shutdown_grace_ms = 20000
advance 2s
vm db1 memory=1024 site=a priority=20
vm db2 memory=1024 site=b priority=20
vm web1 memory=512 site=a priority=10
vm web2 memory=512 site=b priority=10
vm app1 memory=512 lease=false
advance 20s
";

/// Everything is mended.
fn healing() -> Vec<String> {
    let mut lines = vec!["heal".to_owned()];
    lines.extend(SITES.map(|site| format!("power site {site} on")));
    lines.extend(SITES.map(|site| format!("manager {site} start")));
    lines.extend(HOSTS.map(|host| format!("storage {host} synced")));
    lines.extend(HOSTS.map(|host| format!("power host {host} on")));
    lines.extend(HOSTS.map(|host| format!("agent {host} start")));
    lines.extend(HOSTS.map(|host| format!("fence {host} answers")));
    lines.extend(VMS.map(|vm| format!("lose-finish {vm} off")));
    lines.extend(SITES.map(|site| format!("voter {site} start")));
    let watchers = SITES.iter().chain(&HOSTS);
    lines.extend(watchers.map(|name| format!("lose-replies {name} 0")));
    lines.push("pause-leader 0 0ms".to_owned());
    lines
}

/// What operators ask for when it is over.
fn wishes() -> Vec<String> {
    let mut lines: Vec<String> = VMS.iter().map(|vm| format!("start {vm}")).collect();
    lines.extend(HOSTS.map(|host| format!("resume {host}")));
    lines
}

/// What must hold at the end.
fn demands() -> [&'static str; 5] {
    [
        "advance 5m",
        "expect all running",
        "expect quiet",
        "expect no-strays",
        "expect runs-once",
    ]
}

/// A run of one seed.
pub struct Seeded {
    /// What was done, as a scenario.
    pub text: String,
    /// How it ended.
    pub run: Run,
    /// How much time passed in the cluster, in milliseconds.
    pub simulated_ms: u64,
    /// Which faults were carried out, how often.
    pub coverage: Coverage,
}

/// Runs one seed.
pub fn run(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut sim = Sim::default();
    let mut text = format!("# Seed {seed} of the random-fault simulation.\n");
    let (name, profile) = random.of(&PROFILES);
    // Every other run has guards that are as slow as they may be.
    let slow_kills = random.below(2) == 0;
    let theme = match random.below(3) {
        0 => Theme::Links,
        1 => Theme::Migrations,
        _ => Theme::Mixed,
    };
    let mut errors = Vec::new();
    let mut coverage = Coverage::default();
    let policy = format!("policy timing.profile = \"{name}\"");
    // Two of three clusters have a lease volume that lets VMs outlive the control plane.
    let volume = random.of(&["quorum", "quorum", "plain", "none", "none"]);
    let volume = match volume {
        "none" => "# no lease volume".to_owned(),
        class => format!("volume {class}"),
    };
    let setup = SETUP
        .replace("PROFILE", &policy)
        .replace("VOLUME", &volume)
        .replace("DEVICES", &devices(&mut random));
    let is_verb = |line: &&str| !line.is_empty() && !line.starts_with('#');
    for line in setup.lines().filter(is_verb) {
        step(&mut sim, &mut text, line, &mut errors);
    }
    if slow_kills {
        let ms = Timing::of(profile).kill_bound_ms - 10;
        step(
            &mut sim,
            &mut text,
            &format!("kills take {ms}ms"),
            &mut errors,
        );
    }
    for host in HOSTS {
        let ppm = random.below(2_001) as i64 - 1_000;
        let line = format!("clock {host} drift {ppm}");
        step(&mut sim, &mut text, &line, &mut errors);
    }
    for _ in 0..ROUNDS {
        let done = faults_of_a_round(&mut sim, &mut text, &mut random, theme, &mut errors);
        coverage.add(&done);
        mend(&mut sim, &mut text, &mut errors);
        if !errors.is_empty() {
            break;
        }
    }
    for line in demands() {
        step(&mut sim, &mut text, line, &mut errors);
    }
    errors.extend(sim.ctx.truth.violations.iter().cloned());
    coverage.count_states(&sim.ctx.log);
    let log = sim.ctx.log.join("\n");
    Seeded {
        text,
        run: Run { log, errors },
        simulated_ms: sim.ctx.now,
        coverage,
    }
}

/// Every other cluster has fencing devices, some for all of its hosts; they are asked early or late.
fn devices(random: &mut Random) -> String {
    let mut lines = Vec::new();
    if random.below(2) == 0 {
        let few = random.below(2) == 0;
        for host in HOSTS.iter().filter(|host| !few || host.ends_with('1')) {
            let device = "{ agent = \"ipmi\", timeout_ms = 4000 }";
            lines.push(format!("policy fencing.devices.{host} = {device}"));
        }
        let hasty = random.below(2) == 0;
        lines.push(format!("policy fencing.on_suspicion = {hasty}"));
    }
    lines.join("\n")
}

/// Faults; which of them were carried out.
fn faults_of_a_round(
    sim: &mut Sim,
    text: &mut String,
    random: &mut Random,
    theme: Theme,
    errors: &mut Vec<String>,
) -> Coverage {
    let mut done = Coverage::default();
    for _ in 0..STEPS {
        // What cannot be done now (a crash of a VM that is down) is not done.
        let drawn = faults(random, theme);
        let mut all = true;
        for line in &drawn.lines {
            match step(sim, text, line, &mut Vec::new()) {
                true => done.count(line),
                false => all = false,
            }
        }
        if all {
            done.count_together(&drawn);
        }
        let pause_ms = match random.below(4) {
            0 => random.below(50),
            1 => random.below(1_000),
            _ => random.below(10_000),
        };
        step(sim, text, &format!("advance {pause_ms}ms"), errors);
    }
    done
}

/// Everything is mended, and must run again.
fn mend(sim: &mut Sim, text: &mut String, errors: &mut Vec<String>) {
    for line in healing() {
        step(sim, text, &line, &mut Vec::new());
    }
    // The store and the hosts are there before operators ask for anything.
    step(sim, text, "advance 60s", errors);
    for line in wishes() {
        step(sim, text, &line, errors);
    }
    step(sim, text, &format!("wait {REST} until all running"), errors);
    step(sim, text, "wait 1m until no-strays", errors);
}

/// Carries out a line and records it, unless it was refused. True: it was carried out.
fn step(sim: &mut Sim, text: &mut String, line: &str, errors: &mut Vec<String>) -> bool {
    let done = carry_out(sim, line);
    // An expectation that is not met belongs to what repeats the failure.
    if matches!(done, Ok(()) | Err(WordError::NotMet(_))) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    }
    let carried_out = done.is_ok();
    if let Err(error) = done {
        errors.push(format!("`{line}`: {error}"));
    }
    carried_out
}
