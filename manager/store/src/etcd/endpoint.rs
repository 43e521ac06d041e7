//! One member of etcd, by its client address: connections with tight bounds, and a cheap proof
//! that it is alive and has a majority behind it.

use super::fault::Fault;
use super::history::History;
use crate::keyspace::Key;
use etcd_client::{Client, ConnectOptions, GetOptions, KvClient};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

/// A connection that is not made within this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection is asked for a sign of life this often …
const KEEPALIVE: Duration = Duration::from_secs(1);
/// … and dropped if none comes within this. A frozen member is noticed after two seconds at the
/// latest, also by calls that have no deadline of their own (watches).
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer accepted: etcd's own quota for the whole store is 8 GiB at the most, and a page
/// of a list is far below this.
const MESSAGE_MAX: usize = 512 << 20;

/// One member, connected when first needed.
pub(super) struct Endpoint {
    pub(super) url: String,
    /// Refuses calls at once while the member knows no leader.
    with_leader: OnceCell<Client>,
    /// Answers without a leader too: membership and status.
    any: OnceCell<Client>,
    /// When the last successful ping was sent.
    pinged: Mutex<Option<Instant>>,
}

impl Endpoint {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            with_leader: OnceCell::new(),
            any: OnceCell::new(),
            pinged: Mutex::new(None),
        }
    }

    /// For keys.
    pub(super) async fn kv(&self) -> Result<KvClient, Fault> {
        let client = self.client().await?;
        Ok(client.kv_client().max_decoding_message_size(MESSAGE_MAX))
    }

    /// For watches.
    pub(super) async fn watcher(&self) -> Result<etcd_client::WatchClient, Fault> {
        Ok(self
            .client()
            .await?
            .watch_client()
            .max_decoding_message_size(MESSAGE_MAX))
    }

    /// For membership and status.
    pub(super) async fn admin(&self) -> Result<Client, Fault> {
        connect(&self.any, &self.url, false).await
    }

    async fn client(&self) -> Result<Client, Fault> {
        connect(&self.with_leader, &self.url, true).await
    }

    /// Proof, not older than `max_age`, that this member answers and that a majority stands behind
    /// it: a linearizable read of next to nothing. Watches share it.
    pub(super) async fn ping(
        &self,
        history: &History,
        max_age: Duration,
        bound: Duration,
    ) -> Result<(), Fault> {
        let ping = async {
            let mut pinged = self.pinged.lock().await;
            if pinged.is_some_and(|at| at.elapsed() <= max_age) {
                return Ok(());
            }
            let sent_at = Instant::now();
            let floor = history.floor();
            let options = GetOptions::new().with_count_only();
            let key = Key::LeaderHeartbeat.path();
            let reply = self
                .kv()
                .await?
                .get(key, Some(options))
                .await
                .map_err(Fault::of)?;
            history.check(reply.header(), floor, &self.url)?;
            *pinged = Some(sent_at);
            Ok(())
        };
        let late = || Fault::Unknown(format!("no answer within {} ms", bound.as_millis()));
        tokio::time::timeout(bound, ping)
            .await
            .map_err(|_| late())?
    }
}

/// Makes the client; it connects with its first call.
async fn connect(
    cell: &OnceCell<Client>,
    url: &str,
    require_leader: bool,
) -> Result<Client, Fault> {
    let options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(KEEPALIVE, KEEPALIVE_TIMEOUT)
        .with_keep_alive_while_idle(true)
        .with_require_leader(require_leader);
    let client = cell
        .get_or_try_init(|| Client::connect([url], Some(options)))
        .await;
    client.cloned().map_err(Fault::of)
}
