//! How a command fails, and with which exit code.

use crate::api::problem::Problem;
use holdfast_strict::TextError;

/// What the process returns. See `holdfast --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// It is not possible now; the reason was told.
    NotNow = 3,
    /// etcd has no majority.
    NoQuorum = 4,
    /// It was done, and answers are others than they were.
    Differs = 5,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A manager said no.
    #[error("{}", .0.detail)]
    Problem(Problem),
    /// A manager said no to what is in a file.
    #[error("{path}: {}{so_far}", .problem.detail)]
    FileRefused {
        /// Which file.
        path: String,
        /// Why.
        problem: Problem,
        /// What became of the other files of the same command.
        so_far: String,
    },
    /// A file is refused.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file's content makes no sense.
    #[error("{path}: {what}")]
    Content {
        /// Which.
        path: String,
        /// Why, and what to do.
        what: String,
    },
    /// No manager answers.
    #[error(
        "no manager answers:\n{tried}\nstart holdfast-manager, or name one that runs with \
         --api URL or HOLDFAST_API"
    )]
    Unreachable {
        /// Each endpoint with its error, one per line.
        tried: String,
    },
    /// A change was sent and no answer came.
    #[error(
        "{url} did not answer: {reason}. Nobody knows whether it happened: look before trying again"
    )]
    NoAnswer {
        /// Which manager.
        url: String,
        /// Why.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error(
        "{url} answered something else than expected: {reason}; is it a Holdfast manager of this version?"
    )]
    Answer {
        /// Which manager.
        url: String,
        /// Why.
        reason: String,
    },
    /// A lease volume is refused.
    #[error("{0}")]
    Lease(String),
    /// An extension cannot be made or looked at.
    #[error("{0}")]
    Extension(String),
    /// Something is wrong, and was shown.
    #[error("something is wrong: see above")]
    Sick,
    /// Answers are others than they were, and that was shown.
    #[error("answers differ: see above")]
    Differs,
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The operator said no.
    #[error("not confirmed; nothing was changed")]
    NotConfirmed,
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Write(std::io::Error),
}

impl CliError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NotConfirmed => Exit::NotNow,
            Self::Differs => Exit::Differs,
            Self::Problem(problem) | Self::FileRefused { problem, .. } => {
                match problem.code.as_str() {
                    "no-quorum" => Exit::NoQuorum,
                    "not-possible" | "stale-revision" | "contended" => Exit::NotNow,
                    _ => Exit::Failed,
                }
            }
            _ => Exit::Failed,
        }
    }
}
