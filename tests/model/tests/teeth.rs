//! The model must have teeth: each rule that is left out is missed, alone or together with the rule
//! that stands behind it.

use holdfast_protocol_model::{
    AT_MOST_ONE, Begin, Bug, Bugs, Class, EVIDENCE, Protocol, counterexample, exhaust,
};

const QUORUM: Protocol = world(Class::Quorum, Begin::Running);
const QUORUM_START: Protocol = world(Class::Quorum, Begin::Granted);
const PLAIN: Protocol = world(Class::Plain, Begin::Running);
const PLAIN_START: Protocol = world(Class::Plain, Begin::Granted);
const ALONE: Protocol = world(Class::Alone, Begin::Running);

const fn world(class: Class, begin: Begin) -> Protocol {
    Protocol {
        bugs: Bugs::NONE,
        class,
        begin,
        managers: 1,
        mail: false,
        ghosts: false,
    }
}

fn found(bugs: &[Bug], world: Protocol, law: &'static str) {
    let model = Protocol {
        bugs: Bugs::of(bugs),
        ..world
    };
    match counterexample(model, law) {
        Some(way) => println!("{bugs:?}, {:?}, {} steps: {way:?}", world.class, way.len()),
        None => panic!("{bugs:?} is not found in {world:?}"),
    }
}

#[test]
fn each_of_these_alone_breaks_a_law() {
    let mail = Protocol {
        mail: true,
        ..QUORUM_START
    };
    for (bug, world, law) in [
        (Bug::DeadlineFromAck, ALONE, AT_MOST_ONE),
        (Bug::DeadlineFromAck, QUORUM, AT_MOST_ONE),
        (Bug::SkipKillBound, ALONE, AT_MOST_ONE),
        (Bug::SkipKillBound, QUORUM, AT_MOST_ONE),
        (Bug::NoLatch, mail, AT_MOST_ONE),
        (Bug::PlainTreatedAsQuorum, PLAIN, AT_MOST_ONE),
        (Bug::CloseWithoutRevision, ALONE, AT_MOST_ONE),
        (Bug::CloseWithoutRevision, QUORUM, AT_MOST_ONE),
        (Bug::SilenceIsEvidence, PLAIN, AT_MOST_ONE),
        (Bug::ControlIsEnough, QUORUM, EVIDENCE),
        (Bug::StaleReadTrusted, QUORUM, AT_MOST_ONE),
        (Bug::ReopenWithoutFenceCompare, QUORUM, EVIDENCE),
        (Bug::ReopenLeavesFence, PLAIN_START, AT_MOST_ONE),
        (Bug::ReleasedBeforeGone, QUORUM, AT_MOST_ONE),
        (Bug::NewLifeNotEmpty, QUORUM, AT_MOST_ONE),
        (Bug::ResumeWithoutRecheck, PLAIN_START, AT_MOST_ONE),
        (Bug::RecheckBeforeWatch, PLAIN_START, AT_MOST_ONE),
        (Bug::GrantWithoutFenceCompare, PLAIN_START, AT_MOST_ONE),
    ] {
        found(&[bug], world, law);
    }
}

/// Two rules that cover for each other: either may go, not both.
#[test]
fn each_of_these_pairs_breaks_a_law() {
    use Bug::*;
    for bugs in [
        [EndBeforeClosing, NoReread],
        [FindingOfEarlierClosing, NoReread],
        [FindingOfEarlierClosing, ReopenLeavesFence],
        [FinalWithoutSessionCompare, FinalWithoutFenceCompare],
    ] {
        found(&bugs, QUORUM, AT_MOST_ONE);
    }
}

/// What the other rules make up for. Listed so that nobody takes them for the only thing that holds.
#[test]
fn each_of_these_alone_is_harmless() {
    use Bug::*;
    let harmless = |bug: Bug, world: Protocol| {
        let model = Protocol {
            bugs: Bugs::of(&[bug]),
            ..world
        };
        let seen = exhaust(model);
        let broken: Vec<_> = [AT_MOST_ONE, EVIDENCE]
            .into_iter()
            .filter(|law| seen.found.contains(law))
            .collect();
        assert!(broken.is_empty(), "{bug:?} is not harmless: {broken:?}");
        println!(
            "{bug:?}, {:?}: harmless, {} states",
            world.class, seen.states
        );
    };
    for bug in [
        EndBeforeClosing,
        FindingOfEarlierClosing,
        FinalWithoutSessionCompare,
        FinalWithoutFenceCompare,
        NoReread,
        ReopenLeavesFence,
    ] {
        harmless(bug, QUORUM);
    }
    let two = Protocol {
        managers: 2,
        begin: Begin::Granted,
        ..ALONE
    };
    harmless(NoEpochGuard, two);
    harmless(ResumeWithoutRecheck, QUORUM_START);
    harmless(RecheckBeforeWatch, QUORUM_START);
}
