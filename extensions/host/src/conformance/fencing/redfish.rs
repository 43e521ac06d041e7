//! A board that speaks Redfish.

use super::speech::{Back, Meant};
use crate::outside::{Method, Request, Response};

const SYSTEMS: &str = "/redfish/v1/Systems";

pub(super) fn meant(request: &Request) -> Meant {
    let system = request.path.strip_prefix(SYSTEMS);
    let inner = system.map(|rest| rest.trim_start_matches('/'));
    let action = inner.and_then(|rest| rest.split_once('/'));
    match (request.method, inner, action) {
        (Method::Get, Some(""), _) => Meant::Known(0),
        (Method::Get, Some(_), None) => Meant::Status,
        (Method::Post, _, Some((_, "Actions/ComputerSystem.Reset"))) => {
            match request.body.as_deref().unwrap_or_default() {
                body if body.contains("\"ForceOff\"") => Meant::Order { on: false },
                body if body.contains("\"On\"") => Meant::Order { on: true },
                _ => Meant::Unknown,
            }
        }
        _ => Meant::Unknown,
    }
}

pub(super) fn words(meant: Meant, back: Back) -> Response {
    let answer = |status, body| Response { status, body };
    let none = || "{}".to_owned();
    match (meant, back) {
        (_, Back::On) => answer(200, state("On")),
        (_, Back::Off) => answer(200, state("Off")),
        (_, Back::Between) => answer(200, state("PoweringOff")),
        (Meant::Known(_), Back::Done) => {
            let json = format!("{{\"Members\": [{{\"@odata.id\": \"{SYSTEMS}/1\"}}]}}");
            answer(200, json)
        }
        (_, Back::Done) => answer(204, String::new()),
        (_, Back::Refused) => answer(409, none()),
        _ => answer(500, none()),
    }
}

/// What it is built into and what is built into it stand otherwise.
fn state(word: &str) -> String {
    let other = if word == "Off" { "On" } else { "Off" };
    let part = format!("{{\"Id\": \"1\", \"PowerState\": \"{other}\"}}");
    format!("{{\"Links\": {{\"Chassis\": [{part}]}}, \"PowerState\": \"{word}\", \"Oem\": {part}}}")
}
