//! The guard's loop: one thread, one `poll` over the socket, the agents, the deadline's timer, the
//! watched processes and the scan.

use super::harden::harden;
use super::lease::LeasePlane;
use super::protocol::{Call, LINE_MAX, Message, Request, VERSION};
use super::reset::Reset;
use super::scan::Scanner;
use super::state::{Guard, Todo};
use super::table::TableFile;
use super::watchdog::WatchdogChoice;
use crate::config::Config;
use holdfast_model::time::Instant;
use holdfast_store::clock::boottime;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, flock};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Agents connected at once: one, and one that is taking its place, and room for a person.
const CLIENTS_MAX: usize = 8;
/// Bytes that may wait for a client that does not read.
const PENDING_MAX: usize = 4 * LINE_MAX;

/// The least between two steps that nothing but the clock asks for, in milliseconds. It runs before all
/// others on its CPU: one that found itself due again at once would take that CPU for good.
const PAUSE_MS: u64 = 10;

/// Why the guard cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another guard runs.
    #[error("another guard of this host is running (it holds {0}); there must be one only")]
    AlreadyRunning(PathBuf),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why.
        source: io::Error,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    let what = what.into();
    move |source| ServerError::System { what, source }
}

/// The guard with its files and sockets.
pub struct Server {
    guard: Guard,
    scanner: Scanner,
    listener: UnixListener,
    timer: OwnedFd,
    clients: Vec<Client>,
    /// Becomes readable when the guard is asked to end.
    asked_to_end: Option<UnixStream>,
    /// Held for the life of the process.
    _lock: std::fs::File,
}

