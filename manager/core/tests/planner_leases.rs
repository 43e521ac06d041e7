//! Fencing where hosts have a storage lease: two planes, closed one after the other.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::verify::verify;
use holdfast_model::fence::{Evidence, FenceStage};
use holdfast_model::host::{Membership, SessionState, StoragePlane};
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::lease::{AgentState, Found, Sighting, StorageClass};
use holdfast_model::op::Request;
use holdfast_model::plan::{Plan, Write};
use holdfast_model::policy::OnIsolation;
use holdfast_model::world::World;

/// Two sites, each host with a slot; `web` runs on a1 under its storage lease, `tmp` there without one.
fn leased() -> World {
    let mut world = two_sites();
    for (slot, name) in ["a1", "a2", "b1", "b2"].into_iter().enumerate() {
        let session = host_mut(&mut world, name).session.as_mut().unwrap();
        session.value.storage = Some(StoragePlane {
            volume: "v".to_owned(),
            slot: slot as u32,
            class: StorageClass::Quorum,
        });
    }
    running(&mut world, "web", "a", 10, "a1");
    running(&mut world, "tmp", "a", 10, "a1");
    let mut owner = owner_of(&world, "web");
    owner.lease = StorageClass::Quorum;
    set_owner(&mut world, "web", owner);
    world
}

fn life() -> (HostName, Incarnation) {
    (name("a1"), name("i1"))
}

/// a1 was silent for the whole wait, and the plan for that was carried out.
fn half_closed() -> World {
    let mut world = leased();
    silent(&mut world, "a1", 6_000);
    let plans = settle(&mut world);
    for plan in &plans {
        assert_eq!(
            verify(
                &world,
                &Plan {
                    steps: vec![],
                    ..plan.clone()
                }
            ),
            []
        );
    }
    world
}

fn saw(world: &mut World, by: &str, found: Found) {
    let fence = &world.fences[&life()].value;
    let sighting = Sighting {
        incarnation: name("i1"),
        session_revision: fence.session_revision.unwrap(),
        found,
    };
    let seen = seen(sighting, 60, world.now);
    host_mut(world, by).saw.insert(name("a1"), seen);
}

fn stage(world: &World) -> FenceStage {
    world.fences[&life()].value.stage
}

fn membership(world: &World) -> Membership {
    let host = &world.hosts[&name::<HostName>("a1")];
    host.state.as_ref().unwrap().value.membership
}

#[test]
fn silence_closes_the_control_plane_only_and_moves_only_what_has_no_lease() {
    let world = half_closed();
    assert_eq!(stage(&world), FenceStage::ControlClosed);
    assert_eq!(membership(&world), Membership::Isolated);
    let session = &world.hosts[&name::<HostName>("a1")].session;
    assert_eq!(session.as_ref().unwrap().value.state, SessionState::Closed);
    assert_eq!(holder(&world, "web"), "a1", "its lease may keep it running");
    assert_eq!(holder(&world, "tmp"), "a2", "it stopped with the session");
}

#[test]
fn what_rests_on_a_half_closed_life_compares_its_record() {
    let mut world = leased();
    silent(&mut world, "a1", 6_000);
    let first = plan(&world);
    apply(&mut world, &first);
    let second = plan(&world);
    let step = second.steps.iter().find(|step| {
        let of_tmp = |w: &Write| matches!(w, Write::Owner { vm, .. } if vm.as_str() == "tmp");
        step.writes.iter().any(of_tmp)
    });
    let revision = world.fences[&life()].revision;
    let compared = step.unwrap().writes.iter().any(|write| {
        matches!(write, Write::CheckFence { host, expect, .. }
            if host.as_str() == "a1" && *expect == revision)
    });
    assert!(
        compared,
        "a life that opens its session again takes the record away"
    );
    let mut bare = second.clone();
    for step in &mut bare.steps {
        step.writes
            .retain(|w| !matches!(w, Write::CheckFence { .. }));
    }
    assert_eq!(verify(&world, &second), []);
    assert_ne!(verify(&world, &bare), []);
}

