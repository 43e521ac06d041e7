//! Looks that may hang for as long as the storage does: each on a thread that can be left behind.

use holdfast_extension_host::outside::ProbeError;
use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many may hang at a time; then nothing is looked at until one of them has come back.
const LEFT_BEHIND_MAX: usize = 4;

/// The looks that are under way. Whoever looks waits, so but for the present one these are left behind.
#[derive(Debug, Clone, Default)]
pub struct Behind(Arc<Mutex<BTreeSet<String>>>);

/// A look that is under way until this is dropped.
struct Place {
    all: Behind,
    what: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.under_way().remove(&self.what);
    }
}

impl Behind {
    fn under_way(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, what: &str) -> Result<Place, ProbeError> {
        let mut under_way = self.under_way();
        let still = if under_way.contains(what) {
            format!("{what}: the one before still hangs")
        } else if under_way.len() >= LEFT_BEHIND_MAX {
            format!("{what}: {LEFT_BEHIND_MAX} looks before it still hang")
        } else {
            under_way.insert(what.to_owned());
            return Ok(Place {
                all: self.clone(),
                what: what.to_owned(),
            });
        };
        Err(ProbeError::TimedOut(still))
    }

    /// Does something that may take for ever, and waits for it until then. `what` names it, for people, and tells it
    /// from others.
    pub fn until<T: Send + 'static>(
        &self,
        until: Instant,
        what: &str,
        work: impl FnOnce() -> Result<T, ProbeError> + Send + 'static,
    ) -> Result<T, ProbeError> {
        let place = self.place(what)?;
        let begin = Instant::now();
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("storage-look".to_owned());
        let started = thread.spawn(move || {
            let found = work();
            drop(place);
            // Nobody waits any more once the time is over.
            let _ = sender.send(found);
        });
        if let Err(error) = started {
            // It says nothing about the storage.
            return Err(ProbeError::TimedOut(format!("{what}: no thread: {error}")));
        }
        let left = until.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left).unwrap_or_else(|error| {
            Err(ProbeError::TimedOut(match error {
                RecvTimeoutError::Timeout => {
                    let seconds = begin.elapsed().as_secs_f64();
                    format!("{what}: nothing within {seconds:.1} s")
                }
                RecvTimeoutError::Disconnected => format!("{what}: its thread died"),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::time::Duration;

    const WAIT: Duration = Duration::from_secs(60);

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn one_that_hangs_is_left_behind_and_not_asked_again() {
        let behind = Behind::default();
        let (end, ended) = channel::<()>();
        let hangs = behind.until(soon(), "a read", move || {
            let _ = ended.recv();
            Ok(())
        });
        assert!(
            matches!(&hangs, Err(ProbeError::TimedOut(why)) if why.contains("nothing within")),
            "{hangs:?}"
        );
        let again = behind.until(soon(), "a read", || Ok(()));
        let why = "a read: the one before still hangs".to_owned();
        assert_eq!(again, Err(ProbeError::TimedOut(why)));
        let other = behind.until(Instant::now() + WAIT, "another", || Ok(1));
        assert_eq!(other, Ok(1), "others go on");
        drop(end);
        let until = Instant::now() + WAIT;
        while behind.until(until, "a read", || Ok(())).is_err() {
            assert!(Instant::now() < until, "it has come back");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_few_that_hang_are_enough() {
        let behind = Behind::default();
        let end = Arc::new(Barrier::new(LEFT_BEHIND_MAX + 1));
        for n in 0..LEFT_BEHIND_MAX {
            let end = Arc::clone(&end);
            let hangs = behind.until(soon(), &format!("read {n}"), move || {
                end.wait();
                Ok(())
            });
            assert!(hangs.is_err());
        }
        let more = behind.until(Instant::now() + WAIT, "one more", || Ok(()));
        let why = "one more: 4 looks before it still hang".to_owned();
        assert_eq!(more, Err(ProbeError::TimedOut(why)));
        end.wait();
    }
}
