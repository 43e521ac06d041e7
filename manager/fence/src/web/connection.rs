//! A connection to a target, made before anything of a request is sent: what fails here has had no effect.

use holdfast_model::target::Place;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A socket of which no operation takes longer than until then.
pub(super) struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        left(self.until).map(Some)
    }
}

/// Zero would be no time-out at all.
fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(late()),
        left => Ok(left),
    }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

/// The system says "would block" for a time-out.
fn said(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => late(),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer).map_err(said)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buffer).map_err(said)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A connection, ready for a request.
pub(super) enum Connection {
    /// As it is.
    Plain(Timed),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Looks the name up, connects, and makes sure whom it has reached.
pub(super) fn connect(
    place: &Place,
    tls: Option<Arc<ClientConfig>>,
    until: Instant,
) -> Result<Connection, String> {
    // The system's own bounds hold for this (resolv.conf); nobody waits for this thread longer than he wants.
    let found = (place.host.as_str(), place.port).to_socket_addrs();
    let found = found.map_err(|error| format!("{} is not to be found: {error}", place.host))?;
    let socket = reach(&found.collect::<Vec<_>>(), until)
        .map_err(|error| format!("cannot connect to {place}: {error}"))?;
    // Best effort: without it the last part of a request may wait for 40 ms.
    socket.set_nodelay(true).ok();
    let mut socket = Timed { socket, until };
    let Some(tls) = tls else {
        return Ok(Connection::Plain(socket));
    };
    let failed = |error: &dyn std::fmt::Display| {
        format!(
            "{place} is not trusted, or does not speak TLS: {error}; correct `url`, `ca_file` or \
             `certificate_sha256`"
        )
    };
    let name = ServerName::try_from(place.host.clone()).map_err(|error| failed(&error))?;
    let mut client = ClientConnection::new(tls, name).map_err(|error| failed(&error))?;
    while client.is_handshaking() {
        client
            .complete_io(&mut socket)
            .map_err(|error| match outside_its_time(&error) {
                true => format!(
                    "{place} is not trusted: {error}; renew its certificate, see that this machine's clock is right, or \
                     trust it as it is by `certificate_sha256`"
                ),
                false => failed(&error),
            })?;
    }
    Ok(Connection::Tls(Box::new(StreamOwned::new(client, socket))))
}

/// The certificate is good, and has expired or is not valid yet: what is configured here is not at fault.
fn outside_its_time(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(
        error,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ))
    )
}

/// The first address that answers; each of them has an equal part of the time that is left.
fn reach(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "it has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left(until)? / others) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = said(error),
        }
    }
    Err(last)
}
