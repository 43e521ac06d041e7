//! The agent: keeps this host's session, runs the VMs it is granted, reports what became of them.
//!
//! ```text
//! store ─ cache ──────────┐                     ┌─> reports (guarded by the session)
//! session ── life ────────┼─> vms: the loop ────┤
//! libvirt ── driver ──────┤   world ─> guardian └─> tasks ─> jobs ─> libvirt, guard
//! guard ── stopped ───────┘
//! ```
//! - [`join`]: what is checked and done before taking part
//! - [`session`], [`keep`], [`life`]: the session in the store, the guard's deadline, the state file;
//!   `bounds`: what it declares; `take_back`: a life that the store has forgotten
//! - [`vms`]: the loop, in two halves [`look`] and [`apply`]; [`world`] builds what the guardian
//!   decides on, [`lister`] asks libvirt and [`seen`] remembers what libvirt showed, [`tasks`], [`jobs`] and [`peer`] carry out
//! - [`records`]: guarded writes; [`report`], [`events`], [`storage`]: what the host tells
//! - [`errands`]: what it asks fencing devices of other hosts for the leader
//! - `probes`: where the guard answers managers that ask whether this host is there
//! - [`lease`], [`lookout`]: the slot on the lease volume, and the peers' slots; [`claim`]: those of VMs
//! - [`identity`]: which machine, which boot, which life
//!
//! What is absent: no decision about a VM (the guardian decides), no kill at a deadline (the guard
//! does), no call to a manager or to another agent.

mod apply;
mod bounds;
pub mod claim;
pub mod errands;
pub mod error;
pub mod events;
pub mod identity;
pub mod jobs;
pub mod join;
mod keep;
pub mod lease;
pub mod life;
mod lister;
mod look;
mod lookout;
pub mod peer;
mod probes;
pub mod records;
pub mod report;
pub mod seen;
pub mod session;
pub mod storage;
mod take_back;
pub mod target;
pub mod tasks;
pub mod vms;
pub mod world;

#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::driver::{Events, VmDriver};
use crate::guard::client::GuardClient;
use error::AgentError;
use holdfast_model::host::LeaseState;
use holdfast_model::timing::Timing;
use holdfast_store::api::Store;
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::keyspace::{ERRANDS, EXTENSIONS, FENCES, Key, ROOT};
use identity::{LifeFile, Machine};
use life::Life;
use records::Records;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use session::SessionTask;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use target::Tools;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use vms::{Sinks, Sources, Vms};

/// What the agent works with.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// The store.
    pub store: Arc<dyn Store>,
    /// libvirt.
    pub driver: Arc<dyn VmDriver>,
    /// What libvirt tells by itself.
    pub events: Events,
    /// This machine's clock.
    pub clock: Clock,
    /// What checks the storage, if that is to be an extension.
    pub storage_check: Option<Arc<dyn storage::Check>>,
    /// What asks fencing devices of other hosts, if anything is to.
    pub errands: Option<Arc<dyn errands::Errands>>,
    /// Becomes true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
}

