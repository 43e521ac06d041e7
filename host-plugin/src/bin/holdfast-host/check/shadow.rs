//! The shadow of the storage check: asked after it, with looks of its own, and not heeded.

use super::{Domain, Looks, domain, newest, state_of};
use holdfast_extension_host::breaker::BreakerState;
use holdfast_extension_host::outside::{Probes, Reach};
use holdfast_extension_host::{CallError, ExtensionError, Loaded, StorageCheck};
use holdfast_extension_ready::shadow::{Asked, Candidate, Judged, Made};
use holdfast_host::config::Config;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::host::StorageState;
use holdfast_model::id::{ExtensionName, HostName};
use holdfast_model::shadow::{difference, storage};
use holdfast_model::standing::Line;
use holdfast_store::clock::wall;
use std::sync::Arc;

/// What it is asked about, and what it can look at.
pub struct Means {
    name: ExtensionName,
    host: HostName,
    domain: Domain,
    looks: Arc<Looks>,
}

impl Means {
    /// None: no extension is configured.
    pub(super) fn of(config: &Config) -> Option<Self> {
        Some(Self {
            name: config.storage.extension.clone()?,
            host: config.name.clone(),
            domain: domain(config)?,
            looks: Arc::new(Looks::of_shadow(config)),
        })
    }
}

/// A version on trial.
pub struct Trial {
    check: StorageCheck,
    host: HostName,
    domain: Domain,
}

impl Candidate for Trial {
    /// The state of the storage by the installed one.
    type Heard = StorageState;
    type Means = Means;

    /// None waits: an answer is compared with one of the same moment, or not at all.
    const QUEUE: usize = 0;
    /// As any other program: what it waits for is the storage, and that is compared.
    const NICE: i32 = 0;

    fn is_wanted(means: &Means, installed: &Installed) -> bool {
        let manifest = &installed.manifest;
        manifest.name == means.name && manifest.kind == ExtensionKind::StorageCheck
    }

    fn ask(&self, heard: StorageState) -> Asked {
        let called = self.check.check(&self.domain);
        let judged = match called.answer {
            Ok(findings) => {
                let (differs, told) = storage(&self.host, &heard, &state_of(findings));
                let told = differs.at_all().then(|| difference(wall(), None, told));
                Judged::Compared(differs, told)
            }
            Err(CallError::Resting { .. }) => Judged::Rests,
            Err(error) => Judged::Failed(error.to_string()),
        };
        Asked {
            cpu: called.cost.cpu,
            memory_bytes: called.cost.memory_bytes,
            judged,
        }
    }

    fn rests(&self) -> bool {
        self.check.breaker() != BreakerState::Closed
    }

    fn lines(&self) -> Vec<Line> {
        newest(self.check.journal())
    }
}

impl Made for Trial {
    fn make(means: &Means, candidate: &Installed, loaded: &Loaded) -> Result<Self, ExtensionError> {
        let probes: Arc<dyn Probes> = means.looks.clone();
        let reach = Reach {
            rights: candidate.rights(),
            probes: Some(probes),
            ..Reach::default()
        };
        Ok(Self {
            check: StorageCheck::new(loaded, candidate.limits(), reach)?,
            host: means.host.clone(),
            domain: means.domain.clone(),
        })
    }
}
