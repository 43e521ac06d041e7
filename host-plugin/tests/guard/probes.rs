//! Managers that ask whether the host is there, over real sockets.

use super::bench::{Agent, Bench, WAIT, until};
use holdfast_host::guard::protocol::{Answer, Call};
use holdfast_model::probe::ProbeKey;
use holdfast_probe::{Digest, LEN, Nonce, Signer};
use rustix::process::{Pid, Signal, kill_process};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A manager that asks one host.
struct Asker {
    socket: UdpSocket,
    signer: Signer,
    host: Digest,
    asked: u64,
}

impl Asker {
    fn of(address: SocketAddr, key: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(address).expect("connected");
        let wait = Some(Duration::from_millis(200));
        socket.set_read_timeout(wait).expect("a time-out");
        Self {
            socket,
            signer: Signer::new(&key_of(key)),
            host: Digest::of_host(&"h1".parse().expect("a name")),
            asked: 0,
        }
    }

    fn send(&mut self) -> (Nonce, std::io::Result<usize>) {
        self.asked += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.asked.to_be_bytes());
        let question = self.signer.question(&self.host, &nonce);
        (nonce, self.socket.send(&question))
    }

    /// The boot that answers one question, if one does in time.
    fn ask(&mut self) -> Option<Digest> {
        let (nonce, _) = self.send();
        let mut buffer = [0; LEN + 1];
        loop {
            let length = self.socket.recv(&mut buffer).ok()?;
            let answer = self.signer.read_answer(&self.host, &buffer[..length]);
            let (repeated, boot) = answer.expect("an answer under this key");
            // One to an earlier question came late.
            if repeated == nonce {
                return Some(boot);
            }
        }
    }

    fn is_answered(&mut self) -> Digest {
        until("it answers", || self.ask())
    }
}

fn key_of(byte: u8) -> ProbeKey {
    ProbeKey::new([byte; ProbeKey::BYTES])
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address")
}

fn answer_on(agent: &mut Agent, listen: SocketAddr, key: u8) -> Result<Answer, String> {
    let key = key_of(key);
    agent.call(Call::Probes { listen, key })
}

fn own_boot() -> Digest {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    Digest::of_boot(&text.trim().parse().expect("an id"))
}

#[test]
fn it_answers_for_its_boot_whatever_becomes_of_the_agent() {
    let bench = Bench::new();
    let address = free_address();
    let mut agent = bench.connect();
    assert_eq!(answer_on(&mut agent, address, 1), Ok(Answer::Done));
    let mut asker = Asker::of(address, 1);
    assert_eq!(asker.is_answered(), own_boot());
    drop(agent);
    assert_eq!(asker.is_answered(), own_boot());
    // Nobody else gets an answer: another key, another host, half a question. The good one that is asked
    // last is the only one that is.
    let strangers = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    strangers.connect(address).expect("connected");
    strangers.set_read_timeout(Some(WAIT)).expect("a time-out");
    let good = asker.signer.question(&asker.host, &[200; 16]);
    let other = Digest::of_host(&"h2".parse().expect("a name"));
    let forged = Signer::new(&key_of(2)).question(&asker.host, &[201; 16]);
    let not_mine = asker.signer.question(&other, &[202; 16]);
    for datagram in [&forged[..], &not_mine, &good[1..], &[], &good] {
        strangers.send(datagram).expect("sent");
    }
    let mut buffer = [0; LEN + 1];
    let length = strangers.recv(&mut buffer).expect("an answer");
    let answer = asker.signer.read_answer(&asker.host, &buffer[..length]);
    assert_eq!(answer, Some(([200; 16], own_boot())));
}

#[test]
fn a_new_key_counts_at_once_and_another_address_takes_the_place_of_the_first() {
    let bench = Bench::new();
    let (first, second) = (free_address(), free_address());
    let mut agent = bench.connect();
    assert_eq!(answer_on(&mut agent, first, 1), Ok(Answer::Done));
    Asker::of(first, 1).is_answered();
    assert_eq!(answer_on(&mut agent, first, 2), Ok(Answer::Done));
    Asker::of(first, 2).is_answered();
    assert_eq!(Asker::of(first, 1).ask(), None, "the old key");
    assert_eq!(answer_on(&mut agent, second, 2), Ok(Answer::Done));
    Asker::of(second, 2).is_answered();
    let mut left = Asker::of(first, 2);
    until("the first port is closed", || {
        let (_, sent) = left.send();
        let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        sent.err().is_some_and(refused).then_some(())
    });
    let refused = answer_on(&mut agent, "192.0.2.1:7071".parse().expect("an address"), 1);
    let why = refused.expect_err("not an address of this host");
    assert!(
        why.contains("cannot answer probes on 192.0.2.1:7071"),
        "{why}"
    );
}

/// Whether all threads of a process are stopped.
fn stands_still(pid: Pid) -> bool {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let tasks = std::fs::read_dir(tasks).expect("its threads");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        state == Some('T')
    })
}

#[test]
fn a_guard_that_is_gone_leaves_a_closed_port_and_one_that_is_stopped_says_nothing() {
    let mut bench = Bench::new();
    let address = free_address();
    let mut agent = bench.connect();
    assert_eq!(answer_on(&mut agent, address, 1), Ok(Answer::Done));
    let mut asker = Asker::of(address, 1);
    asker.is_answered();
    let pid = Pid::from_child(&bench.guard.0);
    kill_process(pid, Signal::STOP).expect("stopped");
    // The signal is sent; each of its threads stands still a moment later.
    until("it stands still", || stands_still(pid).then_some(()));
    assert_eq!(asker.ask(), None);
    kill_process(pid, Signal::CONT).expect("going on");
    asker.is_answered();
    bench.guard.0.kill().expect("a child");
    bench.guard.0.wait().expect("a child");
    until("its port is closed", || {
        let (_, sent) = asker.send();
        let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        sent.err().is_some_and(refused).then_some(())
    });
    // The next one answers once an agent has come.
    bench.guard = super::start_guard(&bench.config);
    let mut agent = bench.connect();
    assert_eq!(answer_on(&mut agent, address, 1), Ok(Answer::Done));
    asker.is_answered();
}

/// More than it looks at does not take more of a CPU, and whoever comes after it is answered again.
#[test]
fn a_flood_takes_no_more_than_its_share() {
    let bench = Bench::new();
    let address = free_address();
    let mut agent = bench.connect();
    assert_eq!(answer_on(&mut agent, address, 1), Ok(Answer::Done));
    let mut asker = Asker::of(address, 1);
    asker.is_answered();
    let question = asker.signer.question(&asker.host, &[7; 16]);
    let flood = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    flood.connect(address).expect("connected");
    flood.set_nonblocking(true).expect("a socket");
    let (mut answers, mut buffer) = (0u32, [0; LEN]);
    let begin = std::time::Instant::now();
    let mut sent = 0u32;
    while sent < 50_000 {
        // A full buffer loses what does not fit, as a network does.
        let _ = flood.send(&question);
        sent += 1;
        while flood.recv(&mut buffer).is_ok() {
            answers += 1;
        }
    }
    let windows = begin.elapsed().as_millis() / 100 + 2;
    assert!(
        u128::from(answers) <= windows * 200,
        "{answers} answers in {windows} tenths of a second"
    );
    asker.is_answered();
}
