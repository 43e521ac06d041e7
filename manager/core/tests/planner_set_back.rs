//! A store that was set back to an older state, and what grants remember of each other.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::verify::{Rule, verify};
use holdfast_model::fence::FenceStage;
use holdfast_model::host::{ExitKind, RunState, StoragePlane};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::Write;
use holdfast_model::vm::PastGrant;
use holdfast_model::world::World;

/// By the record `web` is on a1 under generation 4, of a backup; it runs on b1 under generation 9.
fn set_back() -> World {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    let mut owner = owner_of(&world, "web");
    owner.generation = Generation(4);
    set_owner(&mut world, "web", owner);
    report(&mut world, "a1", "web", 4, RunState::Running);
    report(&mut world, "b1", "web", 9, RunState::Running);
    world
}

#[test]
fn what_runs_under_a_forgotten_grant_is_held_by_who_runs_it_once_the_other_is_proven_stopped() {
    let mut world = set_back();
    settle(&mut world);
    assert_eq!(
        holder(&world, "web"),
        "a1",
        "its report is of the backup; it may be true"
    );
    let gone = RunState::Exited {
        how: ExitKind::Crashed {
            reason: "nothing is here".to_owned(),
        },
    };
    report(&mut world, "a1", "web", 4, gone);
    for plan in settle(&mut world) {
        let grants = format!("{plan:?}");
        assert!(!grants.contains("generation: Generation(5)"), "{grants}");
    }
    let owner = owner_of(&world, "web");
    assert_eq!(owner.generation, Generation(9));
    assert_eq!(holder(&world, "web"), "b1");
    let next = plan(&world);
    assert!(next.steps.is_empty(), "{next:?}");
}

#[test]
fn a_vm_without_a_record_is_taken_back_and_one_without_a_definition_is_only_told_of() {
    let mut world = set_back();
    vm_mut(&mut world, "web").owner = None;
    host_mut(&mut world, "a1").vms.clear();
    settle(&mut world);
    assert_eq!(holder(&world, "web"), "b1");
    let mut world = set_back();
    host_mut(&mut world, "a1").vms.clear();
    world.vms.remove(&name::<VmName>("web"));
    let told = plan(&world);
    assert!(told.steps.is_empty(), "{told:?}");
    let text = &told
        .reports
        .iter()
        .find(|r| r.text.contains("b1"))
        .unwrap()
        .text;
    assert!(text.contains("the store knows nothing of it"), "{text}");
}

#[test]
fn two_that_say_so_are_left_to_a_person() {
    let mut world = set_back();
    report(&mut world, "a1", "web", 8, RunState::Running);
    let told = plan(&world);
    assert!(told.steps.is_empty(), "{told:?}");
    let text = told.reports.iter().find(|r| r.text.contains("a1 and b1"));
    assert!(text.is_some(), "{told:?}");
}

#[test]
fn a_record_is_not_taken_back_from_a_possible_runner() {
    let mut world = set_back();
    let mut gone = world.clone();
    let how = ExitKind::SelfFenced;
    report(&mut gone, "a1", "web", 4, RunState::Exited { how });
    let good = plan(&gone);
    assert_eq!(verify(&gone, &good), []);
    assert!(!good.steps.is_empty());
    // The same plan where a1 may still run it.
    let revision = |world: &World| {
        world.vms[&name::<VmName>("web")]
            .owner
            .as_ref()
            .unwrap()
            .revision
    };
    assert_eq!(revision(&world), revision(&gone));
    assert_ne!(verify(&world, &good), []);
    // And where b1 does not say so.
    host_mut(&mut world, "b1").vms.clear();
    report(
        &mut world,
        "a1",
        "web",
        4,
        RunState::Exited {
            how: ExitKind::SelfFenced,
        },
    );
    assert_ne!(verify(&world, &good), []);
}

#[test]
fn a_copy_that_a_migration_brought_is_no_forgotten_grant() {
    let mut world = set_back();
    host_mut(&mut world, "b1").vms.clear();
    report(
        &mut world,
        "b1",
        "web",
        4,
        RunState::Incoming { complete: true },
    );
    let calm = plan(&world);
    let told = calm.reports.iter().find(|r| r.text.contains("forgotten"));
    assert_eq!(told, None, "{calm:?}");
    // Its own grant in another host's hands is one.
    report(&mut world, "b1", "web", 4, RunState::Running);
    let told = plan(&world);
    let told = told.reports.iter().find(|r| r.text.contains("forgotten"));
    assert!(told.is_some());
}

