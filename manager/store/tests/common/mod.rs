//! Real etcd members on loopback, started by the test and ended with it, also when it panics.
#![allow(dead_code)] // Each test file uses a part of it.

use holdfast_store::api::{Store, StoreError, Voter};
use holdfast_store::etcd::{EtcdConfig, EtcdStore};
use rustix::process::{Pid, Signal, kill_process};
use std::future::Future;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything a test waits for.
pub const BOUND: Duration = Duration::from_secs(60);
/// Deadline of the stores' calls, the daemons' default.
pub const CALL_TIMEOUT_MS: u64 = 1_500;

/// Members of one etcd cluster.
pub struct Etcd {
    pub members: Vec<Member>,
    dir: TempDir,
}

pub struct Member {
    pub name: String,
    pub client_url: String,
    peer_url: String,
    child: Child,
}

impl Etcd {
    /// A cluster of `count` members that answers.
    pub async fn start(count: usize) -> Self {
        // Ports are free when chosen; another process may be faster. Then choose again.
        for _ in 0..5 {
            if let Some(cluster) = Self::try_start(count).await {
                return cluster;
            }
        }
        panic!("etcd did not come up in 5 attempts");
    }

    async fn try_start(count: usize) -> Option<Self> {
        let dir = TempDir::new().expect("a directory for etcd's data");
        // Names that nobody else has: the etcd of another test that was faster to take a port
        // would answer just as well.
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let unique = format!("{}-{}", std::process::id(), CLUSTERS.fetch_add(1, Relaxed));
        let name = |i: usize| format!("m{i}-{unique}");
        let ports = free_ports(2 * count);
        let peers: Vec<String> = (0..count)
            .map(|i| format!("{}=http://127.0.0.1:{}", name(i), ports[2 * i + 1]))
            .collect();
        let peers = peers.join(",");
        let members = (0..count)
            .map(|i| {
                let name = name(i);
                let client_url = format!("http://127.0.0.1:{}", ports[2 * i]);
                let peer_url = format!("http://127.0.0.1:{}", ports[2 * i + 1]);
                let child = spawn(&dir, &name, &client_url, &peer_url, &peers);
                Member {
                    name,
                    client_url,
                    peer_url,
                    child,
                }
            })
            .collect();
        let mut cluster = Self { members, dir };
        let store = cluster.store(&(0..count).collect::<Vec<_>>());
        let since = Instant::now();
        while since.elapsed() < BOUND {
            if cluster.members.iter_mut().any(Member::has_exited) {
                return None;
            }
            let voters = store.voters().await.expect("voters never fails");
            let ours = |voter: &Voter| {
                voter.healthy
                    && cluster
                        .members
                        .iter()
                        .any(|member| member.name == voter.name)
            };
            let all = voters.len() == count && voters.iter().all(ours);
            if all && store.get("/any").await.is_ok() {
                return Some(cluster);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd did not answer within {BOUND:?}");
    }

    /// A store over these members, in this order.
    pub fn store(&self, order: &[usize]) -> EtcdStore {
        let endpoints = order
            .iter()
            .map(|i| self.members[*i].client_url.clone())
            .collect();
        EtcdStore::new(EtcdConfig {
            endpoints,
            call_timeout_ms: CALL_TIMEOUT_MS,
        })
        .expect("loopback addresses")
    }

    /// Which member leads.
    pub async fn leader(&self) -> usize {
        let found = eventually("a leader", || async {
            for (i, member) in self.members.iter().enumerate() {
                let Ok(mut client) = etcd_client::Client::connect([&member.client_url], None).await
                else {
                    continue;
                };
                let status = tokio::time::timeout(Duration::from_secs(1), client.status()).await;
                if let Ok(Ok(status)) = status
                    && status.leader() != 0
                    && status.header().map(|header| header.member_id()) == Some(status.leader())
                {
                    return Some(i);
                }
            }
            None
        });
        found.await
    }

    /// A member that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.members.len())
            .find(|i| *i != leader)
            .expect("more than one member")
    }

    /// All but one, that one first.
    pub fn order_from(&self, first: usize) -> Vec<usize> {
        std::iter::once(first)
            .chain((0..self.members.len()).filter(|i| *i != first))
            .collect()
    }

    /// Starts a member again that was killed.
    pub fn restart(&mut self, index: usize) {
        let peers: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.name, member.peer_url))
            .collect();
        let member = &mut self.members[index];
        member.child = spawn(
            &self.dir,
            &member.name,
            &member.client_url,
            &member.peer_url,
            &peers.join(","),
        );
    }

    /// Forgets the changes before a revision.
    pub async fn compact(&self, revision: i64) {
        let mut client = etcd_client::Client::connect([&self.members[0].client_url], None)
            .await
            .expect("the address was used before");
        client.compact(revision, None).await.expect("compaction");
    }
}

fn spawn(dir: &TempDir, name: &str, client_url: &str, peer_url: &str, peers: &str) -> Child {
    Command::new("etcd")
        .args(["--name", name, "--data-dir"])
        .arg(dir.path().join(name))
        .args([
            "--listen-client-urls",
            client_url,
            "--advertise-client-urls",
            client_url,
        ])
        .args([
            "--listen-peer-urls",
            peer_url,
            "--initial-advertise-peer-urls",
            peer_url,
        ])
        .args([
            "--initial-cluster",
            peers,
            "--pre-vote",
            "--log-level",
            "error",
        ])
        .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot run `etcd`: it is not installed; run `cargo xtask setup`")
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("bound").port())
        .collect()
}

impl Member {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn has_exited(&mut self) -> bool {
        self.child.try_wait().expect("own child").is_some()
    }

    /// Stops it in mid-air; returns once the kernel says that it stands still.
    pub async fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("own child");
        let path = format!("/proc/{}/stat", self.child.id());
        eventually("the member frozen (state T)", || async {
            let stat = std::fs::read_to_string(&path).expect("own child");
            let state = stat
                .rsplit_once(')')
                .map(|(_, rest)| rest.trim_start().starts_with('T'));
            (state == Some(true)).then_some(())
        })
        .await;
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("own child");
    }

    /// Ends it at once; returns once it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("own child");
        self.child.wait().expect("own child");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SIGKILL ends a frozen one too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `probe` finds something; fails with `what` when it never does.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(since.elapsed() < BOUND, "no {what} within {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call that must come back, well or not, in bounded time.
pub async fn bounded<T>(
    what: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let bound = Duration::from_secs(10);
    match tokio::time::timeout(bound, call).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not come back within {bound:?}"),
    }
}
