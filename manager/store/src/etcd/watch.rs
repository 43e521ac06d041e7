//! A watch on one endpoint that notices when it is not worth anything any more.
//!
//! ```text
//!   events ─────────────► batches
//!   quiet for 0.5 s ────► ping: a linearizable read on the same member ──► empty batch
//!   every 10 s ─────────► digest: does the store have what the watch brought? ──► empty batch
//!   ping or digest fails, or the watch lags behind a digest ──► error, end
//! ```
//! etcd's own progress notifications are not used: before 3.4.25 and 3.5.8 one may arrive ahead of
//! events it covers. A ping proves that the member answers and has a majority; a digest, that
//! nothing is missing: the newest write under the prefix is not newer than what the watch brought,
//! and as many keys are there as at that revision (a write makes a newer one, a removal makes them
//! fewer).

use super::endpoint::Endpoint;
use super::fault::Fault;
use super::history::History;
use crate::api::{Batch, Change, KeyValue, StoreError};
use etcd_client::{
    EventType, GetOptions, SortOrder, SortTarget, WatchOptions, WatchResponse, WatchStream,
};
use futures::future::{BoxFuture, FutureExt};
use holdfast_model::id::Revision;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A watch that was quiet this long pings its member.
const QUIET: Duration = Duration::from_millis(500);
/// A ping that another watch sent this recently will do.
const PING_MAX_AGE: Duration = Duration::from_millis(300);
/// A ping or the opening of a watch that takes longer has failed.
const PING_BOUND: Duration = Duration::from_millis(500);
/// How often a digest is taken: its cost grows with the number of keys.
const DIGEST_EVERY: Duration = Duration::from_secs(10);
/// A digest that takes longer has failed.
const DIGEST_BOUND: Duration = Duration::from_secs(3);
/// A watch may bring what a digest has seen that much later.
const LAG_BOUND: Duration = Duration::from_millis(1_500);
/// Batches that wait for a slow reader.
const BACKLOG: usize = 64;

type Output = mpsc::Sender<Result<Batch, StoreError>>;

/// Opens a watch after a revision on one endpoint.
pub(super) async fn open(
    endpoint: Arc<Endpoint>,
    history: Arc<History>,
    prefix: &str,
    after: Revision,
) -> Result<mpsc::Receiver<Result<Batch, StoreError>>, Fault> {
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(after.0 + 1);
    let create = async {
        let mut stream = endpoint
            .watcher()
            .await?
            .watch(prefix, Some(options))
            .await
            .map_err(Fault::of)?;
        let first = stream.message().await.map_err(Fault::of)?;
        let first = first.ok_or_else(|| Fault::Unknown("the watch ended at once".into()))?;
        if first.canceled() {
            return Err(canceled(&first));
        }
        Ok((stream, first))
    };
    let late = || Fault::Unknown(format!("no answer within {} ms", PING_BOUND.as_millis()));
    let (stream, first) = tokio::time::timeout(PING_BOUND, create)
        .await
        .map_err(|_| late())??;
    let (output, batches) = mpsc::channel(BACKLOG);
    let follower = Follower {
        endpoint,
        history,
        prefix: prefix.to_owned(),
        complete: after,
        output,
        stream,
        owed: None,
    };
    tokio::spawn(follower.run(first));
    Ok(batches)
}

fn canceled(response: &WatchResponse) -> Fault {
    match response.compact_revision() {
        0 => Fault::Unknown(format!(
            "the watch was cancelled: {}",
            response.cancel_reason()
        )),
        revision => Fault::Final(StoreError::Compacted(Revision(revision))),
    }
}

/// One open watch.
struct Follower {
    endpoint: Arc<Endpoint>,
    history: Arc<History>,
    prefix: String,
    /// Every change up to here was brought.
    complete: Revision,
    output: Output,
    stream: WatchStream,
    /// What a digest has seen and the watch has not brought yet, and when it must have.
    owed: Option<(Revision, Instant)>,
}

/// What a check found.
enum Checked {
    Alive,
    /// Nothing happened from `from` to `to`.
    Quiet {
        from: Revision,
        to: Revision,
    },
    /// Something did, at this revision or later.
    Moved(Revision),
}

impl Follower {
    /// Until the watch ends; its error is the last thing that is sent.
    async fn run(mut self, first: WatchResponse) {
        let end = match self.take(&first).await {
            Ok(()) => self.follow().await,
            Err(end) => end,
        };
        if let Some(error) = end {
            // Nobody listens any more if this fails.
            let _ = self.output.send(Err(error)).await;
        }
    }

