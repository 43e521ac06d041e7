//! The manager daemon: its tasks, and how they hang together.
//!
//! ```text
//! etcd ─watch─> cache ─┬─> api        (reads; writes go straight to etcd, guarded)
//!                      ├─> election ─epoch─┬─> reconcile (plan, verify, execute)
//!                      │                   │    └─> fence (asks devices) ─wakes─> reconcile
//!                      │                   ├─> tell (event handlers)
//!                      │                   ├─> rollout (new versions of extensions, site by site)
//!                      │                   └─> housekeeping (trims events)
//!                      ├─> probes (asks hosts) ─wakes─> reconcile
//!                      ├─> errands (asks devices for a leader that does not reach them)
//!                      └─> presence, voters
//! ```
//! Every manager serves the API and keeps its timers warm; only the one with an epoch decides.

pub mod cluster;
pub mod election;
pub mod executor;
pub mod fence;
pub mod housekeeping;
pub mod presence;
pub mod probes;
pub mod reconcile;
pub mod rollout;
#[cfg(feature = "extensions")]
mod tell;
pub mod workshop;

use crate::api::{App, Own, Voters, router, trouble};
use crate::config::Config;
use crate::extensions::Extensions;
use crate::requests::Requests;
use cluster::WrongCluster;
use fence::{Courier, DevicesByMeans, FenceAgents, FenceDevices, Fencer, NoDevices};
use holdfast_fence::Book;
use holdfast_model::id::{ClusterName, ManagerName, Revision, SiteName, TargetName};
use holdfast_model::target::TargetSection;
use holdfast_store::StoreError;
use holdfast_store::api::{Store, Voter};
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::clock::boottime;
use holdfast_store::etcd::{EtcdConfig, EtcdStore};
use holdfast_store::keyspace::ROOT;
use holdfast_store::leadership::Me;
use probes::Prober;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
pub use workshop::Workshop;

#[cfg(feature = "extensions")]
pub use holdfast_fence::web;
pub use holdfast_fence::{Web, secrets};

/// The voters are asked this often.
const VOTERS_EVERY: Duration = Duration::from_secs(2);
/// The tasks end within this once they are told to: a lead is given up, answers go out.
const STOP_BOUND: Duration = Duration::from_secs(5);

/// Why the daemon ends.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The API's address is not to be had.
    #[error(
        "cannot listen on {address}: {source}; change `listen` in manager.toml, or stop what uses it"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// etcd's configuration is of no use.
    #[error("[etcd] {0}")]
    Store(#[from] StoreError),
    /// etcd belongs to another cluster.
    #[error(transparent)]
    WrongCluster(#[from] WrongCluster),
    /// The API ended by itself.
    #[error("the API ended: {0}")]
    Api(#[from] std::io::Error),
}

/// What the tasks share.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub store: Arc<dyn Store>,
    /// This manager's steady clock.
    pub clock: Clock,
    /// The cluster, as configured.
    pub cluster: ClusterName,
    /// This life of this manager.
    pub me: Me,
    /// Where the API listens.
    pub api: String,
    /// Asks fencing devices.
    pub fencer: Arc<Fencer>,
    /// Sends the requests of extensions.
    pub web: Option<Web>,
    /// Asks hosts whether they are there.
    pub prober: Arc<Prober>,
    /// The extensions on this manager.
    pub extensions: Arc<Extensions>,
    /// Tells the events of one millisecond apart.
    pub numbers: Arc<AtomicU64>,
    /// True once the daemon is to end.
    pub stop: watch::Receiver<bool>,
}

/// Waits until the daemon is to end.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Runs the daemon on etcd until `stop`.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> Result<(), DaemonError> {
    let store = EtcdStore::new(EtcdConfig {
        endpoints: config.etcd.endpoints.clone(),
        call_timeout_ms: config.etcd.call_timeout_ms,
    })?;
    let address = config.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| DaemonError::Listen { address, source })?;
    let workshop = Workshop::open_or_tell(&config.extensions_dir, config.extensions_engine);
    let id = (config.cluster, config.name, config.site);
    let secrets = config.fence_secrets;
    let agents = FenceAgents::new(config.fence_agents, secrets.clone());
    for fault in agents.faults() {
        tracing::warn!("{fault}");
    }
    let extensions: Arc<Extensions> = Arc::default();
    let targets = config.targets.keys().cloned().collect();
    let (web, journal) = outside(config.targets, secrets, &config.requests_file).unzip();
    let (book, requests) = journal.unzip();
    let means = Means {
        devices: Arc::new(DevicesByMeans::new(
            Arc::new(agents),
            extensions.clone(),
            web.as_ref(),
            book.as_ref(),
            targets,
        )),
        extensions,
        workshop,
        web,
        requests,
    };
    run_on(Arc::new(store), listener, id, means, stop).await
}

