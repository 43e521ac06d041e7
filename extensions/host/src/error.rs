//! What can be wrong with an extension, and what became of a call: what, where, and what to do.

use holdfast_model::id::HostName;
use std::path::PathBuf;
use std::time::Duration;

/// Why an extension cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// This machine cannot run any.
    #[error("extensions cannot be run here: {0}")]
    Engine(String),
    /// It is larger than allowed.
    #[error("the component has {bytes} bytes; at most {most} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        most: u64,
    },
    /// It is no component.
    #[error("it is no WASM component: {0}; build it with `holdfast ext build`")]
    NotAComponent(String),
    /// It does not fit what it says of itself, or the contract.
    #[error("{what}; {advice}")]
    Contract {
        /// What is wrong.
        what: String,
        /// What to do.
        advice: String,
    },
    /// It could not be compiled.
    #[error("compiling it failed: {0}")]
    Compile(String),
    /// The cache of compiled code cannot be trusted or used.
    #[error("{path}: {what}")]
    Cache {
        /// Where.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl ExtensionError {
    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }

    /// A component whose functions are not of the types that its kind has.
    pub(crate) fn misfit(error: wasmtime::Error) -> Self {
        Self::contract(
            format!("it does not fit its contract: {error:#}"),
            "build it against the WIT of this Holdfast (`holdfast ext new` writes it)",
        )
    }

    pub(crate) fn contract(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Contract {
            what: what.into(),
            advice: advice.into(),
        }
    }
}

/// Why an answer makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// It is one for more or fewer than were asked about.
    #[error("{found} {what} for {candidates} candidates")]
    Count {
        /// "verdicts", "scores".
        what: &'static str,
        /// So many.
        found: usize,
        /// For so many.
        candidates: usize,
    },
    /// It refuses what it was not asked about.
    #[error("it refuses candidate {position}, counted from 0, of {candidates}")]
    Position {
        /// This one.
        position: u32,
        /// Of so many.
        candidates: usize,
    },
    /// It refuses one more than once.
    #[error("it refuses {host} twice")]
    Twice {
        /// This one.
        host: HostName,
    },
    /// A score is none.
    #[error("{score} for {host} is not from 0 to 100")]
    Score {
        /// The number, as text: it may be none.
        score: String,
        /// For this host.
        host: HostName,
    },
}

/// Why a call has no answer. None of them says anything about what the call was to find out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It trapped.
    #[error("it trapped: {0}")]
    Trapped(String),
    /// It computed for too long.
    #[error("it used {used_ms} ms of CPU; {limit_ms} ms are allowed")]
    CpuTime {
        /// So long.
        used_ms: u64,
        /// So much was allowed.
        limit_ms: u64,
    },
    /// It took too long.
    #[error("no answer in {limit_ms} ms")]
    WallTime {
        /// So much was allowed.
        limit_ms: u64,
    },
    /// It wanted more memory than it may have.
    #[error("it wanted {wanted_mib} MiB of memory; {limit_mib} MiB are allowed")]
    Memory {
        /// So much.
        wanted_mib: u64,
        /// So much was allowed.
        limit_mib: u64,
    },
    /// It handed over more than it may.
    #[error("it handed over more than {limit_kib} KiB")]
    TooMuch {
        /// So much was allowed.
        limit_kib: u64,
    },
    /// The answer makes no sense.
    #[error("its answer makes no sense: {0}")]
    Nonsense(Nonsense),
    /// It says itself that it has none.
    #[error("it says: {0}")]
    Refused(String),
    /// It was not asked.
    #[error("it failed too often and is not asked for {} s", wait.as_secs().max(1))]
    Resting {
        /// For so long from now on.
        wait: Duration,
    },
    /// A defect of the host.
    #[error("asking it failed: {0}")]
    Host(String),
}
