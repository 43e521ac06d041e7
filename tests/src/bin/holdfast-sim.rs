//! The random-fault simulation: `cargo xtask sim [--seeds N] [--seed S] [--trace FILE]`.
//!
//! Seeds do not depend on each other: they run on all cores. Of those that fail the first one is
//! told, and shrunk to a scenario file.

use clap::Parser;
use holdfast_model::timing::Profile;
use holdfast_tests::random::coverage::Coverage;
use holdfast_tests::random::large::{self, Lost, Size};
use holdfast_tests::random::set_back;
use holdfast_tests::random::shrink::{Shrunk, shrink};
use holdfast_tests::random::{PROFILES, Seeded, run, soak};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A run is many small records that are read, copied and dropped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of the simulation that shrinking a failure may take.
const SHRINK_RUNS: u32 = 300;

/// Runs the simulated cluster under random faults.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, from the first one on; 100, if neither is given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; alone, only this one is run.
    #[arg(long)]
    seed: Option<u64>,
    /// Where to write the log of a failed run (or of the only one); the scenario that repeats it
    /// goes beside it, as `.txt`. The same seed and the same code give the same files.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Threads; as many as there are cores, if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// A large cluster instead: so many hosts, at two sites; a site of it is lost, and comes back. For how
    /// long its VMs were away is told.
    #[arg(long, requires = "vms")]
    hosts: Option<u64>,
    /// With so many VMs.
    #[arg(long, requires = "hosts")]
    vms: Option<u64>,
    /// What a large cluster loses.
    #[arg(long, requires = "hosts", value_enum, default_value_t = Lost::Site)]
    lose: Lost,
    /// The timing profile of a large cluster, with a lease volume; both are drawn, if not given.
    #[arg(long, requires = "hosts", value_parser = ["fast", "default", "patient"])]
    profile: Option<String>,
    /// Histories in which the store is set back to a backup, instead of faults of every kind.
    #[arg(long, conflicts_with_all = ["hosts", "all_states"])]
    set_back: bool,
    /// Small troubles for so many simulated hours per seed, instead: nothing may come of them.
    #[arg(long, value_name = "HOURS", conflicts_with_all = ["hosts", "all_states", "set_back"])]
    soak: Option<u64>,
    /// Only this invariant counts: `closed-is-stopped`, say.
    #[arg(long, value_name = "INVARIANT")]
    only: Option<String>,
    /// Do not shrink a failure.
    #[arg(long)]
    no_shrink: bool,
    /// Say which faults were carried out, and which states came up, how often.
    #[arg(long, short)]
    verbose: bool,
    /// Fail if faults that belong together, or a state, never came up.
    #[arg(long)]
    all_states: bool,
    /// Say it all as JSON.
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
}

impl Arguments {
    fn size(&self, hosts: u64, vms: u64) -> Size {
        let named = |(name, _): &&(&str, Profile)| Some(*name) == self.profile.as_deref();
        Size {
            hosts,
            vms,
            lost: self.lose,
            profile: PROFILES.iter().find(named).map(|(_, profile)| *profile),
        }
    }

