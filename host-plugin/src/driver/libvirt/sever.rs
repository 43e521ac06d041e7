//! Cuts a migration's connection to a host that is gone.
//!
//! In the last phase of a migration QEMU has stopped the guest and sends the rest of its state, with the
//! lock that everything else in QEMU waits for. If the other host vanishes in that moment, without saying
//! goodbye, the call to send it returns only when the kernel gives the connection up: with Linux's default
//! of 15 retransmissions (`net.ipv4.tcp_retries2`) after a quarter of an hour. Until then the guest stands
//! still, QEMU answers nobody, and libvirt's abort waits as well. The kernel can be told to drop a
//! connection (`SOCK_DESTROY`); then the call fails at once, and QEMU lets the guest go on where it is.
//!
//! Which of the connections to that host is whose, only QEMU's file descriptors would tell, and reading
//! those takes more rights than an agent has. So the migration of another VM to the same host, sending just
//! then, may fail with it: that one runs on as well, and is asked for again.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// An abort that is not answered for this long hangs in a QEMU that is sending.
pub const AFTER: Duration = Duration::from_secs(3);
/// For one call of `ss`, and for a name to be resolved.
const BOUND: Duration = Duration::from_secs(5);
/// Where libvirt lets QEMU listen for migrations (`migration_port_min` and `_max` in `qemu.conf`).
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=49_215;

/// A TCP connection as `ss` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Connection {
    local: (String, u16),
    peer: (String, u16),
}

/// Drops the connections to the migration ports of that host (`tcp://HOST`) over which something is waiting
/// to be sent. How many there were.
///
/// # Errors
/// In words, with what to do: `ss` is not there, or may not.
pub async fn sever(data_uri: &str) -> Result<usize, String> {
    let host = data_uri
        .split_once("://")
        .map_or(data_uri, |(_, host)| host);
    let addresses = addresses(host).await?;
    let stuck = stuck(&addresses).await?;
    for connection in &stuck {
        let Connection { local, peer } = connection;
        let (from, to) = (format!(":{}", local.1), format!(":{}", peer.1));
        let argv = [
            "-K", "-t", "src", &local.0, "sport", "=", &from, "dst", &peer.0, "dport", "=", &to,
        ];
        ss(&argv).await?;
    }
    // `ss` says nothing of use: not whether it was allowed to.
    let left = self::stuck(&addresses).await?;
    match left.iter().find(|connection| stuck.contains(connection)) {
        None => Ok(stuck.len()),
        Some(connection) => Err(format!(
            "the connection to {}:{} could not be dropped: the agent needs CAP_NET_ADMIN, and the kernel \
             CONFIG_INET_DIAG_DESTROY",
            connection.peer.0, connection.peer.1
        )),
    }
}

/// A host by its addresses; a URI's brackets around one are taken off.
async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let found = tokio::time::timeout(BOUND, tokio::net::lookup_host((host, 0))).await;
    let found = found.map_err(|_| format!("nobody says what the address of {host} is"))?;
    let found = found.map_err(|error| format!("the address of {host}: {error}"))?;
    Ok(found.map(|address| address.ip()).collect())
}

async fn stuck(addresses: &[IpAddr]) -> Result<Vec<Connection>, String> {
    let said = ss(&["-t", "-n", "-H", "state", "established"]).await?;
    let connections = said.lines().filter_map(unsent);
    let to_it = |connection: &Connection| {
        let peer = connection.peer.0.parse::<IpAddr>();
        PORTS.contains(&connection.peer.1) && peer.is_ok_and(|peer| addresses.contains(&peer))
    };
    Ok(connections.filter(to_it).collect())
}

/// A line of `ss`, if something waits to be sent there: Recv-Q, Send-Q, local and peer address.
fn unsent(line: &str) -> Option<Connection> {
    let mut words = line.split_ascii_whitespace();
    let (_received, unsent) = (words.next()?, words.next()?);
    if unsent.parse::<u64>().ok()? == 0 {
        return None;
    }
    let mut end = || {
        let (address, port) = words.next()?.rsplit_once(':')?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        // An address of one link only: `fe80::1%eth0`.
        let address = address.split_once('%').map_or(address, |(plain, _)| plain);
        Some((address.to_owned(), port.parse().ok()?))
    };
    Some(Connection {
        local: end()?,
        peer: end()?,
    })
}

async fn ss(argv: &[&str]) -> Result<String, String> {
    let mut command = Command::new("ss");
    command.args(argv).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output()).await;
    let output = output.map_err(|_| "`ss` does not answer".to_owned())?;
    let output = output.map_err(|error| format!("`ss` (of iproute2) cannot be run: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_to_be_sent_is_stuck() {
        let line = "0      234120  10.77.2.11:57102  10.77.1.11:49152";
        let found = unsent(line).expect("stuck");
        assert_eq!(found.local, ("10.77.2.11".to_owned(), 57_102));
        assert_eq!(found.peer, ("10.77.1.11".to_owned(), 49_152));
        assert_eq!(unsent("0 0 10.77.2.11:57102 10.77.1.11:49152"), None);
        assert_eq!(unsent("nonsense"), None);
        let found = unsent("0 1 [fd00::2]:57102 [fe80::1%eth0]:49152").expect("stuck");
        assert_eq!(found.local.0, "fd00::2");
        assert_eq!(found.peer.0, "fe80::1");
    }

    #[tokio::test]
    async fn an_address_is_taken_as_it_is() {
        let expected: IpAddr = "fd00::2".parse().expect("an address");
        assert_eq!(addresses("[fd00::2]").await, Ok(vec![expected]));
    }

    /// The other end does not read, as one that is gone does not.
    #[tokio::test]
    async fn a_sender_that_waits_for_its_peer_is_helped_out() {
        let host = "127.0.113.7";
        let listen = |port: u16| std::net::TcpListener::bind((host, port)).ok();
        let listener = PORTS.rev().find_map(listen).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut sender = std::net::TcpStream::connect(address).expect("connected");
        let (_silent, _) = listener.accept().expect("accepted");
        sender.set_nonblocking(true).expect("set");
        while std::io::Write::write(&mut sender, &[0; 65_536]).is_ok() {}
        match sever(&format!("tcp://{host}")).await {
            Ok(count) => {
                assert!(count >= 1);
                let error = std::io::Write::write(&mut sender, &[0]).expect_err("dropped");
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
            }
            // Without the right to it, it says so, and nothing has happened.
            Err(error) => assert!(error.contains("CAP_NET_ADMIN"), "{error}"),
        }
    }
}
