//! A daemon is scraped while a host is lost.

use crate::support::metrics::Told;
use crate::support::{Cluster, name, policy};
use holdfast_manager::daemon::fence::NoDevices;
use holdfast_model::fence_device::FenceDevice;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_shows_in_what_monitoring_is_told() {
    let mut policy = policy();
    policy.fencing.on_suspicion = true;
    // Which nobody can reach.
    let device = || FenceDevice::by_agent(name("fence_x"), Default::default(), 500);
    let hosts = ["a1", "a2", "b1", "b2"];
    policy.fencing.devices = hosts.map(|host| (name(host), device())).into();
    let cluster = Cluster::with_devices(policy, Arc::new(NoDevices)).await;
    let manager = &cluster.manager;
    cluster.run_vm("web", 1, "a").await;
    let is = |series: &'static str, value: f64| move |told: &Told| told.get(series) == Some(&value);
    let runs = is("holdfast_vms{site=\"a\",state=\"running\"}", 1.0);
    let told = manager.until_told("web to run", runs).await;
    for (series, value) in [
        ("holdfast_is_leader", 1.0),
        ("holdfast_store_view_fresh", 1.0),
        ("holdfast_hosts{site=\"a\",state=\"online\"}", 2.0),
        ("holdfast_hosts{site=\"b\",state=\"fenced\"}", 0.0),
        ("holdfast_managers{state=\"healthy\"}", 1.0),
        ("holdfast_incidents{kind=\"host-loss\"}", 0.0),
        ("holdfast_fencing_requests_total", 0.0),
    ] {
        assert_eq!(told.get(series), Some(&value), "{series}: {told:#?}");
    }
    let age = told.get("holdfast_store_view_age_seconds");
    assert!(age.is_some_and(|age| *age < 10.0), "{told:#?}");

    let host = cluster.until_vm("web", "running").await["vm"]["host"].clone();
    let lost = host.as_str().expect("a host").to_owned();
    cluster.host(&lost).power_off();
    let over = |told: &Told| {
        let positive = |series: &str| told.get(series).is_some_and(|value| *value > 0.0);
        positive("holdfast_hosts{site=\"a\",state=\"fenced\"}")
            && positive("holdfast_incidents{kind=\"host-loss\"}")
            && positive("holdfast_last_incident_duration_seconds{kind=\"host-loss\"}")
            && positive("holdfast_last_incident_slowest_vm_seconds{kind=\"host-loss\"}")
            && positive("holdfast_fencing_answers_total{power=\"unknown\"}")
            && positive("holdfast_conditions{severity=\"warning\",code=\"host-lost\"}")
    };
    let told = manager.until_told("the failover", over).await;
    let asked = told["holdfast_fencing_requests_total"];
    assert!(asked >= told["holdfast_fencing_answers_total{power=\"unknown\"}"]);
    assert_eq!(told["holdfast_fencing_answers_total{power=\"off\"}"], 0.0);
    // Of VMs and hosts there are too many for labels.
    for series in told.keys() {
        for name in ["web", lost.as_str()] {
            assert!(!series.contains(&format!("\"{name}\"")), "{series}");
        }
    }
}
