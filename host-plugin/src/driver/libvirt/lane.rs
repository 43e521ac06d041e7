//! A lane: connections for calls of one kind, one call at a time on each, and each call bounded.
//!
//! libvirt's calls block, and a call to a daemon that stands still may block for ever. So each call
//! runs on a thread of its own that can be left behind; the caller waits for the answer or for its
//! bound. Calls left behind hold their place in the lane, so a daemon that stands still cannot
//! gather threads without end: the lane is full then, and says so.
//!
//! Why not several calls on one connection, which libvirt allows: before 10.3 (CVE-2024-4418) a thread that
//! waits for its answer and is woken by another's call may leave a pointer to its own stack behind in the
//! connection, and whoever uses that next dies of it. A thread of ours that asked for a host's capacity died once in the
//! lab, in libvirt 9.0 as Debian 12 has it, at an address that fits this; it was not reproduced. A keepalive timer wakes it just so: see [`super::connection::open_one`].

use super::translate::{Failure, translate};
use crate::driver::DriverError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use virt::connect::Connect;

/// Connections for calls of one kind.
#[derive(Clone)]
pub struct Lane {
    all: Vec<Arc<Connect>>,
    /// Those without a call: as many as there are permits to take one.
    free: Arc<Mutex<Vec<Arc<Connect>>>>,
    places: Arc<Semaphore>,
}

/// A connection that a call has to itself; free again with its end.
struct Place {
    connection: Arc<Connect>,
    free: Arc<Mutex<Vec<Arc<Connect>>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.free).push(Arc::clone(&self.connection));
    }
}

fn locked(free: &Mutex<Vec<Arc<Connect>>>) -> MutexGuard<'_, Vec<Arc<Connect>>> {
    // Each change is one push or pop.
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// A lane over open connections.
    pub fn new(connections: Vec<Arc<Connect>>) -> Self {
        Self {
            free: Arc::new(Mutex::new(connections.clone())),
            places: Arc::new(Semaphore::new(connections.len())),
            all: connections,
        }
    }

    /// One of its connections has ended. Nobody is asked for that, so it needs no place among the calls.
    pub async fn is_closed(&self, bound: Duration) -> bool {
        let all = self.all.clone();
        let alive = on_thread("alive", bound, move || {
            all.iter().any(|each| matches!(each.is_alive(), Ok(false)))
        });
        alive.await == Ok(true)
    }

    async fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let connection = locked(&self.free).pop()?;
        Some(Place {
            connection,
            free: Arc::clone(&self.free),
            _permit: permit,
        })
    }

    /// Makes a call. `name` is for messages; `bound` covers the wait for a place too.
    pub async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        bound: Duration,
        call: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, DriverError> {
        let begin = Instant::now();
        let Ok(Some(place)) = timeout(bound, self.place()).await else {
            let reason = format!("earlier calls stand still, no place for {name}");
            return Err(DriverError::Unreachable { reason });
        };
        let left = bound.saturating_sub(begin.elapsed());
        let answer = on_thread(name, left, move || {
            call(&place.connection).map_err(|failure| {
                let alive = place.connection.is_alive().unwrap_or(false);
                translate(name, failure, alive)
            })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    const WAIT: Duration = Duration::from_secs(30);

    fn open() -> Arc<Connect> {
        let opened = Connect::open(Some("test:///default"));
        Arc::new(opened.expect("the test driver"))
    }

    #[tokio::test]
    async fn no_two_calls_share_a_connection() {
        let lane = Lane::new(vec![open(), open()]);
        let both = Arc::new(Barrier::new(2));
        for _ in 0..3 {
            let call = || {
                let both = Arc::clone(&both);
                lane.call("look", WAIT, move |connection| {
                    both.wait(); // both are under way now
                    Ok(connection.as_ptr() as usize)
                })
            };
            let (one, other) = tokio::join!(call(), call());
            let used = BTreeSet::from([one.expect("it"), other.expect("it")]);
            let all = lane.all.iter().map(|each| each.as_ptr() as usize);
            assert_eq!(used, all.collect(), "and both are free again");
        }
    }

    #[tokio::test]
    async fn a_full_lane_says_so() {
        let lane = Lane::new(vec![open()]);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let stuck = lane.call("stand still", Duration::from_millis(50), move |_| {
            let _ = ended.recv();
            Ok(())
        });
        let stuck = stuck.await.expect_err("it has no answer");
        assert!(
            matches!(stuck, DriverError::OutcomeUnknown { .. }),
            "{stuck:?}"
        );
        let full = lane
            .call("look", Duration::from_millis(50), |_| Ok(()))
            .await;
        assert!(
            matches!(full, Err(DriverError::Unreachable { .. })),
            "{full:?}"
        );
        drop(end);
        let again = lane.call("look", WAIT, |_| Ok(())).await;
        assert!(again.is_ok(), "the place is free once the call has ended");
    }
}
