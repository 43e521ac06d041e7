//! Against real servers on loopback, good and bad.

use super::*;
use holdfast_extension_host::outside::Method;
use rcgen::{CertificateParams, CertifiedKey, Issuer, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
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

#[test]
fn a_request_arrives_with_its_credentials_and_is_written_down() {
    let server = Server::plain(OK);
    let url = format!("http://{}/HIDDEN/base/", server.address);
    let rig = Rig::new(&url, "token_file = \"secret\"");
    assert_eq!(rig.targets.faults(), Vec::<String>::new());
    let answer = rig.send(&post("/x?y=1"), BOUND).expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let heard = server.heard();
    for part in [
        "post /hidden/base/x?y=1 http/1.1\r\n",
        &format!("authorization: bearer {SECRET}\r\n"),
        "content-type: application/json\r\n",
        &format!("host: {}\r\n", server.address),
        "{\"a\":1}",
    ] {
        assert!(heard.contains(part), "{part}: {heard}");
    }
    let entry = rig.noted();
    assert_eq!(entry.outcome, Some(Ok(200)));
    assert!(entry.ended_at.is_some());
    let Noted {
        target,
        place,
        method,
        path,
        ..
    } = entry.request;
    assert_eq!(
        (target.as_str(), method, path.as_str()),
        ("t", Method::Post, "/x?…")
    );
    assert_eq!(place, format!("http://{}", server.address));
}

#[test]
fn a_user_has_a_password_and_the_bare_address_is_sent_as_it_is() {
    let server = Server::plain(OK);
    let url = format!("http://{}/hook", server.address);
    let rig = Rig::new(&url, "user = \"me\"\npassword_file = \"secret\"");
    rig.send(&post("/"), BOUND).expect("an answer");
    let heard = server.heard();
    assert!(heard.starts_with("post /hook http/1.1\r\n"), "{heard}");
    let basic = BASE64_STANDARD
        .encode(format!("me:{SECRET}"))
        .to_lowercase();
    assert!(
        heard.contains(&format!("authorization: basic {basic}")),
        "{heard}"
    );
    // What is replaced is used with the next request; what is not there is told, and nothing is sent.
    std::fs::write(rig.dir.path().join("secret"), "two\nlines").expect("written");
    unreachable(rig.post(), "more than one line");
    std::fs::remove_file(rig.dir.path().join("secret")).expect("removed");
    unreachable(rig.post(), "cannot read the secret");
    assert!(rig.targets.faults()[0].starts_with("[targets.t] cannot read the secret"));
    server.heard_nothing();
}

#[test]
fn every_method_and_every_status_comes_through_and_redirects_are_not_followed() {
    let elsewhere = Server::plain(OK);
    let to = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.address
    );
    let server = Server::plain(Box::leak(to.into_boxed_str()));
    let rig = Rig::new(
        &format!("http://{}", server.address),
        "token_file = \"secret\"",
    );
    for (method, body) in [
        (Method::Get, None),
        (Method::Post, Some("{}")),
        (Method::Post, None),
        (Method::Put, Some("{}")),
        (Method::Patch, Some("{}")),
        (Method::Delete, None),
    ] {
        let answer = rig
            .send(&request(method, "/", body), BOUND)
            .expect("an answer");
        assert_eq!(answer.status, 302, "{method:?}");
        let wanted = format!("{} / http", method.word().to_lowercase());
        assert!(server.heard().starts_with(&wanted), "{wanted}");
    }
    elsewhere.heard_nothing();
    let odd = request(Method::Get, "/", Some("{}"));
    unreachable(rig.send(&odd, BOUND), "a GET has no body");
    let none = Request {
        target: "u".parse().expect("a name"),
        ..post("/")
    };
    assert!(matches!(rig.send(&none, BOUND), Err(WebError::NoTarget(why)) if why.contains("`u`")));
}

#[test]
fn what_cannot_be_reached_was_not_done() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let rig = Rig::new(&format!("http://{free}/HIDDEN"), "");
    unreachable(rig.post(), "cannot connect to http://127.0.0.1:");
    assert!(matches!(
        rig.noted().outcome,
        Some(Err(WebError::Unreachable(_)))
    ));
    // Nobody accepts it: the system connects, and no handshake comes.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("an address");
    let rig = Rig::new(&format!("https://{address}"), "timeout_ms = 300");
    unreachable(rig.post(), "no answer in time");
    // Given up before it was sent: it never is.
    let rig = Rig::new(&format!("https://{address}"), "timeout_ms = 400");
    unreachable(
        rig.send(&post("/"), Duration::from_millis(50)),
        "nothing was sent",
    );
    assert!(matches!(
        rig.noted().outcome,
        Some(Err(WebError::Unreachable(_)))
    ));
    let nowhere = Rig::new("http://nowhere.invalid", "");
    unreachable(nowhere.post(), "not to be found");
}

