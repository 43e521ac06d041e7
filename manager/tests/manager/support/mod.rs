//! A whole cluster in one process: the in-memory store, managers with their API on loopback, and
//! puppet hosts that do what an agent would, without any VM.
#![allow(missing_docs)]

#[cfg(feature = "extensions")]
pub mod authors;
#[cfg(feature = "extensions")]
pub mod errands;
pub mod guests;
pub mod metrics;
pub mod puppet;
pub mod requests;
#[cfg(feature = "extensions")]
pub mod rig;
#[cfg(feature = "extensions")]
pub mod scaffolds;
#[cfg(feature = "extensions")]
pub mod sink;

use holdfast_manager::daemon::fence::{FenceDevices, Fencer, NoDevices};
use holdfast_manager::daemon::probes::Prober;
use holdfast_manager::daemon::{DaemonError, Means, Shared, run_on};
use holdfast_model::policy::Policy;
use holdfast_store::api::{Store, Txn, TxnOp};
use holdfast_store::clock::boottime;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::leadership::Me;
use holdfast_store::memory::MemoryStore;
use puppet::Puppet;
use serde::Serialize;
use serde_json::Value;
use std::process::Output;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whatever is waited for comes within this, or the test fails. Generous: machines are slow.
pub const BOUND: Duration = Duration::from_secs(60);

/// A name of any kind.
pub fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    T::from_str(text).expect("a name")
}

/// A domain that passes every check.
pub fn domain_xml(name: &str, number: u8) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name>\
         <uuid>00000000-0000-4000-8000-0000000000{number:02x}</uuid>\
         <memory unit='MiB'>256</memory><vcpu>1</vcpu></domain>"
    )
}

/// Two sites and a witness, and bounds that are short but not tight.
pub fn policy() -> Policy {
    let text = "[timing]\nprofile = \"fast\"\n[[sites]]\nname = \"a\"\n[[sites]]\nname = \"b\"\n\
                [[sites]]\nname = \"w\"\nwitness = true\n[failback]\nenabled = false\n\
                [rejoin]\nhold_down_ms = 200\n";
    let format = holdfast_strict::Format::Toml;
    holdfast_strict::read(text, format, "policy").expect("a policy")
}

/// A running manager.
pub struct Manager {
    pub url: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), DaemonError>>,
}

impl Manager {
    pub async fn start(store: Arc<dyn Store>, id: &str, site: &str) -> Self {
        Self::of_cluster(store, "lab", id, site).await
    }

    pub async fn of_cluster(store: Arc<dyn Store>, cluster: &str, id: &str, site: &str) -> Self {
        Self::with_devices(store, (cluster, id, site), Arc::new(NoDevices)).await
    }

    pub async fn with_devices(
        store: Arc<dyn Store>,
        (cluster, id, site): (&str, &str, &str),
        devices: Arc<dyn FenceDevices>,
    ) -> Self {
        let means = Means {
            devices,
            ..Means::default()
        };
        Self::with_means(store, (cluster, id, site), means).await
    }

    pub async fn with_means(
        store: Arc<dyn Store>,
        (cluster, id, site): (&str, &str, &str),
        means: Means,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = watch::channel(false);
        let id = (name(cluster), name(id), name(site));
        let task = tokio::spawn(run_on(store, listener, id, means, stopped));
        Self { url, stop, task }
    }

    /// As SIGTERM does.
    pub async fn stop(self) -> Result<(), DaemonError> {
        self.stop.send_replace(true);
        self.end().await
    }

    /// As SIGKILL does: nothing is given up, and nothing said.
    pub async fn kill(self) {
        self.task.abort();
        let ended = tokio::time::timeout(BOUND, self.task).await;
        assert!(ended.expect("it ends").is_err(), "it ended by itself");
    }

    pub async fn end(self) -> Result<(), DaemonError> {
        let ended = tokio::time::timeout(BOUND, self.task).await;
        ended.expect("the daemon ends").expect("it does not panic")
    }

