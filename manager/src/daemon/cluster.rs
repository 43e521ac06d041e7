//! The cluster's name in etcd: the first manager writes it, every further one compares.

use super::{Shared, stopped};
use holdfast_model::id::ClusterName;
use holdfast_store::StoreError;
use holdfast_store::api::{Compare, Txn, TxnOp};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use std::time::Duration;

/// Wait between two attempts while etcd does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// etcd belongs to another cluster, or holds a name that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this manager is configured for cluster `{mine}`, but etcd keeps cluster `{theirs}`; correct \
     `cluster` or [etcd] endpoints in manager.toml"
)]
pub struct WrongCluster {
    /// As configured.
    pub mine: ClusterName,
    /// As kept in etcd.
    pub theirs: String,
}

/// Waits for etcd and makes sure that it is this cluster's. False: the daemon ends first.
pub async fn claim(shared: &Shared) -> Result<bool, WrongCluster> {
    let mut stop = shared.stop.clone();
    loop {
        match attempt(shared).await {
            Ok(Some(theirs)) if theirs == shared.cluster.as_str() => return Ok(true),
            Ok(Some(theirs)) => {
                return Err(WrongCluster {
                    mine: shared.cluster.clone(),
                    theirs,
                });
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "waiting for etcd"),
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stopped(&mut stop) => return Ok(false),
        }
    }
}

/// The name that etcd keeps; writes it if there is none. None: look again.
async fn attempt(shared: &Shared) -> Result<Option<String>, StoreError> {
    let key = Key::Cluster.path();
    let (found, revision) = shared.store.get(&key).await?;
    if let Some(found) = found {
        let name = serde_json::from_slice::<String>(&found.value);
        let raw = || String::from_utf8_lossy(&found.value).into_owned();
        return Ok(Some(name.unwrap_or_else(|_| raw())));
    }
    tracing::info!(cluster = %shared.cluster, %revision, "etcd keeps no cluster yet: naming it");
    let txn = Txn {
        compares: vec![Compare::Absent(key.clone())],
        ops: vec![TxnOp::Put(key, encode(&shared.cluster))],
    };
    shared.store.txn(txn).await?;
    // Whoever was first: read it.
    Ok(None)
}
