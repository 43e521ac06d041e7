//! A host without a hypervisor: the whole agent, a real guard, a store and a hypervisor in memory.

use crate::agent::errands::Errands;
use crate::agent::error::AgentError;
use crate::agent::storage::Check;
use crate::agent::{Parts, run};
use crate::config::{Config, parse};
use crate::driver::fake::FakeDriver;
use crate::guard::client::GuardClient;
use crate::guard::protocol::{Answer, Call, Status};
use crate::guard::server::Server;
use async_trait::async_trait;
use holdfast_model::host::{RunState, Session, VmReport};
use holdfast_model::id::{ClusterName, Generation};
use holdfast_model::policy::Policy;
use holdfast_model::vm::{Failures, Intent, Owner, Runner, SiteRule, VmSpec};
use holdfast_store::api::{Listing, Store, StoreError, Txn, TxnOp, TxnOutcome, Voter, Watch};
use holdfast_store::clock::boottime;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Every wait ends in a clear failure after this.
pub const WAIT: Duration = Duration::from_secs(60);
pub const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// What a test does just before a key is read.
type BeforeRead = Option<(String, Box<dyn FnOnce() + Send>)>;

/// A store that can be cut off.
#[derive(Clone)]
pub struct Wire {
    pub store: MemoryStore,
    cut: Arc<AtomicBool>,
    before_read: Arc<Mutex<BeforeRead>>,
}

impl Wire {
    /// Does something once, just before this very key is read: what a lagging view has not seen.
    pub fn before_read(&self, key: &Key, act: impl FnOnce() + Send + 'static) {
        let mut slot = self.before_read.lock().expect("no panic in between");
        *slot = Some((key.path(), Box::new(act)));
    }

    fn about_to_read(&self, path: &str) {
        let mut slot = self.before_read.lock().expect("no panic in between");
        let now = slot.take_if(|(key, _)| key == path);
        drop(slot);
        if let Some((_, act)) = now {
            act();
        }
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.cut.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable {
                tried: "the test's store".into(),
                reason: "cut off by the test".into(),
            }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Wire {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.check()?;
        self.about_to_read(prefix);
        self.store.list(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.check()?;
        self.store.txn(txn).await
    }

    async fn watch(
        &self,
        prefix: &str,
        after: holdfast_model::id::Revision,
    ) -> Result<Watch, StoreError> {
        self.check()?;
        self.store.watch(prefix, after).await
    }

    async fn voters(&self) -> Result<Vec<Voter>, StoreError> {
        self.store.voters().await
    }
}

type Agent = (watch::Sender<bool>, JoinHandle<Result<(), AgentError>>);

/// The host.
pub struct Bench {
    _dir: TempDir,
    pub config: Config,
    pub wire: Wire,
    pub driver: FakeDriver,
    pub storage_check: Option<Arc<dyn Check>>,
    pub errands: Option<Arc<dyn Errands>>,
    agent: Option<Agent>,
    guard: OnceLock<GuardClient>,
}

impl Bench {
    /// With a guard, and a policy with this runner's deadline.
    pub fn new(runner_deadline_ms: u64) -> Self {
        let bench = Self::without_guard(runner_deadline_ms);
        bench.start_guard();
        bench
    }

    pub fn without_guard(runner_deadline_ms: u64) -> Self {
        // To see what happened: HOLDFAST_LOG=info cargo test -- --nocapture
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG") {
            let log = tracing_subscriber::fmt().with_env_filter(filter);
            let _ = log.with_test_writer().try_init();
        }
        let dir = tempfile::tempdir().expect("a directory");
        let shown = dir.path().display();
        std::fs::write(dir.path().join("machine-id"), "m1\n").expect("written");
        let text = format!(
            "cluster = \"c1\"\nname = \"h1\"\nsite = \"a\"\nrun_dir = \"{shown}\"\n\
             machine_id_file = \"{shown}/machine-id\"\n\
             [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
             [libvirt]\nmigrate_address = \"192.0.2.1\"\nrun_dir = \"{shown}/libvirt\"\n\
             [guard]\nsocket = \"{shown}/guard.sock\"\n"
        );
        let bench = Self {
            config: parse(&text, "host.toml").expect("a good file"),
            _dir: dir,
            wire: Wire {
                store: MemoryStore::new(),
                cut: Arc::default(),
                before_read: Arc::default(),
            },
            driver: FakeDriver::default(),
            storage_check: None,
            errands: None,
            agent: None,
            guard: OnceLock::new(),
        };
        let mut policy = Policy::default();
        policy.timing.heartbeat_ms = Some(100);
        policy.timing.runner_deadline_ms = Some(runner_deadline_ms);
        policy.timing.taker_wait_ms = Some(runner_deadline_ms * 2 + 10_000);
        policy.timing.suspect_after_ms = Some(300);
        bench.put(&Key::Policy, &policy);
        bench.put::<ClusterName>(&Key::Cluster, &name("c1"));
        bench
    }

    /// The thread stays until the tests end; it sleeps.
    pub fn start_guard(&self) {
        let server = Server::start(&self.config).expect("a guard");
        std::thread::spawn(move || server.run());
    }

    pub fn put<T: Serialize>(&self, key: &Key, value: &T) {
        let ops = vec![TxnOp::Put(key.path(), encode(value))];
        let compares = Vec::new();
        self.wire.store.txn_now(Txn { compares, ops });
    }

    pub fn get<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let item = self.wire.store.get_now(&key.path())?;
        Some(serde_json::from_slice(&item.value).expect("a record"))
    }

