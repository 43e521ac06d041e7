//! The rules by which an agent opens its session.

mod simulated;

use holdfast_model::host::{Session, SessionState};
use holdfast_model::id::{HostName, Revision};
use holdfast_model::time::Instant;
use holdfast_store::api::{Compare, KeyValue};
use holdfast_store::guarded::Ask;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::session::{OpenError, Opener, Opening, taken_back};
use simulated::host::{OBSERVE_MS, identity, key, session};

fn record(revision: i64, session: &Session) -> KeyValue {
    KeyValue {
        key: key(),
        value: encode(session),
        revision: Revision(revision),
    }
}

/// What an opener says at once, for a host that is clean.
fn decide(saved: Option<&str>, found: Option<&KeyValue>) -> Opening {
    Opener::new(identity(saved), OBSERVE_MS).decide(Instant(0), found, true)
}

#[test]
fn sessions_are_opened_by_the_rules() {
    let open = session("machine", "boot", "life-1");
    let closed = |of: &Session| Session {
        state: SessionState::Closed,
        ..of.clone()
    };
    let other = session("another", "boot-b", "life-9");
    let earlier = session("machine", "boot-0", "life-0");

    assert_eq!(decide(None, None), Opening::New { base: None });
    let base = Some(Revision(7));
    assert_eq!(
        decide(None, Some(&record(7, &closed(&open)))),
        Opening::New { base }
    );
    assert_eq!(
        decide(Some("life-1"), Some(&record(7, &closed(&open)))),
        Opening::New { base }
    );
    assert_eq!(
        decide(None, Some(&record(7, &closed(&other)))),
        Opening::New { base }
    );
    assert_eq!(
        decide(Some("life-1"), Some(&record(7, &open))),
        Opening::Continue {
            base: Revision(7),
            session: open.clone()
        }
    );
    let watched = Opening::Observe {
        until: Instant(OBSERVE_MS),
    };
    assert_eq!(
        decide(Some("life-2"), Some(&record(7, &open))),
        watched,
        "not our state file's"
    );
    assert_eq!(
        decide(None, Some(&record(7, &open))),
        watched,
        "no state file"
    );
    assert_eq!(
        decide(None, Some(&record(7, &earlier))),
        watched,
        "an earlier boot"
    );

    let Opening::Refused(error) = decide(Some("life-9"), Some(&record(7, &other))) else {
        panic!("another machine's session")
    };
    assert!(matches!(error, OpenError::OtherMachine { .. }));
    assert!(error.to_string().contains("confirm-off h1"), "{error}");
    let garbage = KeyValue {
        value: b"{}".to_vec(),
        ..record(7, &open)
    };
    let Opening::Refused(error) = decide(None, Some(&garbage)) else {
        panic!("unreadable")
    };
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
}

#[test]
fn nothing_is_opened_on_a_host_that_is_not_clean() {
    let closed = Session {
        state: SessionState::Closed,
        ..session("machine", "boot", "life-1")
    };
    for found in [None, Some(record(7, &closed))] {
        let opening =
            Opener::new(identity(None), OBSERVE_MS).decide(Instant(0), found.as_ref(), false);
        assert!(matches!(opening, Opening::CleanFirst { .. }), "{opening:?}");
    }
    // Going on with a life needs no clean host: its VMs are what it is for.
    let open = record(7, &session("machine", "boot", "life-1"));
    let opening =
        Opener::new(identity(Some("life-1")), OBSERVE_MS).decide(Instant(0), Some(&open), false);
    assert!(matches!(opening, Opening::Continue { .. }));
}

#[test]
fn an_open_session_is_taken_over_only_if_nobody_renews_it() {
    let earlier = session("machine", "boot-0", "life-0");
    let mut quiet = Opener::new(identity(None), OBSERVE_MS);
    let look = |opener: &mut Opener, at, revision| {
        opener.decide(Instant(at), Some(&record(revision, &earlier)), true)
    };
    assert!(matches!(look(&mut quiet, 100, 7), Opening::Observe { .. }));
    assert!(matches!(
        look(&mut quiet, 100 + OBSERVE_MS - 1, 7),
        Opening::Observe { .. }
    ));
    assert_eq!(
        look(&mut quiet, 100 + OBSERVE_MS, 7),
        Opening::New {
            base: Some(Revision(7))
        }
    );

    let mut renewed = Opener::new(identity(None), OBSERVE_MS);
    assert!(matches!(
        look(&mut renewed, 100, 7),
        Opening::Observe { .. }
    ));
    let Opening::Refused(error) = look(&mut renewed, 100 + OBSERVE_MS, 8) else {
        panic!("somebody renews it")
    };
    assert!(matches!(error, OpenError::AlreadyRenewed { .. }), "{error}");
}

#[test]
fn a_life_that_the_store_has_forgotten_goes_on_unless_somebody_renews_the_other() {
    let earlier = session("machine", "boot-0", "life-0");
    let closed = Session {
        state: SessionState::Closed,
        ..earlier.clone()
    };
    let base = Revision(7);
    let at_once = decide(Some("life-1"), Some(&record(7, &closed)));
    assert_eq!(at_once, Opening::TakeBack { base });
    let past = Session {
        state: SessionState::Closed,
        ..session("machine", "boot", "life-past")
    };
    let at_once = decide(Some("life-1"), Some(&record(7, &past)));
    assert_eq!(
        at_once,
        Opening::TakeBack { base },
        "of this boot, and before"
    );
    let other = session("another", "boot-0", "life-0");
    let closed = Session {
        state: SessionState::Closed,
        ..other
    };
    assert_eq!(
        decide(Some("life-1"), Some(&record(7, &closed))),
        Opening::New { base: Some(base) },
        "another machine's"
    );
    // An open one is watched first: a copy of this machine may renew it.
    let until = Instant(OBSERVE_MS);
    let mut opener = Opener::new(identity(Some("life-1")), OBSERVE_MS);
    let found = record(7, &earlier);
    let first = opener.decide(Instant(0), Some(&found), false);
    assert_eq!(first, Opening::Observe { until });
    let mut moved = opener.clone();
    let opening = opener.decide(until, Some(&found), false);
    assert_eq!(opening, Opening::TakeBack { base });
    let opening = moved.decide(until, Some(&record(8, &earlier)), false);
    assert!(matches!(
        opening,
        Opening::Refused(OpenError::AlreadyRenewed { .. })
    ));
}

#[test]
fn a_life_that_was_taken_back_ends_with_its_fence_record() {
    let mine = session("machine", "boot", "life-1");
    let host: HostName = "h1".parse().expect("a name");
    let mut beats = taken_back(host.clone(), mine, Revision(7), 1_000);
    let Ask::Txn(txn) = beats.poll(Instant(10)) else {
        panic!("its first heartbeat")
    };
    let record = Key::Fence(host, "life-1".parse().expect("a name")).path();
    assert!(txn.compares.contains(&Compare::Absent(record)));
    assert!(
        txn.compares
            .contains(&Compare::Revision(key(), Revision(7)))
    );
}
