//! What an agent checks and does before it takes part: the cluster is its own, the bounds are safe,
//! the host is registered. Waits for the store as long as it takes, and says so.

use super::error::AgentError;
use crate::config::Config;
use holdfast_model::host::HostSpec;
use holdfast_model::id::ClusterName;
use holdfast_model::policy::Policy;
use holdfast_model::timing::Timing;
use holdfast_store::api::{Compare, Store, StoreError, Txn, TxnOp};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(500);
/// Between two lines in the log about it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What has to change before this host can take part; it is looked at again.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("{0}; start etcd's members, or correct [etcd] endpoints in host.toml")]
    NoStore(StoreError),
    #[error("{0}")]
    Store(StoreError),
    // Registering with a store that is nobody's yet could be with that of another cluster.
    #[error(
        "etcd names no cluster yet; its first manager does: start holdfast-manager for cluster \
         `{0}`, or correct [etcd] endpoints in host.toml"
    )]
    NoCluster(ClusterName),
}

impl From<StoreError> for NotYet {
    fn from(error: StoreError) -> Self {
        match error {
            error @ StoreError::Unavailable { .. } => Self::NoStore(error),
            error => Self::Store(error),
        }
    }
}

/// Until all of it is done; the bounds in force.
pub async fn join(config: &Config, store: &dyn Store) -> Result<Timing, AgentError> {
    let begin = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let error = match try_join(config, store).await? {
            Ok(timing) => return Ok(timing),
            Err(error) => error,
        };
        if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let waited_s = begin.elapsed().as_secs();
            let endpoints = config.etcd.endpoints.join(", ");
            tracing::warn!(%error, endpoints, waited_s, "waiting to take part; trying again");
            told = Some(Instant::now());
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The inner error is one to try again after.
async fn try_join(
    config: &Config,
    store: &dyn Store,
) -> Result<Result<Timing, NotYet>, AgentError> {
    let found = match read::<ClusterName>(store, &Key::Cluster).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Err(NotYet::NoCluster(config.cluster.clone()))),
        Err(error) => return Ok(Err(error.into())),
    };
    if found != config.cluster {
        return Err(AgentError::OtherCluster {
            own: config.cluster.clone(),
            found,
            endpoints: config.etcd.endpoints.join(", "),
        });
    }
    let policy = match read::<Policy>(store, &Key::Policy).await {
        Ok(policy) => policy.unwrap_or_default(),
        Err(error) => return Ok(Err(error.into())),
    };
    let timing = policy.timing.resolve();
    timing.check()?;
    if config.etcd.call_timeout_ms >= timing.runner_deadline_ms {
        tracing::warn!(
            call_timeout_ms = config.etcd.call_timeout_ms,
            runner_deadline_ms = timing.runner_deadline_ms,
            "one dead voter can cost this host its deadline; lower call_timeout_ms of [etcd]"
        );
    }
    match register(config, store).await {
        Ok(()) => Ok(Ok(timing)),
        Err(error) => Ok(Err(error.into())),
    }
}

/// The host's first appearance. Later its record belongs to operators.
async fn register(config: &Config, store: &dyn Store) -> Result<(), StoreError> {
    let key = Key::HostSpec(config.name.clone());
    if let Some(spec) = read::<HostSpec>(store, &key).await? {
        if spec.site != config.site {
            tracing::warn!(
                own = %config.site,
                registered = %spec.site,
                "this host is registered at another site than host.toml says; the registered one \
                 counts"
            );
        }
        return Ok(());
    }
    let spec = HostSpec {
        name: config.name.clone(),
        site: config.site.clone(),
        maintenance: false,
    };
    let txn = Txn {
        compares: vec![Compare::Absent(key.path())],
        ops: vec![TxnOp::Put(key.path(), encode(&spec))],
    };
    // Refused: somebody else wrote it in between, which is as good.
    store.txn(txn).await?;
    tracing::info!(host = %config.name, site = %config.site, "registered");
    Ok(())
}

async fn read<T: DeserializeOwned>(store: &dyn Store, key: &Key) -> Result<Option<T>, StoreError> {
    let path = key.path();
    let listing = store.list(&path).await?;
    let Some(item) = listing.items.into_iter().find(|item| item.key == path) else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&item.value).map_err(|error| {
        let upgrade = "upgrade this host";
        StoreError::Refused(format!(
            "the record {path} cannot be read: {error}; {upgrade}"
        ))
    })?;
    Ok(Some(value))
}