    /// `None`: nobody listens any more.
    async fn follow(&mut self) -> Option<StoreError> {
        let mut digest_at = Instant::now() + DIGEST_EVERY;
        let mut heard_at = Instant::now();
        let mut check: Option<BoxFuture<'static, Result<Checked, Fault>>> = None;
        let listener = self.output.clone();
        loop {
            let now = Instant::now();
            if self.owed.is_some_and(|(_, until)| now >= until) {
                return Some(self.unavailable("the watch fell behind".into()));
            }
            if check.is_none() && now >= digest_at {
                digest_at = now + DIGEST_EVERY;
                check = Some(self.digest());
            }
            if check.is_none() && now >= heard_at + QUIET {
                check = Some(self.ping());
            }
            let tick = (heard_at + QUIET)
                .min(digest_at)
                .max(now + Duration::from_millis(10));
            let tick = if check.is_some() { now + QUIET } else { tick };
            tokio::select! {
                () = listener.closed() => return None,
                message = self.stream.message() => {
                    heard_at = Instant::now();
                    if let Err(end) = self.message(message).await {
                        return end;
                    }
                }
                result = maybe(&mut check) => {
                    check = None;
                    heard_at = Instant::now();
                    if let Err(end) = self.checked(result).await {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(tick) => {}
            }
        }
    }

    async fn message(
        &mut self,
        message: Result<Option<WatchResponse>, etcd_client::Error>,
    ) -> Result<(), Option<StoreError>> {
        match message {
            Ok(Some(response)) => self.take(&response).await,
            Ok(None) => Err(Some(self.unavailable("the watch ended".into()))),
            Err(error) => Err(Some(self.error(Fault::of(error)))),
        }
    }

    /// Passes on what a response brought.
    async fn take(&mut self, response: &WatchResponse) -> Result<(), Option<StoreError>> {
        if response.canceled() {
            return Err(Some(self.error(canceled(response))));
        }
        let mut changes = Vec::with_capacity(response.events().len());
        for event in response.events() {
            let Some(item) = event.kv() else { continue };
            let revision = Revision(item.mod_revision());
            let key = String::from_utf8_lossy(item.key()).into_owned();
            self.complete = self.complete.max(revision);
            changes.push(match event.event_type() {
                EventType::Put => Change::Put(KeyValue {
                    key,
                    value: item.value().to_vec(),
                    revision,
                }),
                EventType::Delete => Change::Delete(key, revision),
            });
        }
        self.history.saw(self.complete);
        self.owed = self.owed.filter(|(revision, _)| *revision > self.complete);
        if changes.is_empty() {
            // It is open. Whether what it was opened for is still there comes next.
            return Ok(());
        }
        self.send(changes).await
    }

    async fn checked(&mut self, result: Result<Checked, Fault>) -> Result<(), Option<StoreError>> {
        match result.map_err(|fault| Some(self.error(fault)))? {
            Checked::Alive => {}
            // What happened since `from` happened after `to`, and was brought as it came.
            Checked::Quiet { from, to } if from <= to => self.complete = self.complete.max(to),
            Checked::Quiet { .. } => {}
            Checked::Moved(revision) if revision > self.complete => {
                let until = Instant::now() + LAG_BOUND;
                self.owed = Some(self.owed.unwrap_or((revision, until)));
            }
            Checked::Moved(_) => {}
        }
        self.send(Vec::new()).await
    }

    async fn send(&self, changes: Vec<Change>) -> Result<(), Option<StoreError>> {
        let batch = Batch {
            revision: self.complete,
            changes,
        };
        self.output.send(Ok(batch)).await.map_err(|_| None)
    }

    fn ping(&self) -> BoxFuture<'static, Result<Checked, Fault>> {
        let (endpoint, history) = (self.endpoint.clone(), self.history.clone());
        async move {
            endpoint.ping(&history, PING_MAX_AGE, PING_BOUND).await?;
            Ok(Checked::Alive)
        }
        .boxed()
    }

    fn digest(&self) -> BoxFuture<'static, Result<Checked, Fault>> {
        let digest = digest(
            self.endpoint.clone(),
            self.history.clone(),
            self.prefix.clone(),
            self.complete,
        );
        async move {
            let late =
                || Fault::Unknown(format!("no answer within {} ms", DIGEST_BOUND.as_millis()));
            tokio::time::timeout(DIGEST_BOUND, digest)
                .await
                .map_err(|_| late())?
        }
        .boxed()
    }

    fn error(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Final(error) => error,
            other => self.unavailable(other.text()),
        }
    }

    fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable {
            tried: self.endpoint.url.clone(),
            reason,
        }
    }
}

/// The check's result, or never if none is under way.
async fn maybe<T>(check: &mut Option<BoxFuture<'static, T>>) -> T {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

/// Has anything happened under the prefix since `from`?
async fn digest(
    endpoint: Arc<Endpoint>,
    history: Arc<History>,
    prefix: String,
    from: Revision,
) -> Result<Checked, Fault> {
    let mut client = endpoint.kv().await?;
    let floor = history.floor();
    let newest = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Mod, SortOrder::Descend)
        .with_limit(1)
        .with_keys_only();
    let now = client
        .get(prefix.as_str(), Some(newest))
        .await
        .map_err(Fault::of)?;
    history.check(now.header(), floor, &endpoint.url)?;
    let to = Revision(
        now.header()
            .map_or(0, etcd_client::ResponseHeader::revision),
    );
    let newest = Revision(now.kvs().first().map_or(0, |item| item.mod_revision()));
    if newest > from {
        return Ok(Checked::Moved(newest));
    }
    let then = GetOptions::new()
        .with_prefix()
        .with_revision(from.0)
        .with_count_only();
    let then = client
        .get(prefix.as_str(), Some(then))
        .await
        .map_err(Fault::of)?;
    if then.count() != now.count() {
        return Ok(Checked::Moved(Revision(from.0 + 1)));
    }
    Ok(Checked::Quiet { from, to })
}