#[test]
fn what_was_sent_and_not_answered_may_have_been_done() {
    let hang: Answer = Box::new(|stream| drop(stream.read(&mut [0])));
    let server = Server::start(None, hang);
    let rig = Rig::new(&format!("http://{}", server.address), "timeout_ms = 300");
    unanswered(rig.post(), "no answer in time");
    for (answer, says) in [
        ("", "`t`: "),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            "cut short",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n", "`t`: "),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "`t`: ",
        ),
    ] {
        let server = Server::plain(answer);
        let rig = Rig::new(&format!("http://{}", server.address), "");
        unanswered(rig.post(), says);
        assert!(
            matches!(rig.noted().outcome, Some(Err(WebError::Unanswered(_)))),
            "{answer}"
        );
    }
    let hang_in_body: Answer = Box::new(|stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            .ok();
        stream.flush().ok();
        drop(stream.read(&mut [0]));
    });
    let server = Server::start(None, hang_in_body);
    let rig = Rig::new(&format!("http://{}", server.address), "timeout_ms = 300");
    unanswered(rig.post(), "cut short");
}

#[test]
fn a_body_has_256_kib_at_the_most() {
    let giant = |bytes: u64| -> Answer {
        Box::new(move |stream| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).ok();
            for _ in 0..bytes.div_ceil(1024) {
                // The other side goes away in the middle.
                if stream.write_all(&[b'x'; 1024]).is_err() {
                    return;
                }
            }
        })
    };
    let server = Server::start(None, giant(BODY));
    let rig = Rig::new(&format!("http://{}", server.address), "");
    assert_eq!(rig.post().expect("just enough").body.len() as u64, BODY);
    for bytes in [BODY + 1024, 1 << 40] {
        let server = Server::start(None, giant(bytes));
        let rig = Rig::new(&format!("http://{}", server.address), "");
        unanswered(rig.post(), "too long: more than 256 KiB");
    }
}

const BODY: u64 = exchange::BODY_BYTES_MAX;

#[test]
fn a_request_goes_on_when_its_guest_is_given_up_and_is_written_down() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let late: Answer = Box::new(move |stream| {
        wait.lock()
            .expect("one at a time")
            .recv_timeout(BOUND)
            .expect("to go on");
        stream.write_all(OK.as_bytes()).ok();
    });
    let server = Server::start(None, late);
    let rig = Rig::new(&format!("http://{}", server.address), "timeout_ms = 60000");
    let asking = std::thread::spawn({
        let targets = rig.targets.clone();
        move || targets.send(&post("/"), Instant::now() + Duration::from_millis(500))
    });
    server.heard();
    unanswered(asking.join().expect("no panic"), "no answer in time");
    assert_eq!(rig.book.newest()[0].outcome, None);
    go.send(()).expect("somebody waits");
    assert_eq!(rig.noted().outcome, Some(Ok(200)));
}

#[test]
fn too_many_at_a_time_are_not_sent_and_others_have_room() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("an address");
    let rig = Rig::new(&format!("http://{address}"), "timeout_ms = 60000");
    let name: TargetName = "t".parse().expect("a name");
    let rooms: Vec<Room> = (0..UNDER_WAY_EACH)
        .map(|_| rig.targets.0.room(&name).expect("room"))
        .collect();
    unreachable(rig.post(), "busy: 8 requests to `t`");
    assert!(rig.targets.0.room(&"u".parse().expect("a name")).is_ok());
    drop(rooms);
    assert!(rig.targets.0.room(&name).is_ok());
}

/// Refuses.
struct Full;

impl RequestBook for Full {
    fn before(&self, _: RequestId, _: &Noted) -> Result<(), String> {
        Err("the disk is full".to_owned())
    }

    fn after(&self, _: RequestId, _: &Outcome) {
        panic!("it was never sent");
    }
}

#[test]
fn what_cannot_be_written_down_is_not_sent() {
    let server = Server::plain(OK);
    let text = format!("url = \"http://{}\"", server.address);
    let target = toml::from_str(&text).expect("a target");
    let targets = BTreeMap::from([("t".parse().expect("a name"), target)]);
    let targets = WebTargets::new(targets, "/nonexistent".into(), Arc::new(Full));
    unreachable(
        targets.send(&post("/"), Instant::now() + BOUND),
        "the disk is full",
    );
    server.heard_nothing();
}

fn tls(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Arc::new(
        builder
            .with_single_cert(chain, key.into())
            .expect("a certificate"),
    )
}

