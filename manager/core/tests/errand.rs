//! Errands: who is asked, how the leader follows one, and that nobody does one twice.
#![allow(clippy::unwrap_used)]

mod common;

use common::name;
use holdfast_core::errand::{
    Course, Duty, Memory, Outcome, TAKEN_WITHIN_MS, Turn, candidates, duty, is_over,
};
use holdfast_model::asking::Asker;
use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{ErrandId, ManagerName, Revision, SiteName};
use holdfast_model::leader::ManagerPresence;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TIMEOUT_MS: u64 = 5_000;
/// Both calls to the device, and the way of the answer.
const ANSWERED_WITHIN_MS: u64 = 2 * TIMEOUT_MS + 1_000;

fn device() -> FenceDevice {
    let mut device = FenceDevice::by_agent(name("fence_x"), BTreeMap::new(), TIMEOUT_MS);
    device.from = vec![name("a")];
    device
}

fn to(manager: &str) -> Addressee {
    Addressee::manager(name(manager), format!("{manager}-1"))
}

fn id(number: usize) -> ErrandId {
    name(&format!("e{number}"))
}

fn answered(power: PowerState) -> ErrandStage {
    ErrandStage::Answered { power }
}

fn declined() -> ErrandStage {
    ErrandStage::Declined {
        reason: "not asked: no".to_owned(),
    }
}

fn course(managers: &[&str]) -> Course {
    let managers = managers.iter().map(|manager| to(manager)).collect();
    Course::new(&device(), managers, Instant(1_000))
}

fn over(turn: Turn) -> Outcome {
    match turn {
        Turn::Over(outcome) => outcome,
        other => panic!("not over: {other:?}"),
    }
}

fn words(outcome: &Outcome) -> &str {
    match &outcome.answer.state {
        PowerState::Unknown { reason } => reason,
        other => panic!("it is known: {other:?}"),
    }
}

#[test]
fn managers_at_the_named_sites_are_asked_those_first_that_were_heard_of_last() {
    let mut managers: BTreeMap<ManagerName, Seen<ManagerPresence>> = BTreeMap::new();
    for (manager, site, seen_at) in [
        ("m-gone", "a", 100),
        ("m-a2", "a", 9_000),
        ("m-a1", "a", 9_000),
        ("m-a3", "a", 9_500),
        ("m-b", "b", 10_000),
        ("m-w", "w", 9_900),
    ] {
        let presence = ManagerPresence {
            name: name(manager),
            site: name(site),
            api: String::new(),
            life: format!("{manager}-1"),
            version: String::new(),
            beat: 1,
            extensions: BTreeMap::new(),
            shadows: Default::default(),
        };
        let seen = Seen {
            value: presence,
            revision: Revision(1),
            seen_at: Instant(seen_at),
        };
        managers.insert(name(manager), seen);
    }
    let asked = |from: &[&str], own: &str| -> Vec<String> {
        let from: Vec<SiteName> = from.iter().map(|site| name(site)).collect();
        let found = candidates(&managers, &from, &name(own), Instant(10_000));
        assert!(found.iter().all(|each| *each == to(each.manager.as_str())));
        found.iter().map(|each| each.manager.to_string()).collect()
    };
    assert_eq!(asked(&["a"], "m-w"), ["m-a3", "m-a1", "m-a2"]);
    assert_eq!(asked(&["a"], "m-a3"), ["m-a1", "m-a2", "m-gone"]);
    assert_eq!(asked(&["b", "w"], "m-w"), ["m-b"]);
    assert_eq!(asked(&["c"], "m-w"), Vec::<String>::new());
    assert_eq!(asked(&[], "m-w"), Vec::<String>::new());
}

#[test]
fn what_is_said_counts_from_when_it_was_sent() {
    let mut course = course(&["m-a"]);
    assert_eq!(course.poll(Instant(1_000)), Turn::Send(to("m-a")));
    course.sent(id(1), Instant(1_010), Instant(1_030));
    assert_eq!(
        course.poll(Instant(1_030)),
        Turn::Wait(Instant(1_030 + TAKEN_WITHIN_MS))
    );
    course.see(&id(1), &ErrandStage::Sent, Instant(1_100));
    course.see(&id(1), &ErrandStage::Taken, Instant(1_200));
    let until = Instant(1_200 + ANSWERED_WITHIN_MS);
    assert_eq!(course.poll(Instant(1_200)), Turn::Wait(until));
    // Seen once more, it is taken no later.
    course.see(&id(1), &ErrandStage::Taken, Instant(3_000));
    assert_eq!(course.poll(Instant(3_000)), Turn::Wait(until));
    course.see(&id(1), &answered(PowerState::Off), Instant(4_000));
    let outcome = over(course.poll(Instant(4_000)));
    assert_eq!(outcome.by, Some(Asker::Manager(name("m-a"))));
    assert_eq!(outcome.answer.state, PowerState::Off);
    assert_eq!(outcome.answer.read_at, Instant(1_010));
}

