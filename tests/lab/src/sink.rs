//! A webhook of the lab: listens where the observer does, which no cut and no machine's end takes away, and keeps what
//! it is sent.

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

/// The events that it was sent, in the order in which they came.
#[derive(Default)]
pub(crate) struct Sink {
    events: Mutex<Vec<Value>>,
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

    fn events(&self) -> MutexGuard<'_, Vec<Value>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, stream: &TcpStream) -> std::io::Result<()> {
        let body: Value = serde_json::from_slice(&read(stream)?.body)?;
        let told = body["events"].as_array().cloned().unwrap_or_default();
        self.events().extend(told);
        say(stream, "204 No Content", "")
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
