//! The extensions of the cluster on this manager: which are installed, whether they can be asked here, and what
//! they cost.
//!
//! ```text
//! etcd ─watch─> installed ─> loader: fetch, check the digest, compile in a child ─> ready
//!                                 └─ failed: why                                      │
//! planner ─question─> advisor ─> kept answer, or ask within the decision's time <─────┤
//! daemon/tell ─events─> handler, on a thread of its own, in the leader <──────────────┘
//! ```
//! Every manager has them ready, not the leader alone: compiling takes seconds, which no failover has.

mod advisor;
pub mod cost;
#[cfg(feature = "extensions")]
mod kept;
#[cfg(feature = "extensions")]
pub mod loader;

use cost::Costs;
use holdfast_model::extension::{ExtensionKind, Installed, Readiness};
use holdfast_model::id::{ExtensionName, TargetName};
use holdfast_model::told::ToldSoFar;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[cfg(feature = "extensions")]
use holdfast_extension_host::{EventHandler, Placement, breaker::BreakerState};
#[cfg(feature = "extensions")]
use holdfast_model::extension::Rights;

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
    },
    #[cfg(feature = "extensions")]
    Events {
        handler: Arc<EventHandler>,
        digest: String,
    },
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
    /// On each manager that is present.
    pub managers: BTreeMap<String, Readiness>,
    /// What its calls cost on this manager.
    pub costs: cost::Shown,
    /// What the policy gives it for its roles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<TargetName, TargetName>,
    /// How far an event handler has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldSoFar>,
}

/// The SHA-256 of a component, in hexadecimal: its name wherever it is stored.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Slot {
    fn readiness(&self) -> Readiness {
        match &self.here {
            Here::Loading => Readiness::Loading,
            Here::Failed(why) => Readiness::Failed { why: why.clone() },
            #[cfg(feature = "extensions")]
            Here::Placement { placement, digest } => self.asked(placement.breaker(), digest),
            #[cfg(feature = "extensions")]
            Here::Events { handler, digest } => self.asked(handler.breaker(), digest),
        }
    }

    #[cfg(feature = "extensions")]
    fn asked(&self, breaker: BreakerState, digest: &str) -> Readiness {
        let digest = digest.to_owned();
        match breaker {
            BreakerState::Closed => Readiness::Ready { digest },
            BreakerState::Open(_) | BreakerState::Trial => Readiness::Resting {
                digest,
                why: self.costs.last_failure().unwrap_or_default(),
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
            Here::Events { handler, .. } => Some(handler.journal().lines().0),
            Here::Loading | Here::Failed(_) => None,
        }
    }

    /// An event handler, if it can be told here.
    #[cfg(feature = "extensions")]
    pub fn hearing(&self, name: &ExtensionName) -> Option<Hearing> {
        let slots = self.slots();
        let slot = slots.get(name)?;
        let Here::Events { handler, .. } = &slot.here else {
            return None;
        };
        Some(Hearing {
            handler: handler.clone(),
            rights: slot.installed.rights(),
            costs: slot.costs.clone(),
        })
    }

    /// Takes in what is installed now; gives those that are to be loaded. What runs goes on until the new one is
    /// ready: a rule that is being upgraded holds meanwhile.
    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed> {
        let mut slots = self.slots_mut();
        slots.retain(|name, _| installed.iter().any(|each| each.manifest.name == *name));
        let mut to_load = Vec::new();
        for each in installed {
            let name = each.manifest.name.clone();
            match slots.get_mut(&name) {
                Some(slot) if slot.installed == each => {}
                Some(slot) => {
                    slot.installed = each.clone();
                    to_load.push(each);
                }
                None => {
                    let slot = Slot {
                        installed: each.clone(),
                        here: Here::Loading,
                        costs: Arc::default(),
                    };
                    slots.insert(name, slot);
                    to_load.push(each);
                }
            }
        }
        to_load
    }

    fn set(&self, installed: &Installed, here: Here) {
        let mut slots = self.slots_mut();
        if let Some(slot) = slots.get_mut(&installed.manifest.name)
            && slot.installed == *installed
        {
            slot.here = here;
        }
    }

    /// Follows what is installed where nothing can be run: each fails, and says so.
    pub async fn follow_unable(
        &self,
        mut watched: holdfast_store::cache::Cache,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) {
        loop {
            let installed = watched.read(|view| {
                let all = view.extensions.values();
                all.map(|seen| seen.value.clone()).collect()
            });
            for each in self.take_in(installed) {
                let why = "extensions do not run on this manager; its log says why";
                self.set(&each, Here::Failed(why.to_owned()));
            }
            tokio::select! {
                () = watched.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// The kinds that this version runs.
    pub fn runs(kind: ExtensionKind) -> bool {
        matches!(kind, ExtensionKind::Placement | ExtensionKind::Events)
    }
}
