//! A webhook of the lab, and a router: listens where the observer does, which no cut and no machine's end takes away,
//! and keeps what it is sent.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::error::Result;
use crate::layout::OBSERVER_ADDRESS;
use crate::outside::{Over, accept, listen, read, say};
use crate::run::wait_until;

/// By this name the managers know it.
pub const TARGET: &str = "sink";
const PORT: u16 = 7079;

/// Its address, for manager.toml.
pub fn url() -> String {
    format!("http://{OBSERVER_ADDRESS}:{PORT}/hook")
}

/// What it was sent.
#[derive(Default)]
pub(crate) struct Sink {
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// In the order in which they came.
    events: Vec<Value>,
    /// What was put last under each path.
    places: BTreeMap<String, Value>,
}

impl Sink {
    /// Listens while the body runs.
    pub(crate) fn serve<T>(body: impl FnOnce(&Sink) -> Result<T>) -> Result<T> {
        let (sink, over) = (Sink::default(), AtomicBool::new(false));
        let listener = listen(PORT)?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                accept(&listener, &over, || {
                    let (stream, _) = listener.accept()?;
                    // A manager that went away has no use for an answer.
                    let _ = sink.take(&stream);
                    Ok(())
                });
            });
            let _end = Over(&over);
            body(&sink)
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, stream: &TcpStream) -> std::io::Result<()> {
        let request = read(stream)?;
        let body: Value = serde_json::from_slice(&request.body)?;
        if request.method == "PUT" {
            self.told().places.insert(request.path, body);
        } else {
            let events = body["events"].as_array().cloned().unwrap_or_default();
            self.told().events.extend(events);
        }
        say(stream, "204 No Content", "")
    }

    /// Waits until a VM is said to be at that host, of that site.
    pub(crate) fn wait_place(&self, vm: &str, at: (&str, &str), limit: Duration) -> Result<()> {
        let what = format!(
            "the router to hear that {vm} is at {} of site {}",
            at.0, at.1
        );
        wait_until(&what, limit, "", || {
            let told = self.told();
            let mut places = told.places.iter();
            let found = places.find(|(path, _)| path.ends_with(&format!("/vms/{vm}")));
            match found {
                Some((_, place)) if place["host"] == at.0 && place["site"] == at.1 => Ok(()),
                other => Err(format!("last it was {other:?}")),
            }
        })
    }

    /// Waits until it was told of such an event about that: a host or a VM. Its place among those that it was told.
    pub(crate) fn wait_for(&self, kind: &str, about: &str, limit: Duration) -> Result<usize> {
        let what = format!("the webhook to hear {kind} of {about}");
        wait_until(&what, limit, "", || {
            let events = &self.told().events;
            let meant = |event: &Value| {
                event["kind"] == kind && (event["host"] == about || event["vm"] == about)
            };
            let found = events.iter().rposition(meant);
            found.ok_or_else(|| format!("so far {events:?}"))
        })
    }
}
