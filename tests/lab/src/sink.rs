//! A webhook of the lab: listens where the observer does, which no cut and no machine's end takes away, and keeps what
//! it is sent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::error::{LabError, Result};
use crate::layout::{NET_NAMESPACE, OBSERVER_ADDRESS};
use crate::net::namespace_file;
use crate::run::wait_until;

/// By this name the managers know it.
pub const TARGET: &str = "sink";
const PORT: u16 = 7079;

/// Looks this often whether the scenario is over.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// A client that says nothing for so long has died.
const TALK: Duration = Duration::from_secs(5);
/// No request is larger.
const BODY_BYTES_MAX: u64 = 4 << 20;

/// Its address, for manager.toml.
pub fn url() -> String {
    format!("http://{OBSERVER_ADDRESS}:{PORT}/hook")
}

/// The events that it was sent, in the order in which they came.
#[derive(Default)]
pub(crate) struct Sink {
    events: Mutex<Vec<Value>>,
}

impl Sink {
    /// Listens while the body runs.
    pub(crate) fn serve<T>(body: impl FnOnce(&Sink) -> Result<T>) -> Result<T> {
        let (sink, over) = (Sink::default(), AtomicBool::new(false));
        // The socket stays in the namespace in which it was made; only the thread that made it was there.
        let listener = std::thread::scope(|scope| {
            let listening = scope.spawn(listen);
            let lost = |_| Err(LabError::Refused("the webhook's thread ended".into()));
            listening.join().unwrap_or_else(lost)
        })?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut sources = [PollFd::new(&listener, PollFlags::IN)];
                    // An interrupted poll is only an early look.
                    let _ = poll(&mut sources, Some(&STEP));
                    while let Ok((stream, _)) = listener.accept() {
                        // A manager that went away has no use for an answer.
                        let _ = sink.take(stream);
                    }
                }
            });
            let _end = Over(&over);
            body(&sink)
        })
    }

    fn events(&self) -> MutexGuard<'_, Vec<Value>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TALK))?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.by_ref().take(BODY_BYTES_MAX).read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = Vec::new();
        let mut rest = reader.by_ref().take(BODY_BYTES_MAX.min(length));
        rest.read_to_end(&mut body)?;
        let body: Value = serde_json::from_slice(&body)?;
        let told = body["events"].as_array().cloned().unwrap_or_default();
        self.events().extend(told);
        let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        reader.get_mut().write_all(answer)
    }

    /// Waits until it was told of such an event about that: a host or a VM. Its place among those that it was told.
    pub(crate) fn wait_for(&self, kind: &str, about: &str, limit: Duration) -> Result<usize> {
        let what = format!("the webhook to hear {kind} of {about}");
        wait_until(&what, limit, "", || {
            let events = self.events();
            let meant = |event: &Value| {
                event["kind"] == kind && (event["host"] == about || event["vm"] == about)
            };
            let found = events.iter().rposition(meant);
            found.ok_or_else(|| format!("so far {events:?}"))
        })
    }
}

fn listen() -> Result<TcpListener> {
    let place = namespace_file(NET_NAMESPACE);
    let namespace = File::open(&place).map_err(LabError::io("open", &place))?;
    let enter = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
    enter.map_err(|error| LabError::io("enter", &place)(error.into()))?;
    let failed = |error| LabError::io("listen in", &place)(error);
    let listener = TcpListener::bind((OBSERVER_ADDRESS, PORT)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Ends the webhook however the body ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
