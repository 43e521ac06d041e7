//! Switches hosts off by their management boards, over Redfish.
//!
//! A device binds `bmc` to its board. Settings: `system` (if it is not `1`).

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};
use holdfast_extension::http::{self, Error};
use serde_json::Value;

/// As [rights.http] in extension.toml calls it.
const BOARD: &str = "bmc";

struct Redfish;

impl Fence for Redfish {
    fn off(device: &Device) -> Ordered {
        reset(device, "ForceOff")
    }

    fn on(device: &Device) -> Ordered {
        reset(device, "On")
    }

    fn status(device: &Device) -> Power {
        match http::get(BOARD, &system(device)) {
            Ok(answer) if answer.status == 200 => power(&answer.body),
            Ok(answer) => Power::Unknown(format!("the board answered {}", answer.status)),
            Err(error) => Power::Unknown(error.words()),
        }
    }
}

fn system(device: &Device) -> String {
    let system = device.setting("system").unwrap_or("1");
    format!("/redfish/v1/Systems/{system}")
}

fn reset(device: &Device, kind: &str) -> Ordered {
    let path = format!("{}/Actions/ComputerSystem.Reset", system(device));
    let body = format!("{{\"ResetType\":\"{kind}\"}}");
    match http::post(BOARD, &path, &body) {
        Ok(answer) if (200..300).contains(&answer.status) => Ordered::Accepted,
        Ok(answer) if (400..500).contains(&answer.status) => {
            Ordered::Refused(format!("the board answered {}", answer.status))
        }
        Ok(answer) => Ordered::Unknown(format!("the board answered {}", answer.status)),
        // It may have been done.
        Err(error @ Error::Unanswered(_)) => Ordered::Unknown(error.words()),
        Err(error) => Ordered::Refused(error.words()),
    }
}

/// How the power of the system itself stands: what is inside of it or beside it may have a `PowerState` too.
fn power(body: &str) -> Power {
    let system: Value = match serde_json::from_str(body) {
        Ok(system) => system,
        Err(error) => return Power::Unknown(format!("the board's answer is no JSON: {error}")),
    };
    // Only these very words: whatever else a board says is not known to be off.
    match system["PowerState"].as_str() {
        Some("On") => Power::On,
        Some("Off") => Power::Off,
        state => Power::Unknown(format!("the board says {state:?}")),
    }
}

holdfast_extension::export_fence!(Redfish);
