//! What the planner decides, case by case: membership, evidence, starts.

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_model::fence::Evidence;
use holdfast_model::host::*;
use holdfast_model::id::HostName;
use holdfast_model::op::Request;
use holdfast_model::plan::Subject;
use holdfast_model::time::Instant;
use holdfast_model::vm::*;

#[test]
fn an_idle_cluster_has_nothing_to_do() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    assert_eq!(plan(&w).steps, []);
    assert!(
        plan(&w).wake_at.is_some(),
        "it must notice a host going silent"
    );
}

#[test]
fn a_new_vm_starts_at_its_preferred_site_on_the_emptier_host() {
    let mut w = two_sites();
    running(&mut w, "old", "a", 0, "a1");
    vm(&mut w, "web1", "a", 0, 512);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a2");
    assert_eq!(owner_of(&w, "web1").generation.0, 1);
}

#[test]
fn silence_shorter_than_the_wait_starts_nothing() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    silent(&mut w, "a1", 5_499);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1");
    assert_eq!(
        host_mut(&mut w, "a1")
            .state
            .as_ref()
            .unwrap()
            .value
            .membership,
        Membership::Suspect
    );
    assert_eq!(plan(&w).wake_at, Some(Instant(w.now.0 + 1)));
}

#[test]
fn a_lapsed_host_is_closed_on_its_last_heartbeat_and_its_vms_go_by_priority() {
    let mut w = two_sites();
    for (vm, priority) in [("low", 1), ("high", 9)] {
        running(&mut w, vm, "a", priority, "a1");
    }
    silent(&mut w, "a1", 5_500);
    let plans = settle(&mut w);
    assert_eq!(
        (holder(&w, "high"), holder(&w, "low")),
        ("a2".into(), "a2".into())
    );
    assert_eq!(owner_of(&w, "high").generation.0, 2);
    assert!(matches!(
        evidence(&w, "a1", "i1"),
        Some(Evidence::Lapsed { wait_ms: 5_500, .. })
    ));
    assert_eq!(
        host_mut(&mut w, "a1").session.as_ref().unwrap().value.state,
        SessionState::Closed
    );
    let order: Vec<&str> = plans
        .iter()
        .flat_map(|p| &p.steps)
        .filter(|s| s.why.contains("generation 2"))
        .map(|s| {
            if s.why.starts_with("high") {
                "high"
            } else {
                "low"
            }
        })
        .collect();
    assert_eq!(order, ["high", "low"]);
}

#[test]
fn the_wait_is_never_shorter_than_what_the_host_declared() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    let session = host_mut(&mut w, "a1").session.as_mut().unwrap();
    session.value.bounds.runner_deadline_ms = 15_000;
    silent(&mut w, "a1", 16_000);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1");
    silent(&mut w, "a1", 16_033);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a2");
}

#[test]
fn without_a_guard_silence_proves_nothing_but_an_operator_can_vouch() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    host_mut(&mut w, "a1").session.as_mut().unwrap().value.guard = GuardState::Absent;
    silent(&mut w, "a1", 1_000_000);
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1");
    assert!(says(&plan(&w), &Subject::Host(name("a1")), "confirm-off"));
    op(&mut w, "o1", Request::ConfirmOff { host: name("a1") });
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a2");
    assert_eq!(
        evidence(&w, "a1", "i1"),
        Some(Evidence::Confirmed { by: "anna".into() })
    );
    assert!(w.ops.is_empty());
}

#[test]
fn vouching_for_a_host_that_renews_is_refused() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    op(&mut w, "o1", Request::ConfirmOff { host: name("a1") });
    let plans = settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1");
    assert!(
        plans[0].steps[0].why.contains("refused"),
        "{:?}",
        plans[0].steps
    );
    assert!(w.ops.is_empty() && w.fences.is_empty());
}

