//! What is sent, what comes back, and what does not.

use super::*;

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
    // Who has no time left is not even asked.
    let late = rig.targets.send(&post("/"), Instant::now());
    unreachable(late, "no time left");
    assert_eq!(rig.book.newest().len(), 1);
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
        move || targets.send(&post("/"), Instant::now() + Duration::from_secs(2))
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

    fn before_run(&self, _: RequestId, _: &NotedRun) -> Result<(), String> {
        unreachable!("no program is run here")
    }

    fn after_run(&self, _: RequestId, _: &RunEnd, _: u64) {
        unreachable!("no program is run here")
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
