//! When the planner gives nothing up although hosts are silent.

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_model::host::Membership;
use holdfast_model::plan::Subject;
use holdfast_model::time::Instant;
use holdfast_model::world::World;

/// Three of four hosts, at both sites, fell silent so long ago, and are suspect for it.
fn storm(ms: u64) -> World {
    let mut w = two_sites();
    for host in ["a1", "a2", "b1"] {
        silent(&mut w, host, ms);
        set_membership(&mut w, host, Membership::Suspect, ms - 2_500);
    }
    w
}

fn set_membership(w: &mut World, host: &str, membership: Membership, ms: u64) {
    let at = Instant(w.now.0 - ms);
    let state = host_mut(w, host).state.as_mut().unwrap();
    state.value.membership = membership;
    state.seen_at = at;
}

fn holds(w: &World) -> bool {
    let brake = "rather the network than the hosts";
    says(&plan(w), &Subject::Host(name("b1")), brake)
}

#[test]
fn most_hosts_of_both_sites_are_not_given_up_at_first() {
    assert!(holds(&storm(6_000)));
    assert!(holds(&storm(29_999)));
    let mut w = storm(30_000);
    assert!(!holds(&w));
    settle(&mut w);
    assert!(evidence(&w, "b1", "i1").is_some());
}

#[test]
fn one_that_is_back_does_not_give_up_the_rest() {
    // Its heartbeat has come, and nobody has said yet that it is back.
    let mut w = storm(6_000);
    silent(&mut w, "a1", 0);
    assert!(holds(&w));
    // It was said.
    set_membership(&mut w, "a1", Membership::Online, 2_499);
    assert!(holds(&w));
    // That is a while ago: it was two hosts' own trouble.
    set_membership(&mut w, "a1", Membership::Online, 2_500);
    assert!(!holds(&w));
}

#[test]
fn a_sites_loss_is_not_braked() {
    let mut w = two_sites();
    for host in ["a1", "a2"] {
        silent(&mut w, host, 6_000);
    }
    settle(&mut w);
    assert!(evidence(&w, "a1", "i1").is_some() && evidence(&w, "a2", "i1").is_some());
}
