//! What answers mean, and what is said where there is none.

use super::*;

fn yes() -> Answer {
    Answer::Yes
}

fn no(why: &str) -> Answer {
    Answer::No(why.to_owned())
}

fn unknown(why: &str) -> Answer {
    Answer::Unknown(why.to_owned())
}

fn state(reachable: Answer, usable: Answer, synced: Answer) -> StorageState {
    state_of(Findings {
        reachable,
        usable,
        synced,
    })
}

#[test]
fn answers_become_what_the_planner_decides_on() {
    let unusable = |why: &str| StorageState::Unusable {
        reason: why.to_owned(),
    };
    let not_known = |why: &str| StorageState::Unknown {
        reason: why.to_owned(),
    };
    let degraded = |why: &str| StorageState::Degraded {
        detail: why.to_owned(),
    };
    assert_eq!(state(yes(), yes(), yes()), StorageState::Synced);
    assert_eq!(state(yes(), yes(), no("3 to heal")), degraded("3 to heal"));
    assert_eq!(
        state(yes(), yes(), unknown("no quorum")),
        degraded("whether all copies are equal cannot be told: no quorum")
    );
    // One no is enough, whatever the others are.
    assert_eq!(state(no("gone"), yes(), yes()), unusable("gone"));
    assert_eq!(state(unknown("?"), no("full"), yes()), unusable("full"));
    assert_eq!(state(no("gone"), unknown("?"), yes()), unusable("gone"));
    // And an unknown is never good.
    assert_eq!(state(unknown("silent"), yes(), yes()), not_known("silent"));
    assert_eq!(state(yes(), unknown("silent"), yes()), not_known("silent"));
    assert_eq!(
        state(yes(), unknown("silent"), no("x")),
        not_known("silent")
    );
}
