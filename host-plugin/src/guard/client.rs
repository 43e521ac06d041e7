//! The agent's side of the guard's socket: one connection that is kept up, calls with a bound.

use super::protocol::{Answer, Call, Killed, LINE_MAX, Message, Request, VERSION};
use holdfast_model::id::Incarnation;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

/// For an answer. The guard answers in microseconds; one that needs this long is not one to trust.
const CALL: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);
/// Calls that may wait to be written.
const CALLS: usize = 256;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// There is no guard, or it does not answer.
    #[error("the guard does not answer on {socket}: {reason}; is holdfast-guard running?")]
    Absent {
        /// Where it should listen.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// It said no.
    #[error("the guard refuses: {0}")]
    Refused(String),
}

/// What the guard stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The life that ended.
    pub incarnation: Option<Incarnation>,
    /// What was killed.
    pub killed: Vec<Killed>,
}

struct Sent {
    call: Call,
    answer: oneshot::Sender<Result<Answer, GuardError>>,
}

/// A handle; clones share the connection.
#[derive(Clone)]
pub struct GuardClient {
    socket: PathBuf,
    calls: mpsc::Sender<Sent>,
    connected: watch::Receiver<u64>,
}

/// A guard that is not there.
const NOT_CONNECTED: u64 = 0;

impl GuardClient {
    /// Begins to connect, and goes on for ever. What the guard stops arrives at the receiver.
    pub fn start(socket: &Path) -> (Self, mpsc::UnboundedReceiver<Stopped>) {
        let (calls, receiver) = mpsc::channel(CALLS);
        let (state, connected) = watch::channel(NOT_CONNECTED);
        let (stopped, stops) = mpsc::unbounded_channel();
        let keeper = Keeper {
            socket: socket.to_owned(),
            calls: receiver,
            state,
            stopped,
            connections: NOT_CONNECTED,
        };
        tokio::spawn(keeper.run());
        let client = Self {
            socket: socket.to_owned(),
            calls,
            connected,
        };
        (client, stops)
    }

    /// The number of the connection that is up; `None` while there is none. A new number means that
    /// the guard may have been restarted: arm it and hand the processes over again.
    pub fn connection(&self) -> Option<u64> {
        Some(*self.connected.borrow()).filter(|number| *number != NOT_CONNECTED)
    }

    /// Returns when the connection came or went since the last call on this handle.
    pub async fn changed(&mut self) {
        if self.connected.changed().await.is_err() {
            // The keeper ends with the last handle, and this is one.
            std::future::pending::<()>().await;
        }
    }

    /// Makes a call.
    pub async fn call(&self, call: Call) -> Result<Answer, GuardError> {
        let absent = |reason: &str| GuardError::Absent {
            socket: self.socket.clone(),
            reason: reason.to_owned(),
        };
        if self.connection().is_none() {
            return Err(absent("not connected"));
        }
        let (answer, receiver) = oneshot::channel();
        if self.calls.try_send(Sent { call, answer }).is_err() {
            return Err(absent("too many calls wait"));
        }
        match tokio::time::timeout(CALL, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(absent("the connection was lost")),
            Err(_) => Err(absent("no answer in time")),
        }
    }
}

struct Keeper {
    socket: PathBuf,
    calls: mpsc::Receiver<Sent>,
    state: watch::Sender<u64>,
    stopped: mpsc::UnboundedSender<Stopped>,
    connections: u64,
}

type Waiting = BTreeMap<u64, oneshot::Sender<Result<Answer, GuardError>>>;

impl Keeper {
    async fn run(mut self) {
        let mut told = false;
        while !self.calls.is_closed() {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    told = false;
                    self.connections += 1;
                    self.state.send_replace(self.connections);
                    tracing::info!(socket = %self.socket.display(), "the guard is there");
                    let reason = self.serve(stream).await;
                    self.state.send_replace(NOT_CONNECTED);
                    tracing::error!(reason, "the guard is gone; nothing is started without it");
                }
                Err(error) if !told => {
                    told = true;
                    tracing::error!(socket = %self.socket.display(), %error, "no guard");
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Until the connection breaks; the reason. Whoever waits for an answer then learns that there
    /// is none, as `waiting` is dropped.
    async fn serve(&mut self, stream: UnixStream) -> String {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read);
        let mut waiting = Waiting::new();
        let (mut id, mut line) = (0, Vec::new());
        loop {
            tokio::select! {
                call = self.calls.recv() => {
                    let Some(Sent { call, answer }) = call else {
                        return "this agent is ending".to_owned();
                    };
                    id += 1;
                    waiting.insert(id, answer);
                    // Callers that gave up need no answer any more.
                    waiting.retain(|_, answer| !answer.is_closed());
                    if let Err(reason) = send(&mut write, id, call).await {
                        return reason;
                    }
                }
                read = read_line(&mut lines, &mut line) => match read {
                    Ok(message) => self.take(message, &mut waiting),
                    Err(reason) => return reason,
                }
            }
        }
    }

    fn take(&mut self, message: Message, waiting: &mut Waiting) {
        match message {
            Message::Reply { id, result } => {
                if let Some(answer) = waiting.remove(&id) {
                    let _ = answer.send(result.map_err(GuardError::Refused));
                }
            }
            Message::Stopped {
                incarnation,
                killed,
            } => {
                let _ = self.stopped.send(Stopped {
                    incarnation,
                    killed,
                });
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, id: u64, call: Call) -> Result<(), String> {
    let request = Request {
        v: VERSION,
        id,
        call,
    };
    let mut line = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let written = tokio::time::timeout(CALL, write.write_all(&line)).await;
    let written = written.map_err(|_| "it does not read what is written".to_owned())?;
    written.map_err(|error| error.to_string())
}

/// One message. `line` keeps what was read of it if the future is dropped.
async fn read_line(
    lines: &mut BufReader<OwnedReadHalf>,
    line: &mut Vec<u8>,
) -> Result<Message, String> {
    let left = (LINE_MAX + 1).saturating_sub(line.len());
    let read = lines.take(left as u64).read_until(b'\n', line).await;
    match read {
        Ok(_) if line.ends_with(b"\n") => {
            let message = serde_json::from_slice(line).map_err(|error| error.to_string());
            line.clear();
            message
        }
        Ok(0) => Err("it closed the connection".to_owned()),
        Ok(_) => Err("it sent a line without an end".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
