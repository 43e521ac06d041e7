//! The check of the storage by an extension: which one, whether it can be asked here, and what its answers mean.
//! In this program and not in the library: the guard shares that, and locks all that it links into memory.
//!
//! A check that does not work is no reason to stop what runs: without an answer the storage is unknown, and never
//! unusable.

mod looks;
mod shadow;

use async_trait::async_trait;
use holdfast_extension_host::breaker::BreakerState;
use holdfast_extension_host::journal::Journal;
use holdfast_extension_host::outside::{Probes, Reach};
use holdfast_extension_host::storage_check::{Answer, Domain, Findings};
use holdfast_extension_host::{CallError, ExtensionError, Loaded, StorageCheck};
use holdfast_extension_ready::cost::Costs;
use holdfast_extension_ready::shadow::Shadows;
use holdfast_extension_ready::{Prepares, Users, Workshop, follow, follow_unable};
use holdfast_host::agent::storage::Check;
use holdfast_host::config::{Config, StorageCheck as Wanted};
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::files::{ExtensionsEngine, OWN_PATH};
use holdfast_model::host::StorageState;
use holdfast_model::id::{ExtensionName, Incarnation, SiteName};
use holdfast_model::standing::{HostExtensions, Level, Line, OnHost, Readiness};
use holdfast_store::api::Store;
use holdfast_store::cache::Cache;
use holdfast_store::view::View;
use looks::Looks;
use shadow::Trial;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What a call may take beyond its own limit, in which it ends by itself: a busy machine.
const SPARE: Duration = Duration::from_secs(2);
/// While there is nothing to ask.
const NOTHING: Duration = Duration::from_secs(1);
/// Lines of its log that are told.
const LINES: usize = 20;

/// The extension that host.toml names.
pub struct Checker {
    name: ExtensionName,
    site: SiteName,
    domain: Domain,
    looks: Arc<Looks>,
    code_dir: PathBuf,
    engine: ExtensionsEngine,
    /// None: nobody has heard yet what is installed.
    slot: Mutex<Option<Found>>,
    /// The version that is asked beside it and not heeded.
    shadows: Shadows<Trial>,
    changed: Notify,
}

/// What is installed under that name, if anything is.
type Found = Option<Slot>;

/// It.
struct Slot {
    installed: Installed,
    /// What is asked: the version before, until the installed one is ready.
    asked: Option<Asked>,
    /// Why the installed one cannot be asked here.
    failed: Option<String>,
    costs: Arc<Costs>,
}

/// Ready to be asked.
#[derive(Clone)]
struct Asked {
    check: Arc<StorageCheck>,
    digest: String,
    bound: Duration,
}

