//! Random faults on the simulated cluster: safety under any of them, then a healed cluster in which
//! everything that should run does.
//!
//! The same seed gives the same run. What is done is recorded as a scenario, so a failure is a text
//! file that repeats it without the generator: a fixed bug becomes a scenario file.

mod around;
mod asked;
pub mod away;
pub mod coverage;
mod devices;
mod draw;
mod families;
mod faults;
mod history;
pub mod large;
mod probes;
mod rules;
pub mod set_back;
mod several;
pub mod shrink;
pub mod soak;
mod states;

use crate::scenario::Run;
use around::of_around;
use asked::of_asked;
use coverage::Coverage;
use draw::Random;
use faults::{Drawn, Theme, faults, of_guards};
use history::History;
use holdfast_model::timing::{Profile, Timing};
use probes::of_probes;
use rules::of_rules;
use several::of_several;

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
/// The timing profiles by name.
pub const PROFILES: [(&str, Profile); 3] = [
    ("fast", Profile::Fast),
    ("default", Profile::Default),
    ("patient", Profile::Patient),
];

const SETUP: &str = "\
site a
site b
witness w
VOLUME
PROBES
HOSTS
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
    /// For how long the VMs were away that were lost with a host or a site of a large cluster, in
    /// milliseconds and in order.
    pub away_ms: Vec<u64>,
    /// Which faults were carried out, how often.
    pub coverage: Coverage,
}

/// Runs one seed.
pub fn run(seed: u64) -> Seeded {
    let mut random = Random(seed);
    let mut history = History::new(&format!("Seed {seed} of the random-fault simulation."));
    let (name, profile) = random.of(&PROFILES);
    // Every other run has guards that are as slow as they may be.
    let slow_kills = random.below(2) == 0;
    let theme = match random.below(3) {
        0 => Theme::Links,
        1 => Theme::Migrations,
        _ => Theme::Mixed,
    };
    // Two of five clusters have a lease volume that lets VMs outlive the control plane.
    let volume = random.of(&["quorum", "quorum", "plain", "none", "none"]);
    let volume = match volume {
        "none" => String::new(),
        class => format!("volume {class}"),
    };
    let devices = devices::of_some(&mut random);
    // In every third cluster managers ask hosts directly; what is hard on that is drawn apart as well.
    let mut probed = (seed % 3 == 1).then_some(Random(seed.rotate_left(17) ^ !0));
    let (probes, devices) = match &probed {
        Some(_) => ("probes", devices::hasty(&devices)),
        None => ("", devices),
    };
    // In every fourth hosts have several devices each.
    let mut several = (seed % 4 == 3).then_some(Random(seed.rotate_left(47) ^ !0));
    let devices = match &mut several {
        Some(own) => devices::several(&devices, own),
        None => devices,
    };
    // Where there are any, agents may ask them in every other cluster; drawn apart as well.
    let mut asked = Random(seed.rotate_left(11) ^ !0);
    let askers = devices::asked_by(&devices, &mut asked);
    history.set_up(name, &volume, &askers, probes);
    let mut asked = askers.agents.then_some(asked);
    if slow_kills {
        let ms = Timing::of(profile).kill_bound_ms - 10;
        history.carry_out(&format!("kills take {ms}ms"));
    }
    for host in HOSTS {
        let ppm = random.below(2_001) as i64 - 1_000;
        history.carry_out(&format!("clock {host} drift {ppm}"));
    }
    // Every fourth run is hard on guards and on the lease volume as well; drawn apart, so that all
    // else stays as it is.
    let leased = !volume.is_empty();
    let mut harder = seed.is_multiple_of(4).then_some(Random(!seed));
    // In every fifth placement has rules of extensions to heed.
    let mut ruled = (seed % 5 == 2).then_some(Random(seed.rotate_left(31) ^ !0));
    // In every third run something happens around the others' plans.
    let mut around = (seed % 3 == 2).then_some(Random(seed.rotate_left(23) ^ !0));
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            carry_out(&mut history, &faults(&mut random, theme));
            if let Some(own) = harder.as_mut()
                && own.below(4) == 0
            {
                carry_out(&mut history, &of_guards(own, leased));
            }
            if let Some(own) = probed.as_mut()
                && own.below(3) == 0
            {
                carry_out(&mut history, &of_probes(own));
            }
            if let Some(own) = ruled.as_mut()
                && own.below(3) == 0
            {
                carry_out(&mut history, &of_rules(own));
            }
            if let Some(own) = several.as_mut()
                && own.below(3) == 0
            {
                carry_out(&mut history, &of_several(own));
            }
            if let Some(own) = asked.as_mut()
                && own.below(4) == 0
            {
                carry_out(&mut history, &of_asked(own));
            }
            if let Some(own) = around.as_mut()
                && own.below(4) == 0
            {
                carry_out(&mut history, &of_around(own));
            }
            pause(&mut history, &mut random);
        }
        mend(&mut history, ruled.is_some());
        if !history.errors.is_empty() || history.is_over() {
            break;
        }
    }
    for line in demands() {
        history.carry_out(line);
    }
    history.end()
}

/// Carries faults out; those that were are counted.
fn carry_out(history: &mut History, drawn: &Drawn) {
    let mut all = true;
    for line in &drawn.lines {
        match history.attempt(line) {
            true => history.coverage.count(line),
            false => all = false,
        }
    }
    if all {
        history.coverage.count_together(drawn);
    }
}

fn pause(history: &mut History, random: &mut Random) {
    let ms = match random.below(4) {
        0 => random.below(50),
        1 => random.below(1_000),
        _ => random.below(10_000),
    };
    history.carry_out(&format!("advance {ms}ms"));
}

/// Everything is mended, and must run again.
fn mend(history: &mut History, ruled: bool) {
    history.carry_out("mend");
    // The store and the hosts are there before operators ask for anything.
    history.carry_out("advance 60s");
    if ruled {
        rules::remove(history);
    }
    history.carry_out("start all");
    history.carry_out("resume all");
    history.carry_out(&format!("wait {REST} until all running"));
    history.carry_out("wait 1m until no-strays");
}
