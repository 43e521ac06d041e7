//! The authoring kit: starts an extension ([`new`]) and builds it into a component ([`build`]).
//!
//! It runs no extension and has no sandbox in it, so that what only builds stays small. An extension is a
//! folder with an `extension.toml` and sources in Rust, JavaScript, Python or C; whatever the language, the
//! component imports interfaces of Holdfast and nothing else: no file, no socket, no clock.

pub mod build;
pub mod componentize;
pub mod contract;
mod error;
mod folder;
mod language;
pub mod new;
mod run;
pub mod sources;
mod templates;
mod tools;
pub mod wit;

pub use build::{Built, Options, build};
pub use componentize::{Surface, componentize, surface};
pub use contract::fits;
pub use error::{KitError, Result};
pub use folder::Folder;
pub use holdfast_model::extension::MANIFEST;
pub use language::Language;
pub use new::{Start, new};
pub use tools::{Tools, find};
