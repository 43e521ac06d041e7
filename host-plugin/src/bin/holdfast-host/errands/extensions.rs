//! Extensions for fencing on this host: which are installed, and whether they can be asked here.

use holdfast_extension_host::{ExtensionError, Fencing, Loaded};
use holdfast_extension_ready::cost::Costs;
use holdfast_extension_ready::{Prepares, Users, Workshop, follow, follow_unable};
use holdfast_fence::web::{Journal, WebTargets};
use holdfast_fence::{FencingHere, ReadyFencing, Web};
use holdfast_host::config::Config;
use holdfast_model::extension::{ExtensionKind, Installed, Rights};
use holdfast_model::files::{ExtensionsEngine, FenceFile};
use holdfast_model::id::{ExtensionName, SiteName};
use holdfast_store::api::Store;
use holdfast_store::cache::Cache;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All of them.
pub struct Extensions {
    site: SiteName,
    code_dir: PathBuf,
    engine: ExtensionsEngine,
    /// Nothing names a target or a program: none could do anything.
    idle: bool,
    slots: Mutex<BTreeMap<ExtensionName, Slot>>,
}

/// One.
struct Slot {
    installed: Installed,
    /// What is asked: the version before, until the installed one is ready.
    ready: Option<Runs>,
    /// Why the installed one cannot be asked here.
    failed: Option<String>,
    costs: Arc<Costs>,
}

struct Runs {
    fencing: Arc<Fencing>,
    rights: Rights,
}

impl Extensions {
    /// For this host.
    pub fn new(config: &Config, file: &FenceFile) -> Self {
        Self {
            site: config.site.clone(),
            code_dir: file.extensions_dir.clone(),
            engine: config.extensions_engine,
            idle: file.targets.is_empty() && file.fence_agents.is_empty(),
            slots: Mutex::default(),
        }
    }

    /// Gets them ready until the agent ends.
    pub async fn keep(&self, store: &dyn Store, watched: Cache, mut stop: watch::Receiver<bool>) {
        if self.idle {
            return;
        }
        match Workshop::open_or_tell(&self.code_dir, self.engine) {
            Some(workshop) => follow(self, &workshop, store, watched, stop).await,
            None => {
                let why = "extensions do not run on this host; its agent's log says why";
                follow_unable(self, watched, &mut stop, why).await;
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<ExtensionName, Slot>> {
        // Each change is complete before anything in it could panic.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the slot of one, if it is still the one that is installed.
    fn change(&self, installed: &Installed, change: impl FnOnce(&mut Slot)) {
        let mut slots = self.slots();
        let slot = slots.get_mut(&installed.manifest.name);
        if let Some(slot) = slot.filter(|slot| slot.installed == *installed) {
            change(slot);
        }
    }
}

/// Where is written what extensions have this host send and run. None: it cannot be, and so they have nothing sent and
/// nothing run.
pub fn journal(file: &FenceFile) -> Option<Arc<Journal>> {
    if file.targets.is_empty() && file.fence_agents.is_empty() {
        return None;
    }
    let opened = Journal::open(&file.requests_file).inspect_err(|error| {
        tracing::error!(
            path = %file.requests_file.display(), %error,
            "extensions cannot send requests or have programs run: that could not be written down; correct \
             `requests_file` in fence.toml"
        );
    });
    opened.ok().map(Arc::new)
}

/// The targets of the file; tells what is wrong with them.
pub fn web(file: &FenceFile, journal: Arc<Journal>) -> Web {
    let (targets, secrets) = (file.targets.clone(), file.fence_secrets.clone());
    let targets = WebTargets::new(targets, secrets, journal);
    for fault in targets.faults() {
        tracing::warn!("{fault}");
    }
    Arc::new(targets)
}

impl FencingHere for Extensions {
    fn fencing(&self, name: &ExtensionName) -> Result<ReadyFencing, String> {
        let slots = self.slots();
        let slot = slots.get(name).ok_or_else(|| {
            format!("extension {name} is not installed; `holdfast ext install` does it")
        })?;
        match (&slot.ready, &slot.failed) {
            (Some(runs), _) => Ok(ReadyFencing {
                fencing: runs.fencing.clone(),
                rights: runs.rights.clone(),
                costs: slot.costs.clone(),
            }),
            (None, Some(why)) => Err(format!("extension {name} cannot run on this host: {why}")),
            (None, None) => Err(format!("extension {name} is being loaded on this host")),
        }
    }

    fn ready(&self) -> BTreeSet<ExtensionName> {
        let slots = self.slots();
        let ready = slots.iter().filter(|(_, slot)| slot.ready.is_some());
        ready.map(|(name, _)| name.clone()).collect()
    }
}

impl Users for Extensions {
    fn want(&self, installed: &Installed) -> bool {
        installed.manifest.kind == ExtensionKind::Fencing
    }

    /// A new version may be for another site first.
    fn followed<'v>(&self, view: &'v View) -> Vec<&'v Installed> {
        let all = view.extensions.values();
        all.map(|seen| seen.value.at_site(&self.site)).collect()
    }

    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed> {
        let mut slots = self.slots();
        slots.retain(|name, _| installed.iter().any(|each| each.manifest.name == *name));
        let mut to_load = Vec::new();
        for each in installed {
            match slots.get_mut(&each.manifest.name) {
                Some(slot) if slot.installed == each => continue,
                Some(slot) => {
                    slot.installed = each.clone();
                    slot.failed = None;
                }
                None => {
                    let slot = Slot {
                        installed: each.clone(),
                        ready: None,
                        failed: None,
                        costs: Arc::default(),
                    };
                    slots.insert(each.manifest.name.clone(), slot);
                }
            }
            to_load.push(each);
        }
        to_load
    }

    fn failed(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| slot.failed = Some(why));
    }

    fn distrust(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| {
            slot.ready = None;
            slot.failed = Some(why);
        });
    }
}

impl Prepares for Extensions {
    fn prepare(&self, installed: &Installed, loaded: &Loaded) -> Result<(), ExtensionError> {
        let runs = Runs {
            fencing: Arc::new(Fencing::new(loaded, installed.limits())?),
            rights: installed.rights(),
        };
        self.change(installed, |slot| {
            slot.ready = Some(runs);
            slot.failed = None;
        });
        Ok(())
    }
}
