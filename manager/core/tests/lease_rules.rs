//! The storage plane, case by case.
#![allow(clippy::unwrap_used)]

use holdfast_core::lease::claim::{Again, ClaimError, Wanted, claim, look_again};
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_core::lease::observer::{Finding, Observer, ReadTimes};
use holdfast_core::lease::slots::{Found, SlotError, choose, window};
use holdfast_model::id::{Generation, VmUuid};
use holdfast_model::lease::{AgentState, Heartbeat, Holder, HostPhase};
use holdfast_model::time::Instant;
use std::collections::BTreeSet;

fn keeper() -> Keeper {
    let identity = Identity {
        host: "a1".parse().unwrap(),
        incarnation: "life".parse().unwrap(),
        boot_id: "boot".parse().unwrap(),
        period_ms: 1_000,
        runner_deadline_ms: 4_000,
        kill_bound_ms: 1_000,
        watchdog_bound_ms: 0,
    };
    Keeper::new(identity, Instant(0))
}

fn beat(counter: u64) -> Heartbeat {
    let mut keeper = keeper();
    let mut beat = keeper.poll(Instant(0)).unwrap();
    beat.counter = counter;
    beat
}

fn read(began: u64, ended: u64) -> ReadTimes {
    ReadTimes {
        began: Instant(began),
        ended: Instant(ended),
    }
}

#[test]
fn heartbeats_are_due_by_the_send_time_and_one_at_a_time() {
    let mut keeper = keeper();
    let first = keeper.poll(Instant(100)).unwrap();
    assert_eq!((first.counter, first.phase), (100, HostPhase::Holding));
    assert_eq!(keeper.poll(Instant(5_000)), None, "one at a time");
    assert_eq!(keeper.next_wake(), None);
    assert_eq!(
        keeper.written(100),
        Some(Instant(100)),
        "when it was sent, not when that was known"
    );
    assert_eq!(keeper.next_wake(), Some(Instant(1_100)));
    assert_eq!(keeper.poll(Instant(1_099)), None);
    assert_eq!(keeper.poll(Instant(1_100)).unwrap().counter, 1_100);
}

#[test]
fn a_failed_write_counts_for_nothing_and_its_counter_is_not_used_again() {
    let mut keeper = keeper();
    keeper.poll(Instant(0)).unwrap();
    keeper.written(0);
    keeper.poll(Instant(1_000)).unwrap();
    keeper.failed(1_000, Instant(1_500));
    assert_eq!(keeper.next_wake(), Some(Instant(1_750)));
    assert_eq!(keeper.written(1_000), None, "it was given up");
    assert_eq!(keeper.poll(Instant(1_750)).unwrap().counter, 1_750);
}

#[test]
fn a_release_is_said_at_once() {
    let mut keeper = keeper();
    keeper.poll(Instant(0)).unwrap();
    keeper.written(0);
    keeper.release(7, Instant(200));
    assert!(keeper.is_released());
    let said = keeper.poll(Instant(200)).unwrap();
    assert_eq!(
        (said.phase, said.answered, said.counter),
        (HostPhase::Released, 7, 200)
    );
}

#[test]
fn what_is_urgent_waits_for_the_write_under_way_and_no_longer() {
    let mut keeper = keeper();
    keeper.poll(Instant(0)).unwrap();
    keeper.hurry(Instant(50));
    assert_eq!(keeper.poll(Instant(60)), None);
    keeper.written(0);
    assert_eq!(keeper.poll(Instant(70)).unwrap().counter, 70);
    keeper.written(70);
    assert_eq!(keeper.next_wake(), Some(Instant(1_070)), "once");
}

