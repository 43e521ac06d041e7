//! Against real servers on loopback, good and bad.

mod plain;
mod trusted;

use super::*;
use holdfast_extension_host::outside::Method;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use tempfile::TempDir;

/// Whatever is waited for comes within this, or the test fails.
const BOUND: Duration = Duration::from_secs(60);

trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

/// Serves connections one after the other; each request's head and body are told.
struct Server {
    address: SocketAddr,
    heard: Receiver<String>,
}

type Answer = Box<dyn Fn(&mut dyn Both) + Send>;

impl Server {
    fn start(tls: Option<Arc<ServerConfig>>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                socket.set_read_timeout(Some(BOUND)).expect("a time-out");
                match &tls {
                    Some(tls) => {
                        let server = ServerConnection::new(tls.clone()).expect("a server");
                        serve(&mut StreamOwned::new(server, socket), &tell, &answer);
                    }
                    None => serve(&mut { socket }, &tell, &answer),
                }
            }
        });
        Self { address, heard }
    }

    fn plain(answer: &'static str) -> Self {
        Self::start(None, words(answer))
    }

    fn heard(&self) -> String {
        self.heard.recv_timeout(BOUND).expect("a request")
    }

    fn heard_nothing(&self) {
        assert!(self.heard.try_recv().is_err(), "something was sent");
    }
}

fn words(answer: &'static str) -> Answer {
    Box::new(move |stream| {
        stream.write_all(answer.as_bytes()).ok();
        stream.flush().ok();
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

fn serve(stream: &mut dyn Both, tell: &Sender<String>, answer: &Answer) {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&all).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the body");
    tell.send(format!("{head}{}", String::from_utf8_lossy(&body)))
        .ok();
    answer(stream);
}

struct Rig {
    targets: WebTargets,
    book: Arc<Recent>,
    dir: TempDir,
}

const SECRET: &str = "hunter2-and-more";

impl Rig {
    /// One target, `t`, at this address, with these keys.
    fn new(url: &str, keys: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("secret"), format!("{SECRET}\n")).expect("written");
        let keys = keys.replace("DIR", &dir.path().display().to_string());
        let text = format!("url = \"{url}\"\n{keys}");
        let target: TargetSection = toml::from_str(&text).expect("a target");
        assert_eq!(target.fault(), None);
        let book = Arc::new(Recent::default());
        let targets = BTreeMap::from([("t".parse().expect("a name"), target)]);
        let targets = WebTargets::new(targets, dir.path().to_owned(), book.clone());
        Self { targets, book, dir }
    }

    fn send(&self, request: &Request, until: Duration) -> Result<Response, WebError> {
        let answer = self.targets.send(request, Instant::now() + until);
        let told = format!("{answer:?} {:?} {:?}", self.targets, self.book.newest());
        assert!(!told.contains(SECRET) && !told.contains("HIDDEN"), "{told}");
        answer
    }

    fn post(&self) -> Result<Response, WebError> {
        self.send(&post("/x"), BOUND)
    }

    /// What the one request came to, as it is written down; it may come later than its answer.
    fn noted(&self) -> Entry {
        let begun = Instant::now();
        loop {
            let found = self.book.newest();
            assert_eq!(found.len(), 1, "{found:?}");
            if found[0].outcome.is_some() {
                return found[0].clone();
            }
            assert!(begun.elapsed() < BOUND, "its outcome is never written down");
            std::thread::yield_now();
        }
    }
}

fn request(method: Method, path: &str, body: Option<&str>) -> Request {
    Request {
        about: "a test".to_owned(),
        target: "t".parse().expect("a name"),
        method,
        path: path.to_owned(),
        body: body.map(str::to_owned),
    }
}

fn post(path: &str) -> Request {
    request(Method::Post, path, Some("{\"a\":1}"))
}

fn unreachable(answer: Result<Response, WebError>, says: &str) {
    match answer {
        Err(WebError::Unreachable(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn unanswered(answer: Result<Response, WebError>, says: &str) {
    match answer {
        Err(WebError::Unanswered(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}
