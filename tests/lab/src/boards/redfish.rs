//! The boards' Redfish services, all behind one address outside all machines: `http://ADDRESS:PORT/HOST`.
//!
//! As much of DMTF's DSP0266 as switching a power needs: one system a board, its `PowerState`, and the action
//! `ComputerSystem.Reset`.

use std::net::{TcpListener, TcpStream};

use super::{Act, Answer, Boards};
use crate::error::Result;
use crate::lab::Lab;
use crate::layout::OBSERVER_ADDRESS;
use crate::machine::Power;
use crate::outside::{Request, read, say};

/// Where they listen, at the observer's address.
const PORT: u16 = 8_000;
const SYSTEMS: &str = "/redfish/v1/Systems";

/// The base of one host's service.
pub(crate) fn url(host: &str) -> String {
    format!("http://{OBSERVER_ADDRESS}:{PORT}/{host}")
}

/// Listens for them.
pub(super) fn listen() -> Result<TcpListener> {
    crate::outside::listen(PORT)
}

impl Boards {
    pub(super) fn answer_web(&self, lab: &Lab, stream: TcpStream) -> std::io::Result<()> {
        let Request { method, path, body } = read(&stream)?;
        let path = path.trim_start_matches('/');
        let (host, path) = match path.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (path, String::new()),
        };
        let system = format!("{SYSTEMS}/1");
        let reset = format!("{system}/Actions/ComputerSystem.Reset");
        let action = match (method.as_str(), path.as_str()) {
            ("GET", SYSTEMS) => {
                let members = format!("{{\"Members\": [{{\"@odata.id\": \"{system}\"}}]}}");
                return say(&stream, "200 OK", &members);
            }
            ("GET", path) if path == system => "status",
            ("POST", path) if path == reset => match reset_type(&body).as_deref() {
                Some("ForceOff") => "off",
                _ => return say(&stream, "400 Bad Request", "{}"),
            },
            _ => return say(&stream, "404 Not Found", "{}"),
        };
        match self.act(lab, host, action) {
            Act::Gone => Ok(()),
            Act::Held => {
                self.inner().held_web.push(stream);
                Ok(())
            }
            Act::Says(Answer::Refused) => {
                let why = "{\"error\": {\"message\": \"it will not\"}}";
                say(&stream, "409 Conflict", why)
            }
            Act::Says(Answer::Done) => say(&stream, "204 No Content", ""),
            Act::Says(Answer::Power(power)) => {
                let word = match power {
                    Power::On => "On",
                    Power::Off => "Off",
                };
                say(
                    &stream,
                    "200 OK",
                    &format!("{{\"PowerState\": \"{word}\"}}"),
                )
            }
        }
    }
}

fn reset_type(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(json["ResetType"].as_str()?.to_owned())
}
