//! Several fencing devices of one host: which is asked when, and what they prove together or against each other.
#![allow(clippy::unwrap_used)]

mod common;
mod power_common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_core::verify::{Rule, verify};
use holdfast_model::fence::Evidence;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::plan::Write;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use power_common::*;

/// `web` runs on a1, which is suspect and has these devices: name, order, whether it takes all of that order.
fn several(devices: &[(&str, u32, bool)]) -> (World, PowerBook) {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    world.policy_mut().fencing.on_suspicion = true;
    for (device, order, all_of) in devices {
        let agent = name(&format!("fence_{device}"));
        let mut how = FenceDevice::by_agent(agent, Default::default(), 500);
        how.hosts = vec![a1()];
        (how.order, how.all_of) = (*order, *all_of);
        world.policy_mut().fencing.devices.insert(name(device), how);
    }
    world.policy_mut().timing.taker_wait_ms = Some(600_000);
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
fn one_supply_alone_proves_nothing_whoever_wrote_that_policy() {
    let (mut world, mut book) = several(&[("left", 1, true), ("right", 1, true)]);
    world.policy_mut().fencing.devices.remove(&name("right"));
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[0], PowerState::Off);
    is_open(&world);
    let device = world
        .policy_mut()
        .fencing
        .devices
        .get_mut(&name("left"))
        .unwrap();
    device.all_of = false;
    let closing = plan(&world);
    is_closed_by(&mut world.clone(), "left");
    let device = world
        .policy_mut()
        .fencing
        .devices
        .get_mut(&name("left"))
        .unwrap();
    device.all_of = true;
    refused(&world, &closing, Rule::ClosedByEvidence, "one supply");
}

#[test]
fn what_the_policy_does_not_have_any_more_proves_nothing() {
    let (mut world, mut book) = several(&[("board", 1, false), ("pdu", 1, false)]);
    let asks = begin(&mut world, &mut book);
    says(&mut world, &mut book, &asks[1], PowerState::Off);
    let closing = plan(&world);
    world.policy_mut().fencing.devices.remove(&name("pdu"));
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
