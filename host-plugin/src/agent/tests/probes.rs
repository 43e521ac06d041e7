//! Managers that ask the host: it says where, and its guard answers, also without the agent.

use super::bench::{Bench, until};
use holdfast_model::host::HostReport;
use holdfast_model::probe::ProbeKey;
use holdfast_probe::{Digest, LEN, Signer};
use holdfast_store::keyspace::Key;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Whether one question under that key is answered in time.
fn answers(address: SocketAddr, key: &ProbeKey) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let wait = Some(Duration::from_millis(100));
    socket.set_read_timeout(wait).expect("a time-out");
    let (signer, host) = (
        Signer::new(key),
        Digest::of_host(&"h1".parse().expect("a name")),
    );
    let question = signer.question(&host, &[1; 16]);
    socket.send_to(&question, address).expect("sent");
    let mut buffer = [0; LEN];
    let received = socket.recv(&mut buffer);
    received.is_ok_and(|length| signer.read_answer(&host, &buffer[..length]).is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_answers_under_the_clusters_key_where_the_host_says() {
    let mut bench = Bench::new(60_000);
    let free = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = free.local_addr().expect("an address");
    drop(free);
    bench.config.probe.address = Some(address);
    bench.start();
    bench.open_session().await;
    let said = |bench: &Bench| {
        let key = Key::HostReport("h1".parse().expect("a name"));
        bench
            .get::<HostReport>(&key)
            .and_then(|report| report.probe)
    };
    // Without a key nobody is answered, and nobody is told to ask.
    until("the host reports", || {
        let key = Key::HostReport("h1".parse().expect("a name"));
        bench.get::<HostReport>(&key)
    })
    .await;
    assert_eq!(said(&bench), None);
    let (first, second) = (ProbeKey::new([1; 32]), ProbeKey::new([2; 32]));
    bench.put(&Key::ProbeKey, &first);
    until("it says where", || said(&bench)).await;
    assert_eq!(said(&bench), Some(address));
    until("it answers", || answers(address, &first).then_some(())).await;
    bench.put(&Key::ProbeKey, &second);
    until("the new key", || answers(address, &second).then_some(())).await;
    bench.stop().await;
    assert!(!answers(address, &first), "the old key");
    until("without the agent", || {
        answers(address, &second).then_some(())
    })
    .await;
}
