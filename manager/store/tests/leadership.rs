//! Leadership under everything that can go wrong on the line: pauses, lost and late calls, deaf
//! standbys. The ground truth is the store's own history.

mod simulated;

use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::guarded::Ask;
use holdfast_store::keyspace::Key;
use proptest::prelude::*;
use simulated::managers::{MANAGERS, PACE, World};
use simulated::{FATES, Fate};

fn step(world: &mut World, (kind, who, argument): (u8, usize, usize)) {
    match kind {
        0..=3 => world.line.now = world.line.now.plus(argument as u64 % 400),
        4..=8 => world.poll(who),
        9..=12 => world.deliver(who, Fate::Fine),
        13 => world.deliver(who, FATES[argument % FATES.len()]),
        14..=16 => world.observe(who),
        17 => world.managers[who].view_since = None,
        18 => world.work(who, argument % 2 == 0),
        19 => world.line.arrive(argument),
        22 => world.managers[who].stand_back_ms = argument as u64 % 700,
        // The caller gave the call up; whether it was carried out is open.
        20 => {
            if let Some(ask) = world.managers[who].call.take() {
                let _ = world.line.call(&ask, FATES[argument % FATES.len()]);
            }
        }
        // A shutdown and a new life.
        _ => {
            let now = world.line.now;
            if let Some(txn) = world.managers[who].machine.release(now) {
                world.line.apply(txn);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_deposed_leader_ever_writes(
        steps in prop::collection::vec((0_u8..24, 0..MANAGERS, 0_usize..10_000), 1..300)
    ) {
        let mut world = World::new();
        for one in steps {
            step(&mut world, one);
            world.check();
        }
        world.settle();
        world.check();
    }
}

/// A world in which manager 0 leads and all have seen it.
fn led() -> World {
    let mut world = World::new();
    world.observe(0);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    (0..MANAGERS).for_each(|who| world.observe(who));
    assert!(world.managers[0].machine.is_sure(world.line.now));
    world
}

fn wait(world: &mut World, ms: u64) {
    world.line.now = world.line.now.plus(ms);
}

#[test]
fn a_paused_leader_finds_its_writes_refused() {
    let mut world = led();
    let old = world.managers[0].machine.epoch().expect("it leads");
    // It stands still; a standby's own clock says when.
    wait(&mut world, PACE.wait_ms - 1);
    world.poll(1);
    assert_eq!(world.managers[1].call, None, "a moment early");
    wait(&mut world, 1);
    world.poll(1);
    world.deliver(1, Fate::Fine);
    let new = world.managers[1].machine.epoch().expect("it took over");
    assert!(new > old);
    // It goes on where it was and has noticed nothing.
    assert_eq!(world.managers[0].machine.epoch(), Some(old));
    assert!(
        !world.managers[0].machine.is_sure(world.line.now),
        "but it knows that it was away"
    );
    let guarded = Txn {
        compares: vec![Compare::Revision(Key::LeaderEpoch.path(), old)],
        ops: vec![TxnOp::Put("/work".into(), vec![])],
    };
    assert!(matches!(world.line.apply(guarded), TxnOutcome::Refused(_)));
    world.poll(0);
    world.deliver(0, Fate::Fine);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    assert_eq!(
        world.managers[0].machine.epoch(),
        None,
        "its renewal told it"
    );
}

#[test]
fn a_renewal_the_standby_has_not_seen_stops_its_takeover() {
    let mut world = led();
    wait(&mut world, PACE.wait_ms);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    // Manager 1's watch is slow: to it the leader is silent.
    world.poll(1);
    assert!(matches!(world.managers[1].call, Some(Ask::Txn(_))));
    world.deliver(1, Fate::Fine);
    assert_eq!(world.managers[1].machine.epoch(), None);
    assert!(world.managers[0].machine.is_sure(world.line.now));
}

#[test]
fn a_takeover_without_an_answer_is_resolved_by_reading() {
    for (fate, taken) in [(Fate::ReplyLost, true), (Fate::RequestLost, false)] {
        let mut world = led();
        wait(&mut world, PACE.wait_ms);
        world.poll(1);
        world.deliver(1, fate);
        world.poll(1);
        assert!(
            matches!(world.managers[1].call, Some(Ask::Read(_))),
            "{fate:?}"
        );
        world.deliver(1, Fate::Fine);
        assert_eq!(
            world.managers[1].machine.epoch().is_some(),
            taken,
            "{fate:?}"
        );
        world.check();
    }
}

#[test]
fn an_outage_of_the_store_is_nobodys_silence() {
    let mut world = led();
    world.managers[1].view_since = None;
    wait(&mut world, 60_000);
    world.poll(1);
    assert_eq!(world.managers[1].call, None, "deaf");
    world.observe(1);
    world.poll(1);
    assert_eq!(
        world.managers[1].call, None,
        "it hears again, and waits from here"
    );
    wait(&mut world, PACE.wait_ms);
    world.poll(1);
    assert!(matches!(world.managers[1].call, Some(Ask::Txn(_))));
}

#[test]
fn a_lead_given_up_is_taken_without_waiting() {
    let mut world = led();
    wait(&mut world, 10);
    let now = world.line.now;
    let release = world.managers[0].machine.release(now).expect("it leads");
    assert!(matches!(
        world.line.apply(release),
        TxnOutcome::Committed(_)
    ));
    (0..MANAGERS).for_each(|who| world.observe(who));
    world.poll(0);
    assert_eq!(
        world.managers[0].call, None,
        "the one that gave it up stands back"
    );
    world.poll(1);
    world.deliver(1, Fate::Fine);
    assert!(world.managers[1].machine.is_sure(world.line.now));
    world.check();
}

#[test]
fn one_that_stands_back_leads_if_nobody_else_does() {
    const BACK_MS: u64 = 700;
    // Nobody gives the lead up, or the leader does.
    for gives_up in [false, true] {
        let mut world = led();
        world.managers[1].stand_back_ms = BACK_MS;
        let mut due = PACE.wait_ms;
        if gives_up {
            due = 0;
            let now = world.line.now;
            let release = world.managers[0].machine.release(now).expect("it leads");
            world.line.apply(release);
            (0..MANAGERS).for_each(|who| world.observe(who));
        }
        world.poll(1);
        wait(&mut world, due + BACK_MS - 1);
        world.poll(1);
        assert_eq!(world.managers[1].call, None, "it leaves the other one time");
        world.poll(2);
        let Some(Ask::Txn(_)) = world.managers[2].call.take() else {
            panic!("the other one would lead by now");
        };
        wait(&mut world, 1);
        world.poll(1);
        world.deliver(1, Fate::Fine);
        assert!(
            world.managers[1].machine.is_sure(world.line.now),
            "and does not wait for ever"
        );
        world.check();
    }
}

#[test]
fn records_that_cannot_be_read_neither_block_nor_cause_a_takeover() {
    let mut world = World::new();
    let garbage = |key: Key| TxnOp::Put(key.path(), b"{\"from\": \"the future\"}".to_vec());
    let ops = vec![garbage(Key::LeaderEpoch), garbage(Key::LeaderHeartbeat)];
    world.line.apply(Txn {
        compares: vec![],
        ops,
    });
    world.observe(1);
    assert_eq!(world.managers[1].view.unreadable.len(), 2);
    wait(&mut world, PACE.wait_ms - 1);
    world.poll(1);
    assert_eq!(
        world.managers[1].call, None,
        "somebody renews it, for all we know"
    );
    wait(&mut world, 1);
    world.poll(1);
    world.deliver(1, Fate::Fine);
    assert!(world.managers[1].machine.epoch().is_some());
}

#[test]
fn an_epoch_that_is_not_its_own_any_more_ends_a_lead() {
    let mut world = led();
    // Not by a takeover, which writes both keys: somebody touched this one alone.
    let ops = vec![TxnOp::Put(Key::LeaderEpoch.path(), b"{}".to_vec())];
    world.line.apply(Txn {
        compares: vec![],
        ops,
    });
    wait(&mut world, PACE.renew_ms);
    for _ in 0..2 {
        world.poll(0);
        world.deliver(0, Fate::Fine);
    }
    assert_eq!(
        world.managers[0].machine.epoch(),
        None,
        "its writes are refused, so it must know"
    );
}
