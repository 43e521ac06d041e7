//! What the planner decides, case by case: what operators ask for, live migrations, failback.

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_model::host::*;
use holdfast_model::op::Request;
use holdfast_model::plan::Subject;
use holdfast_model::time::Instant;
use holdfast_model::vm::*;

#[test]
fn stop_delete_and_restart() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    op(&mut w, "o1", Request::Restart { vm: name("web1") });
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").intent, Intent::Stop);
    report(
        &mut w,
        "a1",
        "web1",
        1,
        RunState::Exited {
            how: ExitKind::Stopped,
        },
    );
    settle(&mut w);
    assert_eq!(
        (holder(&w, "web1"), owner_of(&w, "web1").generation.0),
        ("a1".into(), 2)
    );
    vm_mut(&mut w, "web1").spec.as_mut().unwrap().value.deleting = true;
    report(&mut w, "a1", "web1", 2, RunState::Running);
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").intent, Intent::Stop);
    report(
        &mut w,
        "a1",
        "web1",
        2,
        RunState::Exited {
            how: ExitKind::Stopped,
        },
    );
    settle(&mut w);
    assert!(w.vms.is_empty());
}

#[test]
fn a_migration_commits_only_on_the_sources_own_word() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    op(
        &mut w,
        "o1",
        Request::Move {
            vm: name("web1"),
            to: Some(name("b1")),
        },
    );
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!(
        (o.intent, o.incoming),
        (Intent::Migrate, Some(runner("b1", "i1")))
    );
    report(
        &mut w,
        "b1",
        "web1",
        1,
        RunState::Incoming { complete: true },
    );
    settle(&mut w);
    assert_eq!(holder(&w, "web1"), "a1");
    report(&mut w, "a1", "web1", 1, RunState::MigratedAway);
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!(
        (holder(&w, "web1"), o.generation.0, o.incoming),
        ("b1".into(), 2, None)
    );
    assert!(o.placed_by_hand);
    // An operator's choice is not failed back.
    report(&mut w, "b1", "web1", 2, RunState::Running);
    later(&mut w, 900_000);
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").incoming, None);
}

#[test]
fn a_source_that_died_under_way_is_started_from_disk_after_the_copy_is_dropped() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    set_owner(
        &mut w,
        "web1",
        Owner {
            incoming: Some(runner("b1", "i1")),
            intent: Intent::Migrate,
            ..owner(Some(runner("a1", "i1")), 1)
        },
    );
    report(&mut w, "a1", "web1", 1, RunState::MigratingOut);
    report(
        &mut w,
        "b1",
        "web1",
        1,
        RunState::Incoming { complete: true },
    );
    silent(&mut w, "a1", 9_000);
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!((o.intent, o.generation.0), (Intent::AbortMigration, 1));
    report(&mut w, "b1", "web1", 1, RunState::NotHere);
    settle(&mut w);
    assert_eq!(
        (holder(&w, "web1"), owner_of(&w, "web1").generation.0),
        ("a2".into(), 2)
    );
}

#[test]
fn a_failed_migration_leaves_the_vm_where_it_is_and_waits_before_the_next() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "b1");
    settle(&mut w);
    assert_eq!(
        owner_of(&w, "web1").incoming.map(|r| r.host),
        Some(name("a1")),
        "failback"
    );
    let failed = RunState::MigrationFailed {
        reason: "link lost".into(),
    };
    report(&mut w, "b1", "web1", 1, failed);
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").intent, Intent::AbortMigration);
    report(&mut w, "a1", "web1", 1, RunState::NotHere);
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!(
        (o.incoming, o.intent, o.generation.0),
        (None, Intent::Run, 1)
    );
    // The old report of the destination must be gone, and the wait over, before the next try.
    report(&mut w, "b1", "web1", 1, RunState::Running);
    host_mut(&mut w, "a1").vms.clear();
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").incoming, None);
    later(&mut w, 5_000);
    settle(&mut w);
    assert!(owner_of(&w, "web1").incoming.is_some());
}

