//! Shadows of placement extensions: asked what the installed ones were asked, after the decision.
//!
//! What was asked is noted down during a decision, for [`NOTING`] at the most, and handed over at its end. All that
//! follows is done on the shadow's own thread, of the lowest priority.

use holdfast_extension_ready::shadow::Shadows;
#[cfg(not(feature = "extensions"))]
use holdfast_extension_ready::shadow::{Asked, Candidate};
use holdfast_model::advice::{Question, Said};
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::{ExtensionName, HostName};
use holdfast_model::shadow::ShadowStanding;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[cfg(feature = "extensions")]
pub use trial::Trial;

/// What noting down for shadows may take of one decision; what comes after that is skipped.
const NOTING: Duration = Duration::from_millis(5);
/// Questions that may wait for one shadow.
const QUEUE: usize = 256;
/// Its thread's priority: it gets what nobody else wants.
const NICE: i32 = 19;

/// The shadow of one, as the API tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShadowShown {
    /// The version.
    pub candidate: Installed,
    /// What it may do as a shadow, and would when it is promoted.
    pub rights: Vec<String>,
    /// Of these, what the installed one may not.
    pub newly: Vec<String>,
    /// On each manager, if managers ask it.
    pub managers: BTreeMap<String, ShadowStanding>,
    /// On each host that asks it, as of the last time it told.
    pub hosts: BTreeMap<HostName, ShadowStanding>,
}

/// A question of a decision, and what the installed one said.
#[cfg_attr(
    not(feature = "extensions"),
    allow(dead_code, reason = "nothing is asked in such a program")
)]
pub struct Heard {
    question: Question,
    said: Said,
}

/// What shadows are to hear of one decision: handed over when this is dropped.
pub(super) struct Aside<'e> {
    shadows: &'e Shadows<Trial>,
    took: Cell<Duration>,
    heard: RefCell<Vec<(ExtensionName, Heard)>>,
}

impl<'e> Aside<'e> {
    pub(super) fn of(shadows: &'e Shadows<Trial>) -> Self {
        Self {
            shadows,
            took: Cell::default(),
            heard: RefCell::default(),
        }
    }

    /// Notes it down, if this one has a shadow that has not heard it yet. Without an answer of the installed one
    /// there is nothing to compare.
    pub(super) fn hear(&self, name: &ExtensionName, question: &Question, said: &Said) {
        if matches!(said, Said::Nothing { .. }) {
            return;
        }
        let Some(trial) = self.shadows.ready(name) else {
            return;
        };
        if self.took.get() >= NOTING {
            return self.shadows.skip(name);
        }
        let begin = Instant::now();
        if !trial.knows(question) {
            let heard = Heard {
                question: question.clone(),
                said: said.clone(),
            };
            self.heard.borrow_mut().push((name.clone(), heard));
        }
        self.took.set(self.took.get() + begin.elapsed());
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        for (name, heard) in self.heard.take() {
            self.shadows.hear(&name, heard);
        }
    }
}

/// Only for placement: one for fencing would ask devices twice, one for events tell twice; storage checks are asked by
/// the hosts.
fn is_wanted(installed: &Installed) -> bool {
    installed.manifest.kind == ExtensionKind::Placement
}

#[cfg(feature = "extensions")]
mod trial {
    use super::{Heard, NICE, QUEUE, is_wanted};
    use holdfast_extension_host::breaker::BreakerState;
    use holdfast_extension_host::journal::Journal;
    use holdfast_extension_host::{CallError, ExtensionError, Loaded, Placement};
    use holdfast_extension_ready::shadow::{Asked, Candidate, Judged, Made};
    use holdfast_model::advice::{Question, Said};
    use holdfast_model::extension::{Installed, LIMITS_MAX, Limits};
    use holdfast_model::id::HostName;
    use holdfast_model::shadow::{difference, placement};
    use holdfast_store::clock::wall;
    use std::collections::HashSet;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Questions that are known to have been asked; then all are forgotten, and count again.
    const KNOWN: usize = 4_096;
    /// By the clock it may take so many times as long as it might otherwise: others go first.
    const PATIENCE: u64 = 10;