impl Checker {
    /// None: no extension is configured.
    pub fn of(config: &Config) -> Option<Self> {
        let storage = &config.storage;
        if storage.check != Wanted::Extension {
            return None;
        }
        Some(Self {
            name: storage.extension.clone()?,
            site: config.site.clone(),
            domain: domain(config)?,
            looks: Arc::new(Looks::of(config)),
            code_dir: config.extensions_dir.clone(),
            engine: config.extensions_engine,
            slot: Mutex::default(),
            shadows: Shadows::new(shadow::Means::of(config)?),
            changed: Notify::new(),
        })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Found>> {
        // Each change is complete before anything in it could panic.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, installed: &Installed, change: impl FnOnce(&mut Slot)) {
        let mut slot = self.slot();
        let there = slot.as_mut().and_then(Option::as_mut);
        if let Some(slot) = there.filter(|slot| slot.installed == *installed) {
            change(slot);
        }
        drop(slot);
        self.changed.notify_one();
    }

    /// How it does here; none as long as nobody has heard what is installed.
    fn on_host(&self) -> Option<OnHost> {
        let slot = self.slot();
        let Some(slot) = slot.as_ref()? else {
            return Some(OnHost::default());
        };
        Some(OnHost {
            readiness: Some(slot.readiness()),
            costs: slot.costs.shown(slot.installed.limits()),
            log: slot.asked.as_ref().map_or_else(Vec::new, Asked::log),
            shadow: self.shadows.standings().remove(&self.name).map(Box::new),
        })
    }
}

impl Asked {
    fn log(&self) -> Vec<Line> {
        newest(self.check.journal())
    }
}

/// The newest warnings and errors, each once in a row.
fn newest(journal: &Journal) -> Vec<Line> {
    let (mut lines, _) = journal.lines();
    lines.retain(|line| line.level >= Level::Warn);
    lines.reverse();
    lines.dedup_by(|older, newer| older.text == newer.text);
    lines.truncate(LINES);
    lines.reverse();
    lines
}

impl Slot {
    fn readiness(&self) -> Readiness {
        match (&self.failed, &self.asked) {
            (Some(why), asked) => Readiness::Failed {
                why: why.clone(),
                before: asked.as_ref().map(|asked| asked.digest.clone()),
            },
            (None, None) => Readiness::Loading,
            (None, Some(asked)) => match asked.check.breaker() {
                BreakerState::Closed => Readiness::Ready {
                    digest: asked.digest.clone(),
                },
                BreakerState::Open(_) | BreakerState::Trial => Readiness::Resting {
                    digest: asked.digest.clone(),
                    why: self.costs.last_failure().unwrap_or_default(),
                },
            },
        }
    }
}

impl Users for Checker {
    fn want(&self, installed: &Installed) -> bool {
        installed.manifest.name == self.name
    }

    /// A new version may be for another site first.
    fn followed<'v>(&self, view: &'v View) -> Vec<&'v Installed> {
        let all = view.extensions.values();
        all.map(|seen| seen.value.at_site(&self.site)).collect()
    }

    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed> {
        let mut slot = self.slot();
        let Some(wanted) = installed.into_iter().next() else {
            *slot = Some(None);
            self.changed.notify_one();
            return Vec::new();
        };
        let kind = wanted.manifest.kind;
        let misfit = (kind != ExtensionKind::StorageCheck)
            .then(|| format!("it is for {kind}, and host.toml wants it as a storage check"));
        match &mut *slot {
            Some(Some(slot)) if slot.installed == wanted => return Vec::new(),
            Some(Some(slot)) => {
                slot.installed = wanted.clone();
                slot.failed = misfit.clone();
            }
            slot => {
                *slot = Some(Some(Slot {
                    installed: wanted.clone(),
                    asked: None,
                    failed: misfit.clone(),
                    costs: Arc::default(),
                }));
            }
        }
        match misfit {
            None => vec![wanted],
            Some(_) => Vec::new(),
        }
    }

    fn failed(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| slot.failed = Some(why));
    }

    fn distrust(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| {
            slot.asked = None;
            slot.failed = Some(why);
        });
    }
}

impl Prepares for Checker {
    fn prepare(&self, installed: &Installed, loaded: &Loaded) -> Result<(), ExtensionError> {
        let probes: Arc<dyn Probes> = self.looks.clone();
        let reach = Reach {
            rights: installed.rights(),
            probes: Some(probes),
            ..Reach::default()
        };
        let limits = installed.limits();
        let asked = Asked {
            check: Arc::new(StorageCheck::new(loaded, limits, reach)?),
            digest: installed.digest.clone(),
            bound: Duration::from_millis(limits.wall_ms) + SPARE,
        };
        self.change(installed, |slot| {
            slot.asked = Some(asked);
            slot.failed = None;
        });
        Ok(())
    }
}

