//! What the leader has somebody else ask: a device that it does not reach itself. Managers and agents do it alike.
//!
//! ```text
//! etcd ─watch─> duty ─take─> accepted by etcd ─> still fresh? ─> off ─> status ─> answer ─> etcd
//!                  └─ meant for an earlier life, or taken by one: said so, nothing is asked
//! ```
//! The transaction that takes it is the look before acting: it compares the leader's epoch, the host's session and
//! the errand itself. Each errand is a task of its own: a device that hangs holds up nobody else.

use super::{Desk, Target};
use async_trait::async_trait;
use futures::FutureExt;
use holdfast_core::errand::{Duty, Memory};
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::Revision;
use holdfast_model::policy::Policy;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::StoreError;
use holdfast_store::api::{Store, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::errands;
use holdfast_store::view::View;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Look again after this long in any case.
const IDLE: Duration = Duration::from_millis(500);
/// Waits before an answer that could not be written is written again. Then whoever waits has given up, or will.
const AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];

/// Who does errands on this machine.
#[async_trait]
pub trait Doer: Send + Sync {
    /// Where they are, and are answered.
    fn store(&self) -> &dyn Store;
    /// This machine's steady clock.
    fn now(&self) -> Instant;
    /// What asks.
    fn desk(&self) -> &Desk;
    /// What is to be done about one.
    fn duty(&self, view: &View, errand: &Errand, memory: &Memory) -> Duty;
    /// Takes one, proving whatever it has to.
    async fn take(&self, errand: &Seen<Errand>) -> Result<TxnOutcome, StoreError>;
}

/// Runs until the daemon ends. What is under way then is given up, and told by the next life.
pub async fn run(doer: Arc<dyn Doer>, mut cache: Cache, mut stop: watch::Receiver<bool>) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = cache.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
            // An error means that the sender is gone, which is an end as well.
            _ = stop.wait_for(|stop| *stop) => return,
        }
        while tasks.try_join_next().is_some() {}
        for (errand, duty, holds_ms) in cache.read(|view| due(view, &*doer, &memory)) {
            lock(&memory).begin(&errand.value.id);
            let (doer, memory) = (doer.clone(), memory.clone());
            tasks.spawn(async move {
                match duty {
                    Duty::Take => carry_out(&*doer, &errand, holds_ms).await,
                    Duty::Say(stage) => say(&*doer, &errand.value, errand.revision, stage).await,
                    Duty::Nothing => {}
                }
                lock(&memory).end(&errand.value.id);
            });
        }
    }
}

type Due = (Seen<Errand>, Duty, u64);

/// What is to be done now; and how long a decision holds, in milliseconds: another manager may lead after it.
fn due(view: &View, doer: &dyn Doer, memory: &Mutex<Memory>) -> Vec<Due> {
    if view.errands.is_empty() {
        return Vec::new();
    }
    let holds_ms = match view.policy_in_force() {
        Ok(policy) => {
            let timing = policy.map_or_else(|| Policy::default().timing, |p| p.timing.clone());
            Some(timing.resolve().leader_wait_ms)
        }
        Err(_) => None,
    };
    let memory = lock(memory);
    let all = view.errands.values();
    let each = all.map(
        |seen| match (doer.duty(view, &seen.value, &memory), holds_ms) {
            (Duty::Take, None) => (seen.clone(), Duty::Say(holds_how_long()), 0),
            (duty, holds_ms) => (seen.clone(), duty, holds_ms.unwrap_or_default()),
        },
    );
    each.filter(|(_, duty, _)| *duty != Duty::Nothing).collect()
}

/// Only the policy says for how long it may be asked.
fn holds_how_long() -> ErrandStage {
    let reason = "not asked: it cannot read the policy".to_owned();
    ErrandStage::Declined { reason }
}

/// Takes it, and asks the device if that was accepted. Ends within twice the device's bound and what the store
/// takes.
pub async fn carry_out(doer: &dyn Doer, errand: &Seen<Errand>, holds_ms: u64) {
    let desk = doer.desk();
    let Errand { host, device, .. } = &errand.value;
    // Before it is taken: somebody else may have what this machine lacks.
    if let Some(lack) = desk.lacks(&errand.value.as_set) {
        let why = format!("not asked: {lack}");
        return decline(doer, errand, errand.revision, &why).await;
    }
    // What waits for room is not under way, and somebody else may have room.
    let Some(_room) = desk.room() else {
        let why = "not asked: it is asking too many devices already";
        return decline(doer, errand, errand.revision, why).await;
    };
    let sent_at = doer.now();
    let taken = match doer.take(errand).await {
        Ok(TxnOutcome::Committed(revision)) => revision,
        Ok(TxnOutcome::Refused(_)) => {
            let why = "not asked: another manager leads, or the host's session has changed since";
            return decline(doer, errand, errand.revision, why).await;
        }
        // If it happened all the same, the watch shows it, and it is said then that nothing is known.
        Err(error) => {
            tracing::warn!(%host, %device, %error, "an errand of the leader is not taken");
            return;
        }
    };
    if doer.now().since(sent_at) > holds_ms {
        let why = "not asked: that it might took too long to find out";
        return decline(doer, errand, taken, why).await;
    }
    let target = Target {
        host: host.clone(),
        name: device.clone(),
        device: errand.value.as_set.clone(),
        incarnation: errand.value.incarnation.clone(),
        attempt: errand.value.attempt,
    };
    let asking = AssertUnwindSafe(desk.ask(&target)).catch_unwind();
    let power = match asking.await {
        Ok(answer) => answer.state,
        Err(_) => PowerState::Unknown {
            reason: "asking failed: its log says why".to_owned(),
        },
    };
    tracing::warn!(%host, %device, leader = %errand.value.by, state = %power,
                   "a fencing device was told to switch a host off, for the leader");
    let answered = ErrandStage::Answered { power };
    say(doer, &errand.value, taken, answered).await;
}

async fn decline(doer: &dyn Doer, errand: &Seen<Errand>, revision: Revision, why: &str) {
    let reason = why.to_owned();
    let stage = ErrandStage::Declined { reason };
    say(doer, &errand.value, revision, stage).await;
}

/// Writes what became of it. Refused: nobody waits for it any more.
async fn say(doer: &dyn Doer, errand: &Errand, revision: Revision, stage: ErrandStage) {
    let mut again = AGAIN.iter();
    loop {
        let txn = errands::say(errand, revision, stage.clone());
        let Err(error) = doer.store().txn(txn).await else {
            return;
        };
        let Some(wait) = again.next() else {
            tracing::warn!(host = %errand.host, device = %errand.device, %error,
                           "what became of an errand of the leader could not be told");
            return;
        };
        tokio::time::sleep(*wait).await;
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    // Each change is one call that is complete before anything in it could panic.
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
