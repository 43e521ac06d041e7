//! Fencing devices: when one is asked, and which of its answers are believed.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_core::verify::{Rule, verify};
use holdfast_model::event::EventKind;
use holdfast_model::fence::{Evidence, FenceStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{GuardState, StoragePlane};
use holdfast_model::id::{DeviceName, HostName, Incarnation, Revision};
use holdfast_model::lease::{AgentState, Found, Sighting, StorageClass};
use holdfast_model::plan::{Plan, Write};
use holdfast_model::policy::OnIsolation;
use holdfast_model::power::{PowerAsk, PowerReading, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;

/// `web` runs on a1, which has a device named after it; devices are asked on suspicion.
fn hasty() -> World {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    world.policy.fencing.on_suspicion = true;
    let device = FenceDevice::by_agent(name("fence_ipmilan"), Default::default(), 20_000);
    world.policy.fencing.devices.insert(name("a1"), device);
    world
}

/// The same with storage leases, and a device is asked only when silence alone does not decide.
fn leased() -> World {
    let mut world = hasty();
    world.policy.fencing.on_suspicion = false;
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

fn a1() -> HostName {
    name("a1")
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

fn asks_nothing(world: &World) {
    let plan = plan(world);
    assert_eq!(verify(world, &plan), []);
    assert_eq!(plan.asks, []);
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

fn reading<'w>(world: &'w mut World, device: &str) -> &'w mut PowerReading {
    let of_host = world.power.get_mut(&a1()).unwrap();
    of_host.get_mut(&name::<DeviceName>(device)).unwrap()
}

fn look(world: &mut World, book: &mut PowerBook) {
    book.look(world);
    world.power = book.readings().clone();
}

fn unknown(reason: &str) -> PowerState {
    PowerState::Unknown {
        reason: reason.to_owned(),
    }
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
    world.policy.fencing.on_suspicion = true;
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
    world.policy.fencing.on_suspicion = false;
    asks_nothing(&world);
    // Past its deadline its guard stops everything: switching it off costs nothing then.
    silent(&mut world, "a1", 4_020);
    asked(&world);
    let mut lasting = leased();
    silent(&mut lasting, "a1", 5_000);
    asks_nothing(&lasting);
    // Its VMs are to run on where they are if it is merely cut off.
    let mut kept = leased();
    kept.policy.fencing.on_suspicion = true;
    silent(&mut kept, "a1", 4_000);
    asked(&kept);
    kept.policy.fencing.on_isolation = OnIsolation::Keep;
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
    world.policy.fencing.storm_percent = 100;
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
    world.policy.fencing.storm_percent = 100;
    asked(&world);
}

#[test]
fn where_nobody_enforces_the_deadline_the_device_decides() {
    let mut world = hasty();
    world.policy.fencing.on_suspicion = false;
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
        world.policy.timing.taker_wait_ms = Some(600_000);
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
    world.policy.timing.taker_wait_ms = None;
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
    world.policy.fencing.on_suspicion = true;
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

/// A plan that closes a1 by its device, and the world it is right in.
fn closing() -> (World, Plan) {
    let mut world = leased();
    world.policy.fencing.on_suspicion = true;
    silent(&mut world, "a1", 2_600);
    answer(&mut world, &mut PowerBook::default(), PowerState::Off);
    let plan = plan(&world);
    assert_eq!(verify(&world, &plan), []);
    assert!(!plan.steps.is_empty());
    (world, plan)
}

fn refused(world: &World, plan: &Plan, rule: Rule, why: &str) {
    let found = verify(world, plan);
    assert!(found.iter().any(|v| v.rule == rule), "{why}: {found:?}");
}

#[test]
fn the_check_believes_no_reading_that_it_cannot_bear_out() {
    let (world, plan) = closing();
    type Change = fn(&mut PowerReading);
    let wrong: [(&str, Change); 8] = [
        ("on", |r| r.state = PowerState::On),
        ("being asked", |r| r.state = PowerState::Asked),
        ("unknown", |r| r.state = unknown("off, probably")),
        ("another life", |r| r.incarnation = name("i0")),
        ("another device", |r| r.device = name("b1")),
        ("another session", |r| r.session_revision = Revision(10)),
        ("read before it was asked", |r| {
            r.read_at = Instant(r.asked_at.0 - 1)
        }),
        ("of the future", |r| r.answered_at = NOW.plus(60_000)),
    ];
    for (why, change) in wrong {
        let mut world = world.clone();
        change(reading(&mut world, "a1"));
        refused(&world, &plan, Rule::ClosedByEvidence, why);
    }
    let mut nobody = world.clone();
    nobody.power.clear();
    refused(&nobody, &plan, Rule::ClosedByEvidence, "nobody was asked");
    // The leader's own view has only just come back: its silence is nobody's.
    let mut blind = world.clone();
    blind.view_since = Instant(blind.now.0 - 100);
    refused(&blind, &plan, Rule::ClosedByEvidence, "not silent yet");
    // It renewed its session meanwhile, and the plan closes the new one.
    let mut renewed = world.clone();
    host_mut(&mut renewed, "a1")
        .session
        .as_mut()
        .unwrap()
        .revision = Revision(500);
    let mut forged = plan.clone();
    for write in forged.steps.iter_mut().flat_map(|step| &mut step.writes) {
        match write {
            Write::CloseSession { expect, .. } => *expect = Revision(500),
            Write::Fence { record, .. } => record.session_revision = Some(Revision(500)),
            _ => {}
        }
    }
    refused(&renewed, &forged, Rule::ClosedByEvidence, "renewed");
    // The record without the closing of the session that it rests on.
    let mut open = plan.clone();
    for step in &mut open.steps {
        step.writes
            .retain(|write| !matches!(write, Write::CloseSession { .. }));
    }
    refused(&world, &open, Rule::ClosedByEvidence, "left open");
}

#[test]
fn the_check_closes_no_second_plane_that_somebody_saw_beat() {
    let mut world = half_closed();
    saw(&mut world, "b1", Found::Quiet { counter: 7 });
    answer(&mut world, &mut PowerBook::default(), PowerState::Off);
    let plan = plan(&world);
    assert_eq!(verify(&world, &plan), []);
    saw(&mut world, "b2", beating());
    refused(&world, &plan, Rule::ClosedByEvidence, "it beats");
}

#[test]
fn the_check_lets_nobody_be_switched_off_that_is_not_silent() {
    let mut world = hasty();
    silent(&mut world, "a1", 2_600);
    let good = plan(&world);
    let rule = Rule::SwitchedOffInSilence;
    type Change = fn(&mut World, &mut PowerAsk);
    let wrong: [(&str, Change); 8] = [
        ("it renews", |w, _| silent(w, "a1", 100)),
        ("not by this policy", |w, _| {
            w.policy.fencing.on_suspicion = false
        }),
        ("no such device", |w, _| w.policy.fencing.devices.clear()),
        ("another host's device", |_, ask| ask.host = name("a2")),
        ("another life", |_, ask| ask.incarnation = name("i0")),
        ("another session", |_, ask| {
            ask.session_revision = Revision(10)
        }),
        ("without a guard", |_, ask| ask.step.writes.clear()),
        ("it is being asked", |w, ask| {
            let mut book = PowerBook::default();
            book.asked(ask, w.now);
            w.power = book.readings().clone();
        }),
    ];
    for (why, change) in wrong {
        let (mut world, mut plan) = (world.clone(), good.clone());
        change(&mut world, &mut plan.asks[0]);
        refused(&world, &plan, rule, why);
    }
    // A closed session alone: its storage lease may keep its VMs running.
    let mut closed = half_closed();
    saw(&mut closed, "b1", Found::Quiet { counter: 7 });
    let ask = Plan {
        asks: vec![asked(&closed)],
        ..Plan::default()
    };
    host_mut(&mut closed, "b1").saw.clear();
    refused(&closed, &ask, rule, "nobody looked");
    saw(&mut closed, "b1", beating());
    refused(&closed, &ask, rule, "it beats");
}

/// `web` runs on a1, which is suspect and has these devices: name, order, whether it takes all of that order.
fn several(devices: &[(&str, u32, bool)]) -> (World, PowerBook) {
    let mut world = hasty();
    world.policy.fencing.devices.clear();
    for (device, order, all_of) in devices {
        let agent = name(&format!("fence_{device}"));
        let mut how = FenceDevice::by_agent(agent, Default::default(), 500);
        how.hosts = vec![a1()];
        (how.order, how.all_of) = (*order, *all_of);
        world.policy.fencing.devices.insert(name(device), how);
    }
    world.policy.timing.taker_wait_ms = Some(600_000);
    silent(&mut world, "a1", 2_600);
    (world, PowerBook::default())
}

/// What a plan that passes the check asks, is asked.
fn begin(world: &mut World, book: &mut PowerBook) -> Vec<PowerAsk> {
    let plan = plan(world);
    assert_eq!(verify(world, &plan), []);
    for ask in &plan.asks {
        book.asked(ask, world.now);
    }
    world.power = book.readings().clone();
    asks_nothing(world);
    plan.asks
}

fn words(asks: &[PowerAsk]) -> Vec<String> {
    let word = |ask: &PowerAsk| format!("{} {}", ask.device, ask.attempt);
    asks.iter().map(word).collect()
}

/// Half a second later it answers what it was asked 100 ms before.
fn says(world: &mut World, book: &mut PowerBook, ask: &PowerAsk, state: PowerState) {
    world.now = world.now.plus(500);
    let read_at = Instant(world.now.0 - 100);
    book.answered(ask, PowerAnswer { read_at, state }, world.now);
    look(world, book);
}

fn is_closed_by(world: &mut World, by: &str) {
    settle(world);
    let by = by.to_owned();
    let found = evidence(world, "a1", "i1");
    assert_eq!(found, Some(Evidence::PoweredOff { by }));
    assert_eq!(holder(world, "web"), "a2");
}

fn is_open(world: &World) {
    let plan = plan(world);
    assert_eq!(verify(world, &plan), []);
    let closes = |write: &Write| matches!(write, Write::CloseSession { .. } | Write::Fence { .. });
    let mut writes = plan.steps.iter().flat_map(|step| &step.writes);
    assert!(!writes.any(closes), "{:#?}", plan.steps);
}

#[test]
fn devices_of_one_order_are_asked_at_once_and_one_off_is_enough() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    assert_eq!(words(&asks), ["board 1", "pdu 1"]);
    assert!(
        asks[1]
            .step
            .why
            .contains("fencing device pdu (order 1) is told")
    );
    says(&mut world, &mut book, &asks[0], unknown("refused"));
    asks_nothing(&world);
    is_open(&world);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    is_closed_by(&mut world, "pdu");
}

#[test]
fn one_that_is_still_being_asked_holds_up_no_other_ones_off() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    is_closed_by(&mut world, "pdu");
}

#[test]
fn the_next_order_is_asked_when_all_of_the_one_before_have_answered() {
    let (mut world, mut book) =
        several(&[("pdu", 3, false), ("board", 1, false), ("ilo", 1, false)]);
    let first = begin(&mut world, &mut book);
    assert_eq!(words(&first), ["board 1", "ilo 1"]);
    says(
        &mut world,
        &mut book,
        &first[0],
        unknown("no answer in 500 ms"),
    );
    asks_nothing(&world);
    says(&mut world, &mut book, &first[1], PowerState::On);
    let second = begin(&mut world, &mut book);
    assert_eq!(words(&second), ["pdu 1"]);
    let why = &second[0].step.why;
    assert!(
        why.contains("pdu (order 3; board: no answer in 500 ms; ilo: says on) is told"),
        "{why}"
    );
    says(&mut world, &mut book, &second[0], unknown("refused"));
    let answered = world.now;
    while plan(&world).asks.is_empty() {
        later(&mut world, 500);
    }
    assert_eq!(world.now.since(answered), 2_000);
    let again = begin(&mut world, &mut book);
    assert_eq!(words(&again), ["board 2", "ilo 2"], "from the first again");
    says(&mut world, &mut book, &again[0], unknown("refused"));
    says(&mut world, &mut book, &again[1], unknown("refused"));
    let last = begin(&mut world, &mut book);
    assert_eq!(words(&last), ["pdu 2"]);
    says(&mut world, &mut book, &last[0], PowerState::Off);
    is_closed_by(&mut world, "pdu");
}

#[test]
fn a_host_that_was_heard_of_in_between_is_asked_about_from_the_first_order() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 2, false)]);
    let first = begin(&mut world, &mut book);
    // It is back before the answer, and silent again.
    let session = host_mut(&mut world, "a1").session.as_mut().unwrap();
    session.revision = Revision(500);
    silent(&mut world, "a1", 2_600);
    asks_nothing(&world);
    says(&mut world, &mut book, &first[0], unknown("refused"));
    asks_nothing(&world);
    later(&mut world, 2_000);
    assert_eq!(words(&begin(&mut world, &mut book)), ["board 2"]);
}

