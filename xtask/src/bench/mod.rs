//! `cargo xtask bench`: figures, each the median and the spread of several runs.

mod crowd;
mod detect;
mod extensions;
mod planes;
mod runs;
mod sanlock;
mod series;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, ValueEnum};
use holdfast_lab::trial::median;
use holdfast_lab::{Lab, LabError, Progress, Result, catch_interrupts};
use serde::Serialize;

#[derive(Args)]
pub(crate) struct BenchArguments {
    /// What to measure
    #[arg(value_enum, default_value_t = Name::Failover)]
    name: Name,
    /// Runs of each measurement
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Timing profile of the cluster
    #[arg(long, default_value = "default", value_parser = ["fast", "default", "patient"])]
    profile: String,
    /// Hypervisors per site
    #[arg(long, default_value_t = 2, value_name = "HOSTS")]
    hosts: usize,
    /// VMs that are lost with a host (4, if not given) or a site (8)
    #[arg(long)]
    vms: Option<usize>,
    /// With `crowd`: the host is lost among them for at least this long
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// One host with VMs loses power; a new lab for each run
    Failover,
    /// A site with VMs and both leaders loses power and comes back; a new lab for each run
    Site,
    /// One host loses power, with fencing devices that answer at once, slowly, with a lie or never, and with
    /// none; all in one lab
    Detect,
    /// The leading manager is killed; with etcd's leader too in a second series
    Manager,
    /// A live migration, and the same one by virsh alone
    Migration,
    /// A host is cut off from etcd and keeps its storage
    Isolation,
    /// A site is cut off from everything
    Cut,
    /// An agent is killed: nothing may stop
    Agent,
    /// etcd has no majority for a minute: nothing may stop
    Etcd,
    /// sanlock's takeover of a lease, in the same lab; takes two minutes a run
    Sanlock,
    /// One decision for 100 hosts and 2,000 VMs
    Planner,
    /// What extensions cost: answers beside the same rule compiled in, getting ready, a fencing call, a decision
    Extensions,
    /// One host loses power, with 20 extensions of which 5 do nothing right, and with none; all in one lab
    Crowd,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    runs: usize,
    min: u64,
    median: u64,
    max: u64,
    all: Vec<u64>,
}

impl Figure {
    /// Of things that are counted, not timed.
    fn count(name: &str, all: Vec<u64>) -> Self {
        Self {
            unit: "VMs",
            ..Self::of(name, all)
        }
    }

    fn of(name: &str, all: Vec<u64>) -> Self {
        Self {
            name: name.to_owned(),
            unit: "ms",
            runs: all.len(),
            min: all.iter().min().copied().unwrap_or(0),
            median: median(all.iter().copied()).unwrap_or(0),
            max: all.iter().max().copied().unwrap_or(0),
            all,
        }
    }
}

/// What was measured.
#[derive(Default)]
struct Measured {
    figures: Vec<Figure>,
    /// Why there is not more of it.
    cut_short: Option<LabError>,
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self {
            figures,
            cut_short: None,
        }
    }
}

pub(crate) fn run(arguments: &BenchArguments) -> Result<ExitCode> {
    catch_interrupts()?;
    let needs_lab = !matches!(arguments.name, Name::Planner | Name::Extensions);
    if needs_lab {
        Lab::require_root()?;
    }
    let progress = Progress::stderr();
    crate::setup::ensure(&progress)?;
    if arguments.name == Name::Planner {
        return planner();
    }
    if needs_lab {
        progress.step("build the daemons", crate::lab::build_daemons)?;
    }
    let plan = runs::Plan {
        runs: arguments.runs.max(1),
        profile: arguments.profile.clone(),
        hosts_per_site: arguments.hosts,
        vms: arguments.vms,
        at_least: Duration::from_secs(60 * arguments.minutes.unwrap_or(0)),
    };
    let Measured { figures, cut_short } = match arguments.name {
        Name::Failover => runs::failover(&plan, &progress)?.into(),
        Name::Site => runs::site(&plan, &progress)?.into(),
        Name::Detect => detect::detect(&plan, &progress)?,
        Name::Manager => runs::manager(&plan, &progress)?.into(),
        Name::Migration => runs::migration(&plan, &progress)?.into(),
        Name::Isolation => planes::isolation(&plan, &progress)?.into(),
        Name::Cut => planes::site_cut(&plan, &progress)?.into(),
        Name::Agent => planes::agent(&plan, &progress)?.into(),
        Name::Etcd => planes::etcd(&plan, &progress)?.into(),
        Name::Sanlock => sanlock::takeover(&plan, &progress)?.into(),
        Name::Extensions => extensions::run(&progress)?.into(),
        Name::Crowd => crowd::run(&plan, &progress)?,
        Name::Planner => Measured::default(),
    };
    anstream::println!(
        "{:<52} {:>5} {:>8} {:>8} {:>8} {:>8}",
        "",
        "runs",
        "min",
        "median",
        "max",
        "spread"
    );
    for figure in &figures {
        let Figure {
            name,
            unit,
            runs,
            min,
            median,
            max,
            ..
        } = figure;
        let spread = max - min;
        anstream::println!("{name:<52} {runs:>5} {min:>8} {median:>8} {max:>8} {spread:>8} {unit}");
    }
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&figures).map_err(|source| LabError::Parse {
            path: file.clone(),
            source,
        })?;
        std::fs::write(file, text + "\n").map_err(LabError::io("write", file))?;
    }
    cut_short.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn planner() -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(&cargo)
        .args(["bench", "--package", "holdfast-core", "--bench", "planner"])
        .current_dir(crate::root::root())
        .status()
        .map_err(LabError::io("start", &cargo))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
