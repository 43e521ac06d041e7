//! What runs of an extension on this manager, by its kind.

use holdfast_extension_host::breaker::BreakerState;
use holdfast_extension_host::journal::Journal;
use holdfast_extension_host::{EventHandler, ExtensionError, Fencing, Loaded, Placement};
use holdfast_model::extension::{ExtensionKind, Installed, Rights};
use std::sync::Arc;

/// A version that can be asked: the one before until the installed one is ready.
pub(super) struct Runs {
    pub guest: Guest,
    pub digest: String,
    pub version: String,
    /// What it may: its own, not those of the version that is being loaded.
    pub rights: Rights,
}

/// By its kind.
pub(super) enum Guest {
    Placement(Arc<Placement>),
    Fencing(Arc<Fencing>),
    Events(Arc<EventHandler>),
}

impl Runs {
    /// Of an installed extension.
    pub(super) fn new(installed: &Installed, loaded: &Loaded) -> Result<Self, ExtensionError> {
        let (limits, rights) = (installed.limits(), installed.rights());
        let guest = match installed.manifest.kind {
            ExtensionKind::Placement => {
                Guest::Placement(Arc::new(Placement::new(loaded, limits, rights.log)?))
            }
            ExtensionKind::Fencing => Guest::Fencing(Arc::new(Fencing::new(loaded, limits)?)),
            ExtensionKind::Events => Guest::Events(Arc::new(EventHandler::new(loaded, limits)?)),
            kind => {
                return Err(ExtensionError::Contract {
                    what: format!("this version does not run extensions for {kind} on managers"),
                    advice: "upgrade Holdfast, or remove it".to_owned(),
                });
            }
        };
        Ok(Self {
            guest,
            digest: installed.digest.clone(),
            version: installed.manifest.version.clone(),
            rights,
        })
    }
}

impl Guest {
    /// What it wrote to its log here.
    pub(super) fn journal(&self) -> &Journal {
        match self {
            Self::Placement(placement) => placement.journal(),
            Self::Fencing(fencing) => fencing.journal(),
            Self::Events(handler) => handler.journal(),
        }
    }

    /// Whether it is asked at present. One for fencing always is.
    pub(super) fn breaker(&self) -> BreakerState {
        match self {
            Self::Placement(placement) => placement.breaker(),
            Self::Fencing(_) => BreakerState::Closed,
            Self::Events(handler) => handler.breaker(),
        }
    }
}