impl Server {
    /// Takes the host's lock, restores the table, and listens.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        let choice = WatchdogChoice::from(&config.guard.watchdog);
        Self::start_with(config, Reset::by(choice))
    }

    /// [`Self::start`], with the watchdog: for tests.
    pub fn start_with(config: &Config, reset: Reset) -> Result<Self, ServerError> {
        let run_dir = &config.run_dir;
        let shown = run_dir.display();
        std::fs::create_dir_all(run_dir).map_err(failed(format!("cannot create {shown}")))?;
        let lock = lock(&run_dir.join("guard.lock"))?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(failed("cannot read this boot's id"))?;
        let scanner = Scanner::start(config.libvirt.run_dir.clone(), config.cluster.clone())
            .map_err(failed("cannot start the scan"))?;
        let timer = timerfd_create(
            TimerfdClockId::Boottime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .map_err(|e| failed("cannot make a timer")(e.into()))?;
        let lease = match &config.lease.volume {
            Some(volume) => {
                let (cluster, host) = (config.cluster.clone(), config.name.clone());
                let lease = LeasePlane::start(volume.clone(), cluster, host);
                Some(lease.map_err(failed("cannot start the lease volume's threads"))?)
            }
            None => None,
        };
        let table = TableFile::new(run_dir);
        let boot_id = boot_id.trim().to_owned();
        let host = config.name.clone();
        Ok(Self {
            guard: Guard::restore(table, boot_id, host, lease, reset, boottime()),
            scanner,
            listener: listen(&config.guard.socket)?,
            timer,
            clients: Vec::new(),
            asked_to_end: None,
            _lock: lock,
        })
    }

    /// Hardens the thread that calls it, which is to be the one that calls [`Self::run`]. Comes
    /// after [`Self::start`], so that the scan's thread does not inherit the priority.
    pub fn harden(&mut self) {
        for warning in harden() {
            tracing::warn!("{warning}");
            self.guard.warn(warning);
        }
    }

    /// Lets SIGTERM and SIGINT end [`Self::run`] in order: for a process that is nothing but a guard.
    pub fn end_by_signal(&mut self) -> Result<(), ServerError> {
        let asked = signals().map_err(failed("cannot wait for signals"))?;
        self.asked_to_end = Some(asked);
        Ok(())
    }

    /// Runs until it is asked to end; then what becomes of the host, in words.
    pub fn run(mut self) -> Result<String, ServerError> {
        loop {
            let now = boottime();
            let todo = self.guard.step(now);
            self.follow_up(todo);
            // After the work, so that a guard that does not get through it does not pet.
            self.guard.pet(boottime());
            let wake = self.guard.wake_at(now);
            self.set_timer(wake.map(|at| at.max(now.plus(PAUSE_MS))))?;
            let ready = self.wait()?;
            self.serve(&ready);
            if ready.end {
                return Ok(self.guard.end());
            }
        }
    }

    fn follow_up(&mut self, todo: Todo) {
        if todo.scan {
            self.scanner.ask();
        }
        if todo.tell {
            let (incarnation, killed) = self.guard.stopped();
            let message = Message::Stopped {
                incarnation,
                killed,
            };
            for client in &mut self.clients {
                client.send(&message);
            }
        }
        self.clients.retain_mut(Client::flush);
    }

    /// The timer follows CLOCK_BOOTTIME, which goes on while the machine is suspended; the time-out
    /// of `poll` would not.
    fn set_timer(&self, at: Option<Instant>) -> Result<(), ServerError> {
        // A time of zero switches it off; one in the past fires at once.
        let ms = at.map_or(0, |at| at.0.max(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
            tv_nsec: (ms % 1_000 * 1_000_000) as _,
        };
        let it_interval = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let setting = Itimerspec {
            it_interval,
            it_value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)
            .map_err(|e| failed("cannot set the timer")(e.into()))?;
        Ok(())
    }

    fn wait(&self) -> Result<Ready, ServerError> {
        let input = PollFlags::IN;
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.timer.as_fd(), input),
            PollFd::from_borrowed_fd(self.scanner.fd(), input),
            PollFd::from_borrowed_fd(self.listener.as_fd(), input),
        ];
        let lease = self.guard.lease_fd();
        let others = 3 + usize::from(lease.is_some());
        fds.extend(lease.map(|fd| PollFd::from_borrowed_fd(fd, input)));
        for client in &self.clients {
            let wanted = match client.pending.is_empty() {
                true => input,
                false => input | PollFlags::OUT,
            };
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), wanted));
        }
        fds.extend(
            self.guard
                .fds()
                .map(|fd| PollFd::from_borrowed_fd(fd, input)),
        );
        let end = fds.len();
        let asked_to_end = self.asked_to_end.as_ref();
        fds.extend(asked_to_end.map(|end| PollFd::from_borrowed_fd(end.as_fd(), input)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("cannot wait")(error.into())),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            scan: is_ready(&fds[1]),
            listener: is_ready(&fds[2]),
            end: fds.get(end).is_some_and(is_ready),
            lease: others > 3 && is_ready(&fds[3]),
            clients: fds[others..others + self.clients.len()]
                .iter()
                .map(is_ready)
                .collect(),
        })
    }

    fn serve(&mut self, ready: &Ready) {
        if ready.scan
            && let Some(found) = self.scanner.result()
        {
            self.guard.found(found, boottime());
        }
        if ready.lease {
            self.guard.lease_ready(boottime());
        }
        // All that waits before the clock is looked at: after a pause of this process the
        // acknowledgements among it tell that nothing has lapsed.
        let mut lines = Vec::new();
        for (index, ready) in ready.clients.iter().enumerate() {
            if *ready {
                let read = self.clients[index].read().into_iter();
                lines.extend(read.map(|line| (index, request(&line))));
            }
        }
        lines.sort_by_key(|(_, request)| !is_renewal(request));
        for (index, request) in lines {
            let reply = answer(&mut self.guard, request);
            self.clients[index].send(&reply);
        }
        // Kills what was handed over too late before anything else is looked at.
        let todo = self.guard.step(boottime());
        self.follow_up(todo);
        if ready.listener {
            self.accept();
        }
    }

    fn accept(&mut self) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                return;
            }
        };
        if let Err(error) = stream.set_nonblocking(true) {
            tracing::warn!(%error, "a connection could not be used");
            return;
        }
        if self.clients.len() >= CLIENTS_MAX {
            tracing::warn!("too many connections; the oldest is dropped");
            self.clients.remove(0);
        }
        let mut client = Client::new(stream);
        if self.guard.is_killing() {
            let (incarnation, killed) = self.guard.stopped();
            client.send(&Message::Stopped {
                incarnation,
                killed,
            });
        }
        self.clients.push(client);
    }
}

