//! A running guest: its store, its budget, its log, and how a call to it is made and judged.

use crate::budget::{Budget, Cost};
use crate::error::CallError;
use crate::journal::{Journal, Level};
use holdfast_model::extension::Limits;
use holdfast_model::time::UnixMs;
use std::time::SystemTime;
use wasmtime::{Engine, Store};

/// Longest words of a trap that are told, in characters.
const WORDS_MAX: usize = 600;
/// Fuel is for counting: none runs out of so much.
const FULL: u64 = u64::MAX;

/// What host functions find in a store.
pub(crate) struct Guest {
    pub budget: Budget,
    pub journal: Journal,
    pub may_log: bool,
    /// Its engine counts what it executes.
    pub metered: bool,
}

impl Guest {
    /// The guest writes to its log.
    pub(crate) fn log(&mut self, level: Level, text: &str) {
        if self.may_log {
            self.journal.write(now(), level, text);
        }
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// A store for one guest.
pub(crate) fn store(
    engine: &Engine,
    limits: Limits,
    journal: Journal,
    may_log: bool,
    metered: bool,
) -> Store<Guest> {
    let guest = Guest {
        budget: Budget::new(limits),
        journal,
        may_log,
        metered,
    };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.budget);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().budget.look()));
    store.set_epoch_deadline(1);
    let kib = usize::try_from(limits.answer_kib).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(kib.saturating_mul(1024));
    store
}

/// Does something with a guest within its budget. After an error the guest is not to be used again.
pub(crate) fn within<T>(
    store: &mut Store<Guest>,
    limits: Limits,
    work: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> (Result<T, CallError>, Cost) {
    let metered = store.data().metered;
    if metered && let Err(error) = store.set_fuel(FULL) {
        return (Err(CallError::Host(error.to_string())), Cost::default());
    }
    store.data_mut().budget.begin();
    store.set_epoch_deadline(1);
    let result = work(store);
    let mut cost = store.data_mut().budget.end();
    if metered {
        cost.fuel = store.get_fuel().ok().map(|left| FULL - left);
    }
    let result = result.map_err(|error| judged(store, limits, &error));
    (result, cost)
}

fn judged(store: &mut Store<Guest>, limits: Limits, error: &wasmtime::Error) -> CallError {
    if let Some(broken) = store.data_mut().budget.broken() {
        return broken;
    }
    let words = format!("{error:#}");
    // wasmtime has no type for this one.
    if words.contains("hostcall") && words.contains("fuel") {
        return CallError::TooMuch {
            limit_kib: limits.answer_kib,
        };
    }
    let said = store.data().journal.last_error();
    let words = match said {
        Some(said) => format!("{said} ({words})"),
        None => words,
    };
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    CallError::Trapped(one_line.chars().take(WORDS_MAX).collect())
}
