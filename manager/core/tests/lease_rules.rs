//! The storage plane, case by case.
#![allow(clippy::unwrap_used)]

use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::claim::{ClaimError, Wanted, claim, is_passed_over};
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_core::lease::observer::{Finding, Observer, ReadTimes};
use holdfast_model::id::Generation;
use holdfast_model::lease::{Heartbeat, Holder, HostPhase};
use holdfast_model::time::Instant;

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
fn a_plane_is_valid_from_the_first_write_and_counts_from_the_send_time() {
    let mut keeper = keeper();
    assert_eq!(
        keeper.state(Instant(0)),
        PlaneState::Lapsed,
        "nothing is written yet"
    );
    let first = keeper.poll(Instant(100)).unwrap();
    assert_eq!((first.counter, first.phase), (1, HostPhase::Holding));
    assert_eq!(keeper.poll(Instant(5_000)), None, "one at a time");
    assert_eq!(keeper.next_wake(), None);
    keeper.written(1);
    assert_eq!(
        keeper.valid_until(),
        Some(Instant(4_100)),
        "not from the acknowledgement"
    );
    assert_eq!(keeper.state(Instant(4_099)), PlaneState::Valid);
    assert_eq!(keeper.state(Instant(4_100)), PlaneState::Lapsed);
    assert_eq!(keeper.next_wake(), Some(Instant(1_100)));
    assert_eq!(keeper.poll(Instant(1_099)), None);
    assert_eq!(keeper.poll(Instant(1_100)).unwrap().counter, 2);
}

#[test]
fn a_failed_write_prolongs_nothing_and_its_counter_is_not_used_again() {
    let mut keeper = keeper();
    keeper.poll(Instant(0)).unwrap();
    keeper.written(1);
    keeper.poll(Instant(1_000)).unwrap();
    keeper.failed(2, Instant(1_500));
    assert_eq!(keeper.valid_until(), Some(Instant(4_000)));
    assert_eq!(keeper.next_wake(), Some(Instant(1_750)));
    keeper.written(2);
    assert_eq!(
        keeper.valid_until(),
        Some(Instant(4_000)),
        "it was given up"
    );
    assert_eq!(keeper.poll(Instant(1_750)).unwrap().counter, 3);
}

#[test]
fn a_release_is_said_at_once_and_ends_the_plane() {
    let mut keeper = keeper();
    keeper.poll(Instant(0)).unwrap();
    keeper.written(1);
    keeper.release(7, Instant(200));
    assert_eq!(keeper.state(Instant(200)), PlaneState::Lapsed);
    let said = keeper.poll(Instant(200)).unwrap();
    assert_eq!(
        (said.phase, said.answered, said.counter),
        (HostPhase::Released, 7, 2)
    );
}

#[test]
fn unchanged_counts_from_the_end_of_the_first_sight_to_the_own_write_before_the_last() {
    let life = "life".parse().unwrap();
    let mut observer = Observer::default();
    let found = |observer: &Observer, since| observer.finding(3, &life, Instant(since));
    let unchanged = |for_ms| Finding::Unchanged { counter: 5, for_ms };
    assert_eq!(found(&observer, 0), Finding::Nothing);
    observer.saw(3, &beat(5), read(100, 150));
    observer.saw(3, &beat(5), read(9_000, 9_010));
    assert_eq!(
        found(&observer, 0),
        unchanged(0),
        "nothing written: perhaps a stale replica"
    );
    observer.own_write_succeeded(Instant(2_000), Instant(9_500));
    observer.saw(3, &beat(5), read(9_499, 9_600));
    assert_eq!(
        found(&observer, 0),
        unchanged(0),
        "begun before the acknowledgement"
    );
    observer.saw(3, &beat(5), read(9_500, 9_600));
    assert_eq!(
        found(&observer, 0),
        unchanged(1_850),
        "the quorum may have been lost at 2,001"
    );
    assert_eq!(
        found(&observer, 1_000),
        unchanged(1_000),
        "what was before is worth nothing"
    );
    assert_eq!(found(&observer, 2_500), unchanged(0));
    observer.saw(3, &beat(6), read(9_700, 9_800));
    let new = Finding::Unchanged {
        counter: 6,
        for_ms: 0,
    };
    assert_eq!(found(&observer, 0), new);
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

fn wanted(generation: u64, host: &str) -> Wanted {
    Wanted {
        vm: "web".parse().unwrap(),
        uuid: "uuid".parse().unwrap(),
        generation: Generation(generation),
        holder: Holder {
            host: host.parse().unwrap(),
            incarnation: "life".parse().unwrap(),
        },
    }
}

#[test]
fn a_claim_is_taken_only_above_what_stands_there() {
    let first = claim(None, &wanted(4, "a1")).unwrap();
    assert_eq!(first.generation, Generation(4));
    assert_eq!(
        claim(Some(&first), &wanted(4, "a1")),
        Ok(first.clone()),
        "once more"
    );
    assert_eq!(
        claim(Some(&first), &wanted(5, "b1")).unwrap().generation,
        Generation(5)
    );
    for (generation, host) in [(3, "b1"), (3, "a1"), (4, "b1")] {
        let error = claim(Some(&first), &wanted(generation, host)).unwrap_err();
        assert!(
            matches!(error, ClaimError::Newer { .. }),
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
        claim(Some(&released), &wanted(4, "b1")).is_err(),
        "a generation is used once"
    );
    let mut other = wanted(9, "b1");
    other.vm = "db".parse().unwrap();
    assert!(matches!(
        claim(Some(&first), &other),
        Err(ClaimError::OtherVm { .. })
    ));
}

#[test]
fn a_holder_that_was_passed_over_finds_out() {
    let own = wanted(4, "a1");
    let stands = |generation, host| claim(None, &wanted(generation, host)).unwrap();
    assert!(!is_passed_over(&stands(4, "a1"), &own));
    assert!(!is_passed_over(&stands(3, "b1"), &own), "not written yet");
    assert!(is_passed_over(&stands(5, "b1"), &own));
    assert!(is_passed_over(&stands(4, "b1"), &own));
}
