//! A lane: one connection, and calls on it that are bounded.
//!
//! libvirt's calls block, and a call to a daemon that stands still may block for ever. So each call
//! runs on a thread of its own that can be left behind; the caller waits for the answer or for its
//! bound. Calls left behind hold their place in the lane, so a daemon that stands still cannot
//! gather threads without end: the lane is full then, and says so.

use super::translate::{Failure, translate};
use crate::driver::DriverError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use virt::connect::Connect;

/// A connection with room for so many calls at once.
#[derive(Clone)]
pub struct Lane {
    connection: Arc<Connect>,
    places: Arc<Semaphore>,
}

impl Lane {
    /// A lane over an open connection.
    pub fn new(connection: Arc<Connect>, places: usize) -> Self {
        Self {
            connection,
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// Its connection has ended. Nobody is asked for that, so it needs no place among the calls.
    pub async fn is_closed(&self, bound: Duration) -> bool {
        let connection = Arc::clone(&self.connection);
        let alive = on_thread("alive", bound, move || connection.is_alive()).await;
        matches!(alive, Ok(Ok(false)))
    }

    /// Makes a call. `name` is for messages; `bound` covers the wait for a place too.
    pub async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        bound: Duration,
        call: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, DriverError> {
        let begin = Instant::now();
        let place = match timeout(bound, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => place,
            _ => {
                let reason = format!("earlier calls stand still, no place for {name}");
                return Err(DriverError::Unreachable { reason });
            }
        };
        let connection = Arc::clone(&self.connection);
        let left = bound.saturating_sub(begin.elapsed());
        let answer = on_thread(name, left, move || {
            let result = call(&connection).map_err(|failure| {
                let alive = connection.is_alive().unwrap_or(false);
                translate(name, failure, alive)
            });
            drop((connection, place));
            result
        });
        match answer.await {
            Ok(result) => result,
            Err(reason) => Err(DriverError::OutcomeUnknown { call: name, reason }),
        }
    }
}

/// Runs something that may block for ever on a thread of its own. An error says that it did not
/// answer within the bound; the thread lives on until it does.
pub async fn on_thread<T: Send + 'static>(
    name: &'static str,
    bound: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more once the bound is over.
            let _ = sender.send(work());
        })
        .map_err(|e| format!("no thread for it: {e}"))?;
    match timeout(bound, receiver).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err("its thread died".to_owned()),
        Err(_) => Err(format!("nothing within {:.1} s", bound.as_secs_f64())),
    }
}