#[test]
fn an_outage_of_the_store_is_nobodys_silence() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    for host in ["a1", "a2", "b1", "b2"] {
        silent(&mut w, host, 600_000);
    }
    w.view_since = Instant(w.now.0 - 100);
    settle(&mut w);
    assert!(w.fences.is_empty());
    assert_eq!(holder(&w, "web1"), "a1");
}

#[test]
fn a_session_that_was_only_listed_is_no_place_for_a_vm() {
    let mut w = two_sites();
    vm(&mut w, "web1", "a", 0, 512);
    w.view_since = w.now;
    let waits = plan(&w);
    assert_eq!(waits.steps, [], "all sessions may be as old as the outage");
    let refused = waits.reports.iter().flat_map(|report| &report.refused);
    let unheard = refused.filter(|(_, why)| why.contains("not heard of"));
    assert_eq!(unheard.count(), 4, "{:?}", waits.reports);
    w.now = w.now.plus(500);
    host_mut(&mut w, "b2").session.as_mut().unwrap().seen_at = w.now;
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "b2", "the only one that was heard of");
}

#[test]
fn a_reboot_is_evidence_at_once() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    host_mut(&mut w, "a1").session = Some(seen(session("i2", "b2"), 99, NOW));
    settle(&mut w);
    assert_eq!(
        evidence(&w, "a1", "i1"),
        Some(Evidence::Rebooted {
            boot_id: name("b2")
        })
    );
    assert_eq!(
        holder(&w, "web1"),
        "a2",
        "a returning host is the last resort"
    );
    let state = host_mut(&mut w, "a1").state.clone().unwrap().value;
    assert_eq!((state.membership, state.losses), (Membership::Rejoining, 1));
}

#[test]
fn a_clean_session_on_the_same_boot_is_the_hosts_own_release() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    host_mut(&mut w, "a1").session = Some(seen(session("i2", "b1"), 99, NOW));
    settle(&mut w);
    assert_eq!(evidence(&w, "a1", "i1"), Some(Evidence::Released));
}

#[test]
fn hold_down_doubles_with_each_loss_and_ends() {
    let mut w = two_sites();
    let state = host_mut(&mut w, "a1").state.as_mut().unwrap();
    state.value.membership = Membership::Rejoining;
    state.value.losses = 3;
    state.seen_at = Instant(NOW.0 - 39_999);
    assert_eq!(plan(&w).steps, []);
    w.now = w.now.plus(1);
    settle(&mut w);
    assert_eq!(
        host_mut(&mut w, "a1")
            .state
            .as_ref()
            .unwrap()
            .value
            .membership,
        Membership::Online
    );
}

#[test]
fn with_all_hosts_back_at_once_held_down_ones_are_used() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    for host in ["a1", "a2", "b1", "b2"] {
        let view = host_mut(&mut w, host);
        view.session = Some(seen(session("i2", "b2"), 99, NOW));
        view.report.as_mut().unwrap().value.incarnation = name("i2");
    }
    settle(&mut w);
    assert!(holder(&w, "web1").starts_with('a'));
    assert_eq!(owner_of(&w, "web1").generation.0, 2);
}

#[test]
fn nowhere_to_go_is_said_per_host_and_ends_when_there_is_room() {
    let mut w = two_sites();
    vm(&mut w, "big", "a", 0, 5_000);
    host_mut(&mut w, "a2")
        .spec
        .as_mut()
        .unwrap()
        .value
        .maintenance = true;
    host_mut(&mut w, "a2")
        .state
        .as_mut()
        .unwrap()
        .value
        .membership = Membership::Maintenance;
    settle(&mut w);
    let p = plan(&w);
    assert_eq!(holder(&w, "big"), "nobody");
    assert!(
        says(&p, &vm_subject("big"), "5000 MiB needed, 4096 MiB free"),
        "{:#?}",
        p.reports
    );
    assert!(says(&p, &vm_subject("big"), "in maintenance"));
    host_mut(&mut w, "b2")
        .report
        .as_mut()
        .unwrap()
        .value
        .capacity
        .memory_mib = 9_000;
    settle(&mut w);
    assert_eq!(holder(&w, "big"), "b2");
}

