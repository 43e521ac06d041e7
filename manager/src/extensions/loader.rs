//! What is installed, on its way to be asked here. How it is fetched and compiled is `holdfast_extension_ready`'s.

use super::{Extensions, Here, Slot};
use holdfast_extension_ready::Users;
use holdfast_model::extension::Installed;
use holdfast_store::view::View;
use std::sync::Arc;

#[cfg(feature = "extensions")]
use super::runs::Runs;
#[cfg(feature = "extensions")]
use holdfast_extension_host::{ExtensionError, Loaded};
#[cfg(feature = "extensions")]
use holdfast_extension_ready::Prepares;

impl Users for Extensions {
    fn want(&self, installed: &Installed) -> bool {
        Self::asks(installed.manifest.kind)
    }

    fn followed<'v>(&self, view: &'v View) -> Vec<&'v Installed> {
        let all = view.extensions.values().map(|seen| &seen.value);
        match self.site.get() {
            Some(site) => all.map(|each| each.at_site(site)).collect(),
            None => all.collect(),
        }
    }

    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed> {
        let mut slots = self.slots_mut();
        slots.retain(|name, _| installed.iter().any(|each| each.manifest.name == *name));
        let mut to_load = Vec::new();
        for each in installed {
            let name = each.manifest.name.clone();
            match slots.get_mut(&name) {
                Some(slot) if slot.installed == each => {}
                Some(slot) if slot.installed.manifest.kind == each.manifest.kind => {
                    slot.failed = None;
                    slot.installed = each.clone();
                    to_load.push(each);
                }
                _ => {
                    let slot = Slot {
                        installed: each.clone(),
                        here: Here::Loading,
                        failed: None,
                        costs: Arc::default(),
                    };
                    slots.insert(name, slot);
                    to_load.push(each);
                }
            }
        }
        to_load
    }

    fn failed(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| match slot.here {
            Here::Loading | Here::Failed(_) => slot.here = Here::Failed(why),
            // The version before is asked on: a rule that is being upgraded holds meanwhile.
            #[cfg(feature = "extensions")]
            _ => slot.failed = Some(why),
        });
    }

    fn distrust(&self, installed: &Installed, why: String) {
        self.change(installed, |slot| {
            slot.here = Here::Failed(why);
            slot.failed = None;
        });
    }
}

impl Extensions {
    /// Changes the slot of one, if it is still the one that is installed.
    fn change(&self, installed: &Installed, change: impl FnOnce(&mut Slot)) {
        let mut slots = self.slots_mut();
        let slot = slots.get_mut(&installed.manifest.name);
        if let Some(slot) = slot.filter(|slot| slot.installed == *installed) {
            change(slot);
        }
    }
}

#[cfg(feature = "extensions")]
impl Prepares for Extensions {
    fn prepare(&self, installed: &Installed, loaded: &Loaded) -> Result<(), ExtensionError> {
        let here = Here::Ready(Runs::new(installed, loaded)?);
        self.change(installed, |slot| {
            slot.here = here;
            slot.failed = None;
        });
        Ok(())
    }
}
