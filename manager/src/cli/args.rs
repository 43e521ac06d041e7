//! The command line's words: nouns and verbs.

use super::ext::ExtCommand;
use super::lease::LeaseCommand;
use super::lease::bounded::Wait;
use crate::schema::SchemaOf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_model::id::{HostName, SiteName, VmName};
use std::path::PathBuf;

/// Where a manager is looked for if nobody says.
const DEFAULT_API: &str = "http://127.0.0.1:7070";

/// The operator's command line: keeps VMs running across two sites.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not possible now, 4 etcd has no majority, \
                  5 answers differ (`ext replay`)."
)]
pub struct Cli {
    /// Managers to ask, the first one that is well is used
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_API",
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = DEFAULT_API
    )]
    pub api: Vec<String>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// The API's answer
    Json,
    /// For people, with more columns
    Wide,
}

/// Nouns, and verbs that need none.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The cluster on one screen
    Status {
        /// Draw it again every second
        #[arg(short, long)]
        watch: bool,
    },
    /// Hypervisors
    #[command(subcommand)]
    Host(HostCommand),
    /// Sites
    #[command(subcommand)]
    Site(SiteCommand),
    /// Virtual machines
    #[command(subcommand)]
    Vm(VmCommand),
    /// Why something is where and how it is
    #[command(subcommand)]
    Why(WhyCommand),
    /// What happened
    Events {
        /// Go on as it happens
        #[arg(short, long)]
        follow: bool,
        /// Only about this VM
        #[arg(long)]
        vm: Option<VmName>,
        /// Only about this host
        #[arg(long)]
        host: Option<HostName>,
        /// How many of the newest
        #[arg(short = 'n', long, default_value_t = 50)]
        limit: usize,
    },
    /// Incidents: who was away for how long, phase by phase
    Timeline {
        /// One incident: its id, or `last`; a list of all without
        id: Option<String>,
    },
    /// How long a VM can be away after each kind of failure
    Rto,
    /// Fencing devices
    #[command(subcommand)]
    Fence(FenceCommand),
    /// Cluster policy
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What is wrong, and whether etcd and the lease volume agree
    Doctor {
        /// The lease volume, on a host that has it
        volume: Option<PathBuf>,
        /// For its storage
        #[command(flatten)]
        wait: Wait,
    },
    /// Lease volumes on shared storage
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Extensions
    #[command(subcommand)]
    Ext(ExtCommand),
}

/// Only say what would happen.
#[derive(Debug, Clone, Copy, Args)]
pub struct DryRun {
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
}

/// For verbs that destroy.
#[derive(Debug, Clone, Copy, Args)]
pub struct Sure {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Only say what would happen
    #[command(flatten)]
    pub dry: DryRun,
}

/// `holdfast host …`
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// All of them
    List,
    /// One of them
    Show {
        /// Its name
        host: HostName,
    },
    /// Move its VMs away and give it none, for maintenance
    Drain {
        /// Its name
        host: HostName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// End its maintenance
    Resume {
        /// Its name
        host: HostName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Vouch that it is powered off, so that its VMs are started elsewhere
    ConfirmOff {
        /// Its name
        host: HostName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
    /// Remove every record of a host that is gone for good
    Forget {
        /// Its name
        host: HostName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
}

/// `holdfast site …`
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// All of them
    List,
    /// One of them
    Show {
        /// Its name
        site: SiteName,
    },
    /// Move its VMs to the other site and give it none
    Drain {
        /// Its name
        site: SiteName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// End the maintenance of all its hosts
    Resume {
        /// Its name
        site: SiteName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
}

/// `holdfast vm …`
#[derive(Debug, Subcommand)]
pub enum VmCommand {
    /// All of them
    List,
    /// One of them
    Show {
        /// Its name
        vm: VmName,
        /// Only its domain XML
        #[arg(long)]
        xml: bool,
    },
    /// Create or change VMs from files
    Apply {
        /// TOML or JSON (by the file's ending); `-` reads TOML from the standard input
        #[arg(short, long = "file", value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        /// Only if it still is at this revision (see `vm show`)
        #[arg(long)]
        revision: Option<i64>,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Start it
    Start {
        /// Its name
        vm: VmName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Ask its guest to shut down; destroy it after the grace
    Stop {
        /// Its name
        vm: VmName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Stop it and start it again
    Restart {
        /// Its name
        vm: VmName,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Migrate it live
    Move {
        /// Its name
        vm: VmName,
        /// Where to; the best host if left out
        #[arg(long)]
        to: Option<HostName>,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
    /// Stop it and remove it; its disks stay
    Delete {
        /// Its name
        vm: VmName,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
}

/// `holdfast why …`
#[derive(Debug, Subcommand)]
pub enum WhyCommand {
    /// A VM
    Vm {
        /// Its name
        vm: VmName,
        /// Why it is not there
        #[arg(long, value_name = "HOST")]
        not_on: Option<HostName>,
    },
    /// A host
    Host {
        /// Its name
        host: HostName,
    },
}

/// `holdfast fence …`
#[derive(Debug, Subcommand)]
pub enum FenceCommand {
    /// Ask them how the power of their hosts stands, as it would be asked in need; nothing is switched
    Status {
        /// Only those of this host
        host: Option<HostName>,
    },
}

/// `holdfast config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// The policy in force, as TOML
    Show,
    /// A JSON Schema of a file, for editors and checks of one's own
    Schema {
        /// Which file
        #[arg(value_enum, default_value_t = SchemaOf::Policy)]
        of: SchemaOf,
    },
    /// Replace the policy
    Apply {
        /// TOML or JSON (by the file's ending); `-` reads TOML from the standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only if it still is at this revision (see `config show`)
        #[arg(long)]
        revision: Option<i64>,
        /// Even if the manager that is asked cannot read the one that stands there
        #[arg(long)]
        replace_unread: bool,
        /// Trial
        #[command(flatten)]
        dry: DryRun,
    },
}
