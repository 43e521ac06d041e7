//! The extensions of the cluster on this manager: which are installed, whether they can be asked here, and what
//! they cost.
//!
//! ```text
//! etcd ─watch─> installed ─> loader: fetch, check the digest, compile in a child ─> ready
//!                                 └─ failed: why                                      │
//! planner ─question─> advisor ─> kept answer, or ask within the decision's time <─────┘
//! ```
//! Every manager has them ready, not the leader alone: compiling takes seconds, which no failover has.

mod advisor;
#[cfg(feature = "extensions")]
mod kept;
mod loader;

pub use holdfast_extension_ready::cost;
pub use holdfast_model::component::digest;

use cost::Costs;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::{ExtensionName, HostName};
use holdfast_model::standing::{OnHost, Readiness};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "extensions")]
use holdfast_extension_host::{Placement, breaker::BreakerState};

/// All of them. Shared by the planner, the API and the loader.
#[derive(Default)]
pub struct Extensions {
    slots: RwLock<BTreeMap<ExtensionName, Slot>>,
    #[cfg(feature = "extensions")]
    kept: kept::Kept,
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.readiness()).finish()
    }
}

/// One.
struct Slot {
    installed: Installed,
    here: Here,
    /// Why the installed one cannot run here, while the version before does.
    failed: Option<String>,
    costs: Arc<Costs>,
}

/// How it stands on this manager.
enum Here {
    Loading,
    Failed(String),
    #[cfg(feature = "extensions")]
    Placement {
        placement: Arc<Placement>,
        /// Of what runs, which is the one before until the installed one is ready.
        digest: String,
        /// Of the same.
        version: String,
    },
}

/// One, as the API tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// As installed.
    pub installed: Installed,
    /// What it may do: granted, and asked for.
    pub rights: Vec<String>,
    /// On each manager that is present, if managers ask it.
    pub managers: BTreeMap<String, Readiness>,
    /// On each host whose configuration names it.
    #[serde(default)]
    pub hosts: BTreeMap<HostName, OnHost>,
    /// What its calls cost on this manager.
    pub costs: cost::Shown,
}

impl Slot {
    /// The version that is asked.
    fn version(&self) -> &str {
        match &self.here {
            #[cfg(feature = "extensions")]
            Here::Placement { version, .. } => version,
            _ => &self.installed.manifest.version,
        }
    }

    fn readiness(&self) -> Readiness {
        match &self.here {
            Here::Loading => Readiness::Loading,
            Here::Failed(why) => Readiness::Failed {
                why: why.clone(),
                before: None,
            },
            #[cfg(feature = "extensions")]
            Here::Placement { digest, .. } if self.failed.is_some() => Readiness::Failed {
                why: self.failed.clone().unwrap_or_default(),
                before: Some(digest.clone()),
            },
            #[cfg(feature = "extensions")]
            Here::Placement {
                placement, digest, ..
            } => match placement.breaker() {
                BreakerState::Closed => Readiness::Ready {
                    digest: digest.clone(),
                },
                BreakerState::Open(_) | BreakerState::Trial => Readiness::Resting {
                    digest: digest.clone(),
                    why: self.costs.last_failure().unwrap_or_default(),
                },
            },
        }
    }
}

impl Extensions {
    fn slots(&self) -> RwLockReadGuard<'_, BTreeMap<ExtensionName, Slot>> {
        // Each change is one insertion or removal.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<ExtensionName, Slot>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How each stands here.
    pub fn readiness(&self) -> BTreeMap<ExtensionName, Readiness> {
        let slots = self.slots();
        let each = slots.iter();
        each.map(|(name, slot)| (name.clone(), slot.readiness()))
            .collect()
    }

    /// What one's calls cost here.
    pub fn costs(&self, name: &ExtensionName) -> cost::Shown {
        let slots = self.slots();
        slots
            .get(name)
            .map(|slot| slot.costs.shown(slot.installed.limits()))
            .unwrap_or_default()
    }

    /// What one wrote to its log here, the newest last; none if it does not run here.
    #[cfg(feature = "extensions")]
    pub fn log(&self, name: &ExtensionName) -> Option<Vec<holdfast_extension_host::journal::Line>> {
        match &self.slots().get(name)?.here {
            Here::Placement { placement, .. } => Some(placement.journal().lines().0),
            Here::Loading | Here::Failed(_) => None,
        }
    }

    /// Whether this version runs extensions of this kind, here or on the hosts.
    pub fn runs(kind: ExtensionKind) -> bool {
        matches!(kind, ExtensionKind::Placement | ExtensionKind::StorageCheck)
    }

    /// Whether managers ask extensions of this kind. Storage checks are asked by the hosts.
    fn asks(kind: ExtensionKind) -> bool {
        kind != ExtensionKind::StorageCheck
    }
}
