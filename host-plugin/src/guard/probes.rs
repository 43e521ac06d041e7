//! Answers managers that ask whether this host is there, whatever its agent does: on a thread of its own that
//! nothing in this process waits for, with a bounded part of a CPU.
//!
//! The agent brings the address and the key, since the guard knows no etcd. A guard that has been started again
//! answers when an agent has come; until then its port is closed, and that is a sign of life as well.

use super::harden::behind_the_guard;
use holdfast_model::id::{BootId, HostName};
use holdfast_model::probe::ProbeKey;
use holdfast_probe::{Digest, LEN, Signer};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// The thread's stack. All of it is locked.
const STACK: usize = 32 * 1024;
/// It looks this often whether it is still wanted, besides with every datagram.
const LOOK: Duration = Duration::from_millis(500);
/// Datagrams looked at within [`WINDOW`], good or bad; the rest waits in the kernel's buffer or is lost.
/// A manager sends about ten a second.
const PER_WINDOW: u32 = 200;
/// At some 5 µs each, that is one hundredth of a CPU at the most.
const WINDOW: Duration = Duration::from_millis(100);

/// The port that answers, once there is one.
pub struct Probes {
    host: Digest,
    boot: Option<Digest>,
    thread: Option<Thread>,
}

/// The thread ends when this is dropped.
struct Thread {
    address: SocketAddr,
    keys: Sender<Signer>,
}

impl Probes {
    /// Nobody is answered yet.
    pub fn new(host: &HostName, boot_id: &str) -> Self {
        let boot: Option<BootId> = boot_id.parse().ok();
        Self {
            host: Digest::of_host(host),
            boot: boot.as_ref().map(Digest::of_boot),
            thread: None,
        }
    }

    /// Answers there under that key from now on, and nowhere else.
    pub fn answer_on(&mut self, address: SocketAddr, key: &ProbeKey) -> Result<(), String> {
        let signer = Signer::new(key);
        let boot = self.boot.ok_or("this boot's id is not known")?;
        if let Some(thread) = &self.thread
            && thread.address == address
            && thread.keys.send(signer.clone()).is_ok()
        {
            return Ok(());
        }
        self.thread = None;
        let failed = |error: io::Error| format!("it cannot answer probes on {address}: {error}");
        let socket = UdpSocket::bind(address).map_err(failed)?;
        socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let (keys, changes) = channel();
        let mut port = Port {
            socket,
            signer,
            host: self.host,
            boot,
            changes,
        };
        let thread = std::thread::Builder::new();
        let thread = thread.name("guard-probes".into()).stack_size(STACK);
        thread
            .spawn(move || {
                behind_the_guard();
                port.answer();
            })
            .map_err(failed)?;
        tracing::info!(%address, "answering probes");
        self.thread = Some(Thread { address, keys });
        Ok(())
    }
}

struct Port {
    socket: UdpSocket,
    signer: Signer,
    host: Digest,
    boot: Digest,
    changes: Receiver<Signer>,
}

impl Port {
    /// Until nobody wants it any more.
    fn answer(&mut self) {
        // One byte more than any datagram has, so that longer ones show.
        let mut buffer = [0; LEN + 1];
        let (mut begin, mut count) = (Instant::now(), 0);
        while self.is_wanted() {
            let (length, from) = match self.socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if is_pause(&error) => continue,
                Err(_) => {
                    // Such as a network that is gone: it comes back, or an agent names another address.
                    std::thread::sleep(WINDOW);
                    continue;
                }
            };
            if let Some(nonce) = self.signer.read_question(&self.host, &buffer[..length]) {
                let answer = self.signer.answer(&self.host, &self.boot, &nonce);
                // One that cannot be sent is one that is lost: it is asked again.
                let _ = self.socket.send_to(&answer, from);
            }
            count += 1;
            let passed = begin.elapsed();
            if passed >= WINDOW {
                (begin, count) = (Instant::now(), 0);
            } else if count >= PER_WINDOW {
                std::thread::sleep(WINDOW - passed);
            }
        }
    }

    fn is_wanted(&mut self) -> bool {
        loop {
            match self.changes.try_recv() {
                Ok(signer) => self.signer = signer,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
