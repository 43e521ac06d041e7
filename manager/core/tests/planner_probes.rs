//! Probes: what makes a host suspect, and what contradicts it.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use holdfast_core::planner::plan;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_core::verify::{Rule, verify};
use holdfast_model::fence::Evidence;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{GuardState, Membership, StoragePlane};
use holdfast_model::id::Revision;
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::{Plan, Write};
use holdfast_model::power::PowerState;
use holdfast_model::probe::{Heard, Silence, Vantage};
use holdfast_model::time::Instant;
use holdfast_model::world::World;

/// `web` runs on a1, which has a device that is asked on suspicion. The leader is m1.
fn lost() -> World {
    let mut world = two_sites();
    running(&mut world, "web", "a", 10, "a1");
    world.policy_mut().fencing.on_suspicion = true;
    let device = FenceDevice::by_agent(name("fence_ipmilan"), Default::default(), 20_000);
    world
        .policy_mut()
        .fencing
        .devices
        .insert(name("a1"), device);
    world
}

fn vantage<'w>(world: &'w mut World, by: &str, site: &str) -> &'w mut Vantage {
    world.probes.entry(name(by)).or_insert_with(|| Vantage {
        site: name(site),
        silent: Default::default(),
        heard: Default::default(),
    })
}

/// A manager has asked a1 in vain for so long.
fn in_vain(world: &mut World, by: &str, site: &str, ms: u64) {
    let silence = Silence {
        incarnation: name("i1"),
        since: Instant(world.now.0 - ms),
        for_ms: ms,
    };
    let silent = &mut vantage(world, by, site).silent;
    silent.insert(name("a1"), silence);
}

/// a1 has answered the leader.
fn heard(world: &mut World, asked_at: Instant, at: Instant) {
    let heard = Heard {
        incarnation: name("i1"),
        asked_at,
        at,
    };
    vantage(world, "m1", "b").heard.insert(name("a1"), heard);
}

/// It is lost as two sites see it, its last heartbeat a moment before its last answer.
fn two_see_it(world: &mut World) {
    silent(world, "a1", 1_300);
    in_vain(world, "m1", "b", 1_000);
    in_vain(world, "m-w", "w", 900);
}

fn membership(world: &World) -> Membership {
    let state = world.hosts[&name::<holdfast_model::id::HostName>("a1")]
        .state
        .as_ref();
    state.unwrap().value.membership
}

/// What follows at this instant: whether it is suspect, and whether its device is asked.
fn follows(world: &World) -> (bool, bool) {
    let mut world = world.clone();
    let asks = !plan(&world).asks.is_empty();
    settle(&mut world);
    (membership(&world) == Membership::Suspect, asks)
}

#[test]
fn two_sites_that_ask_in_vain_make_a_host_suspect_within_a_second() {
    let mut world = lost();
    two_see_it(&mut world);
    assert_eq!(follows(&world), (true, true));
    settle(&mut world);
    let state = world.hosts[&name::<holdfast_model::id::HostName>("a1")]
        .state
        .clone();
    assert_eq!(
        state.unwrap().value.reason,
        "no heartbeat for 1.3 s, no answer to probes of m-w at w for 0.9 s and m1 at b for 1.0 s"
    );
    assert_eq!(evidence(&world, "a1", "i1"), None, "it is no evidence");
    assert_eq!(holder(&world, "web"), "a1");
    // It takes nothing new, without a word of what its session has long said.
    vm(&mut world, "new", "a", 10, 512);
    settle(&mut world);
    assert_eq!(holder(&world, "new"), "a2");
    world.policy_mut().fencing.on_suspicion = false;
    assert_eq!(follows(&world), (true, false));
}

#[test]
fn a_device_that_answers_at_once_brings_its_vms_back_before_its_heartbeat_is_missed() {
    let mut world = lost();
    two_see_it(&mut world);
    let asked = plan(&world);
    assert_eq!(verify(&world, &asked), []);
    let mut book = PowerBook::default();
    book.asked(&asked.asks[0], world.now);
    world.now = world.now.plus(20);
    let (read_at, state) = (world.now, PowerState::Off);
    book.answered(&asked.asks[0], PowerAnswer { read_at, state }, world.now);
    book.look(&world);
    world.power = book.readings().clone();
    settle(&mut world);
    let by = "a1".to_owned();
    assert_eq!(
        evidence(&world, "a1", "i1"),
        Some(Evidence::PoweredOff { by })
    );
    assert_eq!(holder(&world, "web"), "a2");
}

