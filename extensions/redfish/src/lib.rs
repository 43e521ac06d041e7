//! Switches hosts off by the Redfish service of their boards (DMTF DSP0266, schema ComputerSystem).
//!
//! A device binds the role `board` to one of `[targets]` in manager.toml. Options, all of them optional:
//!
//! - `system`: the system's id under `/redfish/v1/Systems`, where the board has several
//! - `off_type` (`ForceOff`), `on_type` (`On`): the kind of reset that is ordered

mod service;
#[cfg(test)]
mod tests;

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};
use holdfast_extension::http::{Error, Method, Response, send};
use service::{Service, Wanted};

/// The role that a device binds to a target.
const ROLE: &str = "board";

/// Exported as the extension.
pub struct Redfish;

impl Fence for Redfish {
    fn off(device: &Device) -> Ordered {
        let kind = device.setting("off_type").unwrap_or("ForceOff");
        service(device).order(Wanted::Off, kind)
    }

    fn on(device: &Device) -> Ordered {
        let kind = device.setting("on_type").unwrap_or("On");
        service(device).order(Wanted::On, kind)
    }

    fn status(device: &Device) -> Power {
        service(device).power()
    }
}

// Only there: the names that a component exports are none that a linker of this machine takes.
#[cfg(target_arch = "wasm32")]
holdfast_extension::export_fence!(Redfish);

fn service(
    device: &Device,
) -> Service<'_, impl FnMut(Method, &str, Option<&str>) -> Result<Response, Error>> {
    Service::new(device.setting("system"), |method, path, body| {
        send(ROLE, method, path, body)
    })
}