/// How extensions have an effect outside, where that is written down, and who knows it.
type Outside = (Web, (Book, Arc<dyn Requests>));

/// The targets of manager.toml; tells what is wrong with them. None: nothing can be written down, and so nothing is sent
/// and no program run for an extension.
#[cfg(feature = "extensions")]
fn outside(targets: Targets, secrets: PathBuf, journal: &Path) -> Option<Outside> {
    let opened = web::Journal::open(journal).inspect_err(|error| {
        tracing::error!(
            path = %journal.display(), %error,
            "extensions cannot send requests or have programs run: that could not be written down; correct \
             `requests_file` in manager.toml"
        );
    });
    let journal = Arc::new(opened.ok()?);
    let targets = web::WebTargets::new(targets, secrets, journal.clone());
    for fault in targets.faults() {
        tracing::warn!("{fault}");
    }
    Some((Arc::new(targets), (journal.clone(), journal)))
}

#[cfg(not(feature = "extensions"))]
fn outside(_: Targets, _: PathBuf, _: &Path) -> Option<Outside> {
    None
}

type Targets = BTreeMap<TargetName, TargetSection>;

/// What a manager works with besides the store.
pub struct Means {
    /// How fencing devices are reached.
    pub devices: Arc<dyn FenceDevices>,
    /// The extensions on this manager, none yet: devices may be reached through them.
    pub extensions: Arc<Extensions>,
    /// What gets extensions ready; without it none runs here.
    pub workshop: Option<Workshop>,
    /// How extensions reach the operator's targets.
    pub web: Option<Web>,
    /// What was sent there.
    pub requests: Option<Arc<dyn Requests>>,
}

impl Default for Means {
    /// Nothing.
    fn default() -> Self {
        Self {
            devices: Arc::new(NoDevices),
            extensions: Arc::default(),
            workshop: None,
            web: None,
            requests: None,
        }
    }
}

