//! What can go wrong, in words that say what to do about it.

use std::path::{Path, PathBuf};

/// Result of the kit's functions.
pub type Result<T, E = KitError> = std::result::Result<T, E>;

/// Why an extension could not be started or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}", path = .path.display())]
    Io {
        /// "read", "create", …
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is not there or is refused.
    #[error(transparent)]
    Manifest(#[from] holdfast_strict::FileError),
    /// Nothing to build in the folder, or too much.
    #[error("{folder}: {what}", folder = .folder.display())]
    Sources {
        /// The extension's folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The author's own source is not what its world says, or fails when it is loaded.
    #[error("{place}: {what}", place = .place.display())]
    Source {
        /// The file.
        place: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// A folder to be made has something in it.
    #[error("{path} is there already and is not empty; give another name", path = .path.display())]
    Occupied {
        /// Which.
        path: PathBuf,
    },
    /// A compiler or its like is not installed.
    #[error("{what} is missing, needed for extensions in {language}; {how}")]
    Missing {
        /// The tool.
        what: String,
        /// Who needs it.
        language: crate::Language,
        /// How to get it.
        how: String,
    },
    /// A tool was run and failed.
    #[error("`{command}` {ended}{}", indented(.said))]
    Command {
        /// What was run.
        command: String,
        /// How it ended.
        ended: String,
        /// What it said, if that was not shown already.
        said: String,
    },
    /// The contracts beside the sources cannot be used.
    #[error("{place}: {what}")]
    Wit {
        /// The folder or file, with line and column if these are known.
        place: String,
        /// Why.
        what: String,
    },
    /// What a compiler made cannot become a component.
    #[error("{place}: not a component: {what}; it has to export what its world says", place = .place.display())]
    Component {
        /// The module.
        place: PathBuf,
        /// Why.
        what: String,
    },
    /// A component does not fit the contract of its kind.
    #[error("{place}: {what}; build it against the WIT of this Holdfast (`holdfast ext new` writes it)", place = .place.display())]
    Contract {
        /// The component.
        place: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It imports what no host of Holdfast has.
    #[error("{name} imports {}, which extensions do not get; remove what opens files, reads the clock or draws random numbers", .imports.join(", "))]
    Imports {
        /// The extension.
        name: String,
        /// The interfaces that are not Holdfast's.
        imports: Vec<String>,
    },
}

fn indented(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!(":\n  {}", said.replace('\n', "\n  ")),
    }
}

impl KitError {
    /// For `map_err`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    /// About the contracts.
    pub(crate) fn wit(place: &Path, error: impl std::fmt::Display) -> Self {
        Self::Wit {
            place: place.display().to_string(),
            what: error.to_string(),
        }
    }
}
