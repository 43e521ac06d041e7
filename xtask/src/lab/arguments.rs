//! The arguments of `cargo xtask lab …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use holdfast_lab::{DEFAULT_STATE, Driver, LabOptions};

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
    pub(super) state: PathBuf,
}

#[derive(Args, Clone)]
pub(crate) struct View {
    #[command(flatten)]
    pub(super) lab: Where,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Args)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(super) view: View,
    /// Machines
    #[arg(required_unless_present = "site", conflicts_with = "site")]
    pub(super) host: Vec<String>,
    /// All machines of a site
    #[arg(long)]
    pub(super) site: Option<String>,
}

#[derive(Args)]
pub(crate) struct Process {
    #[command(flatten)]
    pub(super) view: View,
    /// The machine
    pub(super) host: String,
    /// agent, guard, libvirtd, qemu:VM, etcd, manager or storage
    pub(super) process: String,
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
    pub(super) lab: Where,
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
    pub(super) no_daemons: bool,
    /// Use the Holdfast programs as they are
    #[arg(long)]
    pub(super) no_build: bool,
    /// Directory of the Holdfast programs [default: that of this program]
    #[arg(long)]
    pub(super) bin_dir: Option<PathBuf>,
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
    pub(super) fn options(self) -> LabOptions {
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
