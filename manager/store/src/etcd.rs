//! etcd as the store: own failover between its members, every call bounded.
//!
//! - `endpoint`: one client per member, with tight connection bounds (the client library's own
//!   balancing keeps routing calls to a frozen member)
//! - `failover`: one call over several endpoints within one deadline
//! - `fault`: what an error says about whether the call was carried out
//! - `txn`: what the answers mean when copies of a transaction are under way
//! - `watch`: a watch that notices when it is not worth anything any more
//! - `voters`: who votes and who answers
//! - `history`: is it still the same store
//!
//! Reads are linearizable. etcd's leases are not used. Every call requires a leader, so a member
//! that was cut off says so at once instead of letting the call wait.

mod endpoint;
mod failover;
mod fault;
mod history;
mod txn;
mod voters;
mod watch;

use self::endpoint::Endpoint;
use self::failover::{Endpoints, Failed, Repeat};
use self::fault::Fault;
use self::history::History;
use self::voters::Members;
use crate::api::{KeyValue, Listing, Store, StoreError, Txn, TxnOutcome, Voter, Watch};
use async_trait::async_trait;
use etcd_client::GetOptions;
use futures::stream::{self, StreamExt};
use holdfast_model::files::endpoint_fault;
use holdfast_model::id::Revision;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Keys per request of a list: bounds the size of one answer.
const PAGE: i64 = 500;
/// While another than the first endpoint is preferred, the first is tried that often.
const RETURN_EVERY: Duration = Duration::from_secs(5);
/// Shortest deadline of a call that is accepted: less than this is no more than a few round trips.
const CALL_TIMEOUT_MIN_MS: u64 = 100;

/// How to reach etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Client addresses (`http://HOST:PORT`), the own site's first.
    pub endpoints: Vec<String>,
    /// Deadline of one call, over all endpoints it tries, in milliseconds.
    pub call_timeout_ms: u64,
}

/// etcd as the store.
pub struct EtcdStore {
    endpoints: Arc<Endpoints>,
    history: Arc<History>,
    members: Members,
    /// When the way back to the first endpoint was last tried.
    returned: Mutex<Option<Instant>>,
}

impl EtcdStore {
    /// Checks the addresses. Does not connect yet: etcd may be down.
    pub fn new(cfg: EtcdConfig) -> Result<Self, StoreError> {
        let refuse = |text: String| Err(StoreError::Refused(text));
        if cfg.endpoints.is_empty() {
            return refuse("[etcd] endpoints is empty; name at least one member".into());
        }
        if cfg.call_timeout_ms < CALL_TIMEOUT_MIN_MS {
            return refuse(format!(
                "[etcd] call_timeout_ms = {} is too short; use {CALL_TIMEOUT_MIN_MS} or more",
                cfg.call_timeout_ms
            ));
        }
        for url in &cfg.endpoints {
            if let Some((what, advice)) = endpoint_fault(url) {
                return refuse(format!("[etcd] endpoint {what}; {advice}"));
            }
        }
        let deadline = Duration::from_millis(cfg.call_timeout_ms);
        Ok(Self {
            endpoints: Arc::new(Endpoints::new(cfg.endpoints, deadline)),
            history: Arc::default(),
            members: Members::default(),
            returned: Mutex::new(None),
        })
    }

    /// Prefers the first endpoint (the own site's) again once it answers with a majority.
    fn try_to_return(&self) {
        if self.endpoints.preferred() == 0 {
            return;
        }
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        if returned.is_some_and(|at| at.elapsed() < RETURN_EVERY) {
            return;
        }
        *returned = Some(Instant::now());
        let (endpoints, history) = (self.endpoints.clone(), self.history.clone());
        tokio::spawn(async move {
            let Some(first) = endpoints.all.first() else {
                return;
            };
            let bound = endpoints.deadline / 5;
            if first.ping(&history, Duration::ZERO, bound).await.is_ok() {
                endpoints.prefer(0);
            }
        });
    }

    fn read_error(&self, failed: Failed) -> StoreError {
        match failed {
            Failed::Final(error) => error,
            Failed::NotDone { reason } | Failed::Unknown { reason, .. } => {
                StoreError::Unavailable {
                    tried: self.endpoints.tried(),
                    reason,
                }
            }
        }
    }