    pub fn start(&mut self) {
        let (stopper, stop) = watch::channel(false);
        let parts = Parts {
            config: self.config.clone(),
            store: Arc::new(self.wire.clone()),
            driver: Arc::new(self.driver.clone()),
            events: self.driver.connect(),
            clock: Arc::new(boottime),
            storage_check: self.storage_check.clone(),
            errands: self.errands.clone(),
            stop,
        };
        self.agent = Some((stopper, tokio::spawn(run(parts))));
    }

    /// As SIGTERM does.
    pub async fn stop(&mut self) {
        let (stopper, agent) = self.agent.take().expect("an agent");
        stopper.send_replace(true);
        let ended = tokio::time::timeout(WAIT, agent).await;
        let ended = ended.expect("it ends in time").expect("no panic");
        ended.expect("a clean end");
    }

    /// Until it ends by itself.
    pub async fn failure(&mut self) -> AgentError {
        let (_stopper, agent) = self.agent.take().expect("an agent");
        let ended = tokio::time::timeout(WAIT, agent).await;
        let ended = ended.expect("it ends in time").expect("no panic");
        ended.expect_err("it cannot run")
    }

    pub fn session(&self) -> Option<Session> {
        self.get(&Key::HostSession(name("h1")))
    }

    /// A session that is open and was renewed.
    pub async fn open_session(&self) -> Session {
        until("the session is open", || {
            let session = self.session()?;
            let open = session.state == holdfast_model::host::SessionState::Open;
            (open && session.beat > 1).then_some(session)
        })
        .await
    }

    pub fn report(&self) -> Option<VmReport> {
        self.get(&Key::HostVm(name("h1"), name("web")))
    }

    pub async fn reported(&self, generation: u64, wanted: impl Fn(&RunState) -> bool) -> RunState {
        until(&format!("the report on generation {generation}"), || {
            let report = self.report()?;
            let is_it = report.generation == Generation(generation) && wanted(&report.state);
            is_it.then_some(report.state)
        })
        .await
    }

    pub fn spec(&self) {
        let xml = format!(
            "<domain type='test'><name>web</name><uuid>{UUID}</uuid><memory>8192</memory>\
             <os><type>hvm</type></os></domain>"
        );
        let spec = VmSpec {
            name: name("web"),
            uuid: UUID.parse().expect("a UUID"),
            domain_xml: xml,
            run: true,
            run_serial: 0,
            deleting: false,
            memory_mib: 8,
            vcpus: 1,
            priority: 0,
            preferred_site: None,
            site_rule: SiteRule::Should,
            spread: None,
            storage_lease: true,
            on_io_error: None,
            labels: Default::default(),
        };
        self.put(&Key::VmSpec(name("web")), &spec);
    }

    pub fn owner(
        &self,
        generation: u64,
        intent: Intent,
        holder: Option<&str>,
        incoming: Option<&str>,
    ) {
        let owner = self.owner_record(generation, intent, holder, incoming);
        self.put(&Key::VmOwner(name("web")), &owner);
    }

    /// The owner record, not written yet.
    pub fn owner_record(
        &self,
        generation: u64,
        intent: Intent,
        holder: Option<&str>,
        incoming: Option<&str>,
    ) -> Owner {
        let own = self.session().expect("a session").incarnation;
        let runner = |host: &str| Runner {
            host: name(host),
            incarnation: match host {
                "h1" => own.clone(),
                _ => name("peer"),
            },
        };
        Owner {
            holder: holder.map(runner),
            incoming: incoming.map(runner),
            generation: Generation(generation),
            intent,
            rest: None,
            failures: Failures::default(),
            placed_by_hand: false,
            reason: "by the test".into(),
            ..owner_rest()
        }
    }

    /// Grants the VM to this host and waits until it runs.
    pub async fn run_vm(&self, generation: u64) {
        self.open_session().await;
        self.spec();
        self.owner(generation, Intent::Run, Some("h1"), None);
        self.reported(generation, |state| *state == RunState::Running)
            .await;
    }

    pub async fn guard_status(&self) -> Status {
        let start = || GuardClient::start(&self.config.guard.socket).0;
        let client = self.guard.get_or_init(start);
        let begin = Instant::now();
        loop {
            match client.call(Call::Status).await {
                Ok(Answer::Status(status)) => return *status,
                other if begin.elapsed() > WAIT => panic!("no guard: {other:?}"),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Fields that later versions of the record have: their defaults.
fn owner_rest() -> Owner {
    let text = "{\"holder\":null,\"generation\":0,\"intent\":\"run\",\"reason\":\"\"}";
    serde_json::from_str(text).expect("an owner record")
}

pub fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a name: {text}"))
}

pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
