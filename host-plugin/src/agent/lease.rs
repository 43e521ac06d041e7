//! This host's slot on the lease volume, and what it tells of the volume. The calls to the storage are the
//! guard's; which slot is whose is settled in the store, so that no two hosts take one.

use crate::guard::client::GuardClient;
use crate::guard::lease::VolumeInfo;
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::planes::PlaneState;
use holdfast_model::host::{LeaseState, StoragePlane};
use holdfast_model::id::HostName;
use holdfast_store::api::{Compare, Store, StoreError, Txn, TxnOp, TxnOutcome};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use std::time::Duration;
use tokio::sync::watch;

/// The guard is asked this often how the volume is. It takes an agent that says nothing for three times
/// as long for one that is not there.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a volume that is not open yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why there is no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// The volume is not open.
    #[error("the lease volume is not there yet: {0}")]
    NotOpen(String),
    /// No slot is left.
    #[error(
        "the lease volume has no free slot for this host; make a larger one (`holdfast lease create \
         --hosts`)"
    )]
    Full,
    /// The store did not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// This host's slot, taken if it has none yet. Waits for the volume up to the bound.
pub async fn acquire(
    guard: &GuardClient,
    store: &dyn Store,
    host: &HostName,
    wait: Duration,
) -> Result<StoragePlane, SlotError> {
    let begin = std::time::Instant::now();
    let info = loop {
        match guard.call(Call::Volume).await {
            Ok(Answer::Volume {
                info: Some(info), ..
            }) => break info,
            Ok(Answer::Volume { problem, .. }) if begin.elapsed() >= wait => {
                let reason = problem.unwrap_or_else(|| "it is being opened".to_owned());
                return Err(SlotError::NotOpen(reason));
            }
            Err(error) if begin.elapsed() >= wait => {
                return Err(SlotError::NotOpen(error.to_string()));
            }
            Ok(_) | Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    };
    let slot = settle(&info, store, host).await?;
    Ok(StoragePlane {
        volume: info.id,
        slot,
        class: info.class,
    })
}

/// The slot in which this host's name stands, or a free one; in the store it is this host's.
async fn settle(info: &VolumeInfo, store: &dyn Store, host: &HostName) -> Result<u32, SlotError> {
    let known = info.own.into_iter();
    for slot in known.chain(info.free.iter().copied()) {
        let key = Key::HostSlot(info.id.clone(), slot).path();
        let txn = Txn {
            compares: vec![Compare::Absent(key.clone())],
            ops: vec![TxnOp::Put(key.clone(), encode(host))],
        };
        if let TxnOutcome::Committed(_) = store.txn(txn).await? {
            return Ok(slot);
        }
        let listing = store.list(&key).await?;
        let found = listing.items.iter().find(|item| item.key == key);
        let name = found.and_then(|item| serde_json::from_slice::<HostName>(&item.value).ok());
        if name.as_ref() == Some(host) {
            return Ok(slot);
        }
    }
    Err(SlotError::Full)
}

/// Asks the guard for ever how the heartbeat on the volume stands.
pub async fn follow(guard: GuardClient, configured: bool, state: watch::Sender<LeaseState>) {
    loop {
        let now = match guard.call(Call::Volume).await {
            _ if !configured => LeaseState::NotUsed,
            Ok(Answer::Volume {
                planes: (_, PlaneState::Valid),
                ..
            }) => LeaseState::Valid,
            Ok(Answer::Volume { problem, .. }) => LeaseState::Lapsed {
                reason: problem.unwrap_or_else(|| "no heartbeat was written in time".to_owned()),
            },
            Ok(_) => LeaseState::NotUsed,
            Err(error) => LeaseState::Lapsed {
                reason: error.to_string(),
            },
        };
        state.send_if_modified(|told| {
            let news = *told != now;
            *told = now;
            news
        });
        tokio::time::sleep(ASK_EVERY).await;
    }
}