#[test]
fn unchanged_counts_from_the_end_of_the_first_sight_to_the_own_write_before_the_last() {
    let life = "life".parse().unwrap();
    let mut observer = Observer::default();
    let found = |observer: &Observer, closed| observer.finding(3, &life, Instant(closed));
    let holding = |counter, unchanged_ms, is_new| Finding::Holding {
        counter,
        unchanged_ms,
        is_new,
        agent: AgentState::Connected,
    };
    assert_eq!(found(&observer, 0), Finding::Nothing);
    observer.saw(3, &beat(5), read(100, 150));
    observer.saw(3, &beat(5), read(9_000, 9_010));
    assert_eq!(
        found(&observer, 0),
        holding(5, 0, false),
        "nothing written: perhaps a stale replica"
    );
    observer.own_write_succeeded(Instant(2_000), Instant(9_500));
    observer.saw(3, &beat(5), read(9_499, 9_600));
    assert_eq!(
        found(&observer, 0),
        holding(5, 0, false),
        "begun before the acknowledgement"
    );
    observer.saw(3, &beat(5), read(9_500, 9_600));
    assert_eq!(
        found(&observer, 0),
        holding(5, 1_850, false),
        "the quorum may have been lost at 2,001"
    );
    assert_eq!(
        found(&observer, 2_000),
        holding(5, 1_850, false),
        "it may begin before the closing"
    );
    assert_eq!(
        found(&observer, 2_001),
        holding(5, 0, false),
        "and ends after it, or is worth nothing"
    );
    observer.saw(3, &beat(4), read(9_600, 9_650));
    assert_eq!(
        found(&observer, 2_000),
        holding(5, 1_850, false),
        "a copy that is behind shows nothing newer"
    );
    observer.saw(3, &beat(90_005), read(9_700, 9_800));
    assert_eq!(found(&observer, 9_000), holding(90_005, 0, true));
    assert_eq!(found(&observer, 9_800), holding(90_005, 0, false));
}

#[test]
fn a_heartbeat_that_turns_up_late_does_not_begin_the_wait_anew() {
    let life = "life".parse().unwrap();
    let mut observer = Observer::default();
    observer.saw(3, &beat(5_000), read(100, 150));
    // Sent a second after that one, and shown when a copy of the storage was healed.
    observer.saw(3, &beat(6_000), read(5_990, 6_000));
    observer.own_write_succeeded(Instant(7_000), Instant(7_010));
    observer.saw(3, &beat(6_000), read(7_020, 7_030));
    let Finding::Holding {
        unchanged_ms,
        is_new,
        ..
    } = observer.finding(3, &life, Instant(6_500))
    else {
        panic!("it holds");
    };
    assert!((5_800..5_850).contains(&unchanged_ms), "{unchanged_ms}");
    assert!(!is_new, "it was sent before the closing");
}

#[test]
fn a_release_another_life_and_a_lost_sector_are_told_apart() {
    let life = "life".parse().unwrap();
    let mut observer = Observer::default();
    let mut released = beat(9);
    released.phase = HostPhase::Released;
    observer.saw(0, &released, read(0, 10));
    assert_eq!(observer.finding(0, &life, Instant(0)), Finding::Released);
    let other = "other".parse().unwrap();
    assert_eq!(observer.finding(0, &other, Instant(0)), Finding::Nothing);
    observer.saw_nothing(0);
    assert_eq!(observer.finding(0, &life, Instant(0)), Finding::Nothing);
}

fn holder(host: &str) -> Holder {
    Holder {
        host: host.parse().unwrap(),
        incarnation: "life".parse().unwrap(),
    }
}

/// A grant that knows of the ones before it: generation and host.
fn wanted(generation: u64, host: &str, follows: &[(u64, &str)]) -> Wanted {
    let follows = follows.iter();
    Wanted {
        vm: "web".parse().unwrap(),
        uuid: "uuid".parse().unwrap(),
        generation: Generation(generation),
        holder: holder(host),
        follows: follows
            .map(|(generation, host)| (Generation(*generation), holder(host)))
            .collect(),
    }
}

#[test]
fn a_claim_is_taken_only_by_a_grant_that_knows_what_stands_there() {
    let first = claim(None, &wanted(4, "a1", &[])).unwrap();
    assert_eq!(first.generation, Generation(4));
    let again = claim(Some(&first), &wanted(4, "a1", &[]));
    assert_eq!(again, Ok(first.clone()), "its acknowledgement was lost");
    let next = claim(Some(&first), &wanted(6, "b1", &[(4, "a1"), (5, "a2")]));
    assert_eq!(
        next.unwrap().generation,
        Generation(6),
        "5 was never claimed"
    );
    for (generation, host, follows) in [
        (3, "b1", vec![(2, "a1")]),
        (4, "b1", vec![(3, "a1")]),
        // Above what stands there, and of a control plane that was set back to generation 3.
        (5, "b1", vec![(3, "a1"), (4, "b1")]),
        (9, "b1", vec![]),
    ] {
        let error = claim(Some(&first), &wanted(generation, host, &follows)).unwrap_err();
        assert!(
            matches!(error, ClaimError::Unknown { .. }),
            "{generation} {host}"
        );
        assert!(
            error.to_string().contains("restored from a backup"),
            "{error}"
        );
    }
    let mut released = first.clone();
    released.holder = None;
    assert!(
        claim(Some(&released), &wanted(4, "b1", &[(3, "a1")])).is_err(),
        "a generation is used once"
    );
    let mut other = wanted(9, "b1", &[(4, "a1")]);
    other.vm = "db".parse().unwrap();
    let refused = claim(Some(&first), &other);
    assert!(matches!(refused, Err(ClaimError::OtherVm { .. })));
}

