//! Keeps the connections to libvirtd: opens them, notices their loss, opens them again.
//!
//! ```text
//!            all lanes open               close callback, a ping without answer, or any lane closed
//! Connecting ──────────────> Connected ──────────────────────────────────────┐
//!     ^                                                                       v
//!     └──────────── backoff (0.2 s … 5 s) <──────────────── Unreachable{reason}
//! ```
//! Opening a connection to a daemon that stands still blocks for ever, so it happens on a thread
//! that can be left behind; there is never more than one such attempt under way.

use super::lane::{Lane, on_thread};
use super::{Shared, bounds};
use crate::driver::ffi::{Sink, subscribe, subscribe_close};
use crate::driver::{DriverError, DriverEvent};
use holdfast_model::host::LibvirtState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use virt::connect::Connect;

/// Connections by kind of call, so that slow calls of one kind do not hold up another.
pub struct Lanes {
    /// Lists and looks.
    pub monitor: Lane,
    /// Creating, resuming, stamping, shutting down.
    pub control: Lane,
    /// Destroying and aborting, which must not wait behind the others.
    pub urgent: Lane,
    /// Receives events, and is pinged: no other call can hold up a ping.
    events: Lane,
}

impl Lanes {
    /// All but the one that is pinged.
    fn others(&self) -> [Lane; 3] {
        [&self.monitor, &self.control, &self.urgent].map(Lane::clone)
    }
}

/// Runs for the life of the driver.
pub async fn keep(shared: Arc<Shared>, sink: Sink, mut closed: UnboundedReceiver<String>) {
    let mut backoff = bounds::BACKOFF_MIN;
    loop {
        match open(&shared, &sink).await {
            Ok(lanes) => {
                backoff = bounds::BACKOFF_MIN;
                // What is left of an earlier connection's end is no news about this one.
                while closed.try_recv().is_ok() {}
                let (events, others) = (lanes.events.clone(), lanes.others());
                shared.set(Some(lanes), LibvirtState::Connected);
                let _ = sink.events.send(DriverEvent::Connected);
                warm(&shared);
                let reason = until_lost(&events, &others, &shared, &mut closed).await;
                shared.lose(reason, &sink);
            }
            Err(reason) => {
                shared.lose(reason, &sink);
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(bounds::BACKOFF_MAX);
            }
        }
    }
}

/// Opens every lane. While the daemon stands still this waits with it, however long: a second
/// attempt would block just the same.
async fn open(shared: &Arc<Shared>, sink: &Sink) -> Result<Lanes, String> {
    let (uri, own_sink) = (shared.uri.clone(), sink.clone());
    let (sender, mut receiver) = unbounded_channel();
    std::thread::Builder::new()
        .name("libvirt-open".into())
        .spawn(move || {
            let _ = sender.send(open_all(&uri, &own_sink));
        })
        .map_err(|e| format!("no thread to connect on: {e}"))?;
    loop {
        match tokio::time::timeout(bounds::OPEN, receiver.recv()).await {
            Ok(Some(result)) => return result,
            Ok(None) => return Err("the connecting thread died".to_owned()),
            Err(_) => {
                let waited = bounds::OPEN.as_secs();
                let reason = format!("libvirtd does not answer the connection ({waited} s)");
                shared.lose(reason, sink);
            }
        }
    }
}

fn open_all(uri: &str, sink: &Sink) -> Result<Lanes, String> {
    let words = |e: virt::error::Error| e.message().to_owned();
    let first = open_one(uri).map_err(words)?;
    // A test driver's connections do not share their state: one for all.
    let another = || match uri.starts_with("test:") {
        true => Ok(first.clone()),
        false => open_one(uri),
    };
    let lane = |calls: usize| -> Result<Lane, String> {
        let connections = (0..calls).map(|_| another().map(Arc::new));
        let connections: Result<_, _> = connections.collect();
        Ok(Lane::new(connections.map_err(words)?))
    };
    let (monitor, control, urgent) = (lane(4)?, lane(5)?, lane(5)?);
    subscribe(&first, sink).map_err(words)?;
    if !uri.starts_with("test:") {
        subscribe_close(&first, sink).map_err(words)?;
    }
    Ok(Lanes {
        monitor,
        control,
        urgent,
        events: Lane::new(vec![Arc::new(first)]),
    })
}

/// One connection. Without libvirt's own keepalives: their timer, firing while a call waits for its answer,
/// does to the connection what two calls at a time do (see [`super::lane`]). What they are for, our own pings
/// do; the daemon's are answered all the same.
pub fn open_one(uri: &str) -> Result<Connect, virt::error::Error> {
    Connect::open(Some(uri))
}

/// Waits for the end of a connection, or for a ping without an answer; returns the reason. Each lane's
/// connection can end alone: libvirtd closes one whose client does not answer its keepalives, say.
async fn until_lost(
    events: &Lane,
    others: &[Lane],
    shared: &Shared,
    closed: &mut UnboundedReceiver<String>,
) -> String {
    loop {
        tokio::select! {
            reason = closed.recv() => {
                return reason.unwrap_or_else(|| "the event channel is gone".to_owned());
            }
            () = shared.doubt.notified() => {}
            () = tokio::time::sleep(bounds::PING_EVERY) => {}
        }
        let ping = events.call("ping", bounds::PING, |c| Ok(c.get_lib_version()?));
        match ping.await {
            Ok(_) => {}
            Err(DriverError::OutcomeUnknown { reason, .. }) => {
                return format!("libvirtd does not answer: {reason}");
            }
            Err(error) => return error.to_string(),
        }
        for lane in others {
            if lane.is_closed(bounds::PING).await {
                return "libvirtd closed one of the connections".to_owned();
            }
        }
    }
}

/// The first start on a fresh daemon waits seconds for it to probe QEMU's capabilities: have that
/// done now.
fn warm(shared: &Arc<Shared>) {
    if shared.is_test() {
        return;
    }
    let uri = shared.uri.clone();
    tokio::spawn(async move {
        let probe = move || {
            let connection = open_one(&uri)?;
            connection.get_domain_capabilities(None, None, None, None, 0)
        };
        match on_thread("libvirt-warm", Duration::from_secs(60), probe).await {
            Ok(Ok(_)) => tracing::debug!("QEMU's capabilities are cached"),
            Ok(Err(error)) => tracing::info!(reason = error.message(), "no QEMU to probe"),
            Err(reason) => tracing::info!(reason, "probing QEMU's capabilities"),
        }
    });
}