    fn write_error(&self, failed: Failed) -> StoreError {
        match failed {
            Failed::Unknown { endpoint, reason } => {
                tracing::warn!(endpoint, reason, "a write had no answer");
                StoreError::OutcomeUnknown { endpoint }
            }
            other => self.read_error(other),
        }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.try_to_return();
        let attempt = |endpoint| list(endpoint, self.history.clone(), prefix.to_owned());
        let listed = self.endpoints.call(Repeat::Freely, attempt).await;
        listed
            .map(|(listing, _)| listing)
            .map_err(|failed| self.read_error(failed))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        self.try_to_return();
        // One that changes nothing may be repeated as well.
        let repeatable = txn.guard_key().is_some() || txn.ops.is_empty();
        let repeat = if repeatable {
            Repeat::Freely
        } else {
            Repeat::NotDoneOnly
        };
        let txn = Arc::new(txn);
        let attempt = |endpoint: Arc<Endpoint>| {
            let (txn, history) = (txn.clone(), self.history.clone());
            async move { txn::send(endpoint.kv().await?, &txn, &history, &endpoint.url).await }
        };
        let answered = self.endpoints.call(repeat, attempt).await;
        let (reply, mut others) = answered.map_err(|failed| self.write_error(failed))?;
        // Copies of a check that changes nothing do not get in each other's way.
        others.unsure &= !txn.ops.is_empty();
        txn::outcome(&txn, &reply, others).ok_or_else(|| StoreError::OutcomeUnknown {
            endpoint: self.endpoints.tried(),
        })
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), StoreError> {
        self.try_to_return();
        let attempt = |endpoint| get(endpoint, self.history.clone(), key.to_owned());
        let answered = self.endpoints.call(Repeat::Freely, attempt).await;
        answered
            .map(|(found, _)| found)
            .map_err(|failed| self.read_error(failed))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        let mut last = None;
        for (_, endpoint) in self.endpoints.in_order() {
            let url = endpoint.url.clone();
            match watch::open(endpoint, self.history.clone(), prefix, after).await {
                Ok(batches) => {
                    let next = |mut batches: tokio::sync::mpsc::Receiver<_>| async move {
                        Some((batches.recv().await?, batches))
                    };
                    return Ok(stream::unfold(batches, next).boxed());
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(fault) => last = Some(format!("{url}: {}", fault.text())),
            }
        }
        let reason = last.unwrap_or_default();
        Err(StoreError::Unavailable {
            tried: self.endpoints.tried(),
            reason,
        })
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        Ok(self.members.voters(&self.endpoints).await)
    }
}

async fn get(
    endpoint: Arc<Endpoint>,
    history: Arc<History>,
    key: String,
) -> Result<(Option<KeyValue>, Revision), Fault> {
    let floor = history.floor();
    let mut response = endpoint
        .kv()
        .await?
        .get(key, None)
        .await
        .map_err(Fault::of)?;
    history.check(response.header(), floor, &endpoint.url)?;
    let revision = Revision(
        response
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision),
    );
    let found = response.take_kvs().into_iter().next().map(key_value);
    Ok((found, revision))
}

/// Everything under a prefix, page by page, all at the revision of the first page.
async fn list(
    endpoint: Arc<Endpoint>,
    history: Arc<History>,
    prefix: String,
) -> Result<Listing, Fault> {
    let mut client = endpoint.kv().await?;
    let floor = history.floor();
    let first = GetOptions::new().with_prefix().with_limit(PAGE);
    let mut page = client
        .get(prefix.as_str(), Some(first))
        .await
        .map_err(Fault::of)?;
    history.check(page.header(), floor, &endpoint.url)?;
    let revision = page
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    let end = prefix_end(prefix.as_bytes());
    let mut items: Vec<KeyValue> = Vec::new();
    loop {
        let found = page.take_kvs();
        // The first key after the last one of this page.
        let from = found.last().map(|item| [item.key(), &[0]].concat());
        items.extend(found.into_iter().map(key_value));
        let Some(from) = from.filter(|_| page.more()) else {
            break;
        };
        let next = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        let next = next.with_revision(revision);
        page = client.get(from, Some(next)).await.map_err(Fault::of)?;
    }
    Ok(Listing {
        revision: Revision(revision),
        items,
    })
}

/// The first key after everything under a prefix (`[0]`: there is none).
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A key that is not text is nobody's record; it is shown with its bytes replaced.
fn key_value(item: etcd_client::KeyValue) -> KeyValue {
    let revision = Revision(item.mod_revision());
    let (key, value) = item.into_key_value();
    KeyValue {
        key: String::from_utf8_lossy(&key).into_owned(),
        value,
        revision,
    }
}
