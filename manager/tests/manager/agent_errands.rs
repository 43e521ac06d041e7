//! Fencing devices that agents of hosts may ask, with a leader at the witness: on the in-memory store with puppet hosts,
//! of which each has somebody who does errands as an agent does.

use crate::support::errands::{course, journal, lose_the_host_of_web, web_runs_elsewhere};
use crate::support::{BOUND, Cluster, Manager, name, policy, put};
use async_trait::async_trait;
use holdfast_core::errand::{AgentView, Duty, Memory, agent_duty};
use holdfast_fence::Desk;
use holdfast_fence::errand::{self, Doer};
use holdfast_manager::daemon::fence::{FenceDevices, NoDevices, Power, Target};
use holdfast_model::asking::{AskMeans, AskerKind, HostAsks};
use holdfast_model::errand::Errand;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{Session, SessionState};
use holdfast_model::id::{HostName, Revision};
use holdfast_model::policy::Policy;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::StoreError;
use holdfast_store::api::{Store, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::clock::boottime;
use holdfast_store::errands::{Standing, take_as};
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use holdfast_store::view::View;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes: no decision is too old, and no standby takes over.
const LONG_MS: u64 = 120_000;
const HOSTS: [&str; 4] = ["a1", "a2", "b1", "b2"];

/// What comes of asking from one machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The host is off then.
    Works,
    /// The board is not reached.
    Fails,
    /// Nothing ever comes back.
    Hangs,
}

/// The boards as one machine reaches them, and what it has asked them.
struct Boards {
    manner: Manner,
    asked: Mutex<Vec<String>>,
}

