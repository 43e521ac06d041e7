//! What the planner does where the storage may still deliver writes of what has stopped.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::verify::{Rule, verify};
use holdfast_model::fence::{Evidence, FenceStage};
use holdfast_model::host::{ExitKind, RunState};
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use std::sync::Arc;

/// 5 s, by a clock that may be 0.1 % fast.
const SETTLE_MS: u64 = 5_006;

/// `web` ran on a1; late writes come for 5 s.
fn on_a1() -> World {
    let mut w = two_sites();
    w.policy_mut().storage.settle_ms = 5_000;
    running(&mut w, "web", "a", 0, "a1");
    w
}

/// Its end was first seen at this moment: nothing is started on another host before the settle time is over, and then
/// it is.
fn waits(mut w: World, why: &str) {
    for ms in [0, 2_500, SETTLE_MS - 1] {
        let at = Instant(NOW.0 + ms);
        let passed = at.since(w.now);
        later(&mut w, passed);
        settle(&mut w);
        assert_ne!(holder(&w, "web"), "a2", "{why}, after {ms} ms");
        let plan = plan(&w);
        let told = plan.reports.iter().find(|report| {
            report.subject == vm_subject("web") && report.text.contains("may still deliver writes")
        });
        let until = told.and_then(|report| report.until);
        assert_eq!(
            until,
            Some(NOW.plus(SETTLE_MS)),
            "{why}, after {ms} ms: {:#?}",
            plan.reports
        );
        assert!(plan.wake_at <= until, "{why}");
    }
    later(&mut w, 1);
    settle(&mut w);
    assert_eq!(holder(&w, "web"), "a2", "{why}");
}

fn closed_by(evidence: Evidence) -> World {
    let mut w = on_a1();
    fence(&mut w, "a1", "i1");
    let fences = Arc::make_mut(&mut w.fences);
    let key = (name::<HostName>("a1"), name::<Incarnation>("i1"));
    let fence = fences.get_mut(&key).unwrap();
    fence.value.evidence = evidence;
    fence.seen_at = NOW;
    host_mut(&mut w, "a1").session = None;
    w
}

#[test]
fn whatever_closed_the_host_nothing_of_it_starts_elsewhere_before_the_settle_time_is_over() {
    for evidence in [
        Evidence::Lapsed {
            silence_ms: 6_000,
            wait_ms: 5_500,
        },
        Evidence::Released,
        Evidence::PoweredOff { by: name("board") },
        Evidence::Confirmed { by: "anna".into() },
        Evidence::Rebooted {
            boot_id: name("b2"),
        },
    ] {
        waits(closed_by(evidence.clone()), &evidence.to_string());
    }
}

#[test]
fn the_host_that_ended_it_is_there_and_it_starts_elsewhere_only_later() {
    let mut w = on_a1();
    let how = ExitKind::SelfFenced;
    report(&mut w, "a1", "web", 1, RunState::Exited { how });
    let said = host_mut(&mut w, "a1").vms.get_mut(&name("web")).unwrap();
    said.seen_at = NOW;
    // It cannot have it again.
    host_mut(&mut w, "a1")
        .spec
        .as_mut()
        .unwrap()
        .value
        .maintenance = true;
    waits(w, "it stopped it itself");
}

#[test]
fn half_closed_counts_from_the_record_of_it() {
    let mut w = closed_by(Evidence::Released);
    let fences = Arc::make_mut(&mut w.fences);
    for fence in fences.values_mut() {
        fence.value.stage = FenceStage::ControlClosed;
    }
    waits(w, "half closed, and without a storage lease");
}

#[test]
fn where_it_ended_by_itself_it_starts_again_at_once() {
    let mut w = on_a1();
    let how = ExitKind::Crashed {
        reason: "signal 9".to_owned(),
    };
    report(&mut w, "a1", "web", 1, RunState::Exited { how });
    w.policy_mut().restart.backoff_min_ms = 0;
    let said = host_mut(&mut w, "a1").vms.get_mut(&name("web")).unwrap();
    said.seen_at = NOW;
    settle(&mut w);
    assert_eq!(holder(&w, "web"), "a1", "its own host reads what it wrote");
    assert_eq!(owner_of(&w, "web").generation.0, 2);
}

#[test]
fn what_nobody_holds_any_more_waits_from_then_on() {
    let mut w = on_a1();
    let rests = owner(None, 1);
    set_owner(&mut w, "web", rests);
    vm_mut(&mut w, "web").owner.as_mut().unwrap().seen_at = NOW;
    // Who had it is not known any more: it might have been any of them.
    host_mut(&mut w, "a1")
        .spec
        .as_mut()
        .unwrap()
        .value
        .maintenance = true;
    waits(w, "nobody holds it");
}

#[test]
fn a_new_one_and_storage_without_late_writes_wait_for_nothing() {
    let mut w = on_a1();
    vm(&mut w, "new", "a", 0, 512);
    settle(&mut w);
    assert_ne!(holder(&w, "new"), "nobody");
    let mut w = closed_by(Evidence::Released);
    w.policy_mut().storage.settle_ms = 0;
    settle(&mut w);
    assert_eq!(holder(&w, "web"), "a2");
}

#[test]
fn verify_refuses_a_start_before_it_is_over() {
    let mut w = closed_by(Evidence::Released);
    later(&mut w, SETTLE_MS);
    let right = plan(&w);
    assert_eq!(verify(&w, &right), []);
    assert_eq!(right.steps.len(), 1);
    for settle_ms in [5_001, 60_000] {
        w.policy_mut().storage.settle_ms = settle_ms;
        let rules: Vec<Rule> = verify(&w, &right).iter().map(|found| found.rule).collect();
        assert_eq!(rules, [Rule::AfterLateWrites]);
    }
}
