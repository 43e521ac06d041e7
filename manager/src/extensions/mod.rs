//! The extensions of the cluster on this manager: which are installed, whether they can be asked here, and what
//! they cost.
//!
//! ```text
//! etcd ─watch─> installed ─> loader: fetch, check the digest, compile in a child ─> ready
//!                                 └─ failed: why                                      │
//! planner ─question─> advisor ─> kept answer, or ask within the decision's time <─────┤
//! daemon/tell ─events─> handler, on a thread of its own, in the leader <──────────────┘
//!
//! question and answer ─(after the decision)─> shadow: another version, compared and not heeded
//!                     └─(of the leader)──────> decisions: the newest are kept, to be asked again elsewhere
//! ```
//! Every manager has them ready, not the leader alone: compiling takes seconds, which no failover has.

mod advisor;
mod decisions;
#[cfg(feature = "extensions")]
mod kept;
mod loader;
#[cfg(feature = "extensions")]
mod runs;
mod shadow;

pub use decisions::{Decided, Decisions, DecisionsHere, Noted};
pub use holdfast_extension_ready::cost;
pub use holdfast_model::component::digest;
pub use shadow::ShadowShown;

use cost::Costs;
use holdfast_fence::FencingHere;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::{ExtensionName, HostName, ManagerName, SignerName, SiteName, TargetName};
use holdfast_model::standing::{OnHost, Readiness};
use holdfast_model::told::ToldSoFar;
use serde::{Deserialize, Serialize};
use shadow::Trial;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "extensions")]
use holdfast_extension_host::{EventHandler, breaker::BreakerState};
#[cfg(feature = "extensions")]
use holdfast_fence::ReadyFencing;
#[cfg(feature = "extensions")]
use holdfast_model::extension::Rights;
#[cfg(feature = "extensions")]
use runs::{Guest, Runs};

/// All of them. Shared by the planner, the API and the loader.
#[derive(Default)]
pub struct Extensions {
    slots: RwLock<BTreeMap<ExtensionName, Slot>>,
    #[cfg(feature = "extensions")]
    kept: kept::Kept,
    /// Versions that are asked beside them and not heeded.
    pub(crate) shadows: holdfast_extension_ready::shadow::Shadows<Trial>,
    /// What was asked while this manager led.
    pub decisions: Decisions,
    /// Where this manager stands: a new version may be for another site first.
    site: OnceLock<SiteName>,
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
    Ready(Runs),
}

/// An event handler that can be told, and what belongs to it.
#[cfg(feature = "extensions")]
pub struct Hearing {
    /// It.
    pub handler: Arc<EventHandler>,
    /// What it may do.
    pub rights: Rights,
    /// What its calls cost.
    pub costs: Arc<Costs>,
}

/// One, as the API tells of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shown {
    /// As installed.
    pub installed: Installed,
    /// What it may do: granted, and asked for.
    pub rights: Vec<String>,
    /// What it asks for and was not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_granted: Vec<String>,
    /// On each manager that is present, if managers ask it.
    pub managers: BTreeMap<String, Readiness>,
    /// Managers that are to ask it and do not answer now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<ManagerName>,
    /// On each host whose configuration names it.
    #[serde(default)]
    pub hosts: BTreeMap<HostName, OnHost>,
    /// What its calls cost on this manager.
    pub costs: cost::Shown,
    /// What the policy gives it for its roles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<TargetName, TargetName>,
    /// How far an event handler has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldSoFar>,
    /// The version that is asked beside it and not heeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowShown>,
    /// Who vouches for it, as the policy names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerName>,
}

impl Slot {
    /// The version that is asked.
    fn version(&self) -> &str {
        match &self.here {
            #[cfg(feature = "extensions")]
            Here::Ready(runs) => &runs.version,
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
            Here::Ready(runs) => self.asked(runs),
        }
    }

    #[cfg(feature = "extensions")]
    fn asked(&self, runs: &Runs) -> Readiness {
        let digest = runs.digest.clone();
        if let Some(why) = &self.failed {
            return Readiness::Failed {
                why: why.clone(),
                before: Some(digest),
            };
        }
        match runs.guest.breaker() {
            BreakerState::Closed => Readiness::Ready { digest },
            BreakerState::Open(_) | BreakerState::Trial => Readiness::Resting {
                digest,
                why: self.costs.last_failure().unwrap_or_default(),
            },
        }
    }
}

impl Extensions {
    /// Where this manager stands; told once, before anything is followed.
    pub fn stands_at(&self, site: SiteName) {
        // A second word is that of the same daemon.
        self.site.set(site).ok();
    }

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
            Here::Ready(runs) => Some(runs.guest.journal().lines().0),
            Here::Loading | Here::Failed(_) => None,
        }
    }

    /// What its shadow wrote to its log here, the newest last; none if that does not run here.
    #[cfg(feature = "extensions")]
    pub fn shadow_log(
        &self,
        name: &ExtensionName,
    ) -> Option<Vec<holdfast_extension_host::journal::Line>> {
        let trial = self.shadows.ready(name)?;
        Some(trial.journal().lines().0)
    }

    /// An event handler, if it can be told here.
    #[cfg(feature = "extensions")]
    pub fn hearing(&self, name: &ExtensionName) -> Option<Hearing> {
        let slots = self.slots();
        let slot = slots.get(name)?;
        let Here::Ready(runs) = &slot.here else {
            return None;
        };
        let Guest::Events(handler) = &runs.guest else {
            return None;
        };
        Some(Hearing {
            handler: handler.clone(),
            rights: runs.rights.clone(),
            costs: slot.costs.clone(),
        })
    }

    /// Whether managers ask extensions of this kind. Storage checks are asked by the hosts.
    fn asks(kind: ExtensionKind) -> bool {
        kind != ExtensionKind::StorageCheck
    }
}

impl FencingHere for Extensions {
    #[cfg(feature = "extensions")]
    fn fencing(&self, name: &ExtensionName) -> Result<ReadyFencing, String> {
        let slots = self.slots();
        let slot = slots.get(name).ok_or_else(|| {
            format!("extension {name} is not installed; `holdfast ext install` does it")
        })?;
        let runs = match &slot.here {
            Here::Ready(runs) => runs,
            Here::Loading => {
                return Err(format!("extension {name} is being loaded on this manager"));
            }
            Here::Failed(why) => {
                return Err(format!(
                    "extension {name} cannot run on this manager: {why}"
                ));
            }
        };
        let Guest::Fencing(fencing) = &runs.guest else {
            return Err(format!("extension {name} is not for fencing"));
        };
        Ok(ReadyFencing {
            fencing: fencing.clone(),
            rights: runs.rights.clone(),
            costs: slot.costs.clone(),
        })
    }

    #[cfg(feature = "extensions")]
    fn ready(&self) -> BTreeSet<ExtensionName> {
        let slots = self.slots();
        let ready = |slot: &Slot| matches!(&slot.here, Here::Ready(runs) if matches!(runs.guest, Guest::Fencing(_)));
        let found = slots.iter().filter(|(_, slot)| ready(slot));
        found.map(|(name, _)| name.clone()).collect()
    }

    #[cfg(not(feature = "extensions"))]
    fn ready(&self) -> BTreeSet<ExtensionName> {
        BTreeSet::new()
    }
}
