//! The lease volume on three threads of its own, one that writes this host's heartbeats, one for the VMs'
//! claims and one for the rest, so that a call that hangs holds no heartbeat up. The guard never waits for one: it hands jobs
//! over and is woken when one has ended. A thread whose call hangs takes no further job until it is back.
//!
//! The thread of the heartbeats goes before ordinary ones, as the guard's own does: what that has sent in time would
//! otherwise wait for a CPU behind the guests.
//!
//! A volume that cannot be opened yet, or any more, is opened again with the next job.

use super::harden::behind_the_guard;
use holdfast_lease::error::VolumeError;
use holdfast_lease::volume::{Access, Volume};
use holdfast_model::id::ClusterName;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Jobs that may wait for one thread.
pub const WAITING_MAX: usize = 16;

/// Which thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// This host's heartbeats, and nothing else.
    Heartbeats,
    /// The VMs' claims.
    Claims,
    /// Everything else.
    Rest,
}

type Work<T> = Box<dyn FnOnce(&Volume) -> T + Send>;

/// What is done with an open volume; `T` is told to the guard, also if the volume could not be opened.
struct Job<T> {
    work: Work<T>,
    unopened: Box<dyn FnOnce(VolumeError) -> T + Send>,
}

/// Hands jobs over and takes their results.
pub struct Disk<T> {
    heartbeats: SyncSender<Job<T>>,
    claims: SyncSender<Job<T>>,
    rest: SyncSender<Job<T>>,
    results: Receiver<T>,
    ready: Arc<OwnedFd>,
}

/// Why a job was not taken: the storage has not answered to many before it, see [`WAITING_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the storage under the lease volume does not answer")]
pub struct Stuck;

impl<T: Send + 'static> Disk<T> {
    /// Starts the threads. Nothing is opened yet.
    pub fn start(path: PathBuf, cluster: ClusterName) -> io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let ready = Arc::new(ready);
        let (send, results) = channel();
        let lane = |name: &str, first: fn()| {
            let ready = Arc::clone(&ready);
            start(name, first, &path, &cluster, send.clone(), ready)
        };
        Ok(Self {
            heartbeats: lane("lease-beat", behind_the_guard)?,
            claims: lane("lease-claim", || ())?,
            rest: lane("lease-look", || ())?,
            results,
            ready,
        })
    }

    /// Hands a job over. `unopened` makes a result of the reason if the volume cannot be opened.
    pub fn submit(
        &self,
        lane: Lane,
        unopened: impl FnOnce(VolumeError) -> T + Send + 'static,
        work: impl FnOnce(&Volume) -> T + Send + 'static,
    ) -> Result<(), Stuck> {
        let job = Job {
            work: Box::new(work),
            unopened: Box::new(unopened),
        };
        let lane = match lane {
            Lane::Heartbeats => &self.heartbeats,
            Lane::Claims => &self.claims,
            Lane::Rest => &self.rest,
        };
        lane.try_send(job).map_err(|_| Stuck)
    }

    /// The results that have come.
    pub fn results(&self) -> Vec<T> {
        let mut counter = [0; 8];
        // Nothing to read means nothing new.
        let _ = rustix::io::read(&*self.ready, &mut counter);
        self.results.try_iter().collect()
    }

    /// Becomes readable when a result has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// A thread that does `first` before any job.
fn start<T: Send + 'static>(
    name: &str,
    first: fn(),
    path: &std::path::Path,
    cluster: &ClusterName,
    results: Sender<T>,
    ready: Arc<OwnedFd>,
) -> io::Result<SyncSender<Job<T>>> {
    let (jobs, waiting) = sync_channel::<Job<T>>(WAITING_MAX);
    let (path, cluster) = (path.to_owned(), cluster.clone());
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(256 * 1024)
        .spawn(move || {
            first();
            let mut open: Option<Volume> = None;
            for job in waiting {
                let volume = match open.take() {
                    Some(volume) => Ok(volume),
                    None => Volume::open(&path, Access::Write)
                        .and_then(|volume| volume.of_cluster(&cluster)),
                };
                let result = match volume {
                    Ok(volume) => {
                        let result = (job.work)(&volume);
                        // A file that was replaced, or a mount that is gone, is found out by name.
                        open = is_still_there(&volume, &path).then_some(volume);
                        result
                    }
                    Err(error) => (job.unopened)(error),
                };
                if results.send(result).is_err() {
                    return;
                }
                // Full means that a wake-up is pending already.
                let _ = rustix::io::write(&*ready, &1u64.to_ne_bytes());
            }
        })?;
    Ok(jobs)
}

fn is_still_there(volume: &Volume, path: &std::path::Path) -> bool {
    let by_name = rustix::fs::stat(path);
    let opened = volume.stat();
    matches!((by_name, opened), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}
