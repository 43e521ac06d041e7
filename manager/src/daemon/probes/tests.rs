//! Asking over real sockets, with a clock of its own: a datagram on loopback is there as soon as it was sent.

use super::asker::Asker;
use super::*;
use holdfast_core::probe::Observer;
use holdfast_model::time::Instant;
use holdfast_model::timing::Profile;
use holdfast_probe::{Datagram, LEN, Signer};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};

fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a name: {text}"))
}

fn digest(boot: &str) -> Digest {
    Digest::of_boot(&name(boot))
}

/// One manager and one host's guard.
struct Rig {
    asker: Asker,
    orders: Orders,
    now: Arc<AtomicU64>,
    clock: Clock,
    guard: Option<UdpSocket>,
    signer: Signer,
    boot: &'static str,
    /// What the guard sent last.
    answered: Option<Datagram>,
}

impl Rig {
    fn new() -> Self {
        let guard = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        guard.set_nonblocking(true).expect("a socket");
        let key = ProbeKey::new([1; ProbeKey::BYTES]);
        let target = Target {
            incarnation: name("i1"),
            boot: digest("b1"),
            address: guard.local_addr().expect("an address"),
        };
        let now = Arc::new(AtomicU64::new(100_000));
        let read = now.clone();
        Self {
            asker: Asker::default(),
            signer: Signer::new(&key),
            orders: Orders {
                timing: Timing::of(Profile::Default),
                key: Some(key),
                hosts: [(name("a1"), target)].into(),
            },
            clock: Arc::new(move || Instant(read.load(Ordering::SeqCst))),
            now,
            guard: Some(guard),
            boot: "b1",
            answered: None,
        }
    }

    /// Takes turns for so long. The guard does with each question what it is told to; how many came.
    fn run(
        &mut self,
        ms: u64,
        mut guard: impl FnMut(&mut Self, &UdpSocket, Datagram, SocketAddr),
    ) -> usize {
        let (mut passed, mut asked) = (0, 0);
        while passed < ms {
            self.asker.turn(&self.clock, &self.orders);
            if let Some(socket) = self.guard.take() {
                let mut buffer = [0; LEN];
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    assert_eq!(length, LEN);
                    asked += 1;
                    guard(self, &socket, buffer, from);
                }
                self.guard = Some(socket);
            }
            passed += self.wait(Observer::turn_every_ms(&self.orders.timing));
        }
        self.asker.turn(&self.clock, &self.orders);
        asked
    }

    fn wait(&self, ms: u64) -> u64 {
        self.now.fetch_add(ms, Ordering::SeqCst);
        ms
    }

    fn answer(&mut self, socket: &UdpSocket, question: Datagram, from: SocketAddr) {
        let host = Digest::of_host(&name("a1"));
        let nonce = self.signer.read_question(&host, &question);
        let nonce = nonce.expect("a question under this key");
        let answer = self.signer.answer(&host, &digest(self.boot), &nonce);
        socket.send_to(&answer, from).expect("sent");
        self.answered = Some(answer);
    }

    fn silent_ms(&self) -> Option<u64> {
        let opinion = (self.asker.observer()).opinion(&name("a"), &self.orders.timing);
        let silent = opinion.silent.get(&name::<HostName>("a1"));
        silent.map(|silent| silent.silent_ms)
    }

    fn is_heard(&self) -> bool {
        let vantage = self.asker.observer().vantage(&name("a"));
        vantage.heard.contains_key(&name::<HostName>("a1"))
    }
}

fn nothing(_: &mut Rig, _: &UdpSocket, _: Datagram, _: SocketAddr) {}

