//! `holdfast lease …`: lease volumes, made, looked at and mended where they are. No manager is asked.

pub(super) mod bounded;
mod draw;

use super::args::{Output, Sure};
use super::error::CliError;
use super::paint::{Line, Tone};
use super::{confirm, hint, print, print_json};
use bounded::Wait;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_lease::error::VolumeError;
use holdfast_lease::survey::{Damage, Survey, survey};
use holdfast_lease::volume::{Access, Volume};
use holdfast_model::id::ClusterName;
use holdfast_model::lease::{Kind, Layout, Record, StorageClass, Superblock};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `holdfast lease …`
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Make a lease volume: a file on shared storage, or a block device
    Create(CreateArguments),
    /// Everything that stands on a volume
    Show {
        /// The file or device
        volume: PathBuf,
        /// For the storage
        #[command(flatten)]
        wait: Wait,
    },
    /// What `show` and others start, because it may hang: everything that stands on a volume, or why not
    #[command(hide = true)]
    Read {
        /// The file or device
        volume: PathBuf,
    },
    /// Mend what can be mended without knowing more: a superblock from its copy, mailboxes
    Repair {
        /// The file or device
        volume: PathBuf,
        /// VMs' claims as well: they are emptied, and etcd alone then says who may run those VMs. Not after
        /// etcd was restored from a backup
        #[arg(long)]
        claims: bool,
        /// Hosts' slots as well: they are emptied, for one whose heartbeat another version of Holdfast wrote.
        /// Not while a guard of that version writes there
        #[arg(long)]
        heartbeats: bool,
        /// For the storage
        #[command(flatten)]
        wait: Wait,
        /// Not asked
        #[command(flatten)]
        sure: Sure,
    },
}

/// How a volume is made.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// The file or device
    volume: PathBuf,
    /// Whose volume it is
    #[arg(long)]
    cluster: ClusterName,
    /// What the storage promises when the sites are cut from each other
    #[arg(long, value_enum, default_value_t = Class::Plain)]
    class: Class,
    /// Bytes that the storage writes at once: 4096, or 512
    #[arg(long, default_value_t = Layout::default().sector_size)]
    sector_size: u32,
    /// Slots for hosts
    #[arg(long, default_value_t = Layout::default().hosts_max)]
    hosts: u32,
    /// Slots for VMs
    #[arg(long, default_value_t = Layout::default().vms_max)]
    vms: u32,
    /// Also over a volume or other data, once you have said so (or with --yes)
    #[arg(long)]
    force: bool,
    /// Not asked
    #[command(flatten)]
    sure: Sure,
}

/// See [`StorageClass`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Class {
    /// Only one side can write: Gluster with an arbiter, Ceph stretch, DRBD with quorum
    Quorum,
    /// Copies may diverge
    Plain,
}

/// Carries it out.
pub(super) fn run(command: &LeaseCommand, output: Output) -> Result<(), CliError> {
    match command {
        LeaseCommand::Create(arguments) => create(arguments, output),
        LeaseCommand::Show { volume, wait } => show(volume, *wait, output),
        LeaseCommand::Read { volume } => bounded::tell(volume),
        LeaseCommand::Repair {
            volume,
            claims,
            heartbeats,
            wait,
            sure,
        } => {
            // Storage that hangs is found out before anything is opened for good.
            let found = bounded::read(volume, *wait)?;
            let also = Also {
                claims: *claims,
                heartbeats: *heartbeats,
            };
            repair(volume, found, also, *sure, output)
        }
    }
}

fn refused(error: VolumeError) -> CliError {
    CliError::Lease(error.to_string())
}

fn create(arguments: &CreateArguments, output: Output) -> Result<(), CliError> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let superblock = Superblock {
        cluster: arguments.cluster.clone(),
        class: match arguments.class {
            Class::Quorum => StorageClass::Quorum,
            Class::Plain => StorageClass::Plain,
        },
        layout: Layout {
            sector_size: arguments.sector_size,
            hosts_max: arguments.hosts,
            vms_max: arguments.vms,
        },
        created_ms: now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0)),
    };
    let layout = superblock.layout;
    layout
        .check()
        .map_err(|error| CliError::Lease(error.to_string()))?;
    if !may_create(arguments)? {
        let line = format!("would make a lease volume of {} bytes", layout.bytes());
        return print(&(line + "\n"));
    }
    let volume = Volume::create(&arguments.volume, &superblock, arguments.force);
    let volume = volume.map_err(refused)?;
    if output == Output::Json {
        return print_json(&survey(&volume).map_err(refused)?);
    }
    let line = Line::new().add(Tone::Good, "ok: ").text(format!(
        "lease volume {} of cluster {}: {} hosts, {} VMs, {:.1} MiB",
        volume.id(),
        superblock.cluster,
        layout.hosts_max,
        layout.vms_max,
        layout.bytes() as f64 / f64::from(1 << 20),
    ));
    print(&(line.draw() + "\n"))
}

