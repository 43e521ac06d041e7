//! etcd as the store (being built).

use crate::api::{Listing, Store, StoreError, Txn, TxnOutcome, Voter, Watch};
use async_trait::async_trait;
use holdfast_model::id::Revision;

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Client addresses, the own site's first.
    pub endpoints: Vec<String>,
    /// Deadline of one call, over all endpoints it tries.
    pub call_timeout_ms: u64,
}

/// etcd as the store.
pub struct EtcdStore {
    cfg: EtcdConfig,
}

impl EtcdStore {
    /// Does not connect yet: etcd may be down.
    pub fn new(cfg: EtcdConfig) -> Result<Self, StoreError> {
        if cfg.endpoints.is_empty() {
            return Err(StoreError::Refused(
                "no etcd endpoints are configured".into(),
            ));
        }
        Ok(Self { cfg })
    }

    fn missing(&self) -> StoreError {
        StoreError::Unavailable {
            tried: self.cfg.endpoints.join(", "),
            reason: "not built yet".into(),
        }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn list(&self, _prefix: &str) -> Result<Listing, StoreError> {
        Err(self.missing())
    }
    async fn txn(&self, _txn: Txn) -> Result<TxnOutcome, StoreError> {
        Err(self.missing())
    }
    async fn watch(&self, _prefix: &str, _after: Revision) -> Result<Watch, StoreError> {
        Err(self.missing())
    }
    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        Err(self.missing())
    }
}