#[test]
fn a_host_that_answers_is_heard_and_one_that_stops_is_silent() {
    let mut rig = Rig::new();
    let usual = rig.run(2_000, Rig::answer);
    assert!((12..=14).contains(&usual), "{usual} questions in 2 s");
    assert!(rig.is_heard() && rig.silent_ms().is_none());
    rig.run(720, nothing);
    assert_eq!(rig.silent_ms(), None);
    rig.run(240, nothing);
    assert!(rig.silent_ms().is_some_and(|ms| ms >= 800));
    rig.run(160, Rig::answer);
    assert_eq!(rig.silent_ms(), None, "heard again");
}

#[test]
fn lost_packets_are_no_silence() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    // Three of four are lost: far worse than any network that is of use.
    let mut number = 0;
    for _ in 0..100 {
        rig.run(80, |rig, socket, question, from| {
            number += 1;
            if number % 4 == 0 {
                rig.answer(socket, question, from);
            }
        });
        assert_eq!(rig.silent_ms(), None);
    }
}

#[test]
fn nobody_else_can_answer_for_it() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    let good = rig.signer.clone();
    // Another key.
    rig.signer = Signer::new(&ProbeKey::new([2; ProbeKey::BYTES]));
    rig.run(960, |rig, socket, question, from| {
        let host = Digest::of_host(&name("a1"));
        let nonce = good.read_question(&host, &question).expect("a question");
        let answer = rig.signer.answer(&host, &digest("b1"), &nonce);
        socket.send_to(&answer, from).expect("sent");
    });
    assert!(rig.silent_ms().is_some(), "under another key");
    rig.signer = good;
    rig.run(240, Rig::answer);
    assert_eq!(rig.silent_ms(), None);
    // What it once answered, again and again; and its own question, sent back.
    rig.run(1_040, |rig, socket, question, from| {
        let old = rig.answered.expect("it has answered");
        socket.send_to(&old, from).expect("sent");
        socket.send_to(&question, from).expect("sent");
        socket.send_to(&old[..LEN - 1], from).expect("sent");
    });
    assert!(rig.silent_ms().is_some(), "replayed");
}

#[test]
fn a_closed_port_is_a_sign_of_life_until_it_is_open_again() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    let address = rig.orders.hosts[&name::<HostName>("a1")].address;
    rig.guard = None;
    for _ in 0..50 {
        rig.run(80, nothing);
        assert_eq!(rig.silent_ms(), None);
    }
    assert!(!rig.is_heard(), "nobody is there who would answer");
    // Another guard.
    let guard = UdpSocket::bind(address).expect("the port is free");
    guard.set_nonblocking(true).expect("a socket");
    rig.guard = Some(guard);
    rig.run(2_000, Rig::answer);
    assert!(rig.is_heard());
    rig.run(1_040, nothing);
    assert!(rig.silent_ms().is_some());
}

#[test]
fn a_pause_of_its_own_is_nobodys_silence() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    rig.run(480, nothing);
    rig.wait(10_000);
    rig.run(640, nothing);
    assert_eq!(rig.silent_ms(), None);
    rig.run(320, nothing);
    assert!(rig.silent_ms().is_some());
}

#[test]
fn a_machine_that_has_booted_is_not_the_life_that_is_waited_for() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    rig.boot = "b2";
    rig.run(1_600, Rig::answer);
    assert!(!rig.is_heard() && rig.silent_ms().is_none());
    rig.run(1_600, nothing);
    assert_eq!(rig.silent_ms(), None);
}

#[test]
fn without_a_key_nobody_is_asked_and_a_new_one_begins_anew() {
    let mut rig = Rig::new();
    rig.run(400, Rig::answer);
    let key = rig.orders.key.take();
    assert_eq!(rig.run(400, nothing), 0);
    assert!(!rig.is_heard());
    rig.orders.key = key;
    rig.run(400, Rig::answer);
    assert!(rig.is_heard());
    // A guard whose agent is away does not hear of the new key: it cannot answer, and is not silent.
    rig.orders.key = Some(ProbeKey::new([2; ProbeKey::BYTES]));
    rig.run(2_000, nothing);
    assert!(!rig.is_heard() && rig.silent_ms().is_none());
}