#[test]
fn who_does_not_take_it_is_passed_by_and_is_heard_no_more() {
    let mut course = course(&["m-a1", "m-a2"]);
    course.sent(id(1), Instant(1_000), Instant(1_000));
    let late = Instant(1_000 + TAKEN_WITHIN_MS);
    assert_eq!(course.poll(late), Turn::Send(to("m-a2")));
    // It can still be taken until the next one is written.
    let mut after_all = course.clone();
    after_all.see(&id(1), &ErrandStage::Taken, late);
    assert_eq!(
        after_all.poll(late),
        Turn::Wait(late.plus(ANSWERED_WITHIN_MS))
    );
    course.sent(id(2), late, late);
    course.see(&id(1), &answered(PowerState::Off), late.plus(10));
    assert_eq!(
        course.poll(late.plus(10)),
        Turn::Wait(late.plus(TAKEN_WITHIN_MS))
    );
    let outcome = over(course.poll(late.plus(TAKEN_WITHIN_MS)));
    assert_eq!(
        words(&outcome),
        "m-a1 did not take it in 1500 ms; m-a2 did not take it in 1500 ms"
    );
    assert_eq!(outcome.by, None);
}

#[test]
fn who_declines_is_passed_by_at_once() {
    let mut course = course(&["m-a1", "m-a2"]);
    course.sent(id(1), Instant(1_000), Instant(1_000));
    course.see(&id(1), &declined(), Instant(1_001));
    assert_eq!(course.poll(Instant(1_001)), Turn::Send(to("m-a2")));
    course.sent(id(2), Instant(1_002), Instant(1_002));
    course.see(&id(2), &declined(), Instant(1_003));
    let outcome = over(course.poll(Instant(1_003)));
    assert_eq!(words(&outcome), "m-a1: not asked: no; m-a2: not asked: no");
}

#[test]
fn one_that_was_taken_is_asked_of_nobody_else() {
    let mut course = course(&["m-a1", "m-a2"]);
    course.sent(id(1), Instant(1_000), Instant(1_000));
    course.see(&id(1), &ErrandStage::Taken, Instant(1_100));
    let outcome = over(course.poll(Instant(1_100 + ANSWERED_WITHIN_MS)));
    assert!(words(&outcome).contains("m-a1 was to ask it and did not say"));
    assert_eq!(outcome.by, Some(Asker::Manager(name("m-a1"))));
    // Over is over.
    course.see(&id(1), &answered(PowerState::Off), Instant(20_000));
    assert_eq!(over(course.poll(Instant(20_000))), outcome);
}

#[test]
fn without_anybody_to_ask_it_is_said_what_to_do() {
    let outcome = over(course(&[]).poll(Instant(1_000)));
    let said = words(&outcome);
    assert!(said.contains("only managers at a reach it, and none is known"));
    // As late as the ask itself: an older answer would not be taken for one to it.
    assert_eq!(outcome.answer.read_at, Instant(1_000));
    let mut refused = course(&["m-a1", "m-a2"]);
    refused.not_sent("etcd is away");
    let outcome = over(refused.poll(Instant(1_000)));
    assert_eq!(words(&outcome), "not asked: etcd is away");
    // What comes back as no answer is none.
    let mut odd = course(&["m-a1"]);
    odd.sent(id(1), Instant(1_000), Instant(1_000));
    odd.see(&id(1), &answered(PowerState::Asked), Instant(1_100));
    assert!(words(&over(odd.poll(Instant(1_100)))).contains("did not say"));
}

fn errand(stage: ErrandStage) -> Errand {
    let mut device = device();
    device.hosts = vec![name("a1")];
    Errand {
        id: id(1),
        by: name("m-w"),
        epoch: Revision(7),
        to: to("m-a"),
        host: name("a1"),
        incarnation: name("i1"),
        session_revision: Revision(5),
        device: name("board"),
        as_set: device,
        attempt: 1,
        stage,
    }
}

fn due(errand: &Errand, life: &str, memory: &Memory) -> Duty {
    duty(&name("m-a"), life, errand, memory)
}

#[test]
fn only_whom_it_is_for_takes_it_and_only_once() {
    let sent = errand(ErrandStage::Sent);
    let mut memory = Memory::default();
    assert_eq!(duty(&name("m-b"), "m-a-1", &sent, &memory), Duty::Nothing);
    assert_eq!(due(&sent, "m-a-1", &memory), Duty::Take);
    memory.begin(&sent.id);
    let taken = errand(ErrandStage::Taken);
    assert_eq!(due(&sent, "m-a-1", &memory), Duty::Nothing);
    assert_eq!(due(&taken, "m-a-1", &memory), Duty::Nothing);
    memory.end(&sent.id);
    // A late copy of the write that sent it.
    assert_eq!(due(&sent, "m-a-1", &memory), Duty::Nothing);
    for over in [declined(), answered(PowerState::Off)] {
        assert_eq!(due(&errand(over), "m-a-1", &memory), Duty::Nothing);
    }
    // Taken, and nobody is at it: whether it was done is not known.
    for life in ["m-a-1", "m-a-2"] {
        let said = due(&taken, life, &memory);
        let Duty::Say(ErrandStage::Answered { power }) = &said else {
            panic!("{said:?}");
        };
        assert!(matches!(power, PowerState::Unknown { .. }), "{power:?}");
    }
}