#[async_trait]
impl Check for Checker {
    async fn keep(&self, store: &dyn Store, watched: Cache, mut stop: watch::Receiver<bool>) {
        match Workshop::open_or_tell(&self.code_dir, self.engine) {
            Some(workshop) => {
                let (beside, ends) = (watched.subscribe(), stop.clone());
                tokio::join!(
                    follow(self, &workshop, store, watched, stop),
                    follow(&self.shadows, &workshop, store, beside, ends)
                );
            }
            None => {
                let why = "extensions do not run on this host; its agent's log says why";
                let (beside, mut ends) = (watched.subscribe(), stop.clone());
                tokio::join!(
                    follow_unable(self, watched, &mut stop, why),
                    follow_unable(&self.shadows, beside, &mut ends, why)
                );
            }
        }
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn told(&self, incarnation: &Incarnation) -> Option<HostExtensions> {
        let (paths, commands) = self.looks.names();
        Some(HostExtensions {
            incarnation: incarnation.clone(),
            extensions: BTreeMap::from([(self.name.clone(), self.on_host()?)]),
            paths,
            commands,
        })
    }

    fn bound(&self) -> Duration {
        let slot = self.slot();
        let there = slot.as_ref().and_then(Option::as_ref);
        let asked = there.and_then(|slot| slot.asked.as_ref());
        asked.map_or(NOTHING, |asked| asked.bound)
    }

    fn check(&self) -> StorageState {
        let name = &self.name;
        let unknown = |reason: String| StorageState::Unknown { reason };
        let (asked, costs) = match &*self.slot() {
            None => {
                return unknown(format!(
                    "whether extension {name} is installed is not known yet"
                ));
            }
            Some(None) => {
                return unknown(format!(
                    "extension {name}, which is to check it, is not installed; `holdfast ext install` installs it"
                ));
            }
            Some(Some(slot)) => match (&slot.asked, &slot.failed) {
                (Some(asked), _) => (asked.clone(), Arc::clone(&slot.costs)),
                (None, Some(why)) => {
                    return unknown(format!("extension {name} cannot run here: {why}"));
                }
                (None, None) => return unknown(format!("extension {name} is being loaded")),
            },
        };
        let called = asked.check.check(&self.domain);
        // How long it rests is another number each time, and no news.
        if let Err(CallError::Resting { .. }) = called.answer {
            let last = costs.last_failure().unwrap_or_default();
            return unknown(format!(
                "extension {name} failed too often and is not asked for a while; its last failure: {last}"
            ));
        }
        let failure = called.answer.as_ref().err().map(ToString::to_string);
        let cost = called.cost;
        costs.count(cost.cpu, cost.memory_bytes, failure);
        match called.answer {
            Ok(findings) => {
                let state = state_of(findings);
                // It hears of it once the answer is there, and is not waited for.
                self.shadows.hear(name, state.clone());
                state
            }
            Err(error) => unknown(format!("extension {name}: {error}")),
        }
    }
}

/// What is asked about.
fn domain(config: &Config) -> Option<Domain> {
    let storage = &config.storage;
    Some(Domain {
        name: OWN_PATH.to_owned(),
        path: storage.path.as_ref()?.display().to_string(),
        settings: storage.settings.clone().into_iter().collect(),
    })
}

/// What an answer means. One `no` is enough to leave; what is not known is never good.
fn state_of(findings: Findings) -> StorageState {
    let Findings {
        reachable,
        usable,
        synced,
    } = findings;
    match (reachable, usable) {
        (Answer::No(reason), _) | (_, Answer::No(reason)) => StorageState::Unusable { reason },
        (Answer::Unknown(reason), _) | (_, Answer::Unknown(reason)) => {
            StorageState::Unknown { reason }
        }
        (Answer::Yes, Answer::Yes) => match synced {
            Answer::Yes => StorageState::Synced,
            Answer::No(detail) => StorageState::Degraded { detail },
            Answer::Unknown(why) => StorageState::Degraded {
                detail: format!("whether all copies are equal cannot be told: {why}"),
            },
        },
    }
}

#[cfg(test)]
mod meaning_tests;
#[cfg(test)]
mod tests;