#[test]
fn no_wait_is_shorter_for_it() {
    let mut world = lost();
    world.policy_mut().fencing.devices.clear();
    two_see_it(&mut world);
    silent(&mut world, "a1", 5_499);
    in_vain(&mut world, "m1", "b", 5_400);
    in_vain(&mut world, "m-w", "w", 5_400);
    settle(&mut world);
    assert_eq!(evidence(&world, "a1", "i1"), None);
    silent(&mut world, "a1", 5_500);
    settle(&mut world);
    assert_ne!(evidence(&world, "a1", "i1"), None);
}

type Change = fn(&mut World);

#[test]
fn whatever_contradicts_it_drops_it() {
    let not: [(&str, Change); 12] = [
        ("one manager alone", |w| drop(w.probes.remove(&name("m-w")))),
        ("two of one site", |w| {
            vantage(w, "m-w", "w").site = name("b")
        }),
        ("one not for long enough", |w| in_vain(w, "m-w", "w", 799)),
        ("the leader hears it", |w| heard(w, w.now, w.now)),
        ("its heartbeat is not overdue", |w| silent(w, "a1", 1_249)),
        ("two others, and the leader hears it", |w| {
            in_vain(w, "m-a", "a", 900);
            heard(w, Instant(w.now.0 - 700), Instant(w.now.0 - 700));
        }),
        ("a heartbeat after they fell silent", |w| {
            in_vain(w, "m1", "b", 1_700);
            in_vain(w, "m-w", "w", 1_700);
        }),
        ("said long ago", |w| {
            silent(w, "a1", 2_499);
            w.policy_mut().timing.suspect_after_ms = Some(9_000);
            w.policy_mut().timing.taker_wait_ms = Some(20_000);
            w.policy_mut().timing.probe_suspect_ms = Some(800);
            in_vain(w, "m-w", "w", 9_800);
        }),
        ("another life", |w| {
            let silence = vantage(w, "m-w", "w").silent.get_mut(&name("a1"));
            silence.unwrap().incarnation = name("i0");
        }),
        ("switched off", |w| {
            w.policy_mut().timing.probe_suspect_ms = Some(0)
        }),
        ("the leader has looked away", |w| {
            let silence = vantage(w, "m1", "b").silent.get_mut(&name("a1"));
            silence.unwrap().for_ms = 500;
        }),
        ("the leader's own view is new", |w| {
            w.view_since = Instant(w.now.0 - 1_000)
        }),
    ];
    for (why, change) in not {
        let mut world = lost();
        two_see_it(&mut world);
        change(&mut world);
        assert_eq!(follows(&world), (false, false), "{why}");
    }
    // Two others do, where the leader has never heard it.
    let mut world = lost();
    two_see_it(&mut world);
    vantage(&mut world, "m1", "b").silent.clear();
    in_vain(&mut world, "m-a", "a", 900);
    assert_eq!(follows(&world), (true, true));
}

#[test]
fn a_host_that_answers_is_not_switched_off_on_suspicion_whatever_its_session_does() {
    let mut world = lost();
    for (slot, host) in ["a1", "b1"].into_iter().enumerate() {
        let session = host_mut(&mut world, host).session.as_mut().unwrap();
        session.value.storage = Some(StoragePlane {
            volume: "v".to_owned(),
            slot: slot as u32,
            class: StorageClass::Quorum,
        });
    }
    silent(&mut world, "a1", 4_900);
    assert_eq!(follows(&world), (true, true));
    // Its agent is stopped; its guard answers.
    heard(&mut world, NOW, NOW);
    assert_eq!(follows(&world), (true, false));
    // What has no storage lease is stopped there by now: switching it off takes nothing from anybody.
    host_mut(&mut world, "a1")
        .session
        .as_mut()
        .unwrap()
        .value
        .storage = None;
    assert_eq!(follows(&world), (true, true));
}