impl Boards {
    fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            manner,
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }

    async fn note(&self, what: &str, target: &Target) -> Result<(), String> {
        let line = format!("{what} {} attempt {}", target.host, target.attempt);
        self.asked.lock().expect("a list").push(line);
        match self.manner {
            Manner::Works => Ok(()),
            Manner::Fails => Err("no route to it".to_owned()),
            Manner::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl FenceDevices for Boards {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        self.note("off", target).await
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        self.note("status", target).await.map(|()| Power::Off)
    }
}

/// Does errands as the agent of a puppet host.
struct Agent {
    store: MemoryStore,
    host: HostName,
    desk: Desk,
    cache: Cache,
}

impl Agent {
    fn session(&self) -> Option<(Session, Revision)> {
        let item = self
            .store
            .get_now(&Key::HostSession(self.host.clone()).path())?;
        let session: Session = serde_json::from_slice(&item.value).expect("a session");
        (session.state == SessionState::Open).then_some((session, item.revision))
    }
}

#[async_trait]
impl Doer for Agent {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn now(&self) -> Instant {
        boottime()
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn duty(&self, view: &View, errand: &Errand, memory: &Memory) -> Duty {
        let session = self.session();
        let own = view.hosts.get(&self.host);
        let me = AgentView {
            host: &self.host,
            life: "agent-1",
            session: session.as_ref().map(|(session, _)| &session.incarnation),
            state: own
                .and_then(|own| own.state.as_ref())
                .map(|seen| &seen.value),
            policy: view.policy_in_force().ok().flatten(),
        };
        agent_duty(me, errand, memory)
    }

    async fn take(&self, errand: &Seen<Errand>) -> Result<TxnOutcome, StoreError> {
        let state = self.cache.read(|view| {
            let state = view.hosts.get(&self.host)?.state.as_ref()?;
            Some(state.revision)
        });
        let own = Standing {
            host: self.host.clone(),
            session: self.session().expect("an open session").1,
            state: state.expect("a state"),
        };
        self.store
            .txn(take_as(&errand.value, errand.revision, &own))
            .await
    }
}

/// An agent at work, which tells what it has.
struct Works {
    boards: Arc<Boards>,
    task: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Drop for Works {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Works {
    async fn at(cluster: &Cluster, host: &str, manner: Manner) -> Self {
        let store = cluster.store.clone();
        let cache = Cache::spawn(
            Arc::new(store.clone()),
            vec![ROOT.to_owned()],
            Arc::new(boottime),
        );
        cache.ready(BOUND).await.expect("a view");
        let boards = Boards::new(manner);
        let agent = Agent {
            store: store.clone(),
            host: name(host),
            desk: Desk::new(boards.clone(), Arc::new(boottime)),
            cache: cache.subscribe(),
        };
        let asks = HostAsks {
            incarnation: agent.session().expect("it is there").0.incarnation,
            life: "agent-1".to_owned(),
            means: AskMeans {
                programs: [name("fence_x")].into(),
                ..AskMeans::default()
            },
            newest: Default::default(),
        };
        put(&store, Key::HostAsks(name(host)), &asks);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(errand::run(Arc::new(agent), cache, stopped));
        Self {
            boards,
            task,
            _stop: stop,
        }
    }
}

/// Every host has a device, which these may ask, from site a, as soon as the host is suspect. Only that closes a host
/// within any bound of these tests.
fn asked_by(askers: &[AskerKind], timeout_ms: u64) -> Policy {
    let mut policy = policy();
    policy.timing.taker_wait_ms = Some(3 * LONG_MS);
    policy.timing.leader_wait_ms = Some(LONG_MS);
    policy.fencing.on_suspicion = true;
    let mut device = FenceDevice::by_agent(name("fence_x"), Default::default(), timeout_ms);
    device.from = vec![name("a")];
    device.askers = askers.to_vec();
    policy.fencing.devices = HOSTS.map(|host| (name(host), device.clone())).into();
    policy
}

async fn led_from_the_witness(policy: Policy) -> Cluster {
    Cluster::led_by(policy, ("m-w", "w"), Arc::new(NoDevices)).await
}

async fn condition(cluster: &Cluster, part: &str) {
    let has = |status: &Value| status["conditions"].to_string().contains(part);
    cluster.manager.until("/status", part, has).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_asks_about_another_host_where_no_manager_may() {
    let cluster = led_from_the_witness(asked_by(&[AskerKind::Agents], LONG_MS)).await;
    condition(&cluster, "only agents at a (`askers`, `from`) are to ask").await;
    let (a1, b1) = (
        Works::at(&cluster, "a1", Manner::Works).await,
        Works::at(&cluster, "b1", Manner::Works).await,
    );
    // For a1 itself somebody else is needed yet.
    condition(&cluster, "fencing device a1: only agents at a").await;
    let a2 = Works::at(&cluster, "a2", Manner::Works).await;
    let well = |status: &Value| !status["conditions"].to_string().contains("out-of-reach");
    cluster
        .manager
        .until("/status", "nothing lacks", well)
        .await;
    let lost = lose_the_host_of_web(&cluster, "b").await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(
        &cluster,
        "told by the agent of a1 to switch it off: says off",
    )
    .await;
    assert!(
        journal.contains(&format!("{lost}: powered off, says {lost}")),
        "{journal}"
    );
    let once = ["off", "status"].map(|what| format!("{what} {lost} attempt 1"));
    assert_eq!(a1.boards.asked(), once);
    for other in [a2, b1] {
        assert_eq!(other.boards.asked(), Vec::<String>::new());
    }
    let course = course(&cluster.store, &lost);
    let a1 = "the agent of a1";
    assert_eq!(
        course[..3],
        ["sent", "taken", "answered"].map(|stage| format!("{a1} {stage}"))
    );
    let why = cluster.manager.get(&format!("/hosts/{lost}")).await.1;
    let device = format!("fencing device {lost} (fence_x, asked from a, asked by agents): {lost}:");
    assert!(why.to_string().contains(&device), "{why:#}");
    let told = cluster.manager.scrape().await;
    assert_eq!(told["holdfast_fencing_errands_total{by=\"agents\"}"], 1.0);
    assert_eq!(told["holdfast_fencing_errands_total{by=\"managers\"}"], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_manager_asks_in_vain_an_agent_is_next() {
    let both = [AskerKind::Managers, AskerKind::Agents];
    let cluster = led_from_the_witness(asked_by(&both, LONG_MS)).await;
    let at_a = Boards::new(Manner::Fails);
    let store = Arc::new(cluster.store.clone());
    let _m_a = Manager::with_devices(store, ("lab", "m-a", "a"), at_a.clone()).await;
    let known = |status: &Value| status["managers"].to_string().contains("m-a");
    cluster.manager.until("/status", "m-a", known).await;
    let agent = Works::at(&cluster, "a1", Manner::Works).await;
    let lost = lose_the_host_of_web(&cluster, "b").await;
    web_runs_elsewhere(&cluster, &lost).await;
    let journal = journal(
        &cluster,
        "told by the agent of a1 to switch it off: says off",
    )
    .await;
    assert!(
        journal.contains("told by m-a to switch it off: no route to it"),
        "{journal}"
    );
    let asked = |attempt| ["off", "status"].map(|what| format!("{what} {lost} attempt {attempt}"));
    assert_eq!(at_a.asked(), asked(1));
    assert_eq!(agent.boards.asked(), asked(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_on_the_way_leaves_it_to_another() {
    let cluster = led_from_the_witness(asked_by(&[AskerKind::Agents], 500)).await;
    let first = Works::at(&cluster, "a1", Manner::Hangs).await;
    let second = Works::at(&cluster, "a2", Manner::Works).await;
    let lost = lose_the_host_of_web(&cluster, "b").await;
    let asked = async {
        while first.boards.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, asked).await.expect("an ask");
    first.task.abort();
    web_runs_elsewhere(&cluster, &lost).await;
    let part = "the agent of a1 was to ask it and did not say what became of it";
    let journal = journal(&cluster, part).await;
    assert!(
        journal.contains("told by the agent of a2 to switch it off: says off"),
        "{journal}"
    );
    assert_eq!(first.boards.asked(), [format!("off {lost} attempt 1")]);
    let once = ["off", "status"].map(|what| format!("{what} {lost} attempt 2"));
    assert_eq!(second.boards.asked(), once);
}
