//! The second net: what runs here under this cluster's stamp, by libvirtd's own status files,
//! whether or not anybody handed it over. On a thread of its own, because it reads files and other
//! processes' command lines, which may be stuck; the guard never waits for it.

use super::protocol::Process;
use crate::domain_xml::stamp::{self, Stamp};
use crate::domain_xml::tree;
use crate::process::verified;
use holdfast_model::id::{ClusterName, VmUuid};
use holdfast_model::lease::StorageClass;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// The thread's stack. All of it is locked, so it costs memory from the start; the deepest document that is
/// read fits in.
const STACK: usize = 256 * 1024;

/// Asks for scans and takes their results.
pub struct Scanner {
    ask: SyncSender<()>,
    results: Receiver<Vec<Process>>,
    ready: Arc<OwnedFd>,
}

impl Scanner {
    /// Starts the thread.
    pub fn start(run_dir: PathBuf, cluster: ClusterName) -> io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let ready = Arc::new(ready);
        // One scan under way and one asked for are enough: a later one sees more.
        let (ask, asked) = sync_channel::<()>(1);
        let (send, results) = sync_channel(4);
        let wake = Arc::clone(&ready);
        std::thread::Builder::new()
            .name("guard-scan".into())
            .stack_size(STACK)
            .spawn(move || {
                while asked.recv().is_ok() {
                    if send.send(scan(&run_dir, &cluster)).is_err() {
                        return;
                    }
                    // Full means that a wake-up is pending already.
                    let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes());
                }
            })?;
        Ok(Self {
            ask,
            results,
            ready,
        })
    }

    /// Asks for a scan. Does nothing if one is asked for already.
    pub fn ask(&self) {
        match self.ask.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the scan thread is gone; only handed-over processes are watched");
            }
        }
    }

    /// Becomes readable when there is a result.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// The newest result, if there is one.
    pub fn result(&self) -> Option<Vec<Process>> {
        let mut count = [0; 8];
        // Nothing to read means that nothing was announced.
        let _ = rustix::io::read(&*self.ready, &mut count);
        self.results.try_iter().last()
    }
}

/// Every process of a stamped domain that libvirtd knows of.
pub fn scan(run_dir: &Path, cluster: &ClusterName) -> Vec<Process> {
    let files = match std::fs::read_dir(run_dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(dir = %run_dir.display(), %error, "libvirt's run directory");
            return Vec::new();
        }
    };
    let is_xml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "xml");
    let paths = files.flatten().map(|file| file.path()).filter(is_xml);
    paths.filter_map(|path| of_file(&path, cluster)).collect()
}

/// libvirtd replaces its status files whole, so one that cannot be read is not one of them.
fn of_file(path: &Path, cluster: &ClusterName) -> Option<Process> {
    let text = std::fs::read_to_string(path).ok()?;
    let status = tree::parse(&text).ok()?;
    let pid = status.attribute("pid")?.parse().ok()?;
    let domain = status.child("domain")?;
    let stamp = Stamp::of_element(stamp::find(domain)?).ok()?;
    if stamp.cluster != *cluster {
        return None;
    }
    let uuid: VmUuid = domain.child("uuid")?.text().parse().ok()?;
    Some(Process {
        vm: stamp.vm,
        generation: stamp.generation,
        process: verified(pid, &uuid)?,
        uuid,
        lease: StorageClass::Plain,
        slot: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the scan's own thread: an overflow of its stack would end this process.
    #[test]
    fn the_deepest_document_fits_into_the_threads_stack() {
        let dir = tempfile::tempdir().expect("a directory");
        let cluster: ClusterName = "c1".parse().expect("a name");
        for depth in [47, 10_000] {
            let (open, close) = ("<a b='c'>text".repeat(depth), "</a>".repeat(depth));
            let text = format!("<domstatus pid='1'>{open}{close}</domstatus>");
            std::fs::write(dir.path().join(format!("{depth}.xml")), text).expect("written");
        }
        let scanner = Scanner::start(dir.path().to_owned(), cluster).expect("a thread");
        scanner.ask();
        let found = scanner.results.recv().expect("the thread lives");
        assert_eq!(found, []);
    }
}
