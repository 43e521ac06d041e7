//! The loop around a heartbeat, and the one step it is made of: carry out what the machine asks.

use crate::api::Store;
use crate::cache::Clock;
use crate::guarded::{Ack, Answer, Ask, Beat, Heartbeat, Lost};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Carries out what a machine asks of the store. `None`: there is nothing to carry out.
pub async fn perform(store: &dyn Store, ask: &Ask) -> Option<Answer> {
    match ask {
        Ask::Txn(txn) => Some(Answer::Txn(store.txn(txn.clone()).await)),
        Ask::Read(prefix) => Some(Answer::Read(store.list(prefix).await)),
        Ask::Wait(_) | Ask::Over(_) => None,
    }
}

/// Keeps a heartbeat until it is lost; why it was. `on_ack` is told of every acknowledged one (the
/// guard's deadline counts from its send time). After a change of the record through `heartbeat`,
/// `wake` makes the loop look again. Dropping the future at any time is safe.
pub async fn run_heartbeat<B: Beat + Send>(
    store: &dyn Store,
    clock: &Clock,
    heartbeat: &Mutex<Heartbeat<B>>,
    wake: &Notify,
    mut on_ack: impl FnMut(Ack) + Send,
) -> Lost {
    loop {
        let now = clock();
        let ask = lock(heartbeat).poll(now);
        match &ask {
            Ask::Over(lost) => return lost.clone(),
            Ask::Wait(until) => {
                let wait = Duration::from_millis(until.since(now));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = wake.notified() => {}
                }
            }
            Ask::Txn(_) | Ask::Read(_) => {
                let Some(answer) = perform(store, &ask).await else {
                    continue;
                };
                let ack = lock(heartbeat).answer(clock(), answer);
                if let Some(ack) = ack {
                    on_ack(ack);
                }
            }
        }
    }
}

fn lock<B>(heartbeat: &Mutex<Heartbeat<B>>) -> MutexGuard<'_, Heartbeat<B>> {
    heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
}