#[test]
fn a_holder_that_looks_again_finds_out() {
    let own = wanted(4, "a1", &[]);
    let stands = |generation, host| claim(None, &wanted(generation, host, &[])).unwrap();
    assert_eq!(look_again(Some(&stands(4, "a1")), &own), Again::Held);
    assert_eq!(look_again(Some(&stands(5, "b1")), &own), Again::PassedOver);
    assert_eq!(look_again(Some(&stands(4, "b1")), &own), Again::PassedOver);
    for hidden in [Some(stands(3, "b1")), None] {
        let again = look_again(hidden.as_ref(), &own);
        assert_eq!(again, Again::WriteAgain, "a late write hides it");
    }
}

fn uuid(number: u32) -> VmUuid {
    format!("00000000-0000-4000-8000-{number:012}")
        .parse()
        .unwrap()
}

#[test]
fn a_vm_has_the_same_window_wherever_it_is_asked_for() {
    let slots = window(&uuid(7), 4096);
    assert_eq!(slots.len(), 16);
    assert_eq!(slots, window(&uuid(7), 4096));
    assert!(slots.windows(2).all(|two| two[1] == (two[0] + 1) % 4096));
    assert_eq!(window(&uuid(7), 3).len(), 3, "a small volume is all window");
    // Where the windows of many VMs begin.
    let begins: BTreeSet<u32> = (0..1_000).map(|n| window(&uuid(n), 4096)[0]).collect();
    assert!(begins.len() > 700, "{} beginnings", begins.len());
}

#[test]
fn a_slot_is_taken_once_and_found_again() {
    let (own, other) = (uuid(1), uuid(2));
    let of = |uuid: &VmUuid| Found::Of { uuid: uuid.clone() };
    let damaged = || Found::Damaged { why: "torn".into() };
    let known = |slots: &[(u32, &VmUuid)]| {
        let slots = slots.iter();
        slots.map(|(slot, uuid)| (*slot, (*uuid).clone())).collect()
    };
    let nobody = known(&[]);
    let disk = [(4, of(&other)), (5, Found::Free), (6, Found::Free)];
    assert_eq!(choose(&own, &disk, &nobody), Ok(5));
    assert_eq!(
        choose(&own, &disk, &known(&[(5, &other)])),
        Ok(6),
        "in the store it is taken"
    );
    assert_eq!(
        choose(&own, &disk, &known(&[(6, &own)])),
        Ok(6),
        "settled, not yet written"
    );
    // A store that was set back knows nothing of the claim that stands there.
    let written = [(4, Found::Free), (5, of(&own))];
    assert_eq!(choose(&own, &written, &nobody), Ok(5));
    let mixed = choose(&own, &written, &known(&[(5, &other)]));
    assert!(
        matches!(mixed, Err(SlotError::Mixed { slot: 5, .. })),
        "{mixed:?}"
    );
    let mixed = choose(&own, &disk, &known(&[(4, &own)]));
    assert!(
        matches!(mixed, Err(SlotError::Mixed { slot: 4, .. })),
        "{mixed:?}"
    );
    // A damaged sector is nobody's only if the store says whose it is.
    let torn = [(4, damaged()), (5, Found::Free)];
    let refused = choose(&own, &torn, &nobody);
    assert!(
        matches!(refused, Err(SlotError::Damaged { slot: 4, .. })),
        "{refused:?}"
    );
    assert_eq!(choose(&own, &torn, &known(&[(4, &other)])), Ok(5));
    let refused = choose(&own, &torn, &known(&[(4, &own)]));
    assert!(
        matches!(refused, Err(SlotError::Damaged { slot: 4, .. })),
        "{refused:?}"
    );
    assert_eq!(
        choose(&own, &[(4, of(&other))], &nobody),
        Err(SlotError::Full)
    );
}