#[test]
fn an_unchanged_heartbeat_closes_the_life_and_a_shorter_time_does_not() {
    let mut world = half_closed();
    let short = Found::Unchanged {
        counter: 7,
        for_ms: 5_499,
    };
    saw(&mut world, "b1", short);
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::ControlClosed);
    let long = Found::Unchanged {
        counter: 7,
        for_ms: 5_500,
    };
    saw(&mut world, "b1", long);
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::Closed);
    let record = world.fences[&life()].value.clone();
    assert_eq!(record.storage.unwrap().counter, 7);
    assert_eq!(membership(&world), Membership::Fenced);
    assert_eq!(holder(&world, "web"), "a2");
}

#[test]
fn a_sighting_of_an_earlier_closing_or_of_another_life_proves_nothing() {
    let mut world = half_closed();
    saw(&mut world, "b1", Found::Released);
    let told = &mut host_mut(&mut world, "b1").saw;
    let sighting = told.get_mut(&name::<HostName>("a1")).unwrap();
    sighting.value.session_revision.0 -= 1;
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::ControlClosed);
    saw(&mut world, "b1", Found::Released);
    let told = &mut host_mut(&mut world, "b1").saw;
    told.get_mut(&name::<HostName>("a1"))
        .unwrap()
        .value
        .incarnation = name("i0");
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::ControlClosed);
    saw(&mut world, "b1", Found::Released);
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::Closed);
    assert_eq!(world.fences[&life()].value.evidence, Evidence::Released);
}

#[test]
fn a_host_that_is_cut_off_is_asked_to_release_and_one_whose_agent_is_away_is_not() {
    for (agent, on_isolation, asked) in [
        (AgentState::CutOff, OnIsolation::Release, true),
        (AgentState::CutOff, OnIsolation::Keep, false),
        (AgentState::Silent, OnIsolation::Release, false),
        (AgentState::Connected, OnIsolation::Release, false),
    ] {
        let mut world = half_closed();
        world.policy_mut().fencing.on_isolation = on_isolation;
        saw(&mut world, "b1", Found::Beating { agent });
        settle(&mut world);
        let record = &world.fences[&life()].value;
        assert_eq!(record.release_asked, asked, "{agent:?} {on_isolation:?}");
        assert_eq!(stage(&world), FenceStage::ControlClosed);
        assert_eq!(holder(&world, "web"), "a1");
    }
}

#[test]
fn nobody_is_asked_to_release_what_no_other_host_could_take() {
    let mut world = half_closed();
    let spec = vm_mut(&mut world, "web").spec.as_mut();
    spec.unwrap().value.memory_mib = 100_000;
    let agent = AgentState::CutOff;
    saw(&mut world, "b1", Found::Beating { agent });
    settle(&mut world);
    assert!(!world.fences[&life()].value.release_asked);
}

#[test]
fn an_operators_word_is_refused_while_its_heartbeat_is_written() {
    let mut world = half_closed();
    let agent = AgentState::Silent;
    saw(&mut world, "b1", Found::Beating { agent });
    op(&mut world, "o1", Request::ConfirmOff { host: name("a1") });
    settle(&mut world);
    assert!(world.ops.is_empty(), "it was answered");
    assert_eq!(stage(&world), FenceStage::ControlClosed);
    host_mut(&mut world, "b1").saw.clear();
    op(&mut world, "o2", Request::ConfirmOff { host: name("a1") });
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::Closed);
}

#[test]
fn most_hosts_of_both_sites_at_once_are_not_given_up_at_first_and_one_site_is() {
    let all_at_once = |hosts: &[&str], ms: u64| {
        let mut world = leased();
        for host in hosts {
            silent(&mut world, host, ms);
        }
        settle(&mut world);
        world.fences.len()
    };
    assert_eq!(
        all_at_once(&["a1", "a2", "b1"], 6_000),
        0,
        "the brake holds"
    );
    assert_eq!(all_at_once(&["a1", "a2", "b1"], 30_000), 3, "not for ever");
    assert_eq!(all_at_once(&["a1", "a2"], 6_000), 2, "a site is lost");
    assert_eq!(all_at_once(&["a1", "b1"], 6_000), 2, "not most of them");
}

#[test]
fn a_life_without_a_declared_plane_that_holds_a_lease_is_not_closed_at_once() {
    let mut world = leased();
    host_mut(&mut world, "a1")
        .session
        .as_mut()
        .unwrap()
        .value
        .storage = None;
    silent(&mut world, "a1", 6_000);
    settle(&mut world);
    assert_eq!(stage(&world), FenceStage::ControlClosed);
}
