//! What tests of errands share: a host is lost, and what became of the errands about it.

use super::{Cluster, name};
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::Revision;
use holdfast_store::api::Change;
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::Value;

/// The host of a VM that runs at this site loses its power; which it is.
pub async fn lose_the_host_of_web(cluster: &Cluster, site: &str) -> String {
    cluster.run_vm("web", 1, site).await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let host = host.as_str().expect("a host").to_owned();
    cluster.host(&host).power_off();
    host
}

/// Waits until it runs on another one.
pub async fn web_runs_elsewhere(cluster: &Cluster, lost: &str) {
    let elsewhere =
        |answer: &Value| answer["vm"]["state"] == "running" && answer["vm"]["host"] != lost;
    let manager = &cluster.manager;
    manager.until("/vms/web", "web elsewhere", elsewhere).await;
}

/// The journal once it has this.
pub async fn journal(cluster: &Cluster, part: &str) -> String {
    let has = |page: &Value| page.to_string().contains(part);
    let page = cluster.manager.until("/events?limit=1000", part, has).await;
    page.to_string()
}

/// Every write of an errand about a host: to whom, and its stage. "over" is its removal.
pub fn course(store: &MemoryStore, host: &str) -> Vec<String> {
    let key = Key::Errand(name(host), name(host)).path();
    let all = store.changes_after(&key, Revision(0)).expect("all of them");
    let word = |change: &Change| match change {
        Change::Delete(..) => "over".to_owned(),
        Change::Put(item) => {
            let errand: Errand = serde_json::from_slice(&item.value).expect("an errand");
            assert_eq!(errand.as_set.askers, [], "an earlier version reads it");
            let stage = match errand.stage {
                ErrandStage::Sent => "sent",
                ErrandStage::Taken => "taken",
                ErrandStage::Answered { .. } => "answered",
                ErrandStage::Declined { .. } => "declined",
            };
            format!("{} {stage}", errand.to.asker())
        }
    };
    all.changes.iter().map(word).collect()
}
