//! What the planner decides when storage fails under VMs whose host is there.

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::verify::{Rule, verify};
use holdfast_model::host::*;
use holdfast_model::plan::{Plan, Step};
use holdfast_model::policy::OnIoError;
use holdfast_model::time::Instant;
use holdfast_model::vm::*;
use holdfast_model::world::World;

const IO_ERROR: RunState = RunState::Paused {
    reason: PauseReason::IoError,
};

fn unusable() -> StorageState {
    StorageState::Unusable {
        reason: "input/output error".to_owned(),
    }
}

/// A host's check says this since so long.
fn storage(world: &mut World, host: &str, state: StorageState, ms: u64) {
    let at = Instant(world.now.0 - ms);
    let report = host_mut(world, host).report.as_mut().unwrap();
    report.value.storage = state;
    report.seen_at = at;
    report.revision = holdfast_model::id::Revision(900);
}

/// `web1` runs on a1, whose storage has been unusable for so long.
fn lost_for(ms: u64) -> World {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    storage(&mut w, "a1", unusable(), ms);
    w
}

/// `web1` has been paused on an I/O error for so long, on a1, whose storage is good.
fn stuck_for(ms: u64) -> World {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    report(&mut w, "a1", "web1", 1, IO_ERROR);
    let at = Instant(w.now.0 - ms);
    host_mut(&mut w, "a1")
        .vms
        .get_mut(&name("web1"))
        .unwrap()
        .seen_at = at;
    w
}

fn intent(world: &World) -> Intent {
    owner_of(world, "web1").intent
}

fn exited(world: &mut World) {
    let how = ExitKind::Stopped;
    report(world, "a1", "web1", 1, RunState::Exited { how });
    settle(world);
}

#[test]
fn without_storage_for_the_grace_it_is_stopped_by_force_and_started_elsewhere() {
    let mut w = lost_for(9_999);
    assert!(says(
        &plan(&w),
        &vm_subject("web1"),
        "if that lasts for 10 s"
    ));
    assert_eq!(plan(&w).wake_at, Some(w.now.plus(1)));
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);

    later(&mut w, 1);
    settle(&mut w);
    assert_eq!(
        (intent(&w), holder(&w, "web1")),
        (Intent::Kill, "a1".into())
    );
    exited(&mut w);
    let owner = owner_of(&w, "web1");
    assert_eq!(
        (holder(&w, "web1"), owner.intent),
        ("a2".into(), Intent::Run)
    );
    assert_eq!(owner.failures, Failures::default());
    assert!(
        owner.reason.contains("not usable on a1"),
        "{}",
        owner.reason
    );
}

#[test]
fn nothing_is_stopped_that_could_not_be_started_again() {
    // Nowhere is storage good.
    let mut w = lost_for(60_000);
    for host in ["a2", "b1", "b2"] {
        storage(&mut w, host, unusable(), 60_000);
    }
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);
    assert!(says(
        &plan(&w),
        &vm_subject("web1"),
        "no other host can take it"
    ));

    // Nobody knows how it is elsewhere.
    for host in ["a2", "b1", "b2"] {
        storage(&mut w, host, StorageState::NotChecked, 60_000);
    }
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);

    // Good, and full, or drained.
    for host in ["a2", "b1", "b2"] {
        storage(&mut w, host, StorageState::Synced, 60_000);
        let report = host_mut(&mut w, host).report.as_mut().unwrap();
        report.value.capacity.memory_mib = 1_024;
    }
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);

    // libvirt does not answer there, or it is silent: what is asked for would be late.
    let mut w = lost_for(60_000);
    host_mut(&mut w, "a1")
        .report
        .as_mut()
        .unwrap()
        .value
        .libvirt = LibvirtState::Unreachable {
        reason: "no answer".to_owned(),
    };
    assert!(plan(&w).steps.is_empty());
    let mut w = lost_for(60_000);
    silent(&mut w, "a1", 3_000);
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);
}

/// After an outage of the whole storage one host is the first to see it again.
#[test]
fn nothing_goes_where_storage_has_just_come_back() {
    let mut w = lost_for(60_000);
    for host in ["b1", "b2"] {
        storage(&mut w, host, unusable(), 60_000);
    }
    storage(&mut w, "a2", StorageState::Synced, 9_999);
    assert!(says(
        &plan(&w),
        &vm_subject("web1"),
        "not been good on a2 for long"
    ));
    assert_eq!(plan(&w).wake_at, Some(w.now.plus(1)));
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);
    later(&mut w, 1);
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Kill);
}

#[test]
fn only_as_many_are_stopped_as_there_is_room_for() {
    let mut w = two_sites();
    for (vm, priority) in [("web1", 1), ("db1", 2), ("app1", 0)] {
        running(&mut w, vm, "a", priority, "a1");
    }
    storage(&mut w, "a1", unusable(), 60_000);
    for (host, room) in [("a2", 512), ("b1", 512), ("b2", 0)] {
        let report = host_mut(&mut w, host).report.as_mut().unwrap();
        report.value.capacity.memory_mib = 1_024 + room;
    }
    settle(&mut w);
    let intents = ["db1", "web1", "app1"].map(|vm| owner_of(&w, vm).intent);
    assert_eq!(intents, [Intent::Kill, Intent::Kill, Intent::Run]);
    // One has a new place, the other is still being stopped: no room has come free.
    let how = ExitKind::Stopped;
    report(&mut w, "a1", "db1", 1, RunState::Exited { how });
    settle(&mut w);
    assert_eq!(holder(&w, "db1"), "a2");
    assert_eq!(owner_of(&w, "app1").intent, Intent::Run);
}