/// Runs the daemon on any store, with a listener that is bound already.
pub async fn run_on(
    store: Arc<dyn Store>,
    listener: TcpListener,
    (cluster, name, site): (ClusterName, ManagerName, SiteName),
    means: Means,
    stop: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
    let clock: Clock = Arc::new(boottime);
    let life = uuid::Uuid::new_v4().simple().to_string();
    let api = listener.local_addr()?.to_string();
    tracing::info!(%cluster, manager = %name, %site, api, "starting");
    let (end, ended) = watch::channel(false);
    let me = Me {
        name: name.clone(),
        site: site.clone(),
        life,
    };
    let cache = Cache::spawn(store.clone(), vec![ROOT.to_owned()], clock.clone());
    let seen = cache.subscribe();
    let prober = Prober::new(name.clone(), site);
    let courier = Courier::new(
        store.clone(),
        seen,
        clock.clone(),
        me.clone(),
        prober.clone(),
    );
    let shared = Shared {
        store: store.clone(),
        clock: clock.clone(),
        cluster: cluster.clone(),
        prober,
        me,
        api,
        fencer: Fencer::with_courier(means.devices, clock, courier),
        web: means.web,
        extensions: means.extensions,
        numbers: Arc::default(),
        stop: ended.clone(),
    };
    shared.extensions.stands_at(shared.me.site.clone());
    let (voters, voters_seen) = watch::channel(Err("etcd was not asked yet".to_owned()));
    let (violations, violations_seen) = watch::channel(Vec::new());
    let (epoch, epoch_seen) = watch::channel(None);
    let own = Own {
        numbers: shared.numbers.clone(),
        extensions: shared.extensions.clone(),
        requests: means.requests,
        prober: shared.prober.clone(),
        fencer: shared.fencer.clone(),
    };
    let app = App::new(
        (cluster, name),
        store,
        cache.subscribe(),
        voters_seen,
        violations_seen,
        own,
        means.workshop.clone(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(poll_voters(shared.clone(), voters));
    tasks.spawn(workshop::keep_ready(
        shared.clone(),
        cache.subscribe(),
        means.workshop,
    ));
    tasks.spawn(serve(listener, app, ended));
    tasks.spawn(write(shared, cache, (epoch, epoch_seen), violations));
    let result = supervise(&mut tasks, stop).await;
    end.send_replace(true);
    let rest = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_BOUND, rest).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    tracing::info!("stopped");
    result
}

type Epoch = (
    watch::Sender<Option<Revision>>,
    watch::Receiver<Option<Revision>>,
);

/// What writes, once etcd is known to be this cluster's.
async fn write(
    shared: Shared,
    cache: Cache,
    (epoch, epoch_seen): Epoch,
    violations: watch::Sender<Vec<String>>,
) -> Result<(), DaemonError> {
    if !cluster::claim(&shared).await? {
        return Ok(());
    }
    let election = election::run(shared.clone(), cache.subscribe(), epoch);
    let reconcile = reconcile::run(
        shared.clone(),
        cache.subscribe(),
        epoch_seen.clone(),
        violations,
    );
    let presence = presence::run(shared.clone());
    #[cfg(feature = "extensions")]
    let telling = tell::run(shared.clone(), cache.subscribe(), epoch_seen.clone());
    #[cfg(not(feature = "extensions"))]
    let telling = std::future::ready(());
    let probes = probes::run(shared.clone(), cache.subscribe());
    let errands = fence::errand::run(shared.clone(), cache.subscribe());
    let rollout = rollout::run(shared.clone(), cache.subscribe(), epoch_seen.clone());
    let housekeeping = housekeeping::run(shared, cache, epoch_seen);
    tokio::join!(
        election,
        reconcile,
        presence,
        telling,
        probes,
        errands,
        rollout,
        housekeeping
    );
    Ok(())
}

/// Waits for the order to stop, or for a task that ends before it.
async fn supervise(
    tasks: &mut JoinSet<Result<(), DaemonError>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
    tokio::select! {
        () = stopped(&mut stop) => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(result) => result,
            Err(panic) => Err(DaemonError::Api(std::io::Error::other(panic))),
        },
    }
}

async fn serve(
    listener: TcpListener,
    app: App,
    mut stop: watch::Receiver<bool>,
) -> Result<(), DaemonError> {
    let app = router(Arc::new(app));
    let mut end = stop.clone();
    // Streams of events never end by themselves: they are cut off at the stop.
    let server =
        axum::serve(listener, app).with_graceful_shutdown(async move { stopped(&mut stop).await });
    let late = async move {
        stopped(&mut end).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        result = server => Ok(result?),
        () = late => Ok(()),
    }
}

fn nobody_answers(voters: &Voters) -> bool {
    let answers = |voters: &Vec<Voter>| voters.iter().any(|voter| voter.healthy);
    !voters.as_ref().is_ok_and(answers)
}

async fn poll_voters(mut shared: Shared, voters: watch::Sender<Voters>) -> Result<(), DaemonError> {
    let mut told = None;
    loop {
        let answer = shared
            .store
            .voters()
            .await
            .map_err(|error| error.to_string());
        let trouble = trouble(&answer);
        if told.as_ref() != Some(&trouble) {
            match &trouble {
                Some(trouble) if nobody_answers(&answer) => tracing::warn!(
                    "etcd: {trouble}; trying on. Start etcd's members, or correct [etcd] endpoints \
                     in manager.toml"
                ),
                Some(trouble) => tracing::warn!("etcd: {trouble}; trying on"),
                None => tracing::info!("etcd answers"),
            }
            told = Some(trouble);
        }
        voters.send_modify(|known| *known = answer);
        tokio::select! {
            () = tokio::time::sleep(VOTERS_EVERY) => {}
            () = stopped(&mut shared.stop) => return Ok(()),
        }
    }
}
