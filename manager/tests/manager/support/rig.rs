//! A manager that runs extensions, and the command line that talks to it.

use super::guests::{guest, workshop};
use super::puppet::Puppet;
use super::{Manager, domain_xml, file, policy, put};
use holdfast_manager::daemon::Means;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::Value;
use std::sync::Arc;
use tempfile::TempDir;

/// A cluster with one manager that can run extensions, and two hosts at site a.
pub struct Rig {
    pub store: MemoryStore,
    pub manager: Manager,
    pub dir: TempDir,
    _hosts: Vec<Puppet>,
}

impl Rig {
    pub async fn start() -> Self {
        let store = MemoryStore::new();
        put(&store, Key::Policy, &policy());
        let dir = tempfile::tempdir().expect("a directory");
        let means = Means {
            workshop: Some(workshop(dir.path())),
            ..Means::default()
        };
        let manager =
            Manager::with_means(Arc::new(store.clone()), ("lab", "m-a", "a"), means).await;
        let hosts = ["a1", "a2"].map(|host| Puppet::start(&store, host, "a"));
        let online = |status: &Value| {
            let hosts = status["hosts"].as_array();
            hosts.is_some_and(|all| {
                all.len() == 2 && all.iter().all(|host| host["state"] == "online")
            })
        };
        manager
            .until("/status", "a leader and two hosts", |status| {
                status["leader"].is_object() && online(status)
            })
            .await;
        Self {
            store,
            manager,
            dir,
            _hosts: hosts.into(),
        }
    }

    pub async fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        let ran = self.manager.cli(arguments).await;
        (ran.code, ran.out, ran.err)
    }

    pub async fn install(&self, guest_name: &str, more: &[&str]) -> (i32, String, String) {
        let dir = guest(guest_name).display().to_string();
        let arguments = [&["ext", "install", &dir, "--yes"], more].concat();
        self.cli(&arguments).await
    }

    pub async fn ready(&self, name: &str) {
        let path = format!("/extensions/{name}");
        let ready = |shown: &Value| shown["managers"]["m-a"]["state"] == "ready";
        self.manager.until(&path, "it to be ready", ready).await;
    }

    pub async fn vm(&self, name: &str, number: u8, labels: &str) {
        let xml = file(&self.dir, &format!("{name}.xml"), &domain_xml(name, number));
        let text = format!("domain_xml_file = \"{xml}\"\n{labels}");
        let path = file(&self.dir, &format!("{name}.toml"), &text);
        let (code, _, err) = self.cli(&["vm", "apply", "-f", &path]).await;
        assert_eq!(code, 0, "{err}");
    }
}