    fn run(&self, seed: u64) -> Seeded {
        match (self.hosts, self.vms) {
            (Some(hosts), Some(vms)) => large::run(seed, self.size(hosts, vms)),
            _ if self.set_back => set_back::run(seed),
            _ if self.soak.is_some() => soak::run(seed, self.soak.unwrap_or(1)),
            _ => run(seed),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(1);
    let alone = if arguments.seed.is_some() { 1 } else { 100 };
    let count = arguments.seeds.unwrap_or(alone);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let began = Instant::now();
    let mut sum = run_all(first, count, threads, &arguments);
    let took = Took {
        cpu_s: cpu_s(),
        wall_s: began.elapsed().as_secs_f64(),
    };
    if let Some((seed, done)) = sum.failed.take() {
        for error in &done.run.errors {
            eprintln!("seed {seed}: {error}");
        }
        write_trace(arguments.trace.as_deref(), &done);
        eprintln!("repeat it with --seed {seed} --trace FILE");
        if !arguments.no_shrink && arguments.hosts.is_none() {
            shrink_it(seed, &done);
        }
        return ExitCode::FAILURE;
    }
    if count == 1 && arguments.trace.is_some() {
        // Short enough to be run again for its log.
        write_trace(arguments.trace.as_deref(), &arguments.run(first));
    }
    match arguments.json {
        true => println!("{}", as_json(first, &sum, &took)),
        false => tell(first, &sum, &took, arguments.verbose),
    }
    let missing = sum.coverage.missing();
    if arguments.all_states && !missing.is_empty() {
        eprintln!("never came up: {}", missing.join("; "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What came of all seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated_ms: u64,
    coverage: Coverage,
    /// Of all VMs that were lost, in all seeds.
    away_ms: Vec<u64>,
    /// The first one that failed.
    failed: Option<(u64, Seeded)>,
}

impl Sum {
    fn hours(&self) -> f64 {
        self.simulated_ms as f64 / 3_600_000.0
    }
}

/// What it took.
struct Took {
    cpu_s: f64,
    wall_s: f64,
}

/// Time of all threads on a processor, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Threads take the seeds in order, so that every seed before one that failed was run as well.
fn run_all(first: u64, count: u64, threads: usize, arguments: &Arguments) -> Sum {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first.saturating_add(count));
    let sum = Mutex::new(Sum::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end.load(Ordering::SeqCst) {
                return;
            }
            let mut done = arguments.run(seed);
            if let Some(only) = &arguments.only {
                let name = format!("{only}: ");
                done.run.errors.retain(|error| error.starts_with(&name));
            }
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.seeds += 1;
            sum.simulated_ms += done.simulated_ms;
            sum.coverage.add(&done.coverage);
            sum.away_ms.extend(&done.away_ms);
            let earlier = sum.failed.as_ref().is_none_or(|(other, _)| seed < *other);
            if !done.run.errors.is_empty() && earlier {
                end.fetch_min(seed, Ordering::SeqCst);
                sum.failed = Some((seed, done));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn tell(first: u64, sum: &Sum, took: &Took, verbose: bool) {
    println!(
        "{} seeds from {first} on: no invariant broken, everything runs in the end; {} faults in \
         {:.1} cluster-hours, {:.1} hours per CPU-second ({:.1} s)",
        sum.seeds,
        sum.coverage.total(),
        sum.hours(),
        sum.hours() / took.cpu_s,
        took.wall_s
    );
    if let Some((least, median, most)) = spread(&sum.away_ms) {
        println!(
            "{} VMs were lost with their host, and away for {least} / {median} / {most} ms (least, median, \
             most)",
            sum.away_ms.len()
        );
    }
    if verbose {
        let Coverage {
            faults,
            together,
            states,
        } = &sum.coverage;
        println!("faults, one by one");
        counts(faults);
        println!("faults that belong together, all of them carried out");
        counts(together);
        println!("states, by the log");
        counts(states);
    }
}

/// The least, the one in the middle, the most.
fn spread(all: &[u64]) -> Option<(u64, u64, u64)> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    Some((least, *sorted.get(sorted.len() / 2)?, most))
}

fn counts<T: AsRef<str>>(counts: &BTreeMap<T, u64>) {
    for (what, count) in counts {
        println!("  {:<36} {count:>8}", what.as_ref());
    }
}

fn as_json(first: u64, sum: &Sum, took: &Took) -> String {
    serde_json::json!({
        "first_seed": first,
        "seeds": sum.seeds,
        "cluster_hours": sum.hours(),
        "cpu_s": took.cpu_s,
        "wall_s": took.wall_s,
        "cluster_hours_per_cpu_s": sum.hours() / took.cpu_s,
        "faults": sum.coverage.faults,
        "together": sum.coverage.together,
        "states": sum.coverage.states,
        "away_ms": spread(&sum.away_ms),
    })
    .to_string()
}

/// The few lines it takes, as a file in the working directory.
fn shrink_it(seed: u64, done: &Seeded) {
    let shrunk = shrink(&done.text, SHRINK_RUNS, |runs, lines| {
        eprintln!("shrinking: {runs} of at most {SHRINK_RUNS} runs, {lines} lines left");
    });
    let Some(shrunk) = shrunk else {
        return eprintln!("its record breaks nothing: nothing to shrink");
    };
    let Shrunk { lines, before, .. } = &shrunk;
    let path = PathBuf::from(format!("seed-{seed}.scenario"));
    let text = shrunk.text(&format!("seed {seed} of the random-fault simulation"));
    match std::fs::write(&path, text) {
        Ok(()) => eprintln!(
            "{}: {} of {before} lines break {}; run it with: cargo xtask scenario {}",
            path.display(),
            lines.len(),
            shrunk.invariant,
            path.display()
        ),
        Err(error) => eprintln!("{}: {error}", path.display()),
    }
}

fn write_trace(trace: Option<&Path>, done: &Seeded) {
    let Some(trace) = trace else { return };
    for (path, content) in [
        (trace.to_path_buf(), &done.run.log),
        (trace.with_extension("txt"), &done.text),
    ] {
        match std::fs::write(&path, content) {
            Ok(()) => eprintln!("written: {}", path.display()),
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
}
