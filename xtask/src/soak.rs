//! `cargo xtask soak`: small troubles for a long time, on the real lab; nothing may come of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use holdfast_lab::boards::Boards;
use holdfast_lab::guest::GuestKind;
use holdfast_lab::scenarios::{DEVICES, with_policy};
use holdfast_lab::soak::{Soak, Soaked, soak};
use holdfast_lab::stalls::Who;
use holdfast_lab::trial::{Cluster, VmWish};
use holdfast_lab::{Lab, LabError, LabOptions, Progress, Result, catch_interrupts};

#[derive(Args)]
pub(crate) struct SoakArguments {
    /// For how long
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Packets lost between machines, per cent
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=50))]
    loss_percent: u32,
    /// How long each daemon is stopped in its turn, in seconds
    #[arg(long, default_value_t = 3)]
    stop_s: u64,
    /// VMs
    #[arg(long, default_value_t = 4)]
    vms: usize,
    /// Timing profile of the cluster
    #[arg(long, default_value = "default", value_parser = ["fast", "default", "patient"])]
    profile: String,
    /// With `[fencing] on_suspicion` and a device for each host, which counts what it is told and switches nothing off
    #[arg(long)]
    on_suspicion: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn run(arguments: &SoakArguments) -> Result<ExitCode> {
    catch_interrupts()?;
    Lab::require_root()?;
    let progress = Progress::stderr();
    crate::setup::ensure(&progress)?;
    progress.step("build the daemons", crate::lab::build_daemons)?;
    let options = LabOptions {
        vms: 0,
        linux_vms: 0,
        profile: arguments.profile.clone(),
        ..LabOptions::default()
    };
    let lab = Lab::up(options, &progress)?;
    let name = format!("soak for {} min", arguments.minutes);
    let result = progress.step(&name, || one(&lab, arguments, &progress));
    let down = progress.step("take down the lab", || lab.down());
    let soaked = result?;
    down?;
    match arguments.json {
        true => {
            let text = serde_json::to_string_pretty(&soaked).map_err(|source| LabError::Parse {
                path: "the result".into(),
                source,
            })?;
            anstream::println!("{text}");
        }
        false => tell(&soaked),
    }
    Ok(match soaked.is_well() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn one(lab: &Lab, arguments: &SoakArguments, progress: &Progress) -> Result<Soaked> {
    let cluster = Cluster::of(lab);
    cluster.wait_sites_online(PATIENCE)?;
    let wishes: Vec<VmWish> = (0..arguments.vms)
        .map(|number| VmWish {
            name: format!("vm{}", number + 1),
            site: ["a", "b"][number % 2],
            priority: 10,
            kind: GuestKind::BootSector,
        })
        .collect();
    cluster.run_vms(&wishes, PATIENCE)?;
    let plan = Soak {
        length: Duration::from_secs(60 * arguments.minutes),
        loss_percent: arguments.loss_percent,
        stop: Duration::from_secs(arguments.stop_s),
        busy_loops: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let tell = |round: &str| progress.line(&format!("  {round}"));
    match arguments.on_suspicion {
        false => soak(&cluster, plan, None, tell),
        true => with_policy(lab, DEVICES, || {
            Boards::serve(lab, |boards| soak(&cluster, plan, Some(boards), tell))
        }),
    }
}

fn tell(soaked: &Soaked) {
    let stops: Vec<String> = soaked
        .stopped
        .iter()
        .map(|(process, count)| format!("{process} {count}"))
        .collect();
    let rows = [
        (
            "length",
            format!("{:.1} min", soaked.length_ms as f64 / 60_000.0),
        ),
        ("daemons stopped", stops.join(", ")),
        ("packets lost", soaked.dropped.to_string()),
        ("load at most", format!("{:.1}", soaked.load_max)),
        ("hosts suspected", soaked.suspected.to_string()),
        ("hosts given up", soaked.given_up.len().to_string()),
        ("VMs stopped or started", soaked.stops.len().to_string()),
        (
            "VMs that did not just run on",
            soaked.restarted.len().to_string(),
        ),
        ("overlaps", soaked.overlaps.to_string()),
    ];
    let told_off = soaked.told_off.as_ref();
    let told_off = told_off.map(|told| ("hosts told off needlessly", told.len().to_string()));
    for (what, value) in rows.into_iter().chain(told_off) {
        anstream::println!("{what:<30} {value}");
    }
    for stall in &soaked.stalls {
        let who = match stall.who {
            Who::Machine => "the machine stood still",
            Who::Ordinary => "something took all CPUs",
        };
        let seconds = stall.length_ms as f64 / 1_000.0;
        anstream::println!("  {who} for {seconds:.1} s: what happened then proves nothing");
    }
    let told_off = soaked.told_off.iter().flatten();
    for line in soaked.given_up.iter().chain(&soaked.stops).chain(told_off) {
        anstream::println!("  {line}");
    }
}
