//! A running guest: its store, its budget, its log, and how a call to it is made and judged.

use crate::budget::{Budget, Cost};
use crate::error::{CallError, ExtensionError};
use crate::journal::{Journal, Level};
use crate::loaded::Loaded;
use crate::outside::{Reach, add_to};
use holdfast_model::extension::{ExtensionKind, Limits};
use holdfast_model::time::UnixMs;
use std::time::{Instant, SystemTime};
use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store, WasmBacktrace};

/// Longest words of a trap that are told, in characters.
const WORDS_MAX: usize = 600;
/// So many of its functions are told, the innermost first.
const FRAMES_MAX: usize = 3;
/// Fuel is for counting: none runs out of so much.
const FULL: u64 = u64::MAX;

/// What host functions find in a store.
pub(crate) struct Guest {
    pub budget: Budget,
    pub journal: Journal,
    pub reach: Reach,
    /// Its engine counts what it executes.
    pub metered: bool,
}

impl Guest {
    /// The guest writes to its log.
    pub(crate) fn log(&mut self, level: Level, text: &str) {
        if self.reach.rights.log {
            self.journal.write(now(), level, text);
        }
    }

    /// The host has something to say there, whether or not it may write itself.
    pub(crate) fn note(&mut self, text: &str) {
        self.journal.write(now(), Level::Warn, text);
    }

    /// Until then its present call may wait for somebody else.
    pub(crate) fn until(&self) -> Instant {
        self.budget.until()
    }
}

fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

/// A component with what there is for its kind, ready to be started.
///
/// # Errors
/// If it is of another kind, or does not fit the contract.
pub(crate) fn linked(
    loaded: &Loaded,
    kind: ExtensionKind,
) -> Result<InstancePre<Guest>, ExtensionError> {
    let found = loaded.surface().kind;
    if found != kind {
        return Err(ExtensionError::contract(
            format!("it is for {found}, not for {kind}"),
            "install it under its own kind",
        ));
    }
    let mut linker: Linker<Guest> = Linker::new(loaded.engine());
    add_to(&mut linker, kind).map_err(ExtensionError::engine)?;
    linker
        .instantiate_pre(loaded.component())
        .map_err(ExtensionError::misfit)
}

/// A store for one guest.
pub(crate) fn store(
    engine: &Engine,
    limits: Limits,
    journal: Journal,
    reach: Reach,
    metered: bool,
) -> Store<Guest> {
    let guest = Guest {
        budget: Budget::new(limits),
        journal,
        reach,
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
    let chain = format!("{error:#}");
    // wasmtime has no type for this one.
    if chain.contains("hostcall") && chain.contains("fuel") {
        return CallError::TooMuch {
            limit_kib: limits.answer_kib,
        };
    }
    let why = match error.downcast_ref::<WasmBacktrace>() {
        Some(trace) => format!("{}{}", error.root_cause(), frames(trace)),
        None => chain,
    };
    let words = match store.data().journal.last_error() {
        Some(said) => format!("{said} ({why})"),
        None => why,
    };
    let one_line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    CallError::Trapped(one_line.chars().take(WORDS_MAX).collect())
}

/// Where it was, as far as that is its author's code: what comes from a language's own library is no help.
fn frames(trace: &WasmBacktrace) -> String {
    let symbols = trace.frames().iter().flat_map(|frame| frame.symbols());
    let own = symbols.filter_map(|symbol| {
        let (name, file) = (symbol.name()?, symbol.file()?);
        let line = symbol.line().unwrap_or(0);
        (!file.starts_with("/rustc/")).then(|| format!("{name} at {file}:{line}"))
    });
    let own: Vec<String> = own.take(FRAMES_MAX).collect();
    match own.is_empty() {
        true => String::new(),
        false => format!("; in {}", own.join(", in ")),
    }
}
