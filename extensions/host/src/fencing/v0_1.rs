//! The WIT of fencing 0.1.

use super::{Device, Ordered, Power};
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
        path: ["../../wit/host/0.1.0", "../../wit/fencing/0.1.0"],
        world: "holdfast:fencing/fencing-http",
        with: {
            "holdfast:host/log@0.1.0": crate::outside::bindings::holdfast::host::log,
            "holdfast:host/http@0.1.0": crate::outside::bindings::holdfast::host::http,
        },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::holdfast::fencing::fence;

/// Where its functions are.
pub(super) struct Hooks(fence::GuestIndices);

impl Hooks {
    pub(super) fn of(instance_pre: &InstancePre<Guest>) -> Result<Self, ExtensionError> {
        let indices = fence::GuestIndices::new(instance_pre);
        indices.map(Self).map_err(ExtensionError::misfit)
    }

    pub(super) fn off(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        device: &Device,
    ) -> wasmtime::Result<Ordered> {
        let guest = self.0.load(&mut *store, instance)?;
        with(device, |device| guest.call_off(&mut *store, device)).map(ordered)
    }

    pub(super) fn on(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        device: &Device,
    ) -> wasmtime::Result<Ordered> {
        let guest = self.0.load(&mut *store, instance)?;
        with(device, |device| guest.call_on(&mut *store, device)).map(ordered)
    }

    pub(super) fn status(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        device: &Device,
    ) -> wasmtime::Result<Power> {
        let guest = self.0.load(&mut *store, instance)?;
        let power = with(device, |device| guest.call_status(&mut *store, device))?;
        Ok(match power {
            fence::Power::On => Power::On,
            fence::Power::Off => Power::Off,
            fence::Power::Unknown(why) => Power::Unknown(one_line(&why)),
        })
    }
}

fn with<T>(device: &Device, call: impl FnOnce(fence::Device<'_>) -> T) -> T {
    let settings: Vec<fence::Setting<'_>> = device
        .settings
        .iter()
        .map(|(name, value)| fence::Setting { name, value })
        .collect();
    call(fence::Device {
        host: &device.host,
        name: &device.name,
        settings: &settings,
    })
}

fn ordered(said: fence::Ordered) -> Ordered {
    match said {
        fence::Ordered::Accepted => Ordered::Accepted,
        fence::Ordered::Already => Ordered::Already,
        fence::Ordered::Refused(why) => Ordered::Refused(one_line(&why)),
        fence::Ordered::Unknown(why) => Ordered::Unknown(one_line(&why)),
    }
}
