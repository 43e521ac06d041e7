//! Managers that ask hosts directly, on the in-memory store with puppet hosts that answer over real sockets.

use crate::support::{BOUND, Cluster, Manager, name, policy};
use async_trait::async_trait;
use holdfast_manager::daemon::fence::{FenceDevices, Power, Target};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::policy::Policy;
use holdfast_model::probe::Opinion;
use holdfast_store::keyspace::Key;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Says off at once.
struct Off;

#[async_trait]
impl FenceDevices for Off {
    async fn switch_off(&self, _: &Target) -> Result<(), String> {
        Ok(())
    }

    async fn status(&self, _: &Target) -> Result<Power, String> {
        Ok(Power::Off)
    }
}

/// Only probes can make a host suspect within any bound of these tests.
fn slow() -> Policy {
    let mut policy = policy();
    policy.timing.suspect_after_ms = Some(200_000);
    policy.timing.taker_wait_ms = Some(300_000);
    policy.timing.probe_suspect_ms = Some(500);
    policy.fencing.on_suspicion = true;
    let device = FenceDevice::by_agent(name("fence_x"), Default::default(), 500);
    let hosts = ["a1", "a2", "b1", "b2"];
    policy.fencing.devices = hosts.map(|host| (name(host), device.clone())).into();
    policy
}

/// Waits until a manager has had an answer of a host.
async fn hears(manager: &Manager, name: &str, host: &str) {
    let said = format!("{name} at {} asks it directly; answered", &name[2..]);
    let has = |why: &Value| why["because"].to_string().contains(&said);
    let what = format!("{host} to answer {name}");
    manager
        .until(&format!("/why/host/{host}"), &what, has)
        .await;
}

/// Waits until these managers, by the records that stand for them, find a host silent.
async fn find_silent(cluster: &Cluster, host: &str, managers: &[&str]) {
    let agree = |manager: &&str| {
        let key = Key::Probes(name(manager)).path();
        let found = cluster.store.get_now(&key);
        let opinion = found.and_then(|item| serde_json::from_slice::<Opinion>(&item.value).ok());
        opinion.is_some_and(|opinion| opinion.silent.contains_key(&name(host)))
    };
    let all = async {
        while !managers.iter().all(agree) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(BOUND, all).await;
    came.unwrap_or_else(|_| panic!("{host} to be silent for {managers:?}: it is not"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_is_switched_off_on_the_word_of_two_sites() {
    let cluster = Cluster::with_devices(slow(), Arc::new(Off)).await;
    let second = Manager::start(Arc::new(cluster.store.clone()), "m-w", "w").await;
    cluster.run_vm("web", 1, "a").await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let lost = host.as_str().expect("a host");
    hears(&cluster.manager, "m-a", lost).await;
    hears(&second, "m-w", lost).await;
    cluster.host(lost).power_off();
    let elsewhere =
        |answer: &Value| answer["vm"]["state"] == "running" && answer["vm"]["host"] != lost;
    let manager = &cluster.manager;
    manager.until("/vms/web", "web elsewhere", elsewhere).await;
    let says = |page: &Value| page.to_string().contains("no answer to probes of m-");
    let journal = manager
        .until("/events?limit=1000", "the reason", says)
        .await;
    let journal = journal.to_string();
    assert!(
        journal.contains(&format!("{lost}: powered off, says {lost}")),
        "{journal}"
    );
    second.stop().await.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_renews_its_session_is_left_alone_however_mute_it_is() {
    let cluster = Cluster::with_devices(slow(), Arc::new(Off)).await;
    let second = Manager::start(Arc::new(cluster.store.clone()), "m-w", "w").await;
    cluster.run_vm("web", 1, "a").await;
    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let mute = host.as_str().expect("a host");
    hears(&cluster.manager, "m-a", mute).await;
    hears(&second, "m-w", mute).await;
    cluster.host(mute).be_mute(true);
    find_silent(&cluster, mute, &["m-a", "m-w"]).await;
    let (_, events) = cluster.manager.get("/events?limit=1000").await;
    assert!(!events.to_string().contains("power-asked"), "{events}");
    let (_, shown) = cluster.manager.get("/vms/web").await;
    assert_eq!(shown["vm"]["host"], mute);
    second.stop().await.expect("it ends well");
    // What a manager said goes with it.
    let gone = cluster.store.get_now(&Key::Probes(name("m-w")).path());
    assert!(gone.is_none());
}
