//! One request over a connection that is there, and its answer. Whatever fails here may have been done.

use super::connection::Connection;
use holdfast_extension_host::outside::{Method, Request, Response};
use holdfast_model::target::Place;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use ureq::http::{self, HeaderValue, Uri, header};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Error};

/// Longest body of an answer, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 256 << 10;
const BUFFER_BYTES: usize = 16 << 10;

/// Makes a request of what a guest asks for. Errors are told before anything is sent.
pub(super) fn prepared(
    request: &Request,
    place: &Place,
    authorization: Option<HeaderValue>,
) -> Result<http::Request<Option<String>>, String> {
    if request.body.is_some() && matches!(request.method, Method::Get | Method::Delete) {
        return Err(format!("a {} has no body", request.method.word()));
    }
    // "/" is the address that the operator gave, as he gave it: many webhooks do not know it with a slash behind it.
    let path = match (request.path.as_str(), place.base.as_str()) {
        ("/", base) if !base.is_empty() => base.to_owned(),
        (path, base) => format!("{base}{path}"),
    };
    // ureq knows nothing of TLS: the connection is made by then, and this one scheme will do for both.
    let plain = Place {
        tls: false,
        ..place.clone()
    };
    let mut builder = http::Request::builder()
        .method(request.method.word())
        .uri(format!("{plain}{path}"))
        .header(header::HOST, host_of(place));
    if let Some(value) = authorization {
        builder = builder.header(header::AUTHORIZATION, value);
    }
    if request.body.is_some() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    // Not with the error's own words: they may have the address in them.
    builder
        .body(request.body.clone())
        .map_err(|_| "it is no request that HTTP knows".to_owned())
}

/// As HTTP wants it: the port only if it is not the scheme's own.
fn host_of(place: &Place) -> String {
    let host = match place.host.contains(':') {
        true => format!("[{}]", place.host),
        false => place.host.clone(),
    };
    match (place.tls, place.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

/// Sends it and reads the answer.
pub(super) fn exchange(
    request: http::Request<Option<String>>,
    connection: Connection,
) -> Result<Response, String> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_idle_connections(0)
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .build();
    let dialled = Dialled(Mutex::new(Some(connection)));
    let agent = Agent::with_parts(config, dialled, Nowhere);
    let (parts, body) = request.into_parts();
    let response = match body {
        Some(body) => agent.run(http::Request::from_parts(parts, body)),
        None => agent.run(http::Request::from_parts(parts, ())),
    };
    let response = response.map_err(|error| words(&error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    let mut reader = response.into_body().into_reader().take(BODY_BYTES_MAX + 1);
    let read = reader.read_to_end(&mut body);
    read.map_err(|error| format!("its answer {status} was cut short: {error}"))?;
    if body.len() as u64 > BODY_BYTES_MAX {
        let kib = BODY_BYTES_MAX >> 10;
        return Err(format!(
            "its answer {status} is too long: more than {kib} KiB"
        ));
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Response { status, body })
}

/// Without anything that could have the address in it.
fn words(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Protocol(error) => format!("what it answers is no HTTP: {error}"),
        Error::Timeout(_) => "no answer in time".to_owned(),
        _ => "the exchange failed".to_owned(),
    }
}

/// The connection is there already: it is given once.
struct Dialled(Mutex<Option<Connection>>);

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialled")
    }
}

impl Connector<()> for Dialled {
    type Out = Line;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, Error> {
        let taken = self
            .0
            .lock()
            .ok()
            .and_then(|mut connection| connection.take());
        // Never a second one: what was sent is not sent again.
        let connection = taken.ok_or(Error::ConnectionFailed)?;
        let buffers = LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES);
        Ok(Some(Line {
            connection,
            buffers,
        }))
    }
}

/// The connection as ureq wants it. Its times are the socket's own.
struct Line {
    connection: Connection,
    buffers: LazyBuffers,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.connection.write_all(output)?;
        self.connection.flush()?;
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        let amount = self.connection.read(self.buffers.input_append_buf());
        let amount = amount.map_err(cut)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// ureq takes these for the end of an answer whose length nobody has told. A half of one is none.
fn cut(error: io::Error) -> io::Error {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionAborted | ConnectionReset => io::Error::other(error.to_string()),
        _ => error,
    }
}

/// Nothing is looked up twice.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([0, 0, 0, 0], 0).into());
        Ok(addresses)
    }
}