    /// A version on trial.
    pub struct Trial {
        placement: Placement,
        known: Mutex<HashSet<Question>>,
    }

    impl Trial {
        fn known(&self) -> MutexGuard<'_, HashSet<Question>> {
            // Each change is one insertion or a clearing.
            self.known.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// A VM that waits is asked about again with every plan. Whoever decides does not wait to know this: the
        /// thread that asks looks again.
        pub fn knows(&self, question: &Question) -> bool {
            let known = self.known.try_lock();
            known.is_ok_and(|known| known.contains(question))
        }

        /// What it wrote to its log here.
        pub fn journal(&self) -> &Journal {
            self.placement.journal()
        }

        fn learn(&self, question: Question) {
            let mut known = self.known();
            let forgotten = match known.len() {
                KNOWN.. => std::mem::take(&mut *known),
                _ => HashSet::new(),
            };
            known.insert(question);
            // Freeing thousands of questions takes a while.
            drop(known);
            drop(forgotten);
        }
    }

    impl Candidate for Trial {
        type Heard = Heard;
        type Means = ();

        const QUEUE: usize = QUEUE;
        const NICE: i32 = NICE;

        fn is_wanted((): &(), installed: &Installed) -> bool {
            is_wanted(installed)
        }

        fn is_known(&self, heard: &Heard) -> bool {
            self.known().contains(&heard.question)
        }

        fn ask(&self, heard: Heard) -> Asked {
            let answered = self.placement.ask(&heard.question);
            let judged = match answered.said {
                Ok(said) => compared(&heard, &said),
                Err(CallError::Resting { .. }) => Judged::Rests,
                Err(error) => Judged::Failed(error.to_string()),
            };
            if !matches!(judged, Judged::Rests) {
                self.learn(heard.question);
            }
            Asked {
                cpu: answered.cost.cpu,
                memory_bytes: answered.cost.memory_bytes,
                judged,
            }
        }

        fn rests(&self) -> bool {
            self.placement.breaker() != BreakerState::Closed
        }
    }

    fn compared(heard: &Heard, said: &Said) -> Judged {
        let Question { vm, candidates } = &heard.question;
        let hosts: Vec<HostName> = candidates.iter().map(|each| each.host.clone()).collect();
        let Some((differs, told)) = placement(&hosts, &heard.said, said) else {
            return Judged::Failed("there was no answer to compare it with".to_owned());
        };
        let told = differs
            .at_all()
            .then(|| difference(wall(), Some(vm.name.clone()), told));
        Judged::Compared(differs, told)
    }

    impl Made for Trial {
        fn make((): &(), candidate: &Installed, loaded: &Loaded) -> Result<Self, ExtensionError> {
            let limits = candidate.limits();
            let patient = Limits {
                wall_ms: (limits.wall_ms * PATIENCE).min(LIMITS_MAX.wall_ms),
                ..limits
            };
            let may_log = candidate.rights().log;
            Ok(Self {
                placement: Placement::new(loaded, patient, may_log)?,
                known: Mutex::default(),
            })
        }
    }
}

/// Nothing runs in this program.
#[cfg(not(feature = "extensions"))]
pub enum Trial {}

#[cfg(not(feature = "extensions"))]
impl Trial {
    /// There is none.
    pub fn knows(&self, _: &Question) -> bool {
        match *self {}
    }
}

#[cfg(not(feature = "extensions"))]
impl Candidate for Trial {
    type Heard = Heard;
    type Means = ();

    const QUEUE: usize = QUEUE;
    const NICE: i32 = NICE;

    fn is_wanted((): &(), installed: &Installed) -> bool {
        is_wanted(installed)
    }

    fn ask(&self, _: Heard) -> Asked {
        match *self {}
    }

    fn rests(&self) -> bool {
        match *self {}
    }
}
