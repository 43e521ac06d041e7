//! This host's agent, with a program that asks a board over a socket, as the leader has it do.

use super::*;
use holdfast_host::agent::errands::keep_for_ever;
use holdfast_host::agent::life::{Acknowledged, Open};
use holdfast_model::asking::{AskerKind, HostAsks};
use holdfast_model::errand::{Addressee, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{HostState, Membership, RunnerBounds};
use holdfast_model::policy::Policy;
use holdfast_model::power::PowerState;
use holdfast_store::api::{Listing, Txn, TxnOp, Voter, Watch};
use holdfast_store::clock::boottime;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;

/// Every wait ends in a clear failure after this.
const WAIT: Duration = Duration::from_secs(60);
/// Far beyond the test.
const LONG_MS: u64 = 600_000;

/// One test that runs programs at a time: what another one is just writing cannot be run.
static ALONE: LazyLock<tokio::sync::Mutex<()>> = LazyLock::new(Default::default);

fn name<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// What a fence agent is: it asks the board at that port, by one line each way.
const PROGRAM: &str = "#!/bin/bash\n\
    while IFS='=' read -r key value; do declare \"got_$key=$value\"; done\n\
    exec 3<>\"/dev/tcp/127.0.0.1/$got_ipport\" || exit 1\n\
    echo \"$got_action $got_nodename\" >&3\n\
    read -r power <&3\n\
    [ \"$power\" = off ] && [ \"$got_action\" = status ] && exit 2\n\
    [ \"$power\" = mute ] && exit 1\n\
    exit 0\n";

/// A board on loopback: a host is off once that was ordered.
struct Board {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Board {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = asked.clone();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut line = String::new();
                let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
                reader.read_line(&mut line).expect("a line");
                let mut told = told.lock().expect("no panic");
                told.push(line.trim().to_owned());
                let off = told.iter().any(|line| line.starts_with("off"));
                let answer: &[u8] = if off { b"off\n" } else { b"on\n" };
                socket.write_all(answer).expect("written");
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// The store as this host has it. Its session may go on, or be closed, just before something is taken.
struct Wire {
    store: MemoryStore,
    life: watch::Sender<Life>,
    /// Its next heartbeat comes in between.
    beats: AtomicBool,
    /// And is acknowledged.
    acknowledges: bool,
    /// With it, what the leader holds of this host.
    becomes: Mutex<Option<Membership>>,
}

impl Wire {
    fn heartbeat(&self) -> Revision {
        put(&self.store, &Key::HostSession(name("b1")), &"a heartbeat")
    }
}

#[async_trait]
impl Store for Wire {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.store.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let errand = Key::Errand(name("a1"), name("a1")).path();
        let takes = |op: &TxnOp| matches!(op, TxnOp::Put(key, _) if *key == errand);
        if txn.ops.iter().any(takes) && self.beats.swap(false, Ordering::SeqCst) {
            let becomes = self.becomes.lock().expect("no panic").take();
            if let Some(membership) = becomes {
                put(&self.store, &Key::HostState(name("b1")), &state(membership));
            }
            let revision = self.heartbeat();
            if self.acknowledges {
                self.life.send_replace(open(revision));
            }
        }
        self.store.txn(txn).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.store.watch(prefix, after).await
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        self.store.voters().await
    }
}

fn put<T: Serialize>(store: &MemoryStore, key: &Key, value: &T) -> Revision {
    let ops = vec![TxnOp::Put(key.path(), encode(value))];
    let compares = Vec::new();
    match store.txn_now(Txn { compares, ops }) {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Refused(_) => panic!("nothing is compared"),
    }
}

fn get<T: DeserializeOwned>(store: &MemoryStore, key: &Key) -> Option<T> {
    let item = store.get_now(&key.path())?;
    Some(serde_json::from_slice(&item.value).expect("its own kind"))
}

fn open(revision: Revision) -> Life {
    Life::Open(Open {
        incarnation: name("b1-i"),
        bounds: RunnerBounds {
            runner_deadline_ms: LONG_MS,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        },
        acknowledged: Some(Acknowledged {
            sent_at: boottime(),
            revision,
        }),
        armed_on: None,
        storage: None,
    })
}

fn state(membership: Membership) -> HostState {
    HostState {
        membership,
        incarnation: name("b1-i"),
        boot_id: name("b"),
        losses: 0,
        reason: String::new(),
    }
}

/// b1, whose agent asks about a1.
struct Rig {
    wire: Arc<Wire>,
    asking: Arc<Asking>,
    board: Board,
    _stop: watch::Sender<bool>,
    _dir: TempDir,
}

/// What an earlier start of the agent had a program do, and did not see the end of.
const EARLIER: &str = r#"{"line":"run","id":"0d9cbdd7-9a56-4d36-9c3f-2f6f0b1f3f5a","about":"fencing of a1","program":"fence_x","action":"off","arguments":[],"at":5}
"#;

impl Rig {
    fn new(membership: Membership, askers: &[AskerKind]) -> Self {
        Self::with(membership, askers, (false, false))
    }

    fn with(
        membership: Membership,
        askers: &[AskerKind],
        (beats, acknowledges): (bool, bool),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("fence_x");
        fs::write(&program, PROGRAM).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
        let text = "cluster = \"c1\"\nname = \"b1\"\nsite = \"b\"\n\
                    [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
                    [libvirt]\nmigrate_address = \"192.0.2.1\"\n";
        let config = holdfast_host::config::parse(text, "host.toml").expect("a good file");
        let journal = dir.path().join("requests.jsonl");
        fs::write(&journal, EARLIER).expect("written");
        let beside = format!(
            "requests_file = \"{}\"\n[fence_agents]\nfence_x = \"{}\"\n",
            journal.display(),
            program.display()
        );
        fs::write(dir.path().join(file::NAME), beside).expect("written");
        let file = file::load_beside(&dir.path().join("host.toml")).expect("a good file");
        let asking = Asking::of(&config, file.expect("it is there")).expect("it names a program");
        let board = Board::serve();
        let store = MemoryStore::new();
        let mut device = device(&board);
        device.askers = askers.to_vec();
        let mut policy = Policy::default();
        policy.fencing.devices = [(name("a1"), device.clone()), (name("b1"), device)].into();
        policy.timing.leader_wait_ms = Some(LONG_MS);
        put(&store, &Key::Policy, &policy);
        put(&store, &Key::HostState(name("b1")), &state(membership));
        let session = put(&store, &Key::HostSession(name("b1")), &"a heartbeat");
        let (life, life_seen) = watch::channel(open(session));
        let wire = Arc::new(Wire {
            store,
            life,
            beats: AtomicBool::new(beats),
            acknowledges,
            becomes: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let asking = Arc::new(asking);
        let shared: Arc<dyn Store> = wire.clone();
        let watched = Cache::spawn(shared.clone(), vec![ROOT.to_owned()], Arc::new(boottime));
        let records = Records::new(shared, name("b1"), life_seen);
        let errands: Arc<dyn Errands> = asking.clone();
        let clock: Clock = Arc::new(boottime);
        tokio::spawn(keep_for_ever(
            Some(errands),
            records,
            clock,
            watched,
            stopped,
        ));
        Self {
            wire,
            asking,
            board,
            _stop: stop,
            _dir: dir,
        }
    }

    fn store(&self) -> &MemoryStore {
        &self.wire.store
    }

    /// A leader sends it.
    fn send(&self, host: &str, life: &str, stage: ErrandStage) {
        let epoch = put(self.store(), &Key::LeaderEpoch, &"m-w leads");
        let session = Key::HostSession(name(host));
        let there = self
            .store()
            .get_now(&session.path())
            .map(|item| item.revision);
        let session_revision =
            there.unwrap_or_else(|| put(self.store(), &session, &"its last heartbeat"));
        let errand = Errand {
            id: name("e1"),
            by: name("m-w"),
            epoch,
            to: Addressee::agent(name("b1"), life.to_owned()).expect("a name"),
            host: name(host),
            incarnation: name("i1"),
            session_revision,
            device: name(host),
            as_set: device(&self.board),
            attempt: 1,
            stage,
        };
        put(self.store(), &Key::Errand(name(host), name(host)), &errand);
    }

    /// What is said of it.
    async fn said(&self, host: &str) -> ErrandStage {
        let key = Key::Errand(name(host), name(host));
        until("an answer", || {
            let errand: Errand = get(self.store(), &key)?;
            let over = !matches!(errand.stage, ErrandStage::Sent | ErrandStage::Taken);
            over.then_some(errand.stage)
        })
        .await
    }

    async fn declined(&self, host: &str, part: &str) {
        let said = self.said(host).await;
        let ErrandStage::Declined { reason } = &said else {
            panic!("{said:?}");
        };
        assert!(reason.contains(part), "{reason}");
        assert_eq!(self.board.asked(), Vec::<String>::new());
    }
}

fn device(board: &Board) -> FenceDevice {
    let options = [("ipport".to_owned(), board.port.to_string())].into();
    FenceDevice::by_agent(name("fence_x"), options, 20_000)
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(WAIT, wait).await;
    came.unwrap_or_else(|_| panic!("in vain: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_asked_by_this_host_s_agent_for_the_leader() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(Membership::Online, &[AskerKind::Agents]);
    let asks = until("what it has", || {
        get::<HostAsks>(rig.store(), &Key::HostAsks(name("b1")))
    })
    .await;
    assert_eq!(asks.life, rig.asking.life());
    assert_eq!(asks.means.programs, [name("fence_x")].into());
    rig.send("a1", &asks.life, ErrandStage::Sent);
    let power = PowerState::Off;
    assert_eq!(rig.said("a1").await, ErrandStage::Answered { power });
    assert_eq!(rig.board.asked(), ["off a1", "status a1"]);
}

#[cfg(feature = "extensions")]
#[tokio::test(flavor = "multi_thread")]
async fn what_extensions_had_it_run_is_told_to_operators() {
    use holdfast_model::requests::ProgramEnd;
    let _alone = ALONE.lock().await;
    let rig = Rig::new(Membership::Online, &[AskerKind::Agents]);
    let told = until("what was run", || {
        let asks = get::<HostAsks>(rig.store(), &Key::HostAsks(name("b1")))?;
        asks.newest.programs.first().cloned()
    })
    .await;
    assert_eq!(
        (told.program.as_str(), told.action.as_str()),
        ("fence_x", "off")
    );
    assert!(
        matches!(told.outcome, ProgramEnd::Unknown { .. }),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_neither_about_its_own_host_nor_where_the_policy_or_the_leader_is_against_it() {
    use AskerKind::{Agents, Managers};
    let _alone = ALONE.lock().await;
    for (membership, askers, host, part) in [
        (Membership::Online, Agents, "b1", "its own host"),
        (Membership::Online, Managers, "a1", "does not let agents"),
        (Membership::Suspect, Agents, "a1", "it is suspect"),
        (Membership::Rejoining, Agents, "a1", "held down"),
    ] {
        let rig = Rig::new(membership, &[askers]);
        rig.send(host, rig.asking.life(), ErrandStage::Sent);
        rig.declined(host, part).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_does_not_hold_any_more_asks_nothing() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(Membership::Online, &[AskerKind::Agents]);
    rig.wire.life.send_replace(Life::Cleaning);
    rig.send("a1", rig.asking.life(), ErrandStage::Sent);
    rig.declined("a1", "no session that holds").await;
    // The leader has closed it, and this host has not heard of that.
    let rig = Rig::with(Membership::Online, &[AskerKind::Agents], (true, false));
    rig.send("a1", rig.asking.life(), ErrandStage::Sent);
    rig.declined("a1", "session has changed since").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_of_its_own_in_between_holds_nothing_up() {
    let _alone = ALONE.lock().await;
    let rig = Rig::with(Membership::Online, &[AskerKind::Agents], (true, true));
    rig.send("a1", rig.asking.life(), ErrandStage::Sent);
    let power = PowerState::Off;
    assert_eq!(rig.said("a1").await, ErrandStage::Answered { power });
    assert!(!rig.wire.beats.load(Ordering::SeqCst), "it came in between");
    assert_eq!(rig.board.asked(), ["off a1", "status a1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_holds_against_it_meanwhile_is_heeded_when_it_tries_again() {
    let _alone = ALONE.lock().await;
    let rig = Rig::with(Membership::Online, &[AskerKind::Agents], (true, true));
    *rig.wire.becomes.lock().expect("no panic") = Some(Membership::Suspect);
    rig.send("a1", rig.asking.life(), ErrandStage::Sent);
    rig.declined("a1", "session has changed since").await;
    assert!(!rig.wire.beats.load(Ordering::SeqCst), "it came in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_start_of_it_had_is_not_done_again() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(Membership::Online, &[AskerKind::Agents]);
    rig.send("a1", "an-earlier-one", ErrandStage::Sent);
    rig.declined("a1", "started anew").await;
    rig.send("a1", "an-earlier-one", ErrandStage::Taken);
    let said = rig.said("a1").await;
    let ErrandStage::Answered {
        power: PowerState::Unknown { reason },
    } = &said
    else {
        panic!("{said:?}");
    };
    assert!(
        reason.contains("an earlier life of the agent of b1"),
        "{reason}"
    );
    assert_eq!(rig.board.asked(), Vec::<String>::new());
}

#[cfg(feature = "extensions")]
mod by_extension;