#[test]
fn must_rules_hold_and_should_rules_give_way() {
    let mut w = two_sites();
    running(&mut w, "soft", "a", 0, "a1");
    running(&mut w, "hard", "a", 0, "a1");
    let spec = vm_mut(&mut w, "hard").spec.as_mut().unwrap();
    spec.value.site_rule = SiteRule::Must;
    silent(&mut w, "a1", 9_000);
    silent(&mut w, "a2", 9_000);
    settle(&mut w);
    assert!(holder(&w, "soft").starts_with('b'));
    assert_eq!(holder(&w, "hard"), "a1", "its last holder stays on record");
    assert!(says(&plan(&w), &vm_subject("hard"), "must be at site a"));
}

#[test]
fn a_crash_restarts_on_the_same_host_then_elsewhere_then_backs_off() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    let mut hosts = Vec::new();
    for _ in 0..5 {
        let owner = owner_of(&w, "web1");
        let host = holder(&w, "web1");
        let how = ExitKind::Crashed {
            reason: "QEMU died".into(),
        };
        report(
            &mut w,
            &host,
            "web1",
            owner.generation.0,
            RunState::Exited { how },
        );
        settle(&mut w);
        if holder(&w, "web1") == "nobody" {
            assert!(plan(&w).wake_at.is_some());
            later(&mut w, 10_000);
            settle(&mut w);
        }
        hosts.push(holder(&w, "web1"));
    }
    assert_eq!(
        hosts,
        ["a1", "a1", "a2", "a2", "a2"],
        "three failures on a1, then a2"
    );
    assert_eq!(owner_of(&w, "web1").failures.in_a_row, 5);
    // It runs well for a minute: forgotten.
    let generation = owner_of(&w, "web1").generation.0;
    report(&mut w, "a2", "web1", generation, RunState::Running);
    later(&mut w, 61_000);
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").failures, Failures::default());
}

#[test]
fn a_failed_start_tries_the_next_host_and_remembers() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    let how = ExitKind::StartFailed {
        reason: "no bridge br7".into(),
    };
    report(&mut w, "a1", "web1", 1, RunState::Exited { how });
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a2");
    let failures = owner_of(&w, "web1").failures;
    assert_eq!(
        failures.per_host[&name::<HostName>("a1")].reason,
        "no bridge br7"
    );
}

#[test]
fn a_guest_that_shuts_down_rests_until_it_is_started() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    report(
        &mut w,
        "a1",
        "web1",
        1,
        RunState::Exited {
            how: ExitKind::GuestShutdown,
        },
    );
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "nobody");
    assert!(says(&plan(&w), &vm_subject("web1"), "shut itself down"));
    vm_mut(&mut w, "web1")
        .spec
        .as_mut()
        .unwrap()
        .value
        .run_serial = 2;
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1".to_owned());
}

#[test]
fn starts_per_host_are_bounded() {
    let mut w = two_sites();
    w.policy_mut().budgets.starts_per_host = 2;
    for i in 0..6 {
        vm(&mut w, &format!("vm{i}"), "a", 0, 100);
    }
    settle(&mut w);
    let granted = (0..6)
        .filter(|i| holder(&w, &format!("vm{i}")) != "nobody")
        .count();
    assert_eq!(
        granted, 4,
        "two on each host of the preferred site, the rest waits its turn"
    );
}

#[test]
fn spread_keeps_a_group_apart() {
    let mut w = two_sites();
    for vm_name in ["db1", "db2"] {
        vm(&mut w, vm_name, "a", 0, 100);
        let spec = vm_mut(&mut w, vm_name).spec.as_mut().unwrap();
        spec.value.spread = Some("db".into());
    }
    settle(&mut w);
    assert_ne!(holder(&w, "db1"), holder(&w, "db2"));
}
