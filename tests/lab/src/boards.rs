//! Fencing devices of the lab: a board for each hypervisor, outside all machines as a real one is.
//!
//! ```text
//!  manager ─stdin─> fence_lab (`xtask lab-fence SOCKET`) ─socket─> boards, in the test ─> the machine's power
//!          <─exit code─────────────────────────────────<─────────────┘
//! ```
//! What a board does is set by the scenario; what it was asked is kept, as proof that it was. The same boards
//! speak Redfish as well ([`redfish`]).

mod redfish;

pub(crate) use redfish::url as redfish_url;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::now_ms;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::machine::Power;
use crate::outside::{Over, TALK, accept};
use crate::run::wait_until;
use crate::state::{self, StateDir};

/// Where a manager finds the program.
pub const PROGRAM: &str = "/etc/holdfast/fence_lab";

/// What a slow board takes to switch off: as long as a service processor that closes things first.
pub const SLOW: Duration = Duration::from_secs(4);

/// How a board behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does what it is told, and says how things stand.
    #[default]
    Answers,
    /// The same, and switching off takes it [`SLOW`].
    Slow,
    /// It switches nothing off, says that it did, and says off as soon as the scenario lets it.
    Lies,
    /// Nothing comes back.
    Hangs,
    /// It will not.
    Refuses,
    /// It says how things stand, and switches nothing off: what it was told is counted and harms nobody.
    Keeps,
    /// Nobody is there.
    Dead,
}

/// One call to a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// When (CLOCK_BOOTTIME).
    pub(crate) at_ms: u64,
    /// About which host.
    pub(crate) host: String,
    /// What.
    pub(crate) action: String,
    /// Its power just then.
    pub(crate) power: Power,
}

/// The boards of a lab.
#[derive(Default)]
pub struct Boards {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    modes: BTreeMap<String, Mode>,
    calls: Vec<Call>,
    held: Vec<UnixStream>,
    held_web: Vec<TcpStream>,
}