#[test]
fn what_was_meant_for_an_earlier_life_or_cannot_be_done_is_declined() {
    let memory = Memory::default();
    let says = |errand: &Errand, life: &str, part: &str| {
        let said = due(errand, life, &memory);
        let Duty::Say(ErrandStage::Declined { reason }) = &said else {
            panic!("{said:?}");
        };
        assert!(reason.contains(part), "{reason}");
    };
    let sent = errand(ErrandStage::Sent);
    says(&sent, "m-a-2", "started anew");
    let mut other = sent.clone();
    other.as_set.hosts = vec![name("a2")];
    says(&other, "m-a-1", "board does not switch a1");
    let mut odd = sent.clone();
    odd.as_set.options = [("ssh_path".to_owned(), "/x".to_owned())].into();
    says(&odd, "m-a-1", "`ssh_path`");
}

#[test]
fn an_errand_is_over_when_its_leader_is_or_nobody_waits_for_it() {
    let sent = errand(ErrandStage::Sent);
    let waited: BTreeSet<ErrandId> = [id(1)].into();
    let nobody = BTreeSet::new();
    assert!(!is_over(&sent, Revision(7), &waited));
    assert!(is_over(&sent, Revision(7), &nobody));
    assert!(is_over(&sent, Revision(8), &nobody));
    // Of a later leader: it is not for this one to say.
    assert!(!is_over(&sent, Revision(6), &nobody));
}

/// What may happen to a course.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    /// The next is written, if it is time.
    Send,
    NotSent,
    /// A record of this number is seen.
    See(usize, ErrandStage),
}

fn stage() -> impl Strategy<Value = ErrandStage> {
    prop_oneof![
        Just(ErrandStage::Sent),
        Just(ErrandStage::Taken),
        Just(answered(PowerState::Off)),
        Just(answered(PowerState::On)),
        Just(answered(PowerState::Asked)),
        Just(declined()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_000u64).prop_map(Step::Pass),
        4 => Just(Step::Send),
        1 => Just(Step::NotSent),
        4 => (1..5usize, stage()).prop_map(|(number, stage)| Step::See(number, stage)),
    ]
}

proptest! {
    /// Whatever comes in whatever order: an "off" is the answer to the very record that was sent last, and counts
    /// from when that was sent; nobody is asked twice; and it ends in time.
    #[test]
    fn an_off_is_the_answer_to_what_was_sent_last(
        managers in 0..4usize,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let names: Vec<String> = (0..managers).map(|n| format!("m-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut course = course(&names);
        let mut now = Instant(1_000);
        let mut sent: Vec<(Addressee, Instant)> = Vec::new();
        let mut ended: Option<Outcome> = None;
        for step in steps {
            match step {
                Step::Pass(ms) => now = now.plus(ms),
                Step::Send => if let Turn::Send(to) = course.poll(now) {
                    prop_assert!(sent.iter().all(|(before, _)| *before != to));
                    let sent_at = now;
                    now = now.plus(7);
                    sent.push((to, sent_at));
                    course.sent(id(sent.len()), sent_at, now);
                },
                Step::NotSent => if matches!(course.poll(now), Turn::Send(_)) {
                    course.not_sent("no");
                },
                Step::See(number, stage) => {
                    let before = course.poll(now);
                    course.see(&id(number), &stage, now);
                    if number != sent.len() {
                        prop_assert_eq!(course.poll(now), before);
                    } else if let Turn::Over(outcome) = course.poll(now)
                        && !matches!(before, Turn::Over(_))
                        && outcome.answer.state == PowerState::Off
                    {
                        let (to, sent_at) = &sent[number - 1];
                        prop_assert_eq!(stage, answered(PowerState::Off));
                        prop_assert_eq!(outcome.by, Some(to.asker()));
                        prop_assert_eq!(outcome.answer.read_at, *sent_at);
                    }
                }
            }
            match (course.poll(now), &ended) {
                (Turn::Over(outcome), None) => ended = Some(outcome),
                (turn, Some(outcome)) => prop_assert_eq!(turn, Turn::Over(outcome.clone())),
                (Turn::Wait(until), None) => prop_assert!(until > now),
                (Turn::Send(_), None) => {}
            }
        }
        // Left to itself it ends: everybody is tried, and each has a bound.
        for _ in 0..=managers {
            match course.poll(now) {
                Turn::Over(_) => break,
                Turn::Wait(until) => {
                    prop_assert!(until.since(now) <= TAKEN_WITHIN_MS.max(ANSWERED_WITHIN_MS));
                    now = until;
                }
                Turn::Send(to) => {
                    sent.push((to, now));
                    course.sent(id(sent.len()), now, now);
                    now = now.plus(TAKEN_WITHIN_MS);
                }
            }
        }
        prop_assert!(matches!(course.poll(now), Turn::Over(_)));
    }
}
