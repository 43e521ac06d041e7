//! Small HTTP servers of the lab: they listen where the observer does, which no cut and no machine's end takes away.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{LabError, Result};
use crate::layout::{NET_NAMESPACE, OBSERVER_ADDRESS};
use crate::net::namespace_file;

/// Looks this often whether the scenario is over.
const STEP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// A client that says nothing for so long has died.
pub(crate) const TALK: Duration = Duration::from_secs(5);
/// No request is larger.
const BYTES_MAX: u64 = 4 << 20;

/// Listens in the machines' network. Who enters that stays there: so it is a thread's business that ends with it,
/// and the socket stays.
pub(crate) fn listen(port: u16) -> Result<TcpListener> {
    let listening = std::thread::spawn(move || {
        let place = namespace_file(NET_NAMESPACE);
        let namespace = File::open(&place).map_err(LabError::io("open", &place))?;
        let enter = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
        enter.map_err(|error| LabError::io("enter", &place)(error.into()))?;
        let failed = |error| LabError::io("listen in", &place)(error);
        let listener = TcpListener::bind((OBSERVER_ADDRESS, port)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(listener)
    });
    let lost = |_| Err(LabError::Refused("the thread that listens ended".into()));
    listening.join().unwrap_or_else(lost)
}

/// Takes what comes in until the scenario is over.
pub(crate) fn accept(
    listener: &impl AsFd,
    over: &AtomicBool,
    take: impl Fn() -> std::io::Result<()>,
) {
    while !over.load(Ordering::Relaxed) {
        let mut sources = [PollFd::new(listener, PollFlags::IN)];
        // An interrupted poll is only an early look.
        let _ = poll(&mut sources, Some(&STEP));
        while take().is_ok() {}
    }
}

/// Ends what is served however the body ends.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A request.
pub(crate) struct Request {
    /// GET, POST.
    pub(crate) method: String,
    /// With its slash.
    pub(crate) path: String,
    /// As it came.
    pub(crate) body: Vec<u8>,
}

/// Reads a request to its end.
pub(crate) fn read(stream: &TcpStream) -> std::io::Result<Request> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TALK))?;
    let mut reader = BufReader::new(stream.take(BYTES_MAX));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let mut words = first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Ok(Request {
        method: word(),
        path: word(),
        body,
    })
}

/// Answers: `204 No Content`, and JSON.
pub(crate) fn say(mut stream: &TcpStream, status: &str, json: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{json}",
        json.len()
    )
}