impl Boards {
    /// Serves the boards while the body runs.
    pub fn serve<T>(lab: &Lab, body: impl FnOnce(&Boards) -> Result<T>) -> Result<T> {
        let socket = socket(lab.state());
        // One that an interrupted scenario left.
        let _ = std::fs::remove_file(&socket);
        let failed = LabError::io("listen on", &socket);
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        let failed = LabError::io("listen on", &socket);
        listener.set_nonblocking(true).map_err(failed)?;
        let web = redfish::listen()?;
        let (boards, over) = (Boards::default(), AtomicBool::new(false));
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                accept(&listener, &over, || {
                    let (stream, _) = listener.accept()?;
                    // A program that went away has no use for an answer.
                    let _ = boards.answer(lab, stream);
                    Ok(())
                });
            });
            scope.spawn(|| {
                accept(&web, &over, || {
                    let (stream, _) = web.accept()?;
                    let _ = boards.answer_web(lab, stream);
                    Ok(())
                });
            });
            let _end = Over(&over);
            body(&boards)
        });
        std::fs::remove_file(&socket).map_err(LabError::io("remove", &socket))?;
        result
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host's board behaves like this from now on.
    pub fn set(&self, host: &str, mode: Mode) {
        self.inner().modes.insert(host.to_owned(), mode);
    }

    /// Waits until a host's board is asked for something after a moment.
    pub(crate) fn wait_asked(
        &self,
        host: &str,
        action: &str,
        after_ms: u64,
        limit: Duration,
    ) -> Result<Call> {
        let what = format!("{action} of {host} to be asked of its board");
        wait_until(&what, limit, "", || {
            let inner = self.inner();
            let mut calls = inner.calls.iter();
            let meant =
                |call: &&Call| call.host == host && call.action == action && call.at_ms > after_ms;
            let found = calls.find(meant).cloned();
            found.ok_or_else(|| format!("so far {:?}", inner.calls))
        })
    }

    /// All that boards were asked for so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner().calls.clone()
    }

    /// Lies that were held back are told.
    pub fn tell_lies(&self) -> usize {
        let held = {
            let mut inner = self.inner();
            // Nobody has a lie for those: they are let go.
            inner.held_web.clear();
            std::mem::take(&mut inner.held)
        };
        let told = held.into_iter();
        told.filter(|mut stream| stream.write_all(b"2\n").is_ok())
            .count()
    }

    fn answer(&self, lab: &Lab, mut stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TALK))?;
        let mut input = String::new();
        stream.read_to_string(&mut input)?;
        let of = |key: &str| input.lines().find_map(|line| line.strip_prefix(key));
        let (Some(action), Some(host)) = (of("action="), of("nodename=")) else {
            return stream.write_all(b"1\n");
        };
        match self.act(lab, host, action) {
            Act::Gone => Ok(()),
            Act::Held => {
                self.inner().held.push(stream);
                Ok(())
            }
            Act::Says(answer) => {
                let code = match (answer, action) {
                    (Answer::Power(Power::Off), "status") => 2,
                    (Answer::Refused, _) => 1,
                    (Answer::Power(_) | Answer::Done, _) => 0,
                };
                writeln!(stream, "{code}")
            }
        }
    }

    /// What a host's board does when it is asked for something; writes the call down.
    fn act(&self, lab: &Lab, host: &str, action: &str) -> Act {
        let power = lab.power(host).unwrap_or(Power::Off);
        let mode = {
            let mut inner = self.inner();
            inner.calls.push(Call {
                at_ms: now_ms(),
                host: host.to_owned(),
                action: action.to_owned(),
                power,
            });
            inner.modes.get(host).copied().unwrap_or_default()
        };
        match (mode, action) {
            (Mode::Dead, _) => Act::Gone,
            (Mode::Refuses, _) => Act::Says(Answer::Refused),
            (Mode::Hangs, _) | (Mode::Lies, "status") => Act::Held,
            (Mode::Lies, _) => Act::Says(Answer::Done),
            (Mode::Answers | Mode::Slow | Mode::Keeps, "status") => Act::Says(Answer::Power(power)),
            (Mode::Keeps, _) => Act::Says(Answer::Refused),
            (Mode::Answers | Mode::Slow, _) => {
                if mode == Mode::Slow {
                    // Nobody else is asked meanwhile: there is one thread for all boards.
                    std::thread::sleep(SLOW);
                }
                match power == Power::Off || lab.power_off(&[host]).is_ok() {
                    true => Act::Says(Answer::Done),
                    false => Act::Says(Answer::Refused),
                }
            }
        }
    }
}

/// What comes of a call.
enum Act {
    /// Nobody is there.
    Gone,
    /// Nothing comes back for now.
    Held,
    /// An answer.
    Says(Answer),
}

/// An answer, in whatever language.
#[derive(Clone, Copy)]
enum Answer {
    Done,
    Refused,
    Power(Power),
}

/// Where the boards listen.
fn socket(state: &StateDir) -> PathBuf {
    state.root().join("boards.sock")
}

/// Writes the program that `manager.toml` names.
pub(crate) fn write_program(state: &StateDir, file: &Path, init_program: &Path) -> Result<()> {
    let text = format!(
        "#!/bin/sh\nexec '{}' lab-fence '{}'\n",
        init_program.display(),
        socket(state).display()
    );
    state::write(file, text)?;
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(file, runs).map_err(LabError::io("make executable", file))
}

/// The program itself (`xtask lab-fence SOCKET`, never called by people): standard input in, exit code out.
pub fn run(socket: &Path) -> Result<ExitCode> {
    let failed = |error| LabError::io("talk to", socket)(error);
    let mut input = String::new();
    std::io::stdin()
        .read_to_string(&mut input)
        .map_err(failed)?;
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.write_all(input.as_bytes()).map_err(failed)?;
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(failed)?;
    match line.trim().parse::<u8>() {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(_) => Err(LabError::Refused("no board answers".into())),
    }
}
