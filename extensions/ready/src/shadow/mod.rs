//! Versions that are asked beside the installed ones and not heeded: got ready as these are, each with a thread of its
//! own on which it is asked.
//!
//! ```text
//! etcd ─watch─> shadow of an installed one ─> fetch, compile ─> ready: a thread, a queue with a bound
//! whoever decides ─question, and what the installed one said─> queue ─> thread: ask, compare, count
//!                            └─ full: skipped, and counted
//! ```
//! Whoever decides hands over what was asked and goes on: nothing here waits, and nothing comes back but numbers.

mod tally;

use crate::follow::Users;
use holdfast_model::extension::Installed;
use holdfast_model::id::ExtensionName;
use holdfast_model::shadow::ShadowStanding;
use holdfast_model::standing::{Line, Readiness};
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tally::Tally;

pub use tally::{Asked, Judged};

/// A version that can be asked.
pub trait Candidate: Send + Sync + Sized + 'static {
    /// A question, with what the installed one said to it.
    type Heard: Send + 'static;
    /// What one is made with.
    type Means: Send + Sync;

    /// So many questions may wait for it.
    const QUEUE: usize;
    /// The priority of its thread, as `nice` has it: 19 is the lowest.
    const NICE: i32;

    /// Whether this one is asked on this machine.
    fn is_wanted(means: &Self::Means, installed: &Installed) -> bool;

    /// It was asked this already: it is not counted twice.
    fn is_known(&self, _heard: &Self::Heard) -> bool {
        false
    }

    /// Asks it, on its own thread, and compares. Ends within the limits of its calls.
    fn ask(&self, heard: Self::Heard) -> Asked;

    /// It failed too often and is not asked for a while.
    fn rests(&self) -> bool;

    /// Lines of its log that are told with how it does, the newest last: where nobody can ask for them.
    fn lines(&self) -> Vec<Line> {
        Vec::new()
    }
}

/// All of them on this machine.
pub struct Shadows<C: Candidate> {
    means: C::Means,
    slots: RwLock<BTreeMap<ExtensionName, Slot<C>>>,
}

impl<C: Candidate<Means: Default>> Default for Shadows<C> {
    fn default() -> Self {
        Self::new(C::Means::default())
    }
}

struct Slot<C: Candidate> {
    candidate: Installed,
    here: Here<C>,
    tally: Arc<Tally>,
}

enum Here<C: Candidate> {
    Loading,
    Failed(String),
    Ready(Runs<C>),
}

/// Its thread ends with this.
struct Runs<C: Candidate> {
    it: Arc<C>,
    queue: SyncSender<C::Heard>,
}

impl<C: Candidate> Shadows<C> {
    /// None yet.
    pub fn new(means: C::Means) -> Self {
        Self {
            means,
            slots: RwLock::default(),
        }
    }

    fn slots(&self) -> RwLockReadGuard<'_, BTreeMap<ExtensionName, Slot<C>>> {
        // Each change is complete before anything in it could panic.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<ExtensionName, Slot<C>>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shadow of this extension, if it can be asked here.
    pub fn ready(&self, name: &ExtensionName) -> Option<Arc<C>> {
        match &self.slots().get(name)?.here {
            Here::Ready(runs) => Some(Arc::clone(&runs.it)),
            Here::Loading | Here::Failed(_) => None,
        }
    }

    /// Hands over a question, if there is a shadow to ask. Waits for nothing: what does not fit into its queue is
    /// skipped.
    pub fn hear(&self, name: &ExtensionName, heard: C::Heard) {
        if let Some(Slot { here, tally, .. }) = self.slots().get(name)
            && let Here::Ready(runs) = here
            && runs.queue.try_send(heard).is_err()
        {
            tally.skipped();
        }
    }

    /// A question that there was no time to hand over.
    pub fn skip(&self, name: &ExtensionName) {
        if let Some(slot) = self.slots().get(name) {
            slot.tally.skipped();
        }
    }

    /// How each does here.
    pub fn standings(&self) -> BTreeMap<ExtensionName, ShadowStanding> {
        let slots = self.slots();
        let each = slots.iter();
        each.map(|(name, slot)| (name.clone(), slot.standing()))
            .collect()
    }

    fn change(&self, candidate: &Installed, change: impl FnOnce(&mut Slot<C>)) {
        let mut slots = self.slots_mut();
        let slot = slots.get_mut(&candidate.manifest.name);
        if let Some(slot) = slot.filter(|slot| slot.candidate == *candidate) {
            change(slot);
        }
    }