/// Whether it is to be done now. Over what is there already only once the operator has said so.
fn may_create(arguments: &CreateArguments) -> Result<bool, CliError> {
    let (path, sure) = (&arguments.volume, arguments.sure);
    let there = Volume::would_destroy(path).map_err(refused)?;
    if let Some(what) = there.filter(|_| !sure.yes || !arguments.force) {
        if !arguments.force {
            let path = path.to_owned();
            return Err(refused(VolumeError::Exists { path, what }));
        }
        let about = format!("make a new lease volume over {}: {what}", path.display());
        let warning = "hosts that hold leases on it lose them, and what else is there is gone";
        if sure.dry.dry_run {
            hint(&format!("would {about}; {warning}"));
            return Ok(false);
        }
        confirm::can_ask()?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        confirm::confirm(&about, &[warning.to_owned()], &name.to_string_lossy())?;
    }
    Ok(!sure.dry.dry_run)
}

fn show(path: &Path, wait: Wait, output: Output) -> Result<(), CliError> {
    let found = bounded::read(path, wait)?;
    if output == Output::Json {
        return print_json(&found);
    }
    print(&draw::draw(&found))
}

/// What was done, and what is left.
#[derive(Serialize)]
struct Repaired {
    superblock: bool,
    mailboxes: Vec<u64>,
    claims: Vec<u64>,
    heartbeats: Vec<u64>,
    left: Vec<Damage>,
}

/// What is mended only if somebody says so.
#[derive(Debug, Clone, Copy)]
struct Also {
    claims: bool,
    heartbeats: bool,
}

fn repair(
    path: &Path,
    found: Survey,
    also: Also,
    sure: Sure,
    output: Output,
) -> Result<(), CliError> {
    let access = match sure.dry.dry_run {
        true => Access::Read,
        false => Access::Write,
    };
    let mut volume = Volume::open(path, access).map_err(refused)?;
    let (freed, left): (Vec<Damage>, Vec<Damage>) = found
        .damaged
        .into_iter()
        .filter(|damage| damage.kind != Kind::Superblock)
        .partition(|damage| match damage.kind {
            Kind::Mailbox => true,
            Kind::Claim => also.claims,
            Kind::Heartbeat => also.heartbeats,
            Kind::Superblock => false,
        });
    let superblock = volume.damage().is_some();
    let anything = superblock || !freed.is_empty();
    if anything && !sure.dry.dry_run {
        if !sure.yes {
            return Err(CliError::Usage(format!(
                "this writes to {}: add --yes, or --dry-run to see what would be mended",
                path.display()
            )));
        }
        if superblock {
            volume.repair_superblocks().map_err(refused)?;
        }
        // Whoever asked for something asks again; whoever holds a VM that runs writes its claim again.
        for damage in &freed {
            if let Some(free) = Record::free(damage.kind) {
                let written = volume.write_and_check(damage.sector, 1, free);
                written.map_err(refused)?;
            }
        }
    }
    let done = Repaired {
        superblock,
        mailboxes: slots(&freed, Kind::Mailbox),
        claims: slots(&freed, Kind::Claim),
        heartbeats: slots(&freed, Kind::Heartbeat),
        left,
    };
    if output == Output::Json {
        return print_json(&done);
    }
    told(&done, anything, sure.dry.dry_run)
}

fn slots(freed: &[Damage], kind: Kind) -> Vec<u64> {
    let of_kind = freed.iter().filter(|damage| damage.kind == kind);
    of_kind.map(|damage| damage.slot).collect()
}

fn told(done: &Repaired, anything: bool, dry_run: bool) -> Result<(), CliError> {
    let mut what = Vec::new();
    what.extend(done.superblock.then(|| "the superblock".to_owned()));
    what.extend(match done.mailboxes.len() {
        0 => None,
        1 => Some("one mailbox".to_owned()),
        count => Some(format!("{count} mailboxes")),
    });
    what.extend(match done.claims.len() {
        0 => None,
        1 => Some("one claim".to_owned()),
        count => Some(format!("{count} claims")),
    });
    what.extend(match done.heartbeats.len() {
        0 => None,
        1 => Some("one host's slot".to_owned()),
        count => Some(format!("{count} hosts' slots")),
    });
    let line = match (anything, dry_run) {
        (false, _) => Line::new().add(Tone::Dim, "nothing to mend"),
        (true, true) => Line::new()
            .add(Tone::Busy, "would mend ")
            .text(what.join(" and ")),
        (true, false) => Line::new()
            .add(Tone::Good, "mended: ")
            .text(what.join(" and ")),
    };
    print(&(line.draw() + "\n"))?;
    for damage in &done.left {
        let advice = match damage.kind {
            Kind::Heartbeat => {
                "its host's guard writes it anew, unless another version of Holdfast wrote it; if no guard of \
                 that version is left, add --heartbeats"
            }
            _ => {
                "while its VM runs, its host writes it again; while it does not, it is not started, as \
                 nobody can say whether it runs elsewhere. If etcd was not restored from a backup since, \
                 etcd knows: add --claims"
            }
        };
        let text = format!(
            "left: {} {}: {}; {advice}",
            damage.kind, damage.slot, damage.problem
        );
        hint(&Line::new().add(Tone::Warn, "note: ").text(text).draw());
    }
    Ok(())
}
