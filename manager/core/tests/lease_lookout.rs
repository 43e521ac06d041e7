//! What is told of the heartbeat slots of lives whose session was closed.
#![allow(clippy::unwrap_used)]

use holdfast_core::lease::lookout::{Case, is_news, sighting};
use holdfast_core::lease::observer::Finding;
use holdfast_model::id::Revision;
use holdfast_model::lease::{AgentState, Found, Sighting};
use holdfast_model::time::Instant;

#[test]
fn a_slot_that_stands_still_is_told_of_where_a_device_may_be_asked() {
    let case = Case {
        host: "a1".parse().unwrap(),
        incarnation: "i1".parse().unwrap(),
        session_revision: Revision(7),
        slot: 0,
        closed: Instant(0),
        release_asked: false,
    };
    let tells = |unchanged_ms, is_new, quiet_ms| {
        let finding = Finding::Holding {
            counter: 5,
            unchanged_ms,
            is_new,
            agent: AgentState::CutOff,
        };
        Some(sighting(&case, finding, 5_500, quiet_ms)?.found)
    };
    let agent = AgentState::CutOff;
    let quiet = Found::Quiet { counter: 5 };
    assert_eq!(tells(2_499, false, Some(2_500)), None);
    assert_eq!(tells(2_500, false, Some(2_500)), Some(quiet.clone()));
    assert_eq!(tells(2_500, false, None), None, "no device: nobody asks");
    // It beat after the closing, and stands still since.
    assert_eq!(tells(0, true, Some(2_500)), Some(Found::Beating { agent }));
    assert_eq!(tells(2_500, true, Some(2_500)), Some(quiet.clone()));
    let whole = tells(5_500, false, Some(2_500)).unwrap();
    assert!(matches!(whole, Found::Unchanged { for_ms: 5_500, .. }));
    // What is news: each change between the two, and nothing less than the whole wait after it.
    let news = |told: &Found, next: &Found| {
        let sighting = |found: &Found| Sighting {
            incarnation: case.incarnation.clone(),
            session_revision: case.session_revision,
            found: found.clone(),
        };
        is_news(Some(&sighting(told)), &sighting(next))
    };
    let beats = Found::Beating { agent };
    assert!(news(&beats, &quiet) && news(&quiet, &beats) && news(&quiet, &whole));
    assert!(!news(&quiet, &quiet) && !news(&whole, &quiet) && !news(&whole, &beats));
}
