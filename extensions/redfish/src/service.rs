//! A board's Redfish service: which system is ours, how its power stands, and the order.

use holdfast_extension::fencing::{Ordered, Power};
use holdfast_extension::http::{Error, Method, Response, json_text};
use serde_json::Value;

const SYSTEMS: &str = "/redfish/v1/Systems";

/// How the power is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Off,
    On,
}

/// See the module. `send` sends a request to the board.
pub(crate) struct Service<'s, S> {
    system: Option<&'s str>,
    send: S,
}

impl<'s, S> Service<'s, S>
where
    S: FnMut(Method, &str, Option<&str>) -> Result<Response, Error>,
{
    pub(crate) fn new(system: Option<&'s str>, send: S) -> Self {
        Self { system, send }
    }

    /// How the power stands, asked now.
    pub(crate) fn power(&mut self) -> Power {
        match self.system().map(|(_, system)| state(&system)) {
            Ok(Ok(Wanted::On)) => Power::On,
            Ok(Ok(Wanted::Off)) => Power::Off,
            Ok(Err(why)) | Err(why) => Power::Unknown(why),
        }
    }

    /// Orders the power on or off, unless it stands so.
    pub(crate) fn order(&mut self, wanted: Wanted, kind: &str) -> Ordered {
        let (path, system) = match self.system() {
            Ok(found) => found,
            // Nothing but reading was tried.
            Err(why) => return Ordered::Refused(why),
        };
        if state(&system) == Ok(wanted) {
            return Ordered::Already;
        }
        let action = &system["Actions"]["#ComputerSystem.Reset"];
        if let Some(fault) = not_offered(action, kind) {
            return Ordered::Refused(fault);
        }
        let usual = format!("{path}/Actions/ComputerSystem.Reset");
        let at = action["target"].as_str().unwrap_or(&usual);
        let body = format!("{{\"ResetType\":{}}}", json_text(kind));
        match (self.send)(Method::Post, at, Some(&body)) {
            Ok(answer) => ordered(&answer, kind),
            Err(error) if error.nothing_was_done() => Ordered::Refused(error.words()),
            Err(error) => Ordered::Unknown(error.words()),
        }
    }

    /// The system and where it is.
    fn system(&mut self) -> Result<(String, Value), String> {
        let path = match self.system {
            Some(id) => format!("{SYSTEMS}/{id}"),
            None => self.only_one()?,
        };
        let system = self.read(&path)?;
        Ok((path, system))
    }

    fn only_one(&mut self) -> Result<String, String> {
        let all = self.read(SYSTEMS)?;
        let members = all["Members"].as_array().map_or(&[][..], Vec::as_slice);
        match members {
            [one] => {
                let path = one["@odata.id"].as_str();
                let path = path.ok_or("the board names its system without an @odata.id")?;
                Ok(path.trim_end_matches('/').to_owned())
            }
            [] => Err("the board has no system".to_owned()),
            several => Err(format!(
                "the board has {} systems; set `system` to the id of this host's",
                several.len()
            )),
        }
    }

    fn read(&mut self, path: &str) -> Result<Value, String> {
        let answer = (self.send)(Method::Get, path, None).map_err(|error| error.words())?;
        if answer.status != 200 {
            return Err(format!(
                "{path}: HTTP status {}{}",
                answer.status,
                said(&answer)
            ));
        }
        serde_json::from_str(&answer.body).map_err(|error| format!("{path}: no JSON: {error}"))
    }
}

/// `PowerState` is `On`, `Off`, on the way from one to the other, or `Paused`.
fn state(system: &Value) -> Result<Wanted, String> {
    match system["PowerState"].as_str() {
        Some("On") => Ok(Wanted::On),
        Some("Off") => Ok(Wanted::Off),
        Some(other) => Err(format!("its PowerState is {other}")),
        None => Err("it has no PowerState".to_owned()),
    }
}

/// Boards say which kinds of reset they have; one that says nothing is asked all the same.
fn not_offered(action: &Value, kind: &str) -> Option<String> {
    let offered = action["ResetType@Redfish.AllowableValues"].as_array()?;
    let words: Vec<&str> = offered.iter().filter_map(Value::as_str).collect();
    (!words.contains(&kind)).then(|| {
        format!(
            "the board has no reset of type {kind}; it has {}",
            words.join(", ")
        )
    })
}

fn ordered(answer: &Response, kind: &str) -> Ordered {
    let text = format!("{kind}: HTTP status {}{}", answer.status, said(answer));
    match answer.status {
        200 | 202 | 204 => Ordered::Accepted,
        // The board's own "no": 409 is what most of them answer to an order that does not fit the state.
        400..=499 => Ordered::Refused(text),
        _ => Ordered::Unknown(text),
    }
}

/// The message of an error answer.
fn said(answer: &Response) -> String {
    let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let error = &json["error"];
    let text = error["@Message.ExtendedInfo"][0]["Message"].as_str();
    match text.or_else(|| error["message"].as_str()) {
        Some(text) => format!(" ({text})"),
        None => String::new(),
    }
}
