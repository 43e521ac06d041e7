//! Asks hosts over UDP, and hears their answers.

use super::{Orders, Target};
use holdfast_core::probe::Observer;
use holdfast_model::id::HostName;
use holdfast_model::probe::ProbeKey;
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_probe::{Digest, LEN, Nonce, Signer};
use holdfast_store::cache::Clock;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Questions to one host that may still be answered: those of a little more than the time in which silence
/// counts.
const OPEN_MAX: usize = 16;
/// Datagrams taken from one host in a turn: far more than were asked for.
const READ_MAX: usize = 64;
/// Turns are so many hundredths longer or shorter, so that managers do not all ask at once.
const JITTER_PERCENT: u64 = 10;

/// See the module.
#[derive(Default)]
pub struct Asker {
    observer: Observer,
    signer: Option<(ProbeKey, Signer)>,
    lines: BTreeMap<HostName, Line>,
}

/// The way to one host: a socket of its own, so that the system tells which port is closed.
struct Line {
    address: SocketAddr,
    socket: UdpSocket,
    host: Digest,
    open: VecDeque<(Nonce, Instant)>,
}

/// What came of asking.
enum Sent {
    Asked,
    /// The system has word that the host's port is closed.
    Refused,
    /// Not for a reason that is the host's.
    Failed,
}

/// How long to wait for the next turn.
pub fn pause(timing: &Timing) -> Duration {
    let ms = Observer::turn_every_ms(timing);
    let [byte, ..] = random();
    let spread = 2 * JITTER_PERCENT + 1;
    Duration::from_millis(ms * (100 - JITTER_PERCENT + u64::from(byte) % spread) / 100)
}

impl Asker {
    /// What it has found so far.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Hears what has come, and asks who is due.
    pub fn turn(&mut self, clock: &Clock, orders: &Orders) {
        let Some(key) = &orders.key else {
            return self.observer = Observer::default();
        };
        if self.signer.as_ref().is_none_or(|(known, _)| known != key) {
            // Guards learn of it from their agents: until one has answered under it, its silence is none.
            self.observer = Observer::default();
            self.signer = Some((key.clone(), Signer::new(key)));
        }
        self.hear(clock(), orders);
        self.connect(orders);
        let now = clock();
        let hosts = orders.hosts.iter();
        let hosts = hosts.map(|(name, target)| (name, &target.incarnation));
        let due = self.observer.turn(now, &orders.timing, hosts);
        for name in &due {
            self.ask(name, now);
        }
    }

    /// A line to each host, and none to others. One that cannot be had now is tried with each turn.
    fn connect(&mut self, orders: &Orders) {
        let stays = |name: &HostName, line: &Line| {
            let target = orders.hosts.get(name);
            target.is_some_and(|target| target.address == line.address)
        };
        self.lines.retain(|name, line| stays(name, line));
        for (name, target) in &orders.hosts {
            if !self.lines.contains_key(name)
                && let Ok(line) = Line::to(name, target.address)
            {
                self.lines.insert(name.clone(), line);
            }
        }
    }

    fn hear(&mut self, now: Instant, orders: &Orders) {
        let Some((_, signer)) = &self.signer else {
            return;
        };
        for (name, line) in &mut self.lines {
            let Some(Target { boot, .. }) = orders.hosts.get(name) else {
                continue;
            };
            let mut buffer = [0; LEN + 1];
            for _ in 0..READ_MAX {
                let length = match line.socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        self.observer.refused(name);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Such as "no route to host": that is silence.
                    Err(_) => continue,
                };
                let answer = signer.read_answer(&line.host, &buffer[..length]);
                let answer = answer.and_then(|(nonce, from)| Some((line.close(&nonce)?, from)));
                match answer {
                    Some((asked_at, from)) if from == *boot => {
                        self.observer.answered(name, asked_at, now);
                    }
                    // Its machine has booted since.
                    Some(_) => self.observer.refused(name),
                    // Nobody's word, a word under another key, or one that came twice.
                    None => {}
                }
            }
        }
    }

    fn ask(&mut self, name: &HostName, now: Instant) {
        let Some((_, signer)) = &self.signer else {
            return;
        };
        let sent = match self.lines.get_mut(name) {
            Some(line) => line.ask(signer, now),
            None => Sent::Failed,
        };
        match sent {
            Sent::Asked => {}
            Sent::Refused => self.observer.refused(name),
            Sent::Failed => self.observer.unsent(name, now),
        }
    }
}

impl Line {
    fn to(name: &HostName, address: SocketAddr) -> io::Result<Self> {
        let own: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            address,
            socket,
            host: Digest::of_host(name),
            open: VecDeque::new(),
        })
    }

    fn ask(&mut self, signer: &Signer, now: Instant) -> Sent {
        let nonce = random();
        let question = signer.question(&self.host, &nonce);
        let mut refused = false;
        // The first attempt may only bring the system's word of an earlier question.
        let mut sent = self.socket.send(&question);
        if let Err(error) = &sent {
            refused = error.kind() == ErrorKind::ConnectionRefused;
            sent = self.socket.send(&question);
        }
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((nonce, now));
        match sent {
            _ if refused => Sent::Refused,
            Ok(_) => Sent::Asked,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => Sent::Refused,
                ErrorKind::HostUnreachable => Sent::Asked,
                _ => Sent::Failed,
            },
        }
    }

    /// When a question was sent that has not been answered yet.
    fn close(&mut self, nonce: &Nonce) -> Option<Instant> {
        let at = self.open.iter().position(|(open, _)| open == nonce)?;
        self.open.remove(at).map(|(_, asked_at)| asked_at)
    }
}

/// Random bytes that nobody guesses (122 bits of them).
fn random() -> Nonce {
    uuid::Uuid::new_v4().into_bytes()
}
