//! The WIT of storage checks 0.1.

use super::{Answer, Domain, Findings};
use crate::error::ExtensionError;
use crate::instance::Guest;
use crate::words::one_line;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

#[allow(missing_docs, reason = "the WIT is the documentation")]
#[allow(unsafe_code, reason = "wasmtime's own, in what it generates")]
#[allow(unused_variables, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/host/0.1.0", "../../wit/storage-check/0.1.0"],
        world: "holdfast:storage-check/storage-checking",
        with: {
            "holdfast:host/log@0.1.0": crate::outside::bindings::holdfast::host::log,
            "holdfast:host/probe@0.1.0": crate::outside::bindings::holdfast::host::probe,
        },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::holdfast::storage_check::check;

/// Where its function is.
pub(super) struct Hooks(check::GuestIndices);

impl Hooks {
    pub(super) fn of(instance_pre: &InstancePre<Guest>) -> Result<Self, ExtensionError> {
        let indices = check::GuestIndices::new(instance_pre);
        indices.map(Self).map_err(ExtensionError::misfit)
    }

    pub(super) fn check(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        domain: &Domain,
    ) -> wasmtime::Result<Findings> {
        let guest = self.0.load(&mut *store, instance)?;
        let settings: Vec<check::Setting<'_>> = domain
            .settings
            .iter()
            .map(|(name, value)| check::Setting { name, value })
            .collect();
        let asked = check::Domain {
            name: &domain.name,
            path: &domain.path,
            settings: &settings,
        };
        let found = guest.call_check(&mut *store, asked)?;
        Ok(Findings {
            reachable: answer(found.reachable),
            usable: answer(found.usable),
            synced: answer(found.synced),
        })
    }
}

fn answer(said: check::Answer) -> Answer {
    match said {
        check::Answer::Yes => Answer::Yes,
        check::Answer::No(why) => Answer::No(one_line(&why)),
        check::Answer::Unknown(why) => Answer::Unknown(one_line(&why)),
    }
}