#[test]
fn one_whose_asking_was_not_accepted_is_asked_with_the_others_of_its_attempt() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let both = plan(&world).asks;
    book.asked(&both[0], world.now);
    world.power = book.readings().clone();
    assert_eq!(words(&begin(&mut world, &mut book)), ["pdu 1"]);
}

#[test]
fn what_another_device_says_on_after_an_off_is_not_overlooked() {
    for on in [
        PowerState::On,
        PowerState::StillOn {
            reason: "no right to".to_owned(),
        },
    ] {
        let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
        let asks = begin(&mut world, &mut book);
        let (read_at, state) = (world.now.plus(200), PowerState::Off);
        // Both answer before anything is planned.
        world.now = world.now.plus(500);
        book.answered(&asks[1], PowerAnswer { read_at, state }, world.now);
        let (read_at, state) = (Instant(world.now.0 - 400), on);
        book.answered(&asks[0], PowerAnswer { read_at, state }, world.now);
        world.power = book.readings().clone();
        is_open(&world);
        book.take_notes();
        look(&mut world, &mut book);
        let notes = book.take_notes();
        let text =
            "a1: fencing device pdu said off, and fencing device board says on: not believed";
        assert_eq!(
            notes.iter().map(|note| &note.text).collect::<Vec<_>>(),
            [text]
        );
        is_open(&world);
        // Asked anew, and they agree.
        later(&mut world, 2_000);
        let again = begin(&mut world, &mut book);
        assert_eq!(words(&again), ["board 2", "pdu 2"]);
        says(&mut world, &mut book, &again[0], PowerState::Off);
        is_closed_by(&mut world, "board");
    }
}