#[test]
fn what_a_forgotten_vm_may_rely_on_is_waited_for() {
    let mut world = set_back();
    let session = host_mut(&mut world, "b1").session.as_mut().unwrap();
    session.value.storage = Some(StoragePlane {
        volume: "v".to_owned(),
        slot: 1,
        class: StorageClass::Quorum,
    });
    let how = ExitKind::SelfFenced;
    report(&mut world, "a1", "web", 4, RunState::Exited { how });
    let mut good = plan(&world);
    assert_eq!(verify(&world, &good), []);
    let owner = |write: &mut Write| match write {
        Write::Owner { owner, .. } => {
            assert_eq!(owner.lease, StorageClass::Quorum);
            owner.lease = StorageClass::Plain;
            true
        }
        _ => false,
    };
    let writes = good.steps.iter_mut().flat_map(|step| &mut step.writes);
    assert_eq!(writes.map(owner).filter(|changed| *changed).count(), 1);
    assert_ne!(verify(&world, &good), []);
}

#[test]
fn what_rests_on_a_half_closed_life_compares_its_record() {
    let mut world = set_back();
    fence(&mut world, "a1", "i1");
    let fences = std::sync::Arc::make_mut(&mut world.fences);
    for fence in fences.values_mut() {
        fence.value.stage = FenceStage::ControlClosed;
    }
    let mut good = plan(&world);
    let takes_back = |write: &Write| matches!(write, Write::Owner { .. });
    assert!(
        good.steps
            .iter()
            .flat_map(|step| &step.writes)
            .any(takes_back)
    );
    assert_eq!(verify(&world, &good), []);
    for step in &mut good.steps {
        step.writes
            .retain(|write| !matches!(write, Write::CheckFence { .. }));
    }
    assert_ne!(verify(&world, &good), []);
}

fn knows(world: &World) -> Vec<(u64, bool)> {
    let follows = owner_of(world, "web").follows;
    let grant = follows.iter().map(|grant| (grant.generation.0, grant.ran));
    grant.collect()
}

/// Its holder is lost, and was last heard to say that; the VM is granted elsewhere.
fn lost(world: &mut World, state: RunState) {
    let mut owner = owner_of(world, "web");
    owner.lease = StorageClass::Quorum;
    let (generation, host) = (owner.generation.0, holder(world, "web"));
    set_owner(world, "web", owner);
    report(world, &host, "web", generation, state);
    fence(world, &host, "i1");
    let granted = plan(world);
    assert_eq!(verify(world, &granted), []);
    let mut forgets = granted.clone();
    for write in forgets.steps.iter_mut().flat_map(|step| &mut step.writes) {
        if let Write::Owner { owner, .. } = write {
            owner.follows.clear();
        }
    }
    let broken = verify(world, &forgets);
    assert!(broken.iter().any(|b| b.rule == Rule::Memory), "{broken:?}");
    apply(world, &granted);
    assert_eq!(owner_of(world, "web").generation.0, generation + 1);
}

#[test]
fn grants_under_a_storage_lease_are_remembered_until_one_is_known_to_have_run() {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    lost(&mut world, RunState::Running);
    assert_eq!(knows(&world), [(1, true)]);
    let first = owner_of(&world, "web").follows[0].clone();
    assert_eq!(first.runner, runner("a1", "i1"));
    lost(&mut world, RunState::Starting);
    assert_eq!(knows(&world), [(2, false), (1, true)]);
    let mut owner = owner_of(&world, "web");
    for older in [90, 80, 70] {
        owner.follows.push(PastGrant {
            generation: Generation(older),
            ..first.clone()
        });
    }
    set_owner(&mut world, "web", owner);
    lost(&mut world, RunState::Running);
    let last = [(3, true), (2, false), (1, true)];
    assert_eq!(knows(&world), last, "two from before the last that ran");
}

#[test]
fn a_vm_that_no_host_gets_to_run_keeps_the_last_that_did() {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    let mut owner = owner_of(&world, "web");
    let grant = |generation, ran| PastGrant {
        generation: Generation(generation),
        runner: runner("a2", "i0"),
        ran,
    };
    owner.generation = Generation(100);
    owner.follows = (36..100).rev().map(|n| grant(n, n == 36)).collect();
    set_owner(&mut world, "web", owner);
    lost(&mut world, RunState::Starting);
    let told = knows(&world);
    assert_eq!((told[0], told.len()), ((100, false), 64));
    assert_eq!(told.last(), Some(&(36, true)));
}
