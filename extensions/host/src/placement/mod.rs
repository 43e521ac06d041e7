//! Placement extensions: asked by the planner, in the middle of a decision.
//!
//! One instance is kept warm between calls and made anew after [`CALLS_MAX`] of them, or after a failure. It
//! has no clock, no randomness and no way out, so the same question gets the same answer on every machine; what
//! a guest keeps in its memory from one question to the next it keeps against its contract, and `ext test`
//! looks for it. A guest of 0.2 is told of hosts once, and again when a question has others: what it was told is kept
//! with its instance, and ends with it.

mod answer;
mod table;
mod v0_1;
mod v0_2;
mod versions;

pub(crate) use table::{Host, hosts_of};

use crate::breaker::{Breaker, BreakerState};
use crate::budget::Cost;
use crate::error::{CallError, ExtensionError};
use crate::instance::{Guest, linked, store, within};
use crate::journal::Journal;
use crate::loaded::Loaded;
use crate::outside::Reach;
use answer::judged;
use holdfast_model::advice::{Question, Said};
use holdfast_model::extension::{ExtensionKind, Limits};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use versions::{Functions, Hooks};
use wasmtime::Store;
use wasmtime::component::InstancePre;

/// A guest that leaks does not do so for ever.
pub const CALLS_MAX: u32 = 10_000;

/// One placement extension, ready to be asked.
pub struct Placement {
    instance_pre: InstancePre<Guest>,
    hooks: Hooks,
    limits: Limits,
    may_log: bool,
    metered: bool,
    journal: Journal,
    state: Mutex<State>,
    epoch: Instant,
}

#[derive(Default)]
struct State {
    warm: Option<Warm>,
    breaker: Breaker,
}

struct Warm {
    store: Store<Guest>,
    functions: Functions,
    calls: u32,
}

/// An answer with what it cost.
pub struct Answered {
    /// The answer, or why there is none.
    pub said: Result<Said, CallError>,
    /// What it cost; nothing if it was not asked.
    pub cost: Cost,
}

impl Placement {
    /// Prepares it; nothing of it runs yet.
    ///
    /// # Errors
    /// If it is none for placement, or does not fit the contract.
    pub fn new(loaded: &Loaded, limits: Limits, may_log: bool) -> Result<Self, ExtensionError> {
        let instance_pre = linked(loaded, ExtensionKind::Placement)?;
        Ok(Self {
            hooks: Hooks::of(loaded.surface(), &instance_pre).map_err(ExtensionError::misfit)?,
            instance_pre,
            limits,
            may_log,
            metered: loaded.is_metered(),
            journal: Journal::default(),
            state: Mutex::default(),
            epoch: Instant::now(),
        })
    }

    /// What it wrote to its log here.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether it is asked at present.
    pub fn breaker(&self) -> BreakerState {
        self.state().breaker.state(self.epoch.elapsed())
    }

    /// Drops the instance that is kept warm: the next question starts a new one.
    pub fn restart(&self) {
        self.state().warm = None;
    }

    /// Starts an instance that is told of these hosts before it is asked anything, if its version is told of hosts.
    /// For finding out whether that makes a difference, which it must not.
    ///
    /// # Errors
    /// If it fails at that.
    pub(crate) fn restart_told(&self, hosts: &[Host]) -> Result<(), CallError> {
        let mut warm = self.start(&mut Cost::default())?;
        let Warm {
            store, functions, ..
        } = &mut warm;
        let (told, _) = within(store, self.limits, |store| {
            functions.tell_these(store, hosts)
        });
        told?;
        self.state().warm = Some(warm);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic left half done is thrown away by `ask`: the warm instance is taken out while it is used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it, on this thread, within its limits. A panic of the host is a failure like any other.
    pub fn ask(&self, question: &Question) -> Answered {
        let mut state = self.state();
        if let Err(wait) = state.breaker.ask(self.epoch.elapsed()) {
            return Answered {
                said: Err(CallError::Resting { wait }),
                cost: Cost::default(),
            };
        }
        let warm = state.warm.take().filter(|warm| warm.calls < CALLS_MAX);
        let mut cost = Cost::default();
        let asking = std::panic::AssertUnwindSafe(|| self.answer(warm, question, &mut cost));
        let answer = std::panic::catch_unwind(asking)
            .unwrap_or_else(|_| Err(CallError::Host("the extension host panicked".to_owned())));
        let said = match answer {
            Ok((warm, said)) => {
                state.warm = Some(warm);
                said
            }
            Err(error) => Err(error),
        };
        // "I cannot say" is an answer to its caller, and no sign that it is broken.
        match &said {
            Ok(_) | Err(CallError::Refused(_)) => state.breaker.answered(),
            Err(_) => state.breaker.failed(self.epoch.elapsed()),
        }
        Answered { said, cost }
    }

    /// The instance, if it can be used again, and the answer; an error if it cannot.
    #[allow(clippy::type_complexity, reason = "one caller, right above")]
    fn answer(
        &self,
        warm: Option<Warm>,
        question: &Question,
        cost: &mut Cost,
    ) -> Result<(Warm, Result<Said, CallError>), CallError> {
        let mut warm = match warm {
            Some(warm) => warm,
            None => self.start(cost)?,
        };
        warm.calls += 1;
        let Warm {
            store, functions, ..
        } = &mut warm;
        if functions.has_to_be_told(question) {
            let (told, took) = within(store, self.limits, |store| functions.tell(store, question));
            cost.cpu += took.cpu;
            cost.told_cpu = took.cpu;
            cost.wall += took.wall;
            cost.memory_bytes = took.memory_bytes;
            told?;
        }
        let (given, took) = within(store, self.limits, |store| functions.ask(store, question));
        cost.cpu += took.cpu;
        cost.wall += took.wall;
        cost.memory_bytes = took.memory_bytes;
        cost.fuel = took.fuel;
        let given = given?;
        Ok((warm, judged(given, question)))
    }

    fn start(&self, cost: &mut Cost) -> Result<Warm, CallError> {
        let engine = self.instance_pre.engine().clone();
        let mut store = store(
            &engine,
            self.limits,
            self.journal.clone(),
            Reach::log_only(self.may_log),
            self.metered,
        );
        let (started, took) = within(&mut store, self.limits, |store| {
            let instance = self.instance_pre.instantiate(&mut *store)?;
            self.hooks.load(store, &instance)
        });
        *cost = Cost {
            start_cpu: took.cpu,
            ..took
        };
        Ok(Warm {
            functions: started?,
            store,
            calls: 0,
        })
    }
}
