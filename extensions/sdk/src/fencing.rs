//! Switching a host's power off, and saying how it stands.

use crate::bindings::fencing::exports::holdfast::fencing::fence;
use crate::{Shim, panics};

pub use fence::{Device, Ordered, Power, Setting};

/// Switches hosts off. Export the type with [`export_fence!`](crate::export_fence).
///
/// Whatever is not known is `Unknown`: that costs time, and nothing else. A host that is taken for off and runs
/// costs data.
pub trait Fence {
    /// Orders the power off. It may come again for the same host.
    fn off(device: &Device) -> Ordered;
    /// Orders the power on.
    fn on(device: &Device) -> Ordered;
    /// How the power stands, asked now.
    fn status(device: &Device) -> Power;
}

impl<T: Fence> fence::Guest for Shim<T> {
    fn off(device: Device) -> Ordered {
        panics::begin();
        T::off(&device)
    }

    fn on(device: Device) -> Ordered {
        panics::begin();
        T::on(&device)
    }

    fn status(device: Device) -> Power {
        panics::begin();
        T::status(&device)
    }
}

impl Device {
    /// The value of one of its settings.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        Some(&setting.value)
    }
}

/// Exports a type that implements [`fencing::Fence`](crate::fencing::Fence).
#[macro_export]
macro_rules! export_fence {
    ($type:ty) => {
        const _: () = {
            type Exported = $crate::Shim<$type>;
            $crate::bindings::fencing::export_fencing!(
                Exported with_types_in $crate::bindings::fencing
            );
        };
    };
}
