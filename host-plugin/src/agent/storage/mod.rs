//! How the storage under the VMs' disks is checked. A check may hang with the storage it looks at: it runs on a
//! thread that can be left behind, one at a time, and counts as unknown meanwhile.
//!
//! - `builtin`: a file is written, and GlusterFS asked
//! - `extension`: an extension says how it stands; `looks`: what it can look at; `told`: how it does here

mod builtin;
#[cfg(feature = "extensions")]
mod extension;
#[cfg(feature = "extensions")]
mod looks;
mod told;

use super::target::Tools;
use crate::config::{Config, StorageCheck};
use crate::driver::libvirt::on_thread;
use holdfast_model::host::StorageState;
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
trait Check: Send + Sync {
    /// For one check. After that it hangs.
    fn bound(&self) -> Duration;

    /// Checks it. May hang.
    fn check(&self) -> StorageState;
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

/// Checks for ever.
pub async fn check_for_ever(
    tools: Tools,
    watched: Cache,
    state: watch::Sender<StorageState>,
    stop: watch::Receiver<bool>,
) {
    if tools.config.storage.check == StorageCheck::Extension {
        return by_extension(tools, watched, state, stop).await;
    }
    let probe = builtin::probe(&tools.config);
    tokio::spawn(told::nothing(tools));
    if let Some(probe) = probe {
        repeat(Arc::new(probe), state, std::future::pending).await;
    }
}

#[cfg(feature = "extensions")]
async fn by_extension(
    tools: Tools,
    watched: Cache,
    state: watch::Sender<StorageState>,
    stop: watch::Receiver<bool>,
) {
    let Some(checker) = extension::Checker::of(&tools.config) else {
        return;
    };
    let checker = Arc::new(checker);
    let follow = extension::follow(Arc::clone(&checker), tools.clone(), watched, stop);
    tokio::spawn(follow);
    tokio::spawn(told::tell_for_ever(Arc::clone(&checker), tools));
    repeat(checker.clone(), state, || checker.changed()).await;
}

/// This agent was built without.
#[cfg(not(feature = "extensions"))]
async fn by_extension(
    tools: Tools,
    _: Cache,
    state: watch::Sender<StorageState>,
    _: watch::Receiver<bool>,
) {
    tokio::spawn(told::nothing(tools));
    let reason =
        "it is to be checked by an extension, and this agent was built without them".to_owned();
    tracing::error!(reason, "storage");
    state.send_replace(StorageState::Unknown { reason });
}

/// Checks again and again; sooner if something is changed that a check depends on.
async fn repeat<F: Future<Output = ()>>(
    check: Arc<dyn Check>,
    state: watch::Sender<StorageState>,
    changed: impl Fn() -> F,
) {
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
            () = changed() => {}
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