/// As a board has it: signed by itself, for a name that nobody uses.
fn of_a_board() -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["bmc.invalid".to_owned()]).expect("a certificate");
    let digest = crate::extensions::digest(cert.der());
    (tls(vec![cert.der().clone()], &signing_key), digest)
}

#[test]
fn one_certificate_is_trusted_and_no_other() {
    let (config, digest) = of_a_board();
    let server = Server::start(Some(config), words(OK));
    let url = format!("https://{}", server.address);
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{digest}\"\ntoken_file = \"secret\""),
    );
    assert_eq!(rig.post().expect("an answer").status, 200);
    assert!(server.heard().contains(SECRET));
    let (_, other) = of_a_board();
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{other}\"\ntoken_file = \"secret\""),
    );
    // What it has is told, so that it can be looked at and written down.
    unreachable(rig.post(), &digest);
    // The system's authorities do not know it.
    unreachable(Rig::new(&url, "token_file = \"secret\"").post(), "trust");
    // One that has the certificate and not its key.
    let key = KeyPair::generate().expect("a key");
    let stolen = tls_unchecked(&of_a_board_der(), &key);
    let server = Server::start(Some(stolen), words(OK));
    let digest = crate::extensions::digest(&of_a_board_der());
    let url = format!("https://{}", server.address);
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{digest}\"\ntoken_file = \"secret\""),
    );
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
}

/// The same each time.
fn of_a_board_der() -> CertificateDer<'static> {
    static DER: std::sync::OnceLock<CertificateDer<'static>> = std::sync::OnceLock::new();
    let make = || {
        let made =
            generate_simple_self_signed(vec!["bmc.invalid".to_owned()]).expect("a certificate");
        made.cert.der().clone()
    };
    DER.get_or_init(make).clone()
}

/// rustls would not let a server use a key that is another certificate's.
fn tls_unchecked(certificate: &CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey as Signing;
    #[derive(Debug)]
    struct Always(Arc<Signing>);
    impl ResolvesServerCert for Always {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<Signing>> {
            Some(self.0.clone())
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider
        .key_provider
        .load_private_key(key.into())
        .expect("a key");
    let signing = Arc::new(Signing::new(vec![certificate.clone()], key));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    Arc::new(builder.with_cert_resolver(Arc::new(Always(signing))))
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("written");
}

#[test]
fn an_own_authority_is_trusted_instead_of_the_system_s() {
    let (good, issuer) = authority();
    let (other, _) = authority();
    let key = KeyPair::generate().expect("a key");
    let signed = |name: &str| {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        tls(vec![certificate.der().clone()], &key)
    };
    let server = Server::start(Some(signed("127.0.0.1")), words(OK));
    let url = format!("https://{}", server.address);
    let rig = Rig::new(&url, "ca_file = \"DIR/ca.pem\"\ntoken_file = \"secret\"");
    unreachable(rig.post(), "give a readable file");
    assert!(
        rig.targets.faults()[0].contains("`ca_file`"),
        "{:?}",
        rig.targets.faults()
    );
    write(rig.dir.path(), "ca.pem", "nothing");
    unreachable(rig.post(), "has no certificate in it");
    write(rig.dir.path(), "ca.pem", &other);
    assert_eq!(rig.targets.faults(), Vec::<String>::new());
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
    write(rig.dir.path(), "ca.pem", &good);
    assert_eq!(rig.post().expect("an answer").status, 200);
    assert!(server.heard().contains(SECRET));
    // For another name.
    let server = Server::start(Some(signed("elsewhere.example")), words(OK));
    let rig = Rig::new(
        &format!("https://{}", server.address),
        "ca_file = \"DIR/ca.pem\"",
    );
    write(rig.dir.path(), "ca.pem", &good);
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
}

#[test]
fn a_tls_answer_that_just_ends_was_cut_short() {
    let (config, digest) = of_a_board();
    let cut: Answer = Box::new(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").ok();
        stream.flush().ok();
    });
    let server = Server::start(Some(config), cut);
    let url = format!("https://{}", server.address);
    let rig = Rig::new(&url, &format!("certificate_sha256 = \"{digest}\""));
    unanswered(rig.post(), "cut short");
}

#[test]
fn credentials_that_others_can_read_are_a_fault() {
    let faults = |url: &str, keys: &str| Rig::new(url, keys).targets.faults().join("; ");
    let found = faults("http://192.0.2.1/HIDDEN", "token_file = \"secret\"");
    assert!(
        found.contains("others can read") && !found.contains("HIDDEN"),
        "{found}"
    );
    assert_eq!(faults("http://192.0.2.1", ""), "");
    assert_eq!(
        faults("http://localhost:8080", "token_file = \"secret\""),
        ""
    );
}
