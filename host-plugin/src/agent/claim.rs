//! A VM's claim on the lease volume, before it runs under a storage lease: the guard writes it, the store
//! settles once whose sector is whose.
//!
//! ```text
//! slot known ───────────────────────────────────────────────> claim ─> held
//! not known ─> guard: what stands in its window ─> settle in the store ─┘   └─> refused: it is not started
//! ```

use super::target::{Claiming, Target, Tools};
use crate::guard::claims::ClaimState;
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::EndKind;
use holdfast_core::lease::slots::{Found, choose};
use holdfast_model::id::{Revision, VmUuid};
use holdfast_model::lease::{Claim, StorageClass};
use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::time::Duration;

/// For the claim to stand on the volume. Storage that takes longer is no place to start a VM on.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// A slot that could not be given back is not tried again sooner, by this host.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two questions for how it stands: a claim takes a read, a write and a read.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// What protects a VM that runs here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cover {
    /// It runs on while either plane is valid.
    pub leased: bool,
    /// The slot in which this life has claimed it.
    pub slot: Option<u32>,
}

impl Cover {
    /// In the words of the model.
    pub fn lease(self) -> StorageClass {
        match self.leased {
            true => StorageClass::Quorum,
            false => StorageClass::Plain,
        }
    }
}

/// Why a VM is not claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// The claim that stands there, if the grant knows nothing of it.
    pub stands: Option<Box<Claim>>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        let stands = None;
        Self { reason, stands }
    }
}

impl Refusal {
    /// How a grant ends that it stops from being started.
    pub fn end(self) -> EndKind {
        let reason = self.reason;
        match self.stands {
            Some(claim) => EndKind::ClaimedBefore { reason, claim },
            None => EndKind::StartFailed { reason },
        }
    }
}

/// Claims the VM, if its grant is under a storage lease. The slot then.
pub async fn take(tools: &Tools, target: &Target) -> Result<Cover, Refusal> {
    let Some(claiming) = &target.claim else {
        return Ok(Cover {
            leased: target.lease == StorageClass::Quorum,
            slot: None,
        });
    };
    let slot = match claiming.slot {
        Some(slot) => slot,
        None => settle(tools, claiming).await?,
    };
    let call = || Call::Claim {
        slot: Some(slot),
        wanted: Box::new(claiming.wanted.clone()),
    };
    match ask(tools, call).await? {
        ClaimState::Held => Ok(Cover {
            leased: true,
            slot: Some(slot),
        }),
        other => Err(unexpected(&other).into()),
    }
}

/// Finds the VM's slot, and makes it the VM's in the store.
async fn settle(tools: &Tools, claiming: &Claiming) -> Result<u32, Refusal> {
    let uuid = &claiming.wanted.uuid;
    let call = || Call::Claim {
        slot: None,
        wanted: Box::new(claiming.wanted.clone()),
    };
    let found: Vec<(u32, Found)> = match ask(tools, call).await? {
        ClaimState::Window { found } => found,
        other => return Err(unexpected(&other).into()),
    };
    let store = tools.records.store();
    let mut known = BTreeMap::new();
    for (slot, _) in &found {
        let key = Key::VmSlot(claiming.volume.clone(), *slot);
        let item = tools.records.read(&key).await.map_err(|e| e.to_string())?;
        if let Some(item) = item {
            let whose = serde_json::from_slice::<VmUuid>(&item.value);
            let whose = whose.map_err(|error| format!("{} in etcd: {error}", item.key))?;
            known.insert(*slot, whose);
        }
    }
    let slot = choose(uuid, &found, &known).map_err(|error| error.to_string())?;
    if known.get(&slot) == Some(uuid) {
        return Ok(slot);
    }
    let key = Key::VmSlot(claiming.volume.clone(), slot).path();
    let txn = Txn {
        compares: vec![Compare::Absent(key.clone())],
        ops: vec![TxnOp::Put(key, encode(uuid))],
    };
    match store.txn(txn).await.map_err(|error| error.to_string())? {
        TxnOutcome::Committed(_) => Ok(slot),
        TxnOutcome::Refused(_) => Err(format!(
            "slot {slot} of the lease volume was taken meanwhile; the next attempt takes another"
        )
        .into()),
    }
}

