//! What the sandbox adds to a fencing call: the Redfish extension asks a board how its power stands, which is one
//! HTTP request, and the same request is sent without it; in turns, over loopback. A line for each: its name and the
//! microseconds of each call.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{RUNTIME, wasm};
use holdfast_extension_host::fencing::{Device, Power};
use holdfast_extension_host::outside::{Method, Reach, Request, Response, Web, WebError};
use holdfast_extension_host::{Fencing, Loaded};
use holdfast_model::extension::{ExtensionKind, Rights};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CALLS: usize = 200;
/// Not counted: pages and caches are cold.
const WARM: usize = 20;
const PATH: &str = "/redfish/v1/Systems/1";

fn main() {
    let board = Arc::new(Board::serve());
    let role = || "board".parse().expect("a name");
    let web: Arc<dyn Web> = board.clone();
    let reach = Reach {
        about: "bench".to_owned(),
        rights: Rights {
            log: true,
            http: BTreeMap::from([(role(), BTreeSet::from(["GET /redfish/v1/*".to_owned()]))]),
            ..Rights::default()
        },
        web: Some(web),
        ..Reach::default()
    };
    let loaded = Loaded::compile(&RUNTIME, &wasm("redfish")).expect("a component");
    let limits = ExtensionKind::Fencing.default_limits();
    let fencing = Fencing::new(&loaded, limits).expect("one for fencing");
    let device = Device {
        host: "a1".to_owned(),
        name: "a1".to_owned(),
        settings: vec![("system".to_owned(), "1".to_owned())],
    };
    let request = Request {
        about: "bench".to_owned(),
        target: role(),
        method: Method::Get,
        path: PATH.to_owned(),
        body: None,
    };
    let (mut native, mut sandboxed) = (Vec::new(), Vec::new());
    for call in 0..WARM + CALLS {
        let begin = Instant::now();
        let answer = board.send(&request, begin + Duration::from_secs(5));
        let alone = begin.elapsed();
        assert_eq!(answer.expect("an answer").status, 200);
        let begin = Instant::now();
        let said = fencing.status(&device, reach.clone()).answer;
        let through = begin.elapsed();
        assert_eq!(said.expect("an answer"), Power::Off);
        if call >= WARM {
            native.push(alone);
            sandboxed.push(through);
        }
    }
    print("the request alone", &native);
    print("by the Redfish extension", &sandboxed);
}

fn print(name: &str, times: &[Duration]) {
    let numbers: Vec<String> = times
        .iter()
        .map(|each| each.as_micros().to_string())
        .collect();
    println!("{name}, us\t{}", numbers.join(" "));
}

/// One that is off, and says so to whoever connects.
struct Board(SocketAddr);

impl Board {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream).expect("an answer that goes out");
            }
        });
        Self(address)
    }

    fn ask(&self, request: &Request) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.0)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: board\r\nconnection: close\r\n\r\n",
            request.method.word(),
            request.path
        );
        stream.write_all(head.as_bytes())?;
        std::io::read_to_string(stream)
    }
}

impl Web for Board {
    fn send(&self, request: &Request, _: Instant) -> Result<Response, WebError> {
        let text = self.ask(request);
        let text = text.map_err(|error| WebError::Unreachable(error.to_string()))?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Response {
            status: status.unwrap_or_default(),
            body: body.to_owned(),
        })
    }
}

fn answer(stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let body = r#"{"PowerState": "Off"}"#;
    let status = match first.starts_with(&format!("GET {PATH} ")) {
        true => "200 OK",
        false => "404 Not Found",
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
