//! The deadline, case by case.

use super::*;

fn life(name: &str) -> Incarnation {
    name.parse().expect("a legal incarnation")
}

fn bounds(runner_deadline_ms: u64) -> RunnerBounds {
    RunnerBounds {
        runner_deadline_ms,
        kill_bound_ms: 1_000,
        watchdog_bound_ms: 0,
    }
}

fn armed_at(now: u64) -> Deadline {
    let mut deadline = Deadline::new();
    let until = deadline.arm(life("i1"), bounds(4_000), false, true, Instant(now));
    assert_eq!(until, Ok(Instant(now + 4_000)));
    deadline
}

#[test]
fn it_counts_from_the_send_time() {
    let mut deadline = armed_at(1_000);
    assert_eq!(
        deadline.renewed(&life("i1"), Instant(2_000), Instant(3_500)),
        Renewal::Until {
            deadline: Instant(6_000)
        }
    );
    assert_eq!(deadline.next_wake(Instant(0)), Some(Instant(6_000)));
    assert_eq!(deadline.tick(Instant(5_999)), Verdict::LetRun);
    assert_eq!(deadline.tick(Instant(6_000)), Verdict::KillAll);
}

#[test]
fn a_late_acknowledgement_revives_nothing() {
    let mut deadline = armed_at(0);
    assert_eq!(deadline.tick(Instant(4_000)), Verdict::KillAll);
    let answer = deadline.renewed(&life("i1"), Instant(3_999), Instant(4_000));
    assert_eq!(answer, Renewal::TooLate);
    assert_eq!(deadline.tick(Instant(4_001)), Verdict::KillAll);
    assert_eq!(
        deadline.arm(life("i1"), bounds(4_000), false, true, Instant(5_000)),
        Err(ArmError::Over(life("i1")))
    );
}

#[test]
fn a_guard_that_stood_still_takes_in_what_waits_before_it_looks_at_the_clock() {
    let mut deadline = armed_at(0);
    for sent in [1_000, 5_000, 9_000] {
        deadline.renewed(&life("i1"), Instant(sent), Instant(12_000));
    }
    assert_eq!(deadline.tick(Instant(12_000)), Verdict::LetRun);
    assert_eq!(deadline.tick(Instant(13_000)), Verdict::KillAll);
}

#[test]
fn acknowledgements_out_of_order_never_shorten_it_and_none_comes_from_the_future() {
    let mut deadline = armed_at(0);
    deadline.renewed(&life("i1"), Instant(3_000), Instant(3_100));
    deadline.renewed(&life("i1"), Instant(2_000), Instant(3_200));
    deadline.renewed(&life("i1"), Instant(9_000), Instant(3_300));
    assert_eq!(deadline.next_wake(Instant(0)), Some(Instant(7_000)));
}

#[test]
fn another_life_is_armed_only_when_nothing_is_left() {
    let mut deadline = armed_at(0);
    assert!(deadline.accepts(&life("i1")));
    let held = ArmError::NotEmpty { held: life("i1") };
    for now in [1_000, 4_000] {
        let refused = deadline.arm(life("i2"), bounds(4_000), false, false, Instant(now));
        assert_eq!(refused, Err(held.clone()));
    }
    assert!(!deadline.accepts(&life("i1")), "lapsed at 4 000");
    let until = deadline.arm(life("i2"), bounds(4_000), false, true, Instant(5_000));
    assert_eq!(until, Ok(Instant(9_000)));
    assert!(deadline.accepts(&life("i2")) && !deadline.accepts(&life("i1")));
    assert_eq!(
        deadline.renewed(&life("i1"), Instant(5_500), Instant(5_600)),
        Renewal::Ignored
    );
    assert_eq!(deadline.next_wake(Instant(0)), Some(Instant(9_000)));
}

#[test]
fn a_restarted_agent_arms_again_and_gains_no_time() {
    let mut deadline = armed_at(0);
    let until = deadline.arm(life("i1"), bounds(4_000), false, false, Instant(3_000));
    assert_eq!(until, Ok(Instant(4_000)));
}

