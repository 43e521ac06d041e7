//! One live migration, with every loss of a message or of a host.

use holdfast_protocol_model::{
    AT_MOST_ONE, FROM_DISK, MOVED, Migration, MoveBug, NO_OLD_MEMORY, STAYED, always_leads_to,
    counterexample, exhaust,
};

#[test]
fn it_moves_or_stays_or_starts_from_its_disk_and_runs_once() {
    let seen = exhaust(Migration { bug: MoveBug::None });
    println!("migration: {} states, {} steps", seen.states, seen.steps);
    let mut happens = vec![MOVED, STAYED, FROM_DISK];
    happens.sort_unstable();
    assert_eq!(seen.found, happens);
}

#[test]
fn whatever_is_lost_it_runs_again() {
    let model = Migration { bug: MoveBug::None };
    let led = always_leads_to(&model, |step| !step.is_fault(), |s| s.running() == 1);
    led.unwrap_or_else(|way| panic!("stuck after {way:?}"));
}

#[test]
fn each_of_these_alone_breaks_a_law() {
    for (bug, law) in [
        (MoveBug::NotPaused, AT_MOST_ONE),
        (MoveBug::AwayUnproven, AT_MOST_ONE),
        (MoveBug::GoneIsEnough, NO_OLD_MEMORY),
    ] {
        match counterexample(Migration { bug }, law) {
            Some(way) => println!("{bug:?}, {} steps: {way:?}", way.len()),
            None => panic!("{bug:?} is not found"),
        }
    }
}

/// The destination reads the owner record before it resumes, and that changes hands in one
/// transaction: so these break no law. They cost a copy that was good.
#[test]
fn each_of_these_alone_is_harmless() {
    for bug in [
        MoveBug::CommitUnseen,
        MoveBug::SourceFirst,
        MoveBug::IncomingForgotten,
        MoveBug::ClearOnAbort,
    ] {
        let seen = exhaust(Migration { bug });
        let broken = [AT_MOST_ONE, NO_OLD_MEMORY].map(|law| seen.found.contains(&law));
        assert_eq!(broken, [false, false], "{bug:?}");
    }
}