    /// It is made, and asked from now on, on a thread of its own.
    pub fn begin(&self, candidate: &Installed, it: C) {
        let it = Arc::new(it);
        self.change(candidate, |slot| {
            let (queue, questions) = sync_channel(C::QUEUE);
            let (asked, tally) = (Arc::clone(&it), Arc::clone(&slot.tally));
            let thread = std::thread::Builder::new().name("shadow".to_owned());
            let started = thread.spawn(move || answer(&*asked, &tally, &questions));
            slot.here = match started {
                Ok(_) => Here::Ready(Runs { it, queue }),
                Err(error) => Here::Failed(format!("there is no thread for it: {error}")),
            };
        });
    }
}

/// Until it is there no more.
fn answer<C: Candidate>(it: &C, tally: &Tally, questions: &Receiver<C::Heard>) {
    if let Err(error) = rustix::process::setpriority_process(None, C::NICE) {
        tracing::warn!(%error, "a shadow is asked with the priority of this daemon");
    }
    while let Ok(heard) = questions.recv() {
        if !it.is_known(&heard) {
            tally.count(it.ask(heard));
        }
    }
}

impl<C: Candidate> Slot<C> {
    fn standing(&self) -> ShadowStanding {
        let digest = self.candidate.digest.clone();
        let readiness = match &self.here {
            Here::Loading => Readiness::Loading,
            Here::Failed(why) => Readiness::Failed {
                why: why.clone(),
                before: None,
            },
            Here::Ready(runs) if runs.it.rests() => Readiness::Resting {
                digest,
                why: self.tally.last_failure().unwrap_or_default(),
            },
            Here::Ready(_) => Readiness::Ready { digest },
        };
        let log = match &self.here {
            Here::Ready(runs) => runs.it.lines(),
            Here::Loading | Here::Failed(_) => Vec::new(),
        };
        let limits = self.candidate.limits();
        let standing = self
            .tally
            .standing(readiness, &self.candidate.digest, limits);
        ShadowStanding { log, ..standing }
    }
}

impl<C: Candidate> Users for Shadows<C> {
    fn want(&self, installed: &Installed) -> bool {
        C::is_wanted(&self.means, installed)
    }

    /// Those with something to be compared with: an older Holdfast may have removed that alone.
    fn followed<'v>(&self, view: &'v View) -> Vec<&'v Installed> {
        let all = view.shadows.iter().filter_map(|(name, seen)| {
            let installed = view.extensions.get(name)?;
            let same_kind = installed.value.manifest.kind == seen.value.manifest.kind;
            same_kind.then_some(&seen.value)
        });
        all.collect()
    }

    fn tidy_up(&self) -> bool {
        false
    }

    fn take_in(&self, candidates: Vec<Installed>) -> Vec<Installed> {
        let mut slots = self.slots_mut();
        let over = slots
            .iter()
            .filter(|(_, slot)| !candidates.contains(&slot.candidate));
        let over: Vec<ExtensionName> = over.map(|(name, _)| name.clone()).collect();
        let gone: Vec<Slot<C>> = over.iter().filter_map(|name| slots.remove(name)).collect();
        let mut to_load = Vec::new();
        for candidate in candidates {
            if let Entry::Vacant(place) = slots.entry(candidate.manifest.name.clone()) {
                place.insert(Slot {
                    candidate: candidate.clone(),
                    here: Here::Loading,
                    tally: Arc::default(),
                });
                to_load.push(candidate);
            }
        }
        // Whoever decides does not wait until an instance and all that it knows is freed.
        drop(slots);
        drop(gone);
        to_load
    }

    fn failed(&self, candidate: &Installed, why: String) {
        self.change(candidate, |slot| slot.here = Here::Failed(why));
    }

    fn distrust(&self, candidate: &Installed, why: String) {
        self.failed(candidate, why);
    }
}

#[cfg(feature = "run")]
pub use running::Made;

#[cfg(feature = "run")]
mod running {
    use super::{Candidate, Shadows};
    use crate::follow::Prepares;
    use holdfast_extension_host::{ExtensionError, Loaded};
    use holdfast_model::extension::Installed;

    /// A version that is made of a component.
    pub trait Made: Candidate {
        /// Prepares it; nothing of it runs yet.
        ///
        /// # Errors
        /// If it does not fit what it is for.
        fn make(
            means: &Self::Means,
            candidate: &Installed,
            loaded: &Loaded,
        ) -> Result<Self, ExtensionError>;
    }

    impl<C: Made> Prepares for Shadows<C> {
        fn prepare(&self, candidate: &Installed, loaded: &Loaded) -> Result<(), ExtensionError> {
            let made = C::make(&self.means, candidate, loaded)?;
            self.begin(candidate, made);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