struct Ready {
    scan: bool,
    listener: bool,
    end: bool,
    lease: bool,
    clients: Vec<bool>,
}

/// A request, or the refusal of what is none.
fn request(line: &str) -> Result<Request, Box<Message>> {
    serde_json::from_str(line).map_err(|error| {
        // The number is needed for the reply, whatever else the line says.
        let number = serde_json::from_str::<serde_json::Value>(line).ok();
        let id = number.and_then(|v| v.get("id")?.as_u64()).unwrap_or(0);
        let result = Err(format!(
            "this guard (protocol {VERSION}) cannot read it: {error}"
        ));
        Box::new(Message::Reply { id, result })
    })
}

/// Calls that must be heard before any other looks at the clock.
fn is_renewal(request: &Result<Request, Box<Message>>) -> bool {
    let call = request.as_ref().map(|request| &request.call);
    matches!(call, Ok(Call::Renewed { .. }))
}

fn answer(guard: &mut Guard, request: Result<Request, Box<Message>>) -> Message {
    match request {
        Ok(request) => Message::Reply {
            id: request.id,
            result: guard.call(request.call, boottime()),
        },
        Err(refusal) => *refusal,
    }
}

/// Becomes readable with the first SIGTERM or SIGINT.
fn signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

fn lock(path: &Path) -> Result<std::fs::File, ServerError> {
    let shown = path.display();
    let file = std::fs::File::create(path).map_err(failed(format!("cannot create {shown}")))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServerError::AlreadyRunning(path.to_owned())),
        Err(error) => Err(failed(format!("cannot lock {shown}"))(error.into())),
    }
}

/// Only root may tell the guard anything. The lock is held, so a socket that is there is a dead
/// one's.
fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let shown = path.display();
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed(format!("cannot create {}", dir.display())))?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(failed(format!("cannot replace {shown}"))(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed(format!("cannot listen on {shown}")))?;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, mode).map_err(failed(format!("cannot protect {shown}")))?;
    let quiet = listener.set_nonblocking(true);
    quiet.map_err(failed(format!("cannot listen on {shown}")))?;
    Ok(listener)
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    pending: Vec<u8>,
    over: bool,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            pending: Vec::new(),
            over: false,
        }
    }

    /// Whole lines that have arrived.
    fn read(&mut self) -> Vec<String> {
        let mut part = [0; 4_096];
        while self.input.len() <= LINE_MAX {
            match self.stream.read(&mut part) {
                Ok(0) => {
                    self.over = true;
                    break;
                }
                Ok(length) => self.input.extend_from_slice(&part[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.over = true;
                    break;
                }
            }
        }
        let mut lines = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        // A line that never ends.
        self.over |= self.input.len() > LINE_MAX;
        lines
    }

    fn send(&mut self, message: &Message) {
        match serde_json::to_vec(message) {
            Ok(line) => {
                self.pending.extend_from_slice(&line);
                self.pending.push(b'\n');
            }
            Err(error) => tracing::error!(%error, "a message cannot be written"),
        }
    }

    /// Writes what can be written; false if the client is gone or does not read.
    fn flush(&mut self) -> bool {
        while !self.pending.is_empty() && !self.over {
            match self.stream.write(&self.pending) {
                Ok(0) => self.over = true,
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.over = true,
            }
        }
        !self.over && self.pending.len() <= PENDING_MAX
    }
}