#[test]
fn an_on_that_was_known_before_the_off_was_asked_for_contradicts_nothing() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 2, false)]);
    let first = begin(&mut world, &mut book);
    says(&mut world, &mut book, &first[0], PowerState::On);
    let second = begin(&mut world, &mut book);
    says(&mut world, &mut book, &second[0], PowerState::Off);
    is_closed_by(&mut world, "pdu");
}

#[test]
fn an_on_that_comes_when_its_vms_are_given_away_is_told() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    is_closed_by(&mut world, "pdu");
    book.take_notes();
    says(&mut world, &mut book, &asks[0], PowerState::On);
    let texts: Vec<String> = book
        .take_notes()
        .into_iter()
        .map(|note| note.text)
        .collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[1].ends_with("given away by then: make sure that it is off"),
        "{texts:?}"
    );
    look(&mut world, &mut book);
    assert_eq!(book.take_notes(), [], "told once");
}

#[test]
fn supplies_prove_off_together_and_in_one_attempt() {
    let devices = [("left", 1, true), ("right", 1, true), ("board", 2, false)];
    let (mut world, mut book) = several(&devices);
    let asks = begin(&mut world, &mut book);
    assert_eq!(words(&asks), ["left 1", "right 1"]);
    says(&mut world, &mut book, &asks[0], PowerState::Off);
    is_open(&world);
    says(&mut world, &mut book, &asks[1], unknown("refused"));
    let board = begin(&mut world, &mut book);
    assert_eq!(words(&board), ["board 1"]);
    says(&mut world, &mut book, &board[0], unknown("refused"));
    later(&mut world, 2_000);
    let again = begin(&mut world, &mut book);
    assert_eq!(words(&again), ["left 2", "right 2"]);
    says(&mut world, &mut book, &again[1], PowerState::Off);
    is_open(&world);
    // What `left` said in the first attempt is not added to it.
    let mut mixed = world.clone();
    let left = reading(&mut mixed, "left");
    (left.state, left.attempt) = (PowerState::Off, 1);
    is_open(&mixed);
    let mut alone = book.clone();
    says(&mut world, &mut book, &again[0], PowerState::Off);
    let closing = plan(&world);
    is_closed_by(&mut world.clone(), "left and right");
    // The check knows which of them belong together.
    let rule = Rule::ClosedByEvidence;
    refused(&mixed, &closing, rule, "of two attempts");
    let mut half = world.clone();
    reading(&mut half, "left").state = unknown("refused");
    refused(&half, &closing, rule, "one of them");
    let mut forged = closing.clone();
    for write in forged.steps.iter_mut().flat_map(|step| &mut step.writes) {
        if let Write::Fence { record, .. } = write {
            let by = "right".to_owned();
            record.evidence = Evidence::PoweredOff { by };
        }
    }
    refused(&world, &forged, rule, "in the name of one");
    // The other order proves it by itself.
    says(&mut half, &mut alone, &again[0], unknown("refused"));
    let board = begin(&mut half, &mut alone);
    says(&mut half, &mut alone, &board[0], PowerState::Off);
    is_closed_by(&mut half, "board");
}

