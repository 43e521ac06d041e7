//! The WIT of event handlers 0.1.

use super::Told;
use crate::error::ExtensionError;
use crate::instance::Guest;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

#[allow(missing_docs, reason = "the WIT is the documentation")]
#[allow(unsafe_code, reason = "wasmtime's own, in what it generates")]
#[allow(unused_variables, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/host/0.1.0", "../../wit/events/0.1.0"],
        world: "holdfast:events/event-handling",
        with: {
            "holdfast:host/log@0.1.0": crate::outside::bindings::holdfast::host::log,
            "holdfast:host/http@0.1.0": crate::outside::bindings::holdfast::host::http,
        },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::holdfast::events::handler;

/// Where its function is.
pub(super) struct Hooks(handler::GuestIndices);

impl Hooks {
    pub(super) fn of(instance_pre: &InstancePre<Guest>) -> Result<Self, ExtensionError> {
        let indices = handler::GuestIndices::new(instance_pre);
        indices.map(Self).map_err(ExtensionError::misfit)
    }

    /// The inner error is the guest's own "I could not".
    pub(super) fn handle(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        events: &[Told],
    ) -> wasmtime::Result<Result<(), String>> {
        let guest = self.0.load(&mut *store, instance)?;
        let told: Vec<handler::Event<'_>> = events
            .iter()
            .map(|event| handler::Event {
                at_unix_ms: event.at_unix_ms,
                actor: &event.actor,
                kind: &event.kind,
                host: event.host.as_deref(),
                site: event.site.as_deref(),
                vm: event.vm.as_deref(),
                text: &event.text,
            })
            .collect();
        guest.call_handle(&mut *store, &told)
    }
}
