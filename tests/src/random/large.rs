//! A cluster of a size that nobody has in a laboratory: a site of it is lost, and comes back. What takes a
//! time that grows with the square of hosts or VMs, in the cores or here, shows at once.

use super::Seeded;
use super::draw::Random;
use super::history::History;
use crate::scenario::expect;

/// How large.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Hypervisors, half of them at each site.
    pub hosts: u64,
    /// VMs, likewise.
    pub vms: u64,
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
    let site = random.of(&["a", "b"]);
    history.carry_out(&format!("advance {}ms", 1_000 + random.below(5_000)));
    switch(&mut history, site, "off");
    history.carry_out("advance 1s");
    if expect::met(&mut history.sim, "all running").is_ok() {
        let text = format!("site {site} lost its power, and all VMs run on");
        history.errors.push(text);
    }
    until(&mut history, STARTED_S, "all running");
    switch(&mut history, site, "on");
    for _ in 0..BACK_S {
        history.carry_out("advance 1s");
    }
    for line in ["expect all running", "expect no-strays", "expect runs-once"] {
        history.carry_out(line);
    }
    history.end()
}

fn set_up(history: &mut History, random: &mut Random, size: Size) {
    let volume = random.of(&["volume quorum", "volume quorum", "# no lease volume"]);
    let profile = random.of(&["fast", "default", "patient"]);
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
        let site = ["a", "b"][(n % 2) as usize];
        let memory = vms_on_a_host * VM_MIB;
        history.carry_out(&format!(
            "host {site}{n:04} site={site} memory={memory} cpus={vms_on_a_host}"
        ));
        history.carry_out(&format!(
            "clock {site}{n:04} drift {}",
            random.below(2_001) as i64 - 1_000
        ));
    }
    history.carry_out("advance 10s");
    for n in 0..size.vms {
        let site = ["a", "b"][(n % 2) as usize];
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

fn switch(history: &mut History, site: &str, power: &str) {
    let line = format!("power site {site} {power}");
    if history.carry_out(&line) {
        history.coverage.count(&line);
    }
}
