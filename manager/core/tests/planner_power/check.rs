//! What `verify` lets nobody do with fencing devices.

use super::*;

/// A plan that closes a1 by its device, and the world it is right in.
fn closing() -> (World, Plan) {
    let mut world = leased();
    world.policy_mut().fencing.on_suspicion = true;
    silent(&mut world, "a1", 2_600);
    answer(&mut world, &mut PowerBook::default(), PowerState::Off);
    let plan = plan(&world);
    assert_eq!(verify(&world, &plan), []);
    assert!(!plan.steps.is_empty());
    (world, plan)
}

#[test]
fn the_check_believes_no_reading_that_it_cannot_bear_out() {
    let (world, plan) = closing();
    type Change = fn(&mut PowerReading);
    let wrong: [(&str, Change); 8] = [
        ("on", |r| r.state = PowerState::On),
        ("being asked", |r| r.state = PowerState::Asked),
        ("unknown", |r| r.state = unknown("off, probably")),
        ("another life", |r| r.incarnation = name("i0")),
        ("another device", |r| r.device = name("b1")),
        ("another session", |r| r.session_revision = Revision(10)),
        ("read before it was asked", |r| {
            r.read_at = Instant(r.asked_at.0 - 1)
        }),
        ("of the future", |r| r.answered_at = NOW.plus(60_000)),
    ];
    for (why, change) in wrong {
        let mut world = world.clone();
        change(reading(&mut world, "a1"));
        refused(&world, &plan, Rule::ClosedByEvidence, why);
    }
    let mut nobody = world.clone();
    nobody.power.clear();
    refused(&nobody, &plan, Rule::ClosedByEvidence, "nobody was asked");
    // The leader's own view has only just come back: its silence is nobody's.
    let mut blind = world.clone();
    blind.view_since = Instant(blind.now.0 - 100);
    refused(&blind, &plan, Rule::ClosedByEvidence, "not silent yet");
    // It renewed its session meanwhile, and the plan closes the new one.
    let mut renewed = world.clone();
    host_mut(&mut renewed, "a1")
        .session
        .as_mut()
        .unwrap()
        .revision = Revision(500);
    let mut forged = plan.clone();
    for write in forged.steps.iter_mut().flat_map(|step| &mut step.writes) {
        match write {
            Write::CloseSession { expect, .. } => *expect = Revision(500),
            Write::Fence { record, .. } => record.session_revision = Some(Revision(500)),
            _ => {}
        }
    }
    refused(&renewed, &forged, Rule::ClosedByEvidence, "renewed");
    // The record without the closing of the session that it rests on.
    let mut open = plan.clone();
    for step in &mut open.steps {
        step.writes
            .retain(|write| !matches!(write, Write::CloseSession { .. }));
    }
    refused(&world, &open, Rule::ClosedByEvidence, "left open");
}

#[test]
fn the_check_closes_no_second_plane_that_somebody_saw_beat() {
    let mut world = half_closed();
    saw(&mut world, "b1", Found::Quiet { counter: 7 });
    answer(&mut world, &mut PowerBook::default(), PowerState::Off);
    let plan = plan(&world);
    assert_eq!(verify(&world, &plan), []);
    saw(&mut world, "b2", beating());
    refused(&world, &plan, Rule::ClosedByEvidence, "it beats");
}

#[test]
fn the_check_lets_nobody_be_switched_off_that_is_not_silent() {
    let mut world = hasty();
    silent(&mut world, "a1", 2_600);
    let good = plan(&world);
    let rule = Rule::SwitchedOffInSilence;
    type Change = fn(&mut World, &mut PowerAsk);
    let wrong: [(&str, Change); 8] = [
        ("it renews", |w, _| silent(w, "a1", 100)),
        ("not by this policy", |w, _| {
            w.policy_mut().fencing.on_suspicion = false
        }),
        ("no such device", |w, _| {
            w.policy_mut().fencing.devices.clear()
        }),
        ("another host's device", |_, ask| ask.host = name("a2")),
        ("another life", |_, ask| ask.incarnation = name("i0")),
        ("another session", |_, ask| {
            ask.session_revision = Revision(10)
        }),
        ("without a guard", |_, ask| ask.step.writes.clear()),
        ("it is being asked", |w, ask| {
            let mut book = PowerBook::default();
            book.asked(ask, w.now);
            w.power = book.readings().clone();
        }),
    ];
    for (why, change) in wrong {
        let (mut world, mut plan) = (world.clone(), good.clone());
        change(&mut world, &mut plan.asks[0]);
        refused(&world, &plan, rule, why);
    }
    // A closed session alone: its storage lease may keep its VMs running.
    let mut closed = half_closed();
    saw(&mut closed, "b1", Found::Quiet { counter: 7 });
    let ask = Plan {
        asks: vec![asked(&closed)],
        ..Plan::default()
    };
    host_mut(&mut closed, "b1").saw.clear();
    refused(&closed, &ask, rule, "nobody looked");
    saw(&mut closed, "b1", beating());
    refused(&closed, &ask, rule, "it beats");
}