/// Runs the agent until it is asked to end. VMs run on.
pub async fn run(parts: Parts) -> Result<(), AgentError> {
    let run_dir: &PathBuf = &parts.config.run_dir;
    std::fs::create_dir_all(run_dir).map_err(|source| identity::IdentityError::Write {
        path: run_dir.clone(),
        source,
    })?;
    let _lock = lock(&run_dir.join("agent.lock"))?;
    let machine = Machine::read(&parts.config)?;
    let mut stop = parts.stop.clone();
    let timing = tokio::select! {
        timing = join::join(&parts.config, &*parts.store) => timing?,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    let (host, cluster) = (&parts.config.name, &parts.config.cluster);
    tracing::info!(%host, %cluster, ?timing, "taking part");
    let (vms, mut session) = start(parts, machine, timing);
    // Both run for ever, but for these ends: the process is asked to, or it cannot be this host.
    let result = tokio::select! {
        vms = vms => {
            // The session is left as it is: the next agent goes on with it.
            session.abort();
            let _ = session.await;
            vms.map_err(|error| error.to_string()).map(|()| Ok(()))
        }
        session = &mut session => session.map_err(|error| error.to_string()),
    };
    result.unwrap_or_else(|error| {
        let text = "a task of the agent died; ending, to be started again";
        tracing::error!(error, text);
        Err(AgentError::Died(error))
    })
}

/// Starts every task; returns the loop that runs the VMs, and the one that keeps the session.
fn start(
    parts: Parts,
    machine: Machine,
    timing: Timing,
) -> (JoinHandle<()>, JoinHandle<Result<(), AgentError>>) {
    let config = Arc::new(parts.config);
    let stop = parts.stop.clone();
    let (guard, stopped) = GuardClient::start(&config.guard.socket);
    let (life_sender, life) = watch::channel(Life::Unknown);
    let (clean_sender, clean) = watch::channel(None);
    let (ended_sender, ended) = mpsc::unbounded_channel();
    let (fenced_sender, fenced) = mpsc::unbounded_channel();
    let (timing_sender, timing) = watch::channel(timing);
    let (storage_sender, storage) = watch::channel(storage::before_the_first(&config));
    let (lease_sender, lease) = watch::channel(LeaseState::NotUsed);
    let (probe_sender, probe) = watch::channel(None);
    let (store, clock) = (parts.store, parts.clock);
    let cache = Cache::spawn(
        Arc::clone(&store),
        prefixes(&config, parts.errands.is_some()),
        Arc::clone(&clock),
    );
    let tools = Tools {
        config: Arc::clone(&config),
        driver: parts.driver,
        guard: guard.clone(),
        records: Records::new(Arc::clone(&store), config.name.clone(), life.clone()),
        clock: Arc::clone(&clock),
    };
    let session = SessionTask {
        host: config.name.clone(),
        leased: config.lease.volume.is_some(),
        life_file: LifeFile::new(&config.run_dir, machine.boot_id.clone()),
        machine,
        store,
        clock,
        guard,
        timing,
        clean,
        ended,
        life: life_sender,
        watchdog_ms: 0,
    };
    let sources = Sources {
        cache: cache.subscribe(),
        driver: parts.events,
        stopped,
        life: life.clone(),
        stop: parts.stop,
    };
    let sinks = Sinks {
        clean: clean_sender,
        ended: ended_sender,
        fenced: fenced_sender,
    };
    tokio::spawn(storage::check_for_ever(
        tools.clone(),
        cache.subscribe(),
        storage_sender,
        stop.clone(),
        parts.storage_check,
    ));
    let leased = config.lease.volume.is_some();
    tokio::spawn(lease::follow(tools.guard.clone(), leased, lease_sender));
    let peers = (cache.subscribe(), life.clone());
    tokio::spawn(lookout::look_out(tools.clone(), peers.0, peers.1));
    tokio::spawn(probes::answer_for_ever(
        tools.clone(),
        cache.subscribe(),
        probe_sender,
    ));
    tokio::spawn(errands::keep_for_ever(
        parts.errands,
        tools.records.clone(),
        Arc::clone(&tools.clock),
        cache.subscribe(),
        stop,
    ));
    let parts = (storage, lease, probe);
    tokio::spawn(report::report_for_ever(tools.clone(), life, parts));
    tokio::spawn(claim::give_back(tools.clone(), cache.subscribe()));
    tokio::spawn(events::tell_fenced(tools.clone(), fenced));
    tokio::spawn(follow_policy(cache, timing_sender));
    let vms = Vms::new(tools, sources, sinks);
    (tokio::spawn(vms.run()), tokio::spawn(session.run()))
}

/// One agent per host: two would take each other's session for their own.
fn lock(path: &Path) -> Result<std::fs::File, AgentError> {
    let failed = |source: std::io::Error| identity::IdentityError::Write {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::create(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(AgentError::AlreadyRunning(path.to_owned())),
        Err(error) => Err(failed(error.into()).into()),
    }
}

/// What an agent follows: its own records, those of all VMs and their slots, which hosts were given up, what it is
/// asked under, and the extension that checks its storage; if it does errands, those, and all extensions.
fn prefixes(config: &Config, errands: bool) -> Vec<String> {
    let check = config.storage.extension.clone();
    let more = match (check, errands) {
        (_, true) => vec![ERRANDS.to_owned(), EXTENSIONS.to_owned()],
        (Some(name), false) => vec![Key::Extension(name).path()],
        (None, false) => Vec::new(),
    };
    let own = vec![
        format!("{ROOT}vms/"),
        format!("{ROOT}uuids/"),
        format!("{ROOT}leases/"),
        format!("{ROOT}hosts/{}/", config.name),
        FENCES.to_owned(),
        Key::Policy.path(),
        Key::ProbeKey.path(),
    ];
    own.into_iter().chain(more).collect()
}

/// New bounds by policy. A view takes no unsafe ones: the old ones stay in force.
async fn follow_policy(mut cache: Cache, timing: watch::Sender<Timing>) {
    loop {
        let found = cache.read(|view| {
            let policy = view.policy.as_ref()?;
            Some(policy.value.timing.resolve())
        });
        if let Some(found) = found {
            timing.send_if_modified(|now| {
                let news = *now != found;
                *now = found;
                news
            });
        }
        cache.changed().await;
    }
}
