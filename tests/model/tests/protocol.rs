//! The protocol as it should be: no law is broken in any reachable state, what should be possible is,
//! and nothing is stuck.

use holdfast_protocol_model::{
    AT_MOST_ONE, Action, Begin, Bug, Bugs, Class, EVIDENCE, FAILED_OVER, GRANTED, Protocol,
    RELEASED, REOPENED, Start, State, always_leads_to, exhaust,
};

const QUORUM: Protocol = Protocol {
    bugs: Bugs::NONE,
    class: Class::Quorum,
    begin: Begin::Running,
    managers: 1,
    mail: false,
    ghosts: false,
};

/// No law is broken; these things happen. Prints the size, which `docs/protocol-model.md` cites.
fn holds(name: &str, model: Protocol, happens: &[&'static str]) {
    let seen = exhaust(model);
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1} s",
        seen.states,
        seen.steps,
        seen.depth,
        seen.took.as_secs_f64()
    );
    for law in [AT_MOST_ONE, GRANTED, EVIDENCE] {
        assert!(!seen.found.contains(&law), "{name}: broken: {law}");
    }
    let mut happens = happens.to_vec();
    happens.sort_unstable();
    assert_eq!(seen.found, happens, "{name}");
}

#[test]
fn a_lease_on_quorum_storage() {
    let all = [FAILED_OVER, RELEASED, REOPENED];
    let two = Protocol {
        managers: 2,
        ..QUORUM
    };
    holds("quorum, two managers", two, &all);
    let start = Protocol {
        begin: Begin::Granted,
        mail: true,
        ..QUORUM
    };
    holds("quorum, from the start, release asked", start, &all);
    let ghosts = Protocol {
        mail: true,
        ghosts: true,
        ..QUORUM
    };
    holds("quorum, release asked, late heartbeats", ghosts, &all);
}

#[test]
fn the_control_plane_alone_beside_leased_vms() {
    let start = Protocol {
        class: Class::Plain,
        begin: Begin::Granted,
        ..QUORUM
    };
    holds("plain, from the start", start, &[FAILED_OVER, RELEASED]);
    let mail = Protocol {
        class: Class::Plain,
        mail: true,
        ..QUORUM
    };
    holds("plain, release asked", mail, &[FAILED_OVER, RELEASED]);
}

#[test]
fn no_storage_lease_at_all() {
    let alone = Protocol {
        class: Class::Alone,
        begin: Begin::Granted,
        managers: 2,
        ..QUORUM
    };
    holds(
        "no storage lease, from the start, two managers",
        alone,
        &[FAILED_OVER, RELEASED],
    );
}

fn runs_again(s: &State) -> bool {
    s.taker.start == Start::Running
}

#[test]
fn host_1_may_fall_silent_at_any_moment_and_the_vm_starts_elsewhere() {
    for class in [Class::Alone, Class::Plain, Class::Quorum] {
        let model = Protocol {
            class,
            ghosts: class == Class::Quorum,
            ..QUORUM
        };
        let led = always_leads_to(
            &model,
            |action: &Action| action.is_without_host_1(),
            runs_again,
        );
        let states = led.unwrap_or_else(|way| panic!("{class:?}: stuck after {way:?}"));
        println!("{class:?}: from each of {states} states the VM starts elsewhere");
    }
}

/// A heartbeat that lands after it was read makes the taker refuse, for good unless the final record
/// may be written again.
#[test]
fn without_a_renewed_record_a_late_heartbeat_keeps_the_vm_down() {
    let model = Protocol {
        bugs: Bugs::of(&[Bug::CounterNamedOnce]),
        ..QUORUM
    };
    let led = always_leads_to(
        &model,
        |action: &Action| action.is_without_host_1(),
        runs_again,
    );
    let way = led.expect_err("no state is stuck");
    println!("stuck after {way:?}");
}