#[test]
fn what_the_policy_does_not_have_any_more_proves_nothing() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    let closing = plan(&world);
    world.policy.fencing.devices.remove(&name("pdu"));
    is_open(&world);
    refused(&world, &closing, Rule::ClosedByEvidence, "no such device");
}

#[test]
fn the_check_wants_the_orders_one_after_the_other_and_each_device_once() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 2, false)]);
    let first = plan(&world);
    let rule = Rule::SwitchedOffInSilence;
    let mut twice = first.clone();
    twice.asks.push(first.asks[0].clone());
    refused(&world, &twice, rule, "twice");
    let mut early = first.clone();
    early.asks[0].device = name("pdu");
    refused(&world, &early, rule, "nobody was asked before");
    let asks = begin(&mut world, &mut book);
    refused(&world, &early, rule, "it is being asked");
    refused(&world, &first, rule, "it itself is");
    says(&mut world, &mut book, &asks[0], unknown("refused"));
    assert_eq!(verify(&world, &early), []);
    refused(&world, &first, rule, "it was in this attempt");
    early.asks[0].attempt = 2;
    refused(&world, &early, rule, "in another attempt");
}

#[test]
fn the_check_believes_no_off_that_another_device_contradicts() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    let closing = plan(&world);
    assert_eq!(verify(&world, &closing), []);
    let read_at = reading(&mut world, "pdu").read_at;
    let board = reading(&mut world, "board");
    (board.state, board.answered_at) = (PowerState::On, read_at);
    refused(&world, &closing, Rule::ClosedByEvidence, "it says on");
    reading(&mut world, "board").answered_at = Instant(read_at.0 - 1);
    assert_eq!(verify(&world, &closing), []);
}
