//! A volume on a thread of its own. A call to storage that is gone may hang for minutes, or for
//! ever; the caller waits for its bound and goes on without it. While a call hangs no other one is
//! begun, so threads do not gather.

use crate::error::VolumeError;
use crate::volume::Volume;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce(&Volume) + Send>;

/// The thread, and what it is at.
pub struct Worker {
    jobs: Sender<Job>,
    begun: u64,
    ended: Arc<AtomicU64>,
    last_began: Instant,
}

impl Worker {
    /// Starts the thread. It ends with this handle, and with the call under way.
    pub fn start(volume: Volume) -> io::Result<Self> {
        let (jobs, receiver) = channel::<Job>();
        std::thread::Builder::new()
            .name("lease-volume".into())
            .spawn(move || {
                while let Ok(job) = receiver.recv() {
                    job(&volume);
                }
            })?;
        Ok(Self {
            jobs,
            begun: 0,
            ended: Arc::default(),
            last_began: Instant::now(),
        })
    }

    /// Makes a call and waits for it, up to the bound. What is given up may still happen.
    ///
    /// # Errors
    /// [`VolumeError::Hangs`] if this call or an earlier one has not come back.
    pub fn call<T: Send + 'static>(
        &mut self,
        bound: Duration,
        work: impl FnOnce(&Volume) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        if let Some(waited) = self.hangs_for() {
            return Err(hangs(waited));
        }
        self.begun += 1;
        self.last_began = Instant::now();
        let (answer, answered) = channel();
        let ended = Arc::clone(&self.ended);
        let job = Box::new(move |volume: &Volume| {
            let result = work(volume);
            ended.fetch_add(1, Ordering::SeqCst);
            // Nobody waits any more once the bound is over.
            let _ = answer.send(result);
        });
        // The thread cannot have ended before this handle.
        let _ = self.jobs.send(job);
        match answered.recv_timeout(bound) {
            Ok(result) => result,
            Err(_) => Err(hangs(self.last_began.elapsed())),
        }
    }

    /// How long a call has been under way that was given up; none if all have come back.
    pub fn hangs_for(&self) -> Option<Duration> {
        let hangs = self.ended.load(Ordering::SeqCst) < self.begun;
        hangs.then(|| self.last_began.elapsed())
    }
}

fn hangs(waited: Duration) -> VolumeError {
    VolumeError::Hangs {
        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
    }
}
