//! Fencing devices: when one is asked, and which of its answers are believed.
#![allow(clippy::unwrap_used)]

#[path = "planner_power/check.rs"]
mod check;
mod common;
mod power_common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_core::verify::{Rule, verify};
use holdfast_model::event::EventKind;
use holdfast_model::fence::{Evidence, FenceStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{GuardState, StoragePlane};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::lease::{AgentState, Found, Sighting, StorageClass};
use holdfast_model::plan::{Plan, Write};
use holdfast_model::policy::OnIsolation;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use power_common::*;

/// `web` runs on a1, which has a device named after it; devices are asked on suspicion.
fn hasty() -> World {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    world.policy_mut().fencing.on_suspicion = true;
    let device = FenceDevice::by_agent(name("fence_ipmilan"), Default::default(), 20_000);
    world
        .policy_mut()
        .fencing
        .devices
        .insert(name("a1"), device);
    world
}

/// The same with storage leases, and a device is asked only when silence alone does not decide.
fn leased() -> World {
    let mut world = hasty();
    world.policy_mut().fencing.on_suspicion = false;
    for (slot, host) in ["a1", "a2", "b1", "b2"].into_iter().enumerate() {
        host_mut(&mut world, host)
            .session
            .as_mut()
            .unwrap()
            .value
            .storage = Some(StoragePlane {
            volume: "v".to_owned(),
            slot: slot as u32,
            class: StorageClass::Quorum,
        });
    }
    let mut owner = owner_of(&world, "web");
    owner.lease = StorageClass::Quorum;
    set_owner(&mut world, "web", owner);
    world
}

fn life() -> (HostName, Incarnation) {
    (a1(), name("i1"))
}

/// The only ask of a plan that passes the check.
fn asked(world: &World) -> PowerAsk {
    let plan = plan(world);
    assert_eq!(verify(world, &plan), []);
    let [ask] = &plan.asks[..] else {
        panic!("{:#?}", plan.asks);
    };
    ask.clone()
}

/// The device is asked and answers a second later.
fn answer(world: &mut World, book: &mut PowerBook, state: PowerState) {
    let ask = asked(world);
    book.asked(&ask, world.now);
    world.power = book.readings().clone();
    asks_nothing(world);
    world.now = world.now.plus(1_000);
    let read_at = Instant(world.now.0 - 100);
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    look(world, book);
}

fn saw(world: &mut World, by: &str, found: Found) {
    let sighting = Sighting {
        incarnation: name("i1"),
        session_revision: world.fences[&life()].value.session_revision.unwrap(),
        found,
    };
    let seen = seen(sighting, 60, world.now);
    host_mut(world, by).saw.insert(a1(), seen);
}

fn beating() -> Found {
    let agent = AgentState::Silent;
    Found::Beating { agent }
}

fn half_closed() -> World {
    let mut world = leased();
    silent(&mut world, "a1", 6_000);
    settle(&mut world);
    assert_eq!(world.fences[&life()].value.stage, FenceStage::ControlClosed);
    world
}

fn is_closed_by_the_device(world: &mut World) {
    settle(world);
    let by = "a1".to_owned();
    assert_eq!(
        evidence(world, "a1", "i1"),
        Some(Evidence::PoweredOff { by })
    );
    assert_eq!(world.fences[&life()].value.stage, FenceStage::Closed);
    assert_eq!(holder(world, "web"), "a2");
}

#[test]
fn a_suspect_host_that_is_off_is_closed_at_once_on_both_planes() {
    let mut world = leased();
    world.policy_mut().fencing.on_suspicion = true;
    silent(&mut world, "a1", 2_000);
    asks_nothing(&world);
    silent(&mut world, "a1", 2_600);
    let ask = asked(&world);
    assert_eq!((ask.attempt, ask.step.events.len()), (1, 1));
    assert_eq!(ask.step.events[0].kind, EventKind::PowerAsked);
    let mut book = PowerBook::default();
    answer(&mut world, &mut book, PowerState::Off);
    assert_eq!(book.take_notes().len(), 1);
    is_closed_by_the_device(&mut world);
}

#[test]
fn nobody_is_switched_off_on_suspicion_unless_the_policy_says_so() {
    let mut world = hasty();
    silent(&mut world, "a1", 4_000);
    asked(&world);
    world.policy_mut().fencing.on_suspicion = false;
    asks_nothing(&world);
    // Past its deadline its guard stops everything: switching it off costs nothing then.
    silent(&mut world, "a1", 4_020);
    asked(&world);
    let mut lasting = leased();
    silent(&mut lasting, "a1", 5_000);
    asks_nothing(&lasting);
    // Its VMs are to run on where they are if it is merely cut off.
    let mut kept = leased();
    kept.policy_mut().fencing.on_suspicion = true;
    silent(&mut kept, "a1", 4_000);
    asked(&kept);
    kept.policy_mut().fencing.on_isolation = OnIsolation::Keep;
    asks_nothing(&kept);
}

#[test]
fn only_a_host_that_may_run_something_and_has_a_device_is_switched_off() {
    let mut world = hasty();
    for host in ["a2", "b1"] {
        silent(&mut world, host, 4_000);
    }
    asks_nothing(&world);
    silent(&mut world, "a1", 2_600);
    world.policy_mut().fencing.storm_percent = 100;
    asked(&world);
    let mut idle = owner_of(&world, "web");
    idle.holder = Some(runner("b2", "i1"));
    set_owner(&mut world, "web", idle);
    asks_nothing(&world);
}

#[test]
fn nobody_is_asked_where_no_other_host_is_there() {
    let mut w = hasty();
    silent(&mut w, "a1", 3_000);
    asked(&w);
    for host in ["a2", "b1", "b2"] {
        host_mut(&mut w, host).session = None;
    }
    asks_nothing(&w);
}

#[test]
fn the_storm_brake_holds_asks_too() {
    let mut world = hasty();
    for host in ["a1", "a2", "b1"] {
        silent(&mut world, host, 2_600);
    }
    asks_nothing(&world);
    world.policy_mut().fencing.storm_percent = 100;
    asked(&world);
}

#[test]
fn where_nobody_enforces_the_deadline_the_device_decides() {
    let mut world = hasty();
    world.policy_mut().fencing.on_suspicion = false;
    host_mut(&mut world, "a1")
        .session
        .as_mut()
        .unwrap()
        .value
        .guard = GuardState::Absent;
    silent(&mut world, "a1", 5_000);
    asks_nothing(&world);
    silent(&mut world, "a1", 6_000);
    let mut book = PowerBook::default();
    answer(&mut world, &mut book, PowerState::Off);
    is_closed_by_the_device(&mut world);
}

#[test]
fn a_host_whose_storage_plane_may_live_is_left_alone_until_it_is_quiet() {
    let mut world = half_closed();
    asks_nothing(&world);
    saw(&mut world, "b1", beating());
    asks_nothing(&world);
    saw(&mut world, "b2", Found::Quiet { counter: 7 });
    asks_nothing(&world);
    saw(&mut world, "b1", Found::Quiet { counter: 7 });
    let mut book = PowerBook::default();
    answer(&mut world, &mut book, PowerState::Off);
    is_closed_by_the_device(&mut world);
}

#[test]
fn what_is_no_answer_is_asked_again_later_and_the_wait_goes_on() {
    let mut world = hasty();
    silent(&mut world, "a1", 2_600);
    let mut book = PowerBook::default();
    let mut waits = Vec::new();
    for state in [
        unknown("no answer in 20 s"),
        PowerState::On,
        unknown("refused"),
    ] {
        world.policy_mut().timing.taker_wait_ms = Some(600_000);
        answer(&mut world, &mut book, state);
        let answered = world.now;
        while plan(&world).asks.is_empty() {
            assert_eq!(evidence(&world, "a1", "i1"), None);
            later(&mut world, 500);
        }
        waits.push(world.now.since(answered));
    }
    assert_eq!(waits, [2_000, 4_000, 8_000]);
    assert_eq!(asked(&world).attempt, 4);
    // The wait was over long ago with the usual bounds: no device holds that up.
    world.policy_mut().timing.taker_wait_ms = None;
    settle(&mut world);
    assert!(matches!(
        evidence(&world, "a1", "i1"),
        Some(Evidence::Lapsed { .. })
    ));
}

#[test]
fn an_off_that_a_renewed_session_contradicts_is_void_for_good() {
    let mut world = hasty();
    silent(&mut world, "a1", 2_600);
    let mut book = PowerBook::default();
    let ask = asked(&world);
    book.asked(&ask, world.now);
    // It was only slow, and renews its session before the answer is there.
    let session = host_mut(&mut world, "a1").session.as_mut().unwrap();
    session.revision = Revision(500);
    session.seen_at = NOW;
    world.now = NOW.plus(500);
    let read_at = world.now;
    let state = PowerState::Off;
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    let unchecked = {
        let mut world = world.clone();
        world.power = book.readings().clone();
        plan(&world)
    };
    assert_eq!(unchecked.steps, [], "the planner sees it by itself");
    look(&mut world, &mut book);
    let notes = book.take_notes();
    assert_eq!(notes.len(), 2);
    assert!(notes[1].text.contains("not believed"), "{notes:?}");
    look(&mut world, &mut book);
    assert_eq!(book.take_notes(), [], "told once");
    // Silent again: nothing is concluded from the old answer, the device is asked anew.
    later(&mut world, 5_000);
    silent(&mut world, "a1", 4_500);
    assert_eq!(evidence(&world, "a1", "i1"), None);
    let next = asked(&world);
    assert_eq!((next.attempt, next.session_revision), (2, Revision(500)));
}

#[test]
fn an_off_that_a_heartbeat_on_the_volume_contradicts_is_void_for_good() {
    let mut world = half_closed();
    saw(&mut world, "b1", Found::Quiet { counter: 7 });
    let mut book = PowerBook::default();
    let ask = asked(&world);
    book.asked(&ask, world.now);
    world.now = world.now.plus(500);
    let (read_at, state) = (world.now, PowerState::Off);
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    saw(&mut world, "a2", beating());
    look(&mut world, &mut book);
    let state = &world.power[&a1()][&name("a1")].state;
    assert!(matches!(state, PowerState::Unknown { .. }), "{state:?}");
    settle(&mut world);
    assert_eq!(world.fences[&life()].value.stage, FenceStage::ControlClosed);
    // Quiet again: the answer of before proves nothing of now.
    saw(&mut world, "a2", Found::Quiet { counter: 9 });
    look(&mut world, &mut book);
    settle(&mut world);
    assert_eq!(world.fences[&life()].value.stage, FenceStage::ControlClosed);
}

#[test]
fn the_leaders_own_closing_while_the_device_is_asked_contradicts_nothing() {
    let mut world = leased();
    world.policy_mut().fencing.on_suspicion = true;
    silent(&mut world, "a1", 3_000);
    let mut book = PowerBook::default();
    let ask = asked(&world);
    book.asked(&ask, world.now);
    world.power = book.readings().clone();
    later(&mut world, 3_000);
    settle(&mut world);
    assert_eq!(world.fences[&life()].value.stage, FenceStage::ControlClosed);
    let (read_at, state) = (world.now, PowerState::Off);
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    look(&mut world, &mut book);
    is_closed_by_the_device(&mut world);
}

#[test]
fn the_next_order_follows_although_the_leader_has_closed_the_session_meanwhile() {
    let mut world = leased();
    world.policy_mut().fencing.on_suspicion = true;
    let mut strip = FenceDevice::by_agent(name("fence_apc"), Default::default(), 500);
    (strip.hosts, strip.order) = (vec![a1()], 2);
    world
        .policy_mut()
        .fencing
        .devices
        .insert(name("strip"), strip);
    silent(&mut world, "a1", 3_000);
    let mut book = PowerBook::default();
    let ask = asked(&world);
    assert_eq!(ask.device, name("a1"));
    book.asked(&ask, world.now);
    world.power = book.readings().clone();
    later(&mut world, 3_000);
    settle(&mut world);
    assert_eq!(world.fences[&life()].value.stage, FenceStage::ControlClosed);
    saw(&mut world, "b1", Found::Quiet { counter: 7 });
    asks_nothing(&world);
    let (read_at, state) = (world.now, unknown("refused"));
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    look(&mut world, &mut book);
    let next = asked(&world);
    assert_eq!((next.device, next.attempt), (name("strip"), 1));
    // The closed session is another record now, and it is still the same silence.
    assert_ne!(next.session_revision, ask.session_revision);
}

#[test]
fn an_answer_to_another_ask_is_dropped() {
    let mut world = hasty();
    silent(&mut world, "a1", 2_600);
    let mut book = PowerBook::default();
    let ask = asked(&world);
    let off = || PowerAnswer {
        read_at: NOW,
        state: PowerState::Off,
    };
    book.answered(&ask, off(), world.now);
    assert!(book.readings().is_empty(), "nobody asked");
    book.asked(&ask, world.now);
    let late = PowerAsk {
        attempt: 9,
        ..ask.clone()
    };
    book.answered(&late, off(), world.now);
    assert_eq!(book.readings()[&a1()][&name("a1")].state, PowerState::Asked);
}
