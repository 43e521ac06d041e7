//! systemd as the watchdog of this service (`WatchdogSec=`): it is told `WATCHDOG=1` over the socket
//! that it hands to the service.
//!
//! Not the `sd-notify` crate: that opens a socket for each message and waits if systemd does not
//! read. The guard waits for nobody.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

const ALIVE: &[u8] = b"WATCHDOG=1";

/// Why systemd is not this process's watchdog.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// The unit has no `WatchdogSec=`, or this process was not started by it.
    #[error("{variable} is {found}")]
    Variable {
        /// Which of systemd's variables.
        variable: &'static str,
        /// What it is, in words.
        found: String,
    },
    /// The socket does not take messages.
    #[error("the socket of NOTIFY_SOCKET cannot be used: {0}")]
    Socket(#[from] io::Error),
}

/// The way to systemd.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    timeout: Duration,
}

impl Notifier {
    /// From the environment that systemd gives to a process, `pid` being this one.
    ///
    /// # Errors
    /// If systemd does not watch over this process, or its socket cannot be reached.
    pub fn new(
        variable: impl Fn(&str) -> Option<OsString>,
        pid: u32,
    ) -> Result<Self, SystemdError> {
        let wrong = |variable, found: Option<OsString>| SystemdError::Variable {
            variable,
            found: found.map_or("not set".into(), |found| format!("{found:?}")),
        };
        let number = |name| {
            let text = variable(name)?;
            text.to_str()?.parse::<u64>().ok()
        };
        let meant_for = variable("WATCHDOG_PID");
        if meant_for.is_some() && number("WATCHDOG_PID") != Some(u64::from(pid)) {
            return Err(wrong("WATCHDOG_PID", meant_for));
        }
        // Less than a millisecond is none.
        let timeout_us = match number("WATCHDOG_USEC") {
            Some(us) if us >= 1_000 => us,
            _ => return Err(wrong("WATCHDOG_USEC", variable("WATCHDOG_USEC"))),
        };
        let Some(name) = variable("NOTIFY_SOCKET") else {
            return Err(wrong("NOTIFY_SOCKET", None));
        };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            timeout: Duration::from_micros(timeout_us),
        })
    }

    /// `WatchdogSec=`.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Says that this process is alive.
    ///
    /// # Errors
    /// `EAGAIN` among others, if systemd does not read.
    pub fn pet(&self) -> io::Result<()> {
        self.socket.send(ALIVE).map(drop)
    }
}
