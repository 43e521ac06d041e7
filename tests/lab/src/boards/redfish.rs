//! The boards' Redfish services, all behind one address outside all machines: `http://ADDRESS:PORT/HOST`.
//!
//! As much of DMTF's DSP0266 as switching a power needs: one system a board, its `PowerState`, and the action
//! `ComputerSystem.Reset`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Act, Answer, Boards, TALK};
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::{NET_NAMESPACE, OBSERVER_ADDRESS};
use crate::machine::Power;
use crate::net::namespace_file;

/// Where they listen, at the observer's address.
const PORT: u16 = 8_000;
/// Longest request that is read, in bytes.
const REQUEST_MAX: u64 = 64 * 1024;
const SYSTEMS: &str = "/redfish/v1/Systems";

/// The base of one host's service.
pub(crate) fn url(host: &str) -> String {
    format!("http://{OBSERVER_ADDRESS}:{PORT}/{host}")
}

/// Listens in the machines' network. Entering that is a thread's business, and stays one's own for good: so it is
/// a thread that ends with it.
pub(super) fn listen() -> Result<TcpListener> {
    let bound = std::thread::spawn(|| -> std::io::Result<TcpListener> {
        let network = File::open(namespace_file(NET_NAMESPACE))?;
        use std::os::fd::AsFd;
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        let listener = TcpListener::bind((OBSERVER_ADDRESS, PORT))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let bound = bound
        .join()
        .unwrap_or_else(|_| Err(std::io::Error::other("its thread died")));
    bound.map_err(LabError::io(
        "listen on",
        format!("{OBSERVER_ADDRESS}:{PORT}"),
    ))
}

impl Boards {
    pub(super) fn answer_web(&self, lab: &Lab, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TALK))?;
        let mut reader = BufReader::new((&stream).take(REQUEST_MAX));
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        drop(reader);
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let path = path.trim_start_matches('/');
        let (host, path) = match path.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (path, String::new()),
        };
        let system = format!("{SYSTEMS}/1");
        let reset = format!("{system}/Actions/ComputerSystem.Reset");
        let action = match (method, path.as_str()) {
            ("GET", SYSTEMS) => {
                let members = format!("{{\"Members\": [{{\"@odata.id\": \"{system}\"}}]}}");
                return say(&mut stream, "200 OK", &members);
            }
            ("GET", path) if path == system => "status",
            ("POST", path) if path == reset => match reset_type(&body).as_deref() {
                Some("ForceOff") => "off",
                _ => return say(&mut stream, "400 Bad Request", "{}"),
            },
            _ => return say(&mut stream, "404 Not Found", "{}"),
        };
        match self.act(lab, host, action) {
            Act::Gone => Ok(()),
            Act::Held => {
                self.inner().held_web.push(stream);
                Ok(())
            }
            Act::Says(Answer::Refused) => {
                let why = "{\"error\": {\"message\": \"it will not\"}}";
                say(&mut stream, "409 Conflict", why)
            }
            Act::Says(Answer::Done) => say(&mut stream, "204 No Content", ""),
            Act::Says(Answer::Power(power)) => {
                let word = match power {
                    Power::On => "On",
                    Power::Off => "Off",
                };
                say(
                    &mut stream,
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

fn say(stream: &mut TcpStream, status: &str, json: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{json}",
        json.len()
    )
}
