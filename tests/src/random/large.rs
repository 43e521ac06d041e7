//! A cluster of a size that nobody has in a laboratory: a site or a host of it is lost, and comes back. What
//! takes a time that grows with the square of hosts or VMs, in the cores or here, shows at once; how long the
//! lost VMs are away is told as well ([`super::away`]).

use super::draw::Random;
use super::history::History;
use super::{PROFILES, Seeded, away};
use crate::scenario::expect;
use holdfast_model::timing::Profile;

/// How large, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Hypervisors, half of them at each site.
    pub hosts: u64,
    /// VMs, likewise.
    pub vms: u64,
    /// What loses its power.
    pub lost: Lost,
    /// This timing profile, with a lease volume on storage with a quorum; drawn, both, if none.
    pub profile: Option<Profile>,
}

/// What loses its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lost {
    /// A whole site.
    Site,
    /// One host.
    Host,
}

impl Lost {
    /// As in a scenario: `site a`, `host b0003`.
    fn draw(self, random: &mut Random, hosts: u64) -> String {
        match self {
            Lost::Site => format!("site {}", random.of(&["a", "b"])),
            Lost::Host => format!("host {}", host_name(random.below(hosts))),
        }
    }
}

fn site_of(n: u64) -> &'static str {
    ["a", "b"][(n % 2) as usize]
}

fn host_name(n: u64) -> String {
    format!("{}{n:04}", site_of(n))
}

const VM_MIB: u64 = 512;
/// VMs that are defined at a time.
const BATCH: u64 = 20;
/// A thousand VMs add about so much to what the leader takes to look and plan, in milliseconds.
const PLAN_MS_PER_1000: u64 = 25;
/// Longest time for all VMs to run, in seconds.
const STARTED_S: u64 = 600;
/// After the site is back: host by host, and the first VMs go home.
const BACK_S: u64 = 180;

/// Runs one seed of that size.
pub fn run(seed: u64, size: Size) -> Seeded {
    let mut random = Random(seed);
    let mut history = History::new(&format!("Seed {seed} of the large simulation."));
    history.sim.ctx.plan_ms = size.vms * PLAN_MS_PER_1000 / 1_000;
    set_up(&mut history, &mut random, size);
    until(&mut history, STARTED_S, "all running");
    history.carry_out("mark");
    let lost = size.lost.draw(&mut random, size.hosts);
    history.carry_out(&format!("advance {}ms", 1_000 + random.below(5_000)));
    switch(&mut history, &lost, "off");
    let off_ms = history.sim.ctx.now;
    history.carry_out("advance 1s");
    if expect::met(&mut history.sim, "all running").is_ok() {
        let text = format!("{lost} lost its power, and all VMs run on");
        history.errors.push(text);
    }
    until(&mut history, STARTED_S, "all running");
    history.away_ms = away::since(&history.sim.ctx.truth, off_ms);
    switch(&mut history, &lost, "on");
    for _ in 0..BACK_S {
        history.carry_out("advance 1s");
    }
    for line in ["expect all running", "expect no-strays", "expect runs-once"] {
        history.carry_out(line);
    }
    history.end()
}

fn set_up(history: &mut History, random: &mut Random, size: Size) {
    let drawn = random.of(&["volume quorum", "volume quorum", "# no lease volume"]);
    let (drawn_profile, _) = random.of(&PROFILES);
    let name_of = |wanted| PROFILES.iter().find(|(_, profile)| *profile == wanted);
    let (volume, profile) = match size.profile.and_then(name_of) {
        Some((name, _)) => ("volume quorum", *name),
        None => (drawn, drawn_profile),
    };
    let lines = [
        "site a",
        "site b",
        "witness w",
        volume,
        &format!("policy timing.profile = \"{profile}\""),
        "policy failback.hold_down_ms = 30000",
        "policy rejoin.hold_down_max_ms = 60000",
    ];
    for line in lines.iter().filter(|line| !line.starts_with('#')) {
        history.carry_out(line);
    }
    // One site holds all VMs, with a quarter to spare.
    let at_a_site = (size.hosts / 2).max(1);
    let vms_on_a_host = (size.vms * 5 / 4).div_ceil(at_a_site) + 1;
    for n in 0..size.hosts {
        let (host, site) = (host_name(n), site_of(n));
        let memory = vms_on_a_host * VM_MIB;
        history.carry_out(&format!(
            "host {host} site={site} memory={memory} cpus={vms_on_a_host}"
        ));
        let ppm = random.below(2_001) as i64 - 1_000;
        history.carry_out(&format!("clock {host} drift {ppm}"));
    }
    history.carry_out("advance 10s");
    for n in 0..size.vms {
        let site = site_of(n);
        let priority = n % 5;
        history.carry_out(&format!(
            "vm vm{n:05} memory={VM_MIB} site={site} priority={priority}"
        ));
        if n % BATCH == BATCH - 1 {
            history.carry_out("advance 20ms");
        }
    }
}

/// Time passes until it holds: looked at every second, since a look at all VMs takes its time as well.
fn until(history: &mut History, seconds: u64, demanded: &str) {
    for _ in 0..seconds {
        if expect::met(&mut history.sim, demanded).is_ok() {
            return;
        }
        history.carry_out("advance 1s");
    }
    history.carry_out(&format!("expect {demanded}"));
}

fn switch(history: &mut History, lost: &str, power: &str) {
    let line = format!("power {lost} {power}");
    if history.carry_out(&line) {
        history.coverage.count(&line);
    }
}
