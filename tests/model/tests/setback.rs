//! What protects a VM when etcd is set back to an older state.

use holdfast_protocol_model::{AT_MOST_ONE, SetBack, TokenRule, counterexample, exhaust};

fn world(rule: TokenRule) -> SetBack {
    SetBack {
        rule,
        late: false,
        settled: false,
    }
}

fn found(model: SetBack) {
    match counterexample(model, AT_MOST_ONE) {
        Some(way) => println!("{model:?}, {} steps: {way:?}", way.len()),
        None => panic!("{model:?} holds"),
    }
}

#[test]
fn a_claim_that_etcd_knows_of_may_be_followed() {
    let seen = exhaust(world(TokenRule::Known));
    println!("set back: {} states, {} steps", seen.states, seen.steps);
    assert!(seen.found.is_empty());
}

#[test]
fn a_higher_number_alone_does_not_hold() {
    for rule in [TokenRule::Any, TokenRule::Higher, TokenRule::HigherOrStop] {
        found(world(rule));
    }
}

/// A claim is a write, not a compare: one that lands late hides the newer one, until its holder looks.
#[test]
fn a_late_claim_hides_a_newer_one_until_its_holder_writes_it_again() {
    let late = SetBack {
        late: true,
        ..world(TokenRule::Known)
    };
    found(late);
    let settled = exhaust(SetBack {
        settled: true,
        ..late
    });
    println!(
        "late claims: {} states, {} steps",
        settled.states, settled.steps
    );
    assert!(settled.found.is_empty());
}
