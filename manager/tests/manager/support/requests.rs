//! What tests of the API send, and how they look at a refusal.

use super::{Manager, policy, put};
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde_json::{Value, json};
use std::sync::Arc;

pub const JSON: &str = "application/json";
pub const TOML: &str = "application/toml";

pub fn vm(domain_xml: &str) -> Option<(&'static str, String)> {
    Some((JSON, json!({ "domain_xml": domain_xml }).to_string()))
}

/// It is a problem document with this status and code, whose detail says this.
pub fn check_problem((status, answer): &(u16, Value), wanted: (u16, &str), says: &str) {
    assert_eq!(
        (*status, answer["code"].as_str()),
        (wanted.0, Some(wanted.1)),
        "{answer:#}"
    );
    assert_eq!(answer["status"], wanted.0, "{answer:#}");
    let kind = answer["type"].as_str().unwrap_or_default();
    assert!(
        kind.ends_with(wanted.1) && answer["title"].is_string(),
        "{answer:#}"
    );
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(says), "said {detail}\nnot  {says}");
}

pub async fn one_manager() -> (MemoryStore, Manager) {
    let store = MemoryStore::new();
    put(&store, Key::Policy, &policy());
    let manager = Manager::start(Arc::new(store.clone()), "m-a", "a").await;
    manager
        .until("/status", "a leader", |status| status["leader"].is_object())
        .await;
    (store, manager)
}
