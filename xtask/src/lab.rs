//! `cargo xtask lab …`: arguments in, library calls, tables or JSON out.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, Subcommand, ValueEnum};
use holdfast_lab::{
    DEFAULT_STATE, Driver, Lab, LabError, LabOptions, Progress, Result, catch_interrupts, report,
};
use serde::Serialize;

#[derive(Subcommand)]
pub(crate) enum LabCommand {
    /// Build and start the lab; an earlier one is taken down first
    Up(Box<UpArguments>),
    /// Machines, services, links, storage
    Status(View),
    /// Take the lab down and remove everything it made
    Down(Where),
    /// Run a command inside a machine
    Exec {
        #[command(flatten)]
        lab: Where,
        /// The machine
        host: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run the `holdfast` command line against the lab's managers
    Cli {
        #[command(flatten)]
        lab: Where,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Show the logs of a machine's services
    Logs {
        #[command(flatten)]
        lab: Where,
        /// The machine
        host: String,
        /// Only this service (init etcd manager storage libvirtd guard agent)
        service: Option<String>,
        /// Go on showing what is written
        #[arg(short, long)]
        follow: bool,
        /// How many lines of each
        #[arg(short = 'n', long, default_value_t = 40)]
        lines: u32,
    },
    /// Cut the power: every process gone at once, links down
    PowerOff(Target),
    /// Give power again: same disks, new boot id
    PowerOn(Target),
    /// Drop packets between two ends: a site, a host, witness, all
    Cut {
        #[command(flatten)]
        view: View,
        /// One end
        a: String,
        /// The other
        b: String,
        /// Only from A to B
        #[arg(long)]
        one_way: bool,
    },
    /// Take back what was cut between two ends (`all all`: everything)
    Heal {
        #[command(flatten)]
        view: View,
        /// One end
        a: String,
        /// The other
        b: String,
    },
    /// Stop a process without ending it (SIGSTOP)
    Freeze(Process),
    /// Let a frozen process go on (SIGCONT)
    Thaw(Process),
    /// Kill a process (SIGKILL); services are started again
    Kill(Process),
    /// Who ran where and when, from the guests themselves; exit 1 if any VM ran twice
    Proof(View),
}

#[derive(Args, Clone)]
pub(crate) struct Where {
    /// Directory of the lab's files
    #[arg(long, env = "HOLDFAST_LAB_STATE", default_value = DEFAULT_STATE)]
    state: PathBuf,
}

#[derive(Args, Clone)]
pub(crate) struct View {
    #[command(flatten)]
    lab: Where,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Args)]
pub(crate) struct Target {
    #[command(flatten)]
    view: View,
    /// Machines
    #[arg(required_unless_present = "site", conflicts_with = "site")]
    host: Vec<String>,
    /// All machines of a site
    #[arg(long)]
    site: Option<String>,
}

#[derive(Args)]
pub(crate) struct Process {
    #[command(flatten)]
    view: View,
    /// The machine
    host: String,
    /// agent, guard, libvirtd, qemu:VM, etcd, manager or storage
    process: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum DriverWord {
    Qemu,
    Test,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileWord {
    Fast,
    Default,
    Patient,
}

#[derive(Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    lab: Where,
    /// Hypervisors per site
    #[arg(long, default_value_t = 2)]
    hosts_per_site: usize,
    /// Boot-sector guests: up in 0.2 s, beat 20 times a second
    #[arg(long, default_value_t = 4)]
    vms: usize,
    /// Linux guests that keep a journal on their disk
    #[arg(long, default_value_t = 1)]
    linux_vms: usize,
    /// Timing profile of the cluster
    #[arg(long, value_enum, default_value_t = ProfileWord::Default)]
    profile: ProfileWord,
    /// How long a site must be stable before VMs go back
    #[arg(long, default_value_t = 10_000)]
    hold_down_ms: u64,
    /// libvirt's QEMU, or its test driver
    #[arg(long, value_enum, default_value_t = DriverWord::Qemu)]
    driver: DriverWord,
    /// A local directory instead of replicated storage
    #[arg(long)]
    no_storage: bool,
    /// Only the infrastructure, no Holdfast
    #[arg(long)]
    no_daemons: bool,
    /// Use the Holdfast programs as they are
    #[arg(long)]
    no_build: bool,
    /// Directory of the Holdfast programs [default: that of this program]
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// etcd's heartbeat interval [default: etcd's]
    #[arg(long)]
    etcd_heartbeat_ms: Option<u32>,
    /// etcd's election timeout [default: etcd's]
    #[arg(long)]
    etcd_election_ms: Option<u32>,
    /// RUST_LOG of the daemons
    #[arg(long, default_value = "info")]
    log_filter: String,
}

impl UpArguments {
    fn options(self) -> LabOptions {
        let defaults = LabOptions::default();
        LabOptions {
            state: self.lab.state,
            hosts_per_site: self.hosts_per_site,
            vms: self.vms,
            linux_vms: self.linux_vms,
            profile: match self.profile {
                ProfileWord::Fast => "fast".into(),
                ProfileWord::Default => "default".into(),
                ProfileWord::Patient => "patient".into(),
            },
            hold_down_ms: self.hold_down_ms,
            driver: match self.driver {
                DriverWord::Qemu => Driver::Qemu,
                DriverWord::Test => Driver::Test,
            },
            storage: !self.no_storage,
            daemons: !self.no_daemons,
            bin_dir: self.bin_dir.unwrap_or(defaults.bin_dir),
            etcd_heartbeat_ms: self.etcd_heartbeat_ms,
            etcd_election_ms: self.etcd_election_ms,
            log_filter: self.log_filter,
            ..LabOptions::default()
        }
    }
}

/// Runs one verb.
pub(crate) fn run(command: LabCommand) -> Result<ExitCode> {
    match command {
        LabCommand::Up(arguments) => up(*arguments)?,
        LabCommand::Status(view) => {
            let status = attach(&view.lab)?.status()?;
            show(&view, &status, || report::status(&status))?;
        }
        LabCommand::Down(lab) => {
            let progress = Progress::stderr();
            let existed = progress.step("take down the lab", || Lab::down_at(&lab.state))?;
            if !existed {
                progress.line("  there was none");
            }
        }
        LabCommand::Exec { lab, host, command } => {
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            return pass_through(attach(&lab)?.command(&host, &argv)?);
        }
        LabCommand::Cli { lab, arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            return pass_through(attach(&lab)?.cli_command(&arguments));
        }
        LabCommand::Logs {
            lab,
            host,
            service,
            follow,
            lines,
        } => {
            return logs(&attach(&lab)?, &host, service.as_deref(), follow, lines);
        }
        LabCommand::PowerOff(target) => {
            let lab = attach(&target.view.lab)?;
            let proof = match &target.site {
                Some(site) => lab.power_off_site(site)?,
                None => lab.power_off(&words(&target.host))?,
            };
            show(&target.view, &proof, || {
                format!(
                    "{}: no power; {} processes gone {} ms after the cables ({} ms)\n",
                    proof.machines.join(" "),
                    proof.processes,
                    proof.gone_ms - proof.links_down_ms,
                    proof.links_down_ms - proof.at_ms,
                )
            })?;
        }
        LabCommand::PowerOn(target) => {
            let lab = attach(&target.view.lab)?;
            match &target.site {
                Some(site) => lab.power_on_site(site)?,
                None => lab.power_on(&words(&target.host))?,
            }
        }
        LabCommand::Cut {
            view,
            a,
            b,
            one_way,
        } => {
            let cutting = attach(&view.lab)?.cut(&a, &b, one_way)?;
            show(&view, &cutting, || cuts_text(&cutting.cuts))?;
        }
        LabCommand::Heal { view, a, b } => {
            let healed = attach(&view.lab)?.heal(&a, &b)?;
            show(&view, &healed, || match healed.is_empty() {
                true => "nothing was cut there\n".into(),
                false => format!("healed\n{}", cuts_text(&healed)),
            })?;
        }
        LabCommand::Freeze(process) => fault(&process, Lab::freeze)?,
        LabCommand::Thaw(process) => fault(&process, Lab::thaw)?,
        LabCommand::Kill(process) => fault(&process, Lab::kill)?,
        LabCommand::Proof(view) => {
            let proof = attach(&view.lab)?.proof()?;
            show(&view, &proof, || report::proof(&proof))?;
            if !proof.holds() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn attach(lab: &Where) -> Result<Lab> {
    Lab::attach(&lab.state)
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn show<T: Serialize>(view: &View, value: &T, table: impl FnOnce() -> String) -> Result<()> {
    match view.output {
        Format::Table => anstream::print!("{}", table()),
        Format::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|source| LabError::Parse {
                path: "output".into(),
                source,
            })?;
            anstream::println!("{text}");
        }
    }
    Ok(())
}

fn cuts_text(cuts: &[holdfast_lab::Cut]) -> String {
    let line = |cut: &holdfast_lab::Cut| {
        format!(
            "{} -> {}: {} packets dropped\n",
            cut.from, cut.to, cut.dropped
        )
    };
    cuts.iter().map(line).collect()
}

fn fault(
    process: &Process,
    inject: impl FnOnce(&Lab, &str, &str) -> Result<holdfast_lab::FaultProof>,
) -> Result<()> {
    let lab = attach(&process.view.lab)?;
    let proof = inject(&lab, &process.host, &process.process)?;
    show(&process.view, &proof, || {
        let took = proof.done_ms - proof.at_ms;
        format!(
            "{:?} {} on {}: pids {:?}, seen after {took} ms\n",
            proof.fault, proof.process, proof.machine, proof.pids
        )
    })
}

/// Runs a command with this one's input and output; its exit status becomes ours.
fn pass_through(mut command: Command) -> Result<ExitCode> {
    let status = command
        .stdin(Stdio::inherit())
        .status()
        .map_err(LabError::io("start", command.get_program()))?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn up(arguments: UpArguments) -> Result<()> {
    catch_interrupts()?;
    Lab::require_root()?;
    let build = !arguments.no_daemons && !arguments.no_build && arguments.bin_dir.is_none();
    let options = arguments.options();
    let progress = Progress::stderr();
    if build {
        progress.step("build holdfast-manager and holdfast-host", build_daemons)?;
    }
    Lab::up(options, &progress)?;
    progress.line("  the lab is up: cargo xtask lab status | cli status | proof | down");
    Ok(())
}

/// Builds into the target directory this program is in.
pub(crate) fn build_daemons() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = holdfast_lab::programs::own_bin_dir();
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "holdfast-manager",
            "--package",
            "holdfast-host",
        ])
        .args(own.ends_with("release").then_some("--release"))
        .args(
            own.parent()
                .map(|target| format!("--target-dir={}", target.display())),
        )
        .current_dir(root);
    let status = command
        .status()
        .map_err(LabError::io("start", command.get_program()))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::Refused(
        "the build failed; `lab up --no-daemons` needs none".into(),
    ))
}

fn logs(
    lab: &Lab,
    host: &str,
    service: Option<&str>,
    follow: bool,
    lines: u32,
) -> Result<ExitCode> {
    let mut files = Vec::new();
    match service {
        Some(service) => files.push(lab.log_path(host, service)?),
        None => {
            let any = lab.log_path(host, "init")?;
            let dir = any.parent().unwrap_or(Path::new("/"));
            for entry in std::fs::read_dir(dir).map_err(LabError::io("list", dir))? {
                files.push(entry.map_err(LabError::io("list", dir))?.path());
            }
            files.sort();
        }
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", &lines.to_string()])
        .args(follow.then_some("-F"))
        .args(files);
    pass_through(tail)
}