#[test]
fn paused_on_an_io_error_it_is_restarted_elsewhere_after_the_grace() {
    let mut w = stuck_for(9_999);
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);
    later(&mut w, 1);
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Kill);
    exited(&mut w);
    let owner = owner_of(&w, "web1");
    assert_eq!(holder(&w, "web1"), "a2");
    assert_eq!(owner.failures.in_a_row, 1);
    assert_eq!(owner.failures.per_host[&name("a1")].reason, "I/O error");
}

#[test]
fn a_host_alone_restarts_it_itself() {
    let mut w = stuck_for(60_000);
    for host in ["a2", "b1", "b2"] {
        w.hosts.remove(&name(host));
    }
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Kill);
    exited(&mut w);
    assert_eq!(owner_of(&w, "web1").generation.0, 2);
    assert_eq!(holder(&w, "web1"), "a1");
}

#[test]
fn policy_may_have_it_resumed_or_left() {
    let mut w = stuck_for(60_000);
    w.policy_mut().storage.on_io_error = OnIoError::Leave;
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);

    w.policy_mut().storage.on_io_error = OnIoError::Resume;
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Resume);
    // What it said before it was asked does not count as an answer; what it says then does.
    report(&mut w, "a1", "web1", 1, RunState::Running);
    let later = holdfast_model::id::Revision(w.revision.0 + 1);
    let said = host_mut(&mut w, "a1").vms.get_mut(&name("web1")).unwrap();
    said.revision = later;
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Run);
}

#[test]
fn a_vms_own_word_goes_before_the_policys() {
    use OnIoError::{Leave, Restart, Resume};
    for (own, policy, then) in [
        (Some(Leave), Restart, Intent::Run),
        (Some(Restart), Leave, Intent::Kill),
        (Some(Resume), Restart, Intent::Resume),
        (None, Resume, Intent::Resume),
    ] {
        let mut w = stuck_for(60_000);
        w.policy_mut().storage.on_io_error = policy;
        let spec = vm_mut(&mut w, "web1").spec.as_mut();
        spec.unwrap().value.on_io_error = own;
        let first = plan(&w);
        settle(&mut w);
        assert_eq!(intent(&w), then, "{own:?}, and {policy:?} by policy");
        let left = says(
            &first,
            &vm_subject("web1"),
            "as on_io_error of its definition says",
        );
        assert_eq!(left, own == Some(Leave));
        // And the check goes by the same word.
        let mut other = stuck_for(60_000);
        other.policy_mut().storage.on_io_error = Leave;
        let refused = !verify(&other, &first).is_empty();
        assert_eq!(refused, then != Intent::Run);
    }
}

#[test]
fn a_host_that_does_not_know_how_its_storage_is_keeps_what_is_paused() {
    for state in [
        StorageState::NotChecked,
        StorageState::Unknown {
            reason: "the check hangs".to_owned(),
        },
    ] {
        let mut w = stuck_for(60_000);
        storage(&mut w, "a1", state, 60_000);
        settle(&mut w);
        assert_eq!(intent(&w), Intent::Run);
    }
}

#[test]
fn an_operators_stop_goes_before() {
    let mut w = stuck_for(60_000);
    w.policy_mut().storage.on_io_error = OnIoError::Resume;
    settle(&mut w);
    let spec = vm_mut(&mut w, "web1").spec.as_mut();
    spec.unwrap().value.run = false;
    settle(&mut w);
    assert_eq!(intent(&w), Intent::Stop);
}

/// The check accepts the force that storage gives reason for, and no other.
#[test]
fn verify_refuses_force_without_a_reason() {
    let good = lost_for(60_000);
    let accepted = plan(&good);
    assert_eq!(verify(&good, &accepted), []);
    assert_eq!(accepted.steps.len(), 1);
    let refused = |w: &World, p: &Plan| {
        let rules: Vec<Rule> = verify(w, p).iter().map(|found| found.rule).collect();
        assert_eq!(rules, [Rule::ForcedByStorage]);
    };
    refused(&lost_for(9_999), &accepted);
    refused(&stuck_for(9_999), &accepted);
    let mut nowhere = lost_for(60_000);
    for host in ["a2", "b1", "b2"] {
        storage(&mut nowhere, host, unusable(), 60_000);
    }
    refused(&nowhere, &accepted);
    let mut well = lost_for(60_000);
    storage(&mut well, "a1", StorageState::Synced, 60_000);
    refused(&well, &accepted);
    let mut stopped = lost_for(60_000);
    let spec = vm_mut(&mut stopped, "web1").spec.as_mut();
    spec.unwrap().value.run = false;
    refused(&stopped, &accepted);
    let mut resumes = lost_for(60_000);
    resumes.policy_mut().storage.on_io_error = OnIoError::Resume;
    let resumed: Vec<Step> = serde_json::from_str(
        &serde_json::to_string(&accepted.steps)
            .unwrap()
            .replace("\"kill\"", "\"resume\""),
    )
    .unwrap();
    let resumed = Plan {
        steps: resumed,
        ..Plan::default()
    };
    refused(&resumes, &resumed);
}