/// Empties a slot whose VM does not exist any more.
async fn free(tools: &Tools, slot: u32, uuid: &VmUuid) -> Result<(), Refusal> {
    let call = || Call::FreeClaim {
        slot,
        uuid: uuid.clone(),
    };
    match ask(tools, call).await? {
        ClaimState::Freed => Ok(()),
        other => Err(unexpected(&other).into()),
    }
}

async fn ask(tools: &Tools, call: impl Fn() -> Call) -> Result<ClaimState, Refusal> {
    let begin = std::time::Instant::now();
    loop {
        let answer = tools.guard.call(call()).await;
        match answer.map_err(|error| error.to_string())? {
            Answer::Claim {
                state: ClaimState::UnderWay,
            } if begin.elapsed() < CLAIM_WAIT => tokio::time::sleep(ASK_AGAIN).await,
            Answer::Claim {
                state: ClaimState::UnderWay,
            } => {
                let s = CLAIM_WAIT.as_secs();
                let what = "the claim on the lease volume is not written";
                return Err(format!("{what}: the storage has not answered for {s} s").into());
            }
            Answer::Claim {
                state: ClaimState::Refused { reason, stands },
            } => return Err(Refusal { reason, stands }),
            Answer::Claim { state } => return Ok(state),
            other => return Err(format!("the guard answered {other:?}").into()),
        }
    }
}

fn unexpected(state: &ClaimState) -> String {
    format!("the guard answered {state:?}")
}

/// Gives slots of VMs that were deleted back, for ever.
pub async fn give_back(tools: Tools, mut cache: Cache) {
    loop {
        let life = tools.records.life();
        let volume = life.session().and_then(|open| open.storage.as_ref());
        let gone = volume.map(|plane| {
            cache.read_fresh(|view, fresh, _| match fresh {
                Some(_) => gone(view, &plane.volume),
                None => Vec::new(),
            })
        });
        let mut failed = false;
        for slot in gone.unwrap_or_default() {
            let (number, uuid) = (slot.number, slot.uuid.clone());
            match give_back_one(&tools, slot).await {
                Ok(()) => tracing::info!(slot = number, %uuid, "its VM is gone: the slot is free"),
                Err(reason) => {
                    failed = true;
                    tracing::debug!(slot = number, %uuid, reason, "its VM is gone; not free yet");
                }
            }
        }
        let changed = cache.changed();
        match failed {
            true => tokio::time::sleep(AGAIN).await,
            false => changed.await,
        }
    }
}

async fn give_back_one(tools: &Tools, slot: Gone) -> Result<(), String> {
    // The view's listings are not of one moment: the VM may be newer than the list of VMs.
    let index = Key::Uuid(slot.uuid.clone());
    let there = tools.records.read(&index).await;
    if there.map_err(|error| error.to_string())?.is_some() {
        return Err("its VM is there".to_owned());
    }
    let freed = free(tools, slot.number, &slot.uuid).await;
    freed.map_err(|refusal| refusal.reason)?;
    let txn = Txn {
        compares: vec![
            Compare::Revision(slot.key.clone(), slot.revision),
            Compare::Absent(index.path()),
        ],
        ops: vec![TxnOp::Delete(slot.key)],
    };
    // Refused: another host was faster.
    let sent = tools.records.store().txn(txn).await;
    sent.map(drop).map_err(|error| error.to_string())
}

/// A slot whose VM is gone.
struct Gone {
    key: String,
    number: u32,
    uuid: VmUuid,
    revision: Revision,
}

/// Slots whose VM the index does not have.
fn gone(view: &View, volume: &str) -> Vec<Gone> {
    let of_volume = view.vm_slots.iter().filter(|((of, _), _)| of == volume);
    let gone = of_volume.filter(|(_, seen)| !view.uuids.contains_key(&seen.value));
    let slot = gone.map(|((of, number), seen)| Gone {
        key: Key::VmSlot(of.clone(), *number).path(),
        number: *number,
        uuid: seen.value.clone(),
        revision: seen.revision,
    });
    slot.collect()
}