#[test]
fn a_migration_whose_destination_is_gone_is_called_off_at_the_source() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "a1");
    let moving = Owner {
        incoming: Some(runner("b1", "i1")),
        intent: Intent::Migrate,
        ..owner(Some(runner("a1", "i1")), 1)
    };
    set_owner(&mut w, "web1", moving);
    report(&mut w, "a1", "web1", 1, RunState::MigratingOut);
    report(&mut w, "b1", "web1", 1, RunState::NotHere);
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!(o.intent, Intent::AbortMigration);
    assert!(
        o.incoming.is_some(),
        "the source's call may still be under way"
    );
    let reason = "aborted".to_owned();
    report(
        &mut w,
        "a1",
        "web1",
        1,
        RunState::MigrationFailed { reason },
    );
    settle(&mut w);
    let o = owner_of(&w, "web1");
    assert_eq!(
        (o.incoming, o.intent, o.generation.0),
        (None, Intent::Run, 1)
    );
}

#[test]
fn a_drained_host_gives_its_vms_away_within_the_budget_and_takes_none() {
    let mut w = two_sites();
    for i in 0..5 {
        running(&mut w, &format!("vm{i}"), "a", i, "a1");
    }
    host_mut(&mut w, "a1")
        .spec
        .as_mut()
        .unwrap()
        .value
        .maintenance = true;
    settle(&mut w);
    let moving: Vec<_> = (0..5)
        .map(|i| format!("vm{i}"))
        .filter(|vm| owner_of(&w, vm).incoming.is_some())
        .collect();
    assert_eq!(
        moving,
        ["vm3", "vm4"],
        "two at a time, the highest priorities first"
    );
    assert!(says(&plan(&w), &vm_subject("vm0"), "waits its turn"));
    vm(&mut w, "new", "a", 0, 100);
    settle(&mut w);
    assert_eq!(holder(&w, "new"), "a2");
}

#[test]
fn a_host_whose_guard_stays_away_gives_its_vms_away_while_it_can() {
    let mut w = two_sites();
    running(&mut w, "vm0", "a", 0, "a1");
    let host = host_mut(&mut w, "a1");
    host.session.as_mut().unwrap().value.guard = GuardState::Absent;
    host.unguarded_since = Some(Instant(NOW.0 - 29_999));
    settle(&mut w);
    assert_eq!(
        owner_of(&w, "vm0").incoming,
        None,
        "it may just be started again"
    );
    let subject = Subject::Host(name("a1"));
    assert!(says(&plan(&w), &subject, "nobody would stop its VMs"));

    host_mut(&mut w, "a1").unguarded_since = Some(Instant(NOW.0 - 30_000));
    // Silent, it cannot hand anything over.
    let mut mute = w.clone();
    silent(&mut mute, "a1", 3_000);
    settle(&mut mute);
    assert_eq!(owner_of(&mute, "vm0").incoming, None);
    settle(&mut w);
    let incoming = owner_of(&w, "vm0").incoming.clone();
    assert_eq!(
        incoming.map(|to| to.host.to_string()),
        Some("a2".to_owned())
    );
}

#[test]
fn failback_waits_for_the_hold_down_and_for_synced_storage() {
    let mut w = two_sites();
    running(&mut w, "web1", "a", 0, "b1");
    host_mut(&mut w, "a1").state.as_mut().unwrap().seen_at = Instant(NOW.0 - 299_000);
    settle(&mut w);
    assert_eq!(owner_of(&w, "web1").incoming, None);
    let site = Subject::Site(name("a"));
    assert!(
        says(&plan(&w), &site, "well for 300 s"),
        "{:?}",
        plan(&w).reports
    );
    later(&mut w, 1_000);
    let behind = StorageState::Degraded {
        detail: "3 files to heal".into(),
    };
    host_mut(&mut w, "a2")
        .report
        .as_mut()
        .unwrap()
        .value
        .storage = behind;
    settle(&mut w);
    assert!(says(&plan(&w), &site, "3 files to heal"));
    host_mut(&mut w, "a2")
        .report
        .as_mut()
        .unwrap()
        .value
        .storage = StorageState::Synced;
    settle(&mut w);
    assert!(owner_of(&w, "web1").incoming.is_some());
}