    /// What it answers, whatever the status.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
    ) -> (u16, Value) {
        let url = format!("{}/v1{path}", self.url);
        let (method, kind) = (
            method.to_owned(),
            body.as_ref().map(|(kind, _)| (*kind).to_owned()),
        );
        let body = body.map(|(_, text)| text);
        let call = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::new_with_config(
                ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_global(Some(BOUND))
                    .build(),
            );
            let mut request = ureq::http::Request::builder()
                .method(method.as_str())
                .uri(&url);
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let request = request.body(body.unwrap_or_default()).expect("a request");
            let mut response = agent.run(request).expect("an answer");
            let text = response.body_mut().read_to_string().expect("a text");
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (response.status().as_u16(), value)
        });
        call.await.expect("the call does not panic")
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None).await
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let poll = async {
            loop {
                last = self.get(path).await.1;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, poll).await.is_ok();
        assert!(came, "waited for {what} at {path} in vain; last: {last:#}");
        last
    }

    /// Runs the command line against it.
    pub async fn cli(&self, args: &[&str]) -> Ran {
        cli(&self.url, args).await
    }
}

/// How a command line ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs the command line against these managers.
pub async fn cli(api: &str, args: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .args(args)
        .env("HOLDFAST_API", api)
        .env("HOLDFAST_USER", "tester");
    command
        .env_remove("COLUMNS")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let run = tokio::time::timeout(BOUND, command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = run.await.expect("it ends").expect("it runs");
    Ran {
        code: status.code().expect("it was not killed"),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}

/// One manager, four puppet hosts at two sites, and a policy.
pub struct Cluster {
    pub store: MemoryStore,
    pub manager: Manager,
    pub hosts: Vec<Puppet>,
}

impl Cluster {
    pub async fn start() -> Self {
        Self::with_devices(policy(), Arc::new(NoDevices)).await
    }

    pub async fn with_devices(policy: Policy, devices: Arc<dyn FenceDevices>) -> Self {
        Self::led_by(policy, ("m-a", "a"), devices).await
    }

    /// The same with a manager of this name, at this site.
    pub async fn led_by(
        policy: Policy,
        (id, site): (&str, &str),
        devices: Arc<dyn FenceDevices>,
    ) -> Self {
        let store = MemoryStore::new();
        put(&store, Key::Policy, &policy);
        let shared = Arc::new(store.clone());
        let manager = Manager::with_devices(shared, ("lab", id, site), devices).await;
        let hosts: Vec<Puppet> = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]
            .into_iter()
            .map(|(host, site)| Puppet::start(&store, host, site))
            .collect();
        manager
            .until("/status", "four hosts online", |status| {
                let hosts = status["hosts"].as_array();
                hosts.is_some_and(|hosts| {
                    hosts.len() == 4 && hosts.iter().all(|host| host["state"] == "online")
                })
            })
            .await;
        Self {
            store,
            manager,
            hosts,
        }
    }

    /// Applies a VM and waits until it runs.
    pub async fn run_vm(&self, vm: &str, number: u8, site: &str) {
        let body = serde_json::json!({
            "domain_xml": domain_xml(vm, number),
            "preferred_site": site,
        });
        let body = Some(("application/json", body.to_string()));
        let (code, answer) = self.manager.ask("PUT", &format!("/vms/{vm}"), body).await;
        assert_eq!(code, 200, "{answer:#}");
        self.until_vm(vm, "running").await;
    }

    pub async fn until_vm(&self, vm: &str, state: &str) -> Value {
        let wanted = |answer: &Value| answer["vm"]["state"] == state;
        self.manager
            .until(&format!("/vms/{vm}"), &format!("{vm} {state}"), wanted)
            .await
    }

    pub fn host(&self, host: &str) -> &Puppet {
        self.hosts
            .iter()
            .find(|puppet| puppet.name() == host)
            .expect("a host")
    }
}

/// Writes a record without any guard.
pub fn put<T: Serialize>(store: &MemoryStore, key: Key, record: &T) {
    store.txn_now(Txn {
        compares: Vec::new(),
        ops: vec![TxnOp::Put(key.path(), encode(record))],
    });
}

/// Writes a file into a directory; its path.
pub fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("a file");
    path.display().to_string()
}

/// What the tasks of a manager share, without the tasks.
pub fn shared(store: &MemoryStore, devices: Arc<dyn FenceDevices>) -> Shared {
    let (_, stop) = watch::channel(false);
    Shared {
        store: Arc::new(store.clone()),
        clock: Arc::new(boottime),
        cluster: name("lab"),
        me: Me {
            name: name("m-a"),
            site: name("a"),
            life: "x".to_owned(),
        },
        api: String::new(),
        fencer: Fencer::new(devices, Arc::new(boottime)),
        web: None,
        prober: Prober::new(name("m-a"), name("a")),
        extensions: Arc::default(),
        numbers: Arc::default(),
        stop,
    }
}