#[test]
fn an_answer_to_what_was_asked_after_the_device_said_off_voids_it_for_good() {
    let mut world = lost();
    two_see_it(&mut world);
    let ask = plan(&world).asks[0].clone();
    let mut book = PowerBook::default();
    book.asked(&ask, world.now);
    let read_at = world.now.plus(500);
    world.now = world.now.plus(600);
    let state = PowerState::Off;
    book.answered(&ask, PowerAnswer { read_at, state }, world.now);
    // One that was asked before may have been on its way when it was switched off.
    let answered = world.now;
    heard(&mut world, read_at, answered);
    book.look(&world);
    assert_eq!(
        book.readings()[&name("a1")][&name("a1")].state,
        PowerState::Off
    );
    heard(&mut world, read_at.plus(1), answered);
    book.look(&world);
    let state = book.readings()[&name("a1")][&name("a1")].state.clone();
    assert!(
        matches!(&state, PowerState::Unknown { reason } if reason.contains("answered probes")),
        "{state:?}"
    );
    world.power = book.readings().clone();
    world.now = world.now.plus(2_000);
    settle(&mut world);
    assert_eq!(evidence(&world, "a1", "i1"), None);
}

#[test]
fn many_hosts_that_only_the_leader_asks_in_vain_hold_the_brake() {
    let mut world = lost();
    two_see_it(&mut world);
    assert_eq!(follows(&world), (true, true));
    for host in ["a2", "b1"] {
        let silence = world.probes[&name("m1")].silent[&name("a1")].clone();
        silent(&mut world, host, 1_100);
        let own = vantage(&mut world, "m1", "b");
        own.silent.insert(name(host), silence);
    }
    assert_eq!(follows(&world), (true, false));
    world.policy_mut().fencing.storm_percent = 100;
    assert_eq!(follows(&world), (true, true));
}

fn refused(world: &World, plan: &Plan, rule: Rule, why: &str) {
    let found = verify(world, plan);
    assert!(found.iter().any(|v| v.rule == rule), "{why}: {found:?}");
}

#[test]
fn the_check_reads_the_probes_by_itself() {
    let mut world = lost();
    two_see_it(&mut world);
    let asks = plan(&world);
    assert!(!asks.asks.is_empty() && !asks.steps.is_empty());
    let wrong: [(&str, Change); 7] = [
        ("one alone", |w| drop(w.probes.remove(&name("m-w")))),
        ("of one site", |w| vantage(w, "m-w", "w").site = name("b")),
        ("not long enough", |w| in_vain(w, "m-w", "w", 700)),
        ("heard", |w| heard(w, w.now, w.now)),
        ("a heartbeat since", |w| silent(w, "a1", 1_000)),
        ("contradicted", |w| in_vain(w, "m-w", "w", 1_800)),
        ("off", |w| w.policy_mut().timing.probe_suspect_ms = Some(0)),
    ];
    for (why, change) in wrong {
        let mut world = world.clone();
        change(&mut world);
        refused(&world, &asks, Rule::SwitchedOffInSilence, why);
        refused(&world, &asks, Rule::SuspectInSilence, why);
    }
    // Nor does anything go to a host of which it says so.
    let mut to = two_sites();
    vm(&mut to, "new", "a", 10, 512);
    let grant = plan(&to);
    let target = grant.steps.iter().flat_map(|step| &step.writes);
    let target = target.filter_map(|write| match write {
        Write::Owner { owner, .. } => owner.holder.clone(),
        _ => None,
    });
    assert_eq!(target.map(|r| r.host.to_string()).next().unwrap(), "a1");
    two_see_it(&mut to);
    refused(&to, &grant, Rule::FitTarget, "it is suspect");
    // And no reading is believed that the host itself contradicts.
    let mut book = PowerBook::default();
    book.asked(&asks.asks[0], world.now);
    let (read_at, state) = (world.now, PowerState::Off);
    book.answered(&asks.asks[0], PowerAnswer { read_at, state }, world.now);
    world.power = book.readings().clone();
    let closing = plan(&world);
    assert_eq!(verify(&world, &closing), []);
    assert!(!closing.steps.is_empty());
    heard(&mut world, NOW.plus(1), NOW.plus(1));
    refused(&world, &closing, Rule::ClosedByEvidence, "it answers");
    // A host whose session was renewed meanwhile is another matter altogether.
    let session = host_mut(&mut world, "a1").session.as_mut().unwrap();
    (session.revision, session.value.guard) = (Revision(900), GuardState::Working);
    refused(&world, &closing, Rule::ClosedByEvidence, "renewed");
}
