//! How the storage under the VMs' disks is checked. A check may hang with the storage it looks at: it runs on a
//! thread that can be left behind, one at a time, and counts as unknown meanwhile.
//!
//! - `builtin`: a file is written, and GlusterFS asked
//! - [`Check`]: the seam for another one; the program `holdfast-host` brings that by an extension
//! - `told`: how an extension does here

mod builtin;
mod told;

use super::target::Tools;
use crate::config::{Config, StorageCheck};
use crate::driver::libvirt::on_thread;
use async_trait::async_trait;
use holdfast_model::host::StorageState;
use holdfast_model::id::Incarnation;
use holdfast_model::standing::HostExtensions;
use holdfast_store::api::Store;
use holdfast_store::cache::Cache;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two checks.
const EVERY: Duration = Duration::from_secs(5);
/// Other words for storage that is as unusable, or as degraded, as before are told so often: with each report the
/// graces that count from it begin anew.
const WORDS_EVERY: Duration = Duration::from_secs(60);

/// A way to check it.
#[async_trait]
pub trait Check: Send + Sync {
    /// For one check. After that it hangs.
    fn bound(&self) -> Duration;

    /// Checks it. May hang.
    fn check(&self) -> StorageState;

    /// Waits until a check would find something else, whatever became of the storage.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// Does for itself what it needs, until the agent ends.
    async fn keep(&self, store: &dyn Store, watched: Cache, stop: watch::Receiver<bool>) {
        let _ = (store, watched, stop);
    }

    /// What is to be told of the extensions that it asks, if anything is.
    fn told(&self, incarnation: &Incarnation) -> Option<HostExtensions> {
        let _ = incarnation;
        None
    }
}

/// What is said before the first check has ended: with none configured, that is all there is.
pub fn before_the_first(config: &Config) -> StorageState {
    match config.storage.check {
        StorageCheck::None => StorageState::NotChecked,
        _ => StorageState::Unknown {
            reason: "its first check has not ended yet".to_owned(),
        },
    }
}

/// Checks for ever. `by_extension` is what does it if host.toml names an extension; none: this program has no such.
pub async fn check_for_ever(
    tools: Tools,
    watched: Cache,
    state: watch::Sender<StorageState>,
    stop: watch::Receiver<bool>,
    by_extension: Option<Arc<dyn Check>>,
) {
    if tools.config.storage.check != StorageCheck::Extension {
        let probe = builtin::probe(&tools.config);
        tokio::spawn(told::nothing(tools));
        if let Some(probe) = probe {
            repeat(Arc::new(probe), state).await;
        }
        return;
    }
    let Some(check) = by_extension else {
        tokio::spawn(told::nothing(tools));
        let reason = "an extension is to check it, and this agent was built without them";
        tracing::error!(reason, "storage");
        let reason = reason.to_owned();
        state.send_replace(StorageState::Unknown { reason });
        return;
    };
    let (keeper, keeps) = (Arc::clone(&check), tools.clone());
    tokio::spawn(async move { keeper.keep(keeps.records.store(), watched, stop).await });
    tokio::spawn(told::tell_for_ever(Arc::clone(&check), tools));
    repeat(check, state).await;
}

/// Checks again and again; sooner if something is changed that a check depends on.
async fn repeat(check: Arc<dyn Check>, state: watch::Sender<StorageState>) {
    let mut teller = Teller {
        state,
        told_at: Instant::now(),
    };
    loop {
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        let bound = check.bound();
        let once = Arc::clone(&check);
        let began = on_thread("storage-check", bound, move || {
            let _ = sender.send(once.check());
        });
        let result = match began.await {
            Ok(()) => receiver.await.ok(),
            Err(reason) => {
                teller.tell(StorageState::Unknown { reason }, Instant::now());
                // No second check while the first one hangs.
                let late = (&mut receiver).await.ok();
                tracing::info!("the storage check that hung has come back");
                late
            }
        };
        let found = result.unwrap_or_else(|| StorageState::Unknown {
            reason: "the check died".to_owned(),
        });
        teller.tell(found, Instant::now());
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = check.changed() => {}
        }
    }
}

struct Teller {
    state: watch::Sender<StorageState>,
    told_at: Instant,
}

impl Teller {
    fn tell(&mut self, found: StorageState, now: Instant) {
        let told_at = &mut self.told_at;
        self.state.send_if_modified(|told| {
            let other = discriminant(told) != discriminant(&found);
            let soon = now.saturating_duration_since(*told_at) < WORDS_EVERY;
            // No grace begins with what is not known.
            let held = soon && !matches!(found, StorageState::Unknown { .. });
            let news = other || (*told != found && !held);
            if news {
                tracing::info!(?found, "storage");
                *told = found;
                *told_at = now;
            }
            news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable(reason: &str) -> StorageState {
        let reason = reason.to_owned();
        StorageState::Unusable { reason }
    }

    /// The grace after which VMs leave counts from the report: words that change with each check must not hold it up.
    #[test]
    fn other_words_for_the_same_do_not_begin_a_grace_anew() {
        let (state, mut told) = watch::channel(StorageState::Synced);
        let begin = Instant::now();
        let mut teller = Teller {
            state,
            told_at: begin,
        };
        let after = |seconds| begin + Duration::from_secs(seconds);
        teller.tell(unusable("a read took 600 ms"), after(5));
        assert_eq!(*told.borrow_and_update(), unusable("a read took 600 ms"));
        teller.tell(unusable("a read took 700 ms"), after(10));
        assert!(!told.has_changed().expect("it is there"));
        teller.tell(unusable("a read took 800 ms"), after(66));
        assert_eq!(*told.borrow_and_update(), unusable("a read took 800 ms"));
        teller.tell(StorageState::Synced, after(67));
        assert_eq!(*told.borrow_and_update(), StorageState::Synced);
        for reason in ["it is being loaded", "it cannot run here"] {
            let unknown = StorageState::Unknown {
                reason: reason.to_owned(),
            };
            teller.tell(unknown.clone(), after(68));
            assert_eq!(*told.borrow_and_update(), unknown);
        }
    }
}
