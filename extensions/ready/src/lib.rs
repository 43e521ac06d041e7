//! Gets installed extensions ready on this machine, for managers and agents alike.
//!
//! ```text
//! etcd ─watch─> installed ─wanted here?─> signed by one of the policy's? ─no, or the policy─> distrusted: not asked
//!                                            │                          cannot be read
//!                 fetch, check the digest, compile in a child ─> Prepares: ready to be asked
//!                   └─ failed: why (the version before is asked on)
//! ```
//! - [`follow`]: what is installed, for ever; [`Users`] and [`Prepares`]: who asks extensions here
//! - [`Workshop`]: what compiles, and keeps machine code for the next start
//! - [`cost`]: what calls cost
//! - [`shadow`]: versions that are asked beside the installed ones and not heeded
//!
//! Without the feature `run` there is no sandbox: what is installed is followed, and fails.
//!
//! What is absent: which extensions are asked, and what: that is for [`Users`] to know.
#![warn(missing_docs)]

pub mod cost;
mod follow;
#[cfg(test)]
mod made_up;
pub mod shadow;
#[cfg(feature = "run")]
mod workshop;

#[cfg(feature = "run")]
pub use follow::{Prepares, follow};
pub use follow::{Users, follow_unable};
#[cfg(feature = "run")]
pub use workshop::{COMPILE, LoadError, Workshop, child};

/// Nothing can be run here.
#[cfg(not(feature = "run"))]
#[derive(Debug, Clone)]
pub enum Workshop {}

#[cfg(not(feature = "run"))]
impl Workshop {
    /// There is none.
    pub fn open_or_tell(
        _: &std::path::Path,
        _: holdfast_model::files::ExtensionsEngine,
    ) -> Option<Self> {
        None
    }
}