#[test]
fn longer_bounds_count_once_a_heartbeat_has_declared_them_and_shorter_ones_at_once() {
    let mut deadline = armed_at(0);
    let until = deadline.arm(life("i1"), bounds(15_000), false, false, Instant(1_000));
    assert_eq!(until, Ok(Instant(4_000)), "not declared yet");
    deadline.renewed(&life("i1"), Instant(900), Instant(1_100));
    assert_eq!(
        deadline.next_wake(Instant(0)),
        Some(Instant(4_900)),
        "sent before it"
    );
    deadline.renewed(&life("i1"), Instant(2_000), Instant(2_100));
    assert_eq!(deadline.next_wake(Instant(0)), Some(Instant(17_000)));
    let until = deadline.arm(life("i1"), bounds(2_000), false, false, Instant(2_200));
    assert_eq!(until, Ok(Instant(4_000)), "shorter: at once");
}

#[test]
fn a_closed_session_is_a_deadline() {
    let mut deadline = armed_at(0);
    assert_eq!(deadline.revoke(&life("i0"), Instant(1)), Verdict::LetRun);
    assert_eq!(deadline.revoke(&life("i1"), Instant(1)), Verdict::KillAll);
    assert_eq!(
        deadline.renewed(&life("i1"), Instant(2), Instant(3)),
        Renewal::TooLate
    );
}

#[test]
fn nothing_lapses_before_it_is_armed() {
    let mut deadline = Deadline::new();
    assert_eq!(deadline.tick(Instant(u64::MAX)), Verdict::LetRun);
    assert_eq!(deadline.next_wake(Instant(0)), None);
    assert_eq!(
        deadline.renewed(&life("i1"), Instant(0), Instant(1)),
        Renewal::Ignored
    );
    assert!(!deadline.accepts(&life("i1")));
}

#[test]
fn either_plane_is_enough_for_what_has_a_storage_lease() {
    let mut deadline = Deadline::new();
    deadline
        .arm(life("i1"), bounds(4_000), true, true, Instant(0))
        .expect("nothing was armed");
    assert_eq!(
        deadline.planes(Instant(0)),
        (PlaneState::Valid, PlaneState::Lapsed),
        "nothing is written yet"
    );
    deadline.storage_renewed(&life("i1"), Instant(1_000), Instant(1_500));
    assert_eq!(deadline.next_wake(Instant(1_500)), Some(Instant(4_000)));
    assert_eq!(deadline.tick(Instant(4_000)), Verdict::KillUnleased);
    assert_eq!(deadline.next_wake(Instant(4_000)), Some(Instant(5_000)));
    // Control comes back while storage holds, and then storage may lapse.
    deadline.renewed(&life("i1"), Instant(4_500), Instant(4_600));
    assert_eq!(deadline.tick(Instant(4_600)), Verdict::LetRun);
    assert_eq!(
        deadline.planes(Instant(5_000)),
        (PlaneState::Valid, PlaneState::Lapsed)
    );
    assert_eq!(deadline.tick(Instant(8_499)), Verdict::LetRun);
    assert_eq!(deadline.tick(Instant(8_500)), Verdict::KillAll);
    deadline.storage_renewed(&life("i1"), Instant(8_501), Instant(8_502));
    assert_eq!(
        deadline.tick(Instant(8_502)),
        Verdict::KillAll,
        "both had lapsed at once"
    );
}

#[test]
fn a_closed_session_ends_the_control_plane_until_the_life_opens_it_again() {
    let mut deadline = Deadline::new();
    deadline
        .arm(life("i1"), bounds(4_000), true, true, Instant(0))
        .expect("nothing was armed");
    deadline.storage_renewed(&life("i1"), Instant(900), Instant(950));
    let verdict = deadline.control_closed(&life("i1"), Instant(1_000));
    assert_eq!(verdict, Verdict::KillUnleased);
    deadline.renewed(&life("i1"), Instant(999), Instant(1_100));
    assert_eq!(
        deadline.tick(Instant(1_100)),
        Verdict::KillUnleased,
        "sent before it was closed"
    );
    deadline.renewed(&life("i1"), Instant(1_200), Instant(1_300));
    assert_eq!(deadline.tick(Instant(1_300)), Verdict::LetRun);
    assert_eq!(
        deadline.revoke(&life("i1"), Instant(1_400)),
        Verdict::KillAll
    );
}

#[test]
fn without_a_declared_storage_plane_nothing_written_counts() {
    let mut deadline = armed_at(0);
    deadline.storage_renewed(&life("i1"), Instant(3_000), Instant(3_100));
    assert_eq!(deadline.tick(Instant(4_000)), Verdict::KillAll);
}
