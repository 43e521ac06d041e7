//! The host misbehaves at a guest: what becomes of the guest, and that nothing becomes of the host.
//!
//! A drill in which the guest did nothing that could have met with it is told as none.
//!
//! The host fails if it panics, hangs, or cannot go on with the next question. A guest that only answers cannot fail
//! here, whatever it does; one that acts on the world does if it does not end within its limits, says what it was not
//! told (that a host is off), or that it did what cannot have been done.

use super::log::{Log, Writes};
use super::{TestSetup, events, fencing, placement, storage_check};
use crate::error::ExtensionError;
use crate::loaded::Loaded;
use holdfast_model::extension::{ExtensionKind, Manifest};
use serde::Serialize;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// One drill takes seconds; after this the host hangs.
const HANGS: Duration = Duration::from_secs(120);

/// One way of misbehaving, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drill {
    /// Its name.
    pub name: &'static str,
    /// What the host did.
    pub did: &'static str,
    /// What became of the guest; if it was not drilled, why not.
    pub happened: String,
    /// The host is well: it neither panicked nor hung, and goes on. And so is a guest of a kind that can fail.
    pub held: bool,
    /// What the host did had something to happen to.
    pub drilled: bool,
    /// What the guest wrote to its log meanwhile.
    pub log: Log,
}

/// What became of the guest; an error if the host is not well, or it failed.
pub(super) type Happened = Result<String, String>;

/// What came of a drill.
pub(super) enum Went {
    /// What became of the guest.
    Drilled(String),
    /// The guest did nothing that could have met with it; what that would have been.
    NotDrilled(&'static str),
}

impl From<String> for Went {
    fn from(happened: String) -> Self {
        Self::Drilled(happened)
    }
}

/// A drill's name, what the host does, and how it does that with what it is given.
pub(super) type Planned<S, W = String> = (&'static str, &'static str, fn(&S) -> Result<W, String>);

/// All drills of its kind. Each runs on a thread of its own that is left behind if it hangs. The setup is as
/// [`super::run`] has it.
///
/// # Errors
/// If it does not fit its contract.
pub fn run(
    loaded: &Loaded,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Vec<Drill>, ExtensionError> {
    match manifest.kind {
        ExtensionKind::Placement => placement::chaos::run(loaded, manifest),
        ExtensionKind::StorageCheck => storage_check::chaos::run(loaded, manifest, setup),
        ExtensionKind::Fencing => fencing::chaos::run(loaded, manifest, setup),
        ExtensionKind::Events => events::chaos::run(loaded, manifest),
    }
}

/// Carries them out, one after the other.
pub(super) fn all<S, W>(stage: S, drills: &[Planned<S, W>]) -> Vec<Drill>
where
    S: Writes + Send + Sync + 'static,
    W: Into<Went> + Send + 'static,
{
    let stage = Arc::new(stage);
    let drills = drills.iter().map(|(name, did, drill)| {
        let (on_stage, drill) = (Arc::clone(&stage), *drill);
        let went = watched(HANGS, move || drill(&on_stage).map(Into::into));
        let (held, drilled, happened) = match went {
            Ok(Went::Drilled(happened)) => (true, true, happened),
            Ok(Went::NotDrilled(why)) => (true, false, why.to_owned()),
            Err(wrong) => (false, true, wrong),
        };
        Drill {
            name,
            did,
            happened,
            held,
            drilled,
            log: stage.journals().take(name),
        }
    });
    drills.collect()
}

fn watched<W: Send + 'static>(
    most: Duration,
    drill: impl FnOnce() -> Result<W, String> + Send + 'static,
) -> Result<W, String> {
    let (tell, told) = channel();
    let thread = std::thread::Builder::new().name("ext-drill".to_owned());
    let started = thread.spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = tell.send(drill());
    });
    if let Err(error) = started {
        return Err(format!("no thread to try it on: {error}"));
    }
    match told.recv_timeout(most) {
        Ok(happened) => happened,
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("the host hangs: no end in {} s", most.as_secs()))
        }
        Err(RecvTimeoutError::Disconnected) => Err("the host panicked".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_hangs_or_panics_is_told() {
        let soon = Duration::from_millis(20);
        let hangs: Happened = watched(soon, || {
            std::thread::sleep(Duration::from_secs(2));
            Ok(String::new())
        });
        assert!(hangs.is_err_and(|words| words.contains("hangs")));
        let panics: Happened = watched(HANGS, || panic!("on purpose"));
        assert_eq!(panics, Err("the host panicked".to_owned()));
        let well = watched(HANGS, || Ok("well".to_owned()));
        assert_eq!(well, Ok("well".to_owned()));
    }
}
