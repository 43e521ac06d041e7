//! Starts away from home while hosts of the preferred site are just coming up.

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_model::host::*;
use holdfast_model::id::HostName;
use holdfast_model::time::Instant;
use holdfast_model::vm::SiteRule;
use holdfast_model::world::World;
use std::sync::Arc;

fn beats(w: &mut World, host: &str, beat: u64) {
    host_mut(w, host).session.as_mut().unwrap().value.beat = beat;
}

fn unreported(w: &mut World, host: &str) {
    host_mut(w, host).report = None;
}

fn no_session(w: &mut World, host: &str) {
    host_mut(w, host).session = None;
    unreported(w, host);
}

/// A cluster of which only b1 has come up so far, three heartbeats ago.
fn coming_up() -> World {
    let mut w = two_sites();
    for host in ["a1", "a2", "b2"] {
        no_session(&mut w, host);
    }
    beats(&mut w, "b1", 3);
    vm(&mut w, "home-a", "a", 0, 512);
    vm(&mut w, "anywhere", "", 0, 512);
    w
}

fn has_owner(w: &World, vm: &str) -> bool {
    let vm = w.vms.iter().find(|(name, _)| name.as_str() == vm).unwrap();
    vm.1.owner.is_some()
}

#[test]
fn a_new_cluster_waits_for_its_hosts_and_not_for_ever() {
    let mut w = coming_up();
    settle(&mut w);
    let now = plan(&w);
    for vm in ["home-a", "anywhere"] {
        assert!(!has_owner(&w, vm));
        assert!(says(&now, &vm_subject(vm), "just coming up"));
    }
    assert_eq!(now.wake_at, Some(Instant(w.now.0 + 2_500)));
    // The default of 10 s is over after ten of the default profile's heartbeats.
    beats(&mut w, "b1", 10);
    settle(&mut w);
    assert_eq!(holder(&w, "home-a"), "b1");
    assert_eq!(holder(&w, "anywhere"), "b1");
}

#[test]
fn in_a_new_cluster_vms_are_spread_over_the_hosts_of_their_site() {
    let mut w = two_sites();
    for host in ["a1", "a2", "b1", "b2"] {
        beats(&mut w, host, 1);
    }
    let late = host_mut(&mut w, "a2").report.take();
    for vm_ in ["one", "two"] {
        vm(&mut w, vm_, "a", 0, 512);
    }
    vm(&mut w, "other", "b", 0, 512);
    settle(&mut w);
    assert!(has_owner(&w, "other"), "its own site is there");
    assert!(!has_owner(&w, "one") && !has_owner(&w, "two"));
    host_mut(&mut w, "a2").report = late;
    settle(&mut w);
    assert_ne!(holder(&w, "one"), holder(&w, "two"));
}

#[test]
fn a_host_that_has_not_reported_yet_is_waited_for() {
    let mut w = two_sites();
    vm(&mut w, "home-a", "a", 0, 512);
    for host in ["a1", "a2"] {
        beats(&mut w, host, 2);
        unreported(&mut w, host);
    }
    settle(&mut w);
    assert!(!has_owner(&w, "home-a"));
    let unknown = StorageState::Unknown {
        reason: "not looked yet".to_owned(),
    };
    let reported = host_mut(&mut two_sites(), "a2").report.clone();
    host_mut(&mut w, "a2").report = reported;
    host_mut(&mut w, "a2")
        .report
        .as_mut()
        .unwrap()
        .value
        .storage = unknown;
    settle(&mut w);
    assert!(!has_owner(&w, "home-a"), "its storage is not known yet");
    host_mut(&mut w, "a2")
        .report
        .as_mut()
        .unwrap()
        .value
        .storage = StorageState::Synced;
    settle(&mut w);
    assert_eq!(holder(&w, "home-a"), "a2");
}

#[test]
fn a_host_that_never_reports_is_waited_for_once() {
    let mut w = two_sites();
    vm(&mut w, "home-a", "a", 0, 512);
    for host in ["a1", "a2"] {
        beats(&mut w, host, 10);
        unreported(&mut w, host);
    }
    settle(&mut w);
    assert!(holder(&w, "home-a").starts_with('b'));
}

#[test]
fn what_cannot_take_it_anyway_is_not_waited_for() {
    for why in ["drained", "no guard", "failed there", "settle_ms = 0"] {
        let mut w = coming_up();
        for host in ["a1", "a2"] {
            let name: HostName = name(host);
            host_mut(&mut w, host).session = two_sites().hosts[&name].session.clone();
            beats(&mut w, host, 1);
            match why {
                "drained" => {
                    host_mut(&mut w, host)
                        .spec
                        .as_mut()
                        .unwrap()
                        .value
                        .maintenance = true
                }
                "no guard" => {
                    let session = host_mut(&mut w, host).session.as_mut().unwrap();
                    session.value.guard = GuardState::Absent;
                }
                "failed there" => {
                    let mut past = owner(None, 1);
                    for host in ["a1", "a2"] {
                        past.failures
                            .per_host
                            .entry(self::name(host))
                            .or_default()
                            .count = 3;
                    }
                    set_owner(&mut w, "home-a", past);
                }
                _ => w.policy_mut().placement.settle_ms = 0,
            }
        }
        settle(&mut w);
        assert_eq!(holder(&w, "home-a"), "b1", "{why}");
    }
}

#[test]
fn a_lost_site_is_not_waited_for() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    silent(&mut w, "a1", 9_000);
    silent(&mut w, "a2", 9_000);
    settle(&mut w);
    assert!(holder(&w, "web1").starts_with('b'));
}

#[test]
fn a_host_that_is_lost_in_a_new_cluster_is_not_waited_for() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    for host in ["a1", "a2", "b1", "b2"] {
        beats(&mut w, host, 7);
    }
    silent(&mut w, "a1", 5_500);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a2");
}

#[test]
fn a_vm_that_must_be_at_home_is_told_why_not_when() {
    let mut w = coming_up();
    vm(&mut w, "must", "a", 0, 512);
    let spec = w
        .vms
        .values_mut()
        .filter_map(|vm| Arc::make_mut(vm).spec.as_mut());
    for spec in spec.filter(|spec| spec.value.name.as_str() == "must") {
        spec.value.site_rule = SiteRule::Must;
    }
    settle(&mut w);
    assert!(says(&plan(&w), &vm_subject("must"), "must be at site a"));
}
