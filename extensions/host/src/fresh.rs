//! A guest that gets a fresh instance for each call: nothing of one host, one storage or one secret is left for
//! the next. Starting one takes some 50 µs in Rust or C and 2 ms in Python, which is nothing beside what it then
//! waits for.

use crate::breaker::{Breaker, BreakerState};
use crate::budget::Cost;
use crate::error::{CallError, ExtensionError};
use crate::instance::{Guest, linked, store, within};
use crate::journal::Journal;
use crate::loaded::Loaded;
use crate::outside::Reach;
use holdfast_model::extension::{ExtensionKind, Limits};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// What became of a call.
#[derive(Debug)]
pub struct Called<T> {
    /// The answer, or why there is none.
    pub answer: Result<T, CallError>,
    /// What it cost; nothing if it was not asked.
    pub cost: Cost,
}

/// Whether it is asked at all after it failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resting {
    /// Not for a while: it will be asked again soon anyway, or what it misses does not matter.
    May,
    /// Always: whoever asks waits longer from time to time, and each answer may be the one that counts.
    Never,
}

/// See the module.
pub(crate) struct Fresh {
    instance_pre: InstancePre<Guest>,
    limits: Limits,
    reach: Reach,
    resting: Resting,
    metered: bool,
    journal: Journal,
    breaker: Mutex<Breaker>,
    epoch: Instant,
}

impl Fresh {
    /// Prepares it; nothing of it runs yet.
    pub(crate) fn new(
        loaded: &Loaded,
        kind: ExtensionKind,
        limits: Limits,
        reach: Reach,
        resting: Resting,
    ) -> Result<Self, ExtensionError> {
        Ok(Self {
            instance_pre: linked(loaded, kind)?,
            limits,
            reach,
            resting,
            metered: loaded.is_metered(),
            journal: Journal::default(),
            breaker: Mutex::default(),
            epoch: Instant::now(),
        })
    }

    pub(crate) fn instance_pre(&self) -> &InstancePre<Guest> {
        &self.instance_pre
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What it can reach in all calls.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.guard().state(self.epoch.elapsed())
    }

    fn guard(&self) -> MutexGuard<'_, Breaker> {
        // Each change is complete before anything in it could panic.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls it on this thread, within its limits. Several threads may at once. A panic of the host is a failure
    /// like any other.
    pub(crate) fn call<T>(
        &self,
        reach: Reach,
        work: impl FnOnce(&mut Store<Guest>, &Instance) -> wasmtime::Result<T>,
    ) -> Called<T> {
        if self.resting == Resting::May
            && let Err(wait) = self.guard().ask(self.epoch.elapsed())
        {
            return Called {
                answer: Err(CallError::Resting { wait }),
                cost: Cost::default(),
            };
        }
        let mut cost = Cost::default();
        let calling = std::panic::AssertUnwindSafe(|| {
            let engine = self.instance_pre.engine().clone();
            let mut store = store(
                &engine,
                self.limits,
                self.journal.clone(),
                reach,
                self.metered,
            );
            let (answer, took) = within(&mut store, self.limits, |store| {
                let instance = self.instance_pre.instantiate(&mut *store)?;
                work(store, &instance)
            });
            cost = took;
            answer
        });
        let answer = std::panic::catch_unwind(calling)
            .unwrap_or_else(|_| Err(CallError::Host("the extension host panicked".to_owned())));
        match &answer {
            Ok(_) => self.guard().answered(),
            Err(_) => self.guard().failed(self.epoch.elapsed()),
        }
        Called { answer, cost }
    }
}
