//! The check for needless stops on made-up logs.

use std::collections::BTreeMap;

use holdfast_model::time::UnixMs;

use super::*;
use crate::observer::record::{Kind, Record};
use crate::proof::build;

/// The trial begins at 1000, and its VMs run at 2000.
const BEGAN_MS: u64 = 1_000;
const RAN_MS: u64 = 2_000;

fn record(kind: Kind, host: &str, port: u16, life: &str, first_ms: u64, last_ms: u64) -> Record {
    Record {
        vm: "v".into(),
        source: format!("{host}:{port}"),
        kind,
        life: life.into(),
        first_ms,
        last_ms,
        first_unix_ms: 0,
        count: 1,
        counters: None,
    }
}

/// One life in one process, from its first byte to its last.
fn life(host: &str, port: u16, life: &str, first_ms: u64, last_ms: u64) -> [Record; 2] {
    [
        record(Kind::Boot, host, port, "", first_ms, first_ms),
        record(Kind::Beat, host, port, life, first_ms + 50, last_ms),
    ]
}

fn event(kind: EventKind, host: &str, vm: Option<&str>) -> Event {
    Event {
        at: UnixMs(0),
        actor: "m".into(),
        kind,
        host: Some(host.parse().unwrap()),
        site: None,
        vm: vm.map(|vm| vm.parse().unwrap()),
        generation: None,
        text: format!("{} of {host}", kind.word()),
    }
}

fn granted(host: &str) -> Event {
    event(EventKind::VmGranted, host, Some("v"))
}

fn find(records: &[Record], hits: &[(u64, Hit)], events: &[Event]) -> Vec<String> {
    let host_of = |source: &str| source.split(':').next().unwrap_or_default().to_owned();
    let proof = build(records, BTreeMap::new(), &[], host_of);
    let struck = |(at_ms, hit): &(u64, Hit)| Struck {
        at_ms: *at_ms,
        hit: hit.clone(),
    };
    let hits: Vec<Struck> = hits.iter().map(struck).collect();
    let trial = Trial {
        began_ms: BEGAN_MS,
        ran_ms: RAN_MS,
        hits: &hits,
        events,
    };
    needless(&proof, &trial)
}

/// It runs on a1 until 5000, and on b1 from 9000 on.
fn once_anew() -> Vec<Record> {
    [
        life("a1", 5, "b6", 1500, 5000),
        life("b1", 6, "c1", 9000, 12_000),
    ]
    .concat()
}

#[test]
fn a_loss_that_was_made_explains_it() {
    let hits = [(5_010, Hit::host("a1"))];
    let told = [event(EventKind::HostFenced, "a1", None), granted("b1")];
    assert_eq!(find(&once_anew(), &hits, &told), [""; 0]);
}

#[test]
fn a_vm_that_began_anew_for_nothing_is_found() {
    let found = find(&once_anew(), &[], &[granted("b1")]);
    assert!(
        found.len() == 1 && found[0].contains("v was heard last on a1 at 5000 ms"),
        "{found:?}"
    );
    // Nor does what was done to another host, or another VM, explain it.
    for hit in [Hit::host("b1"), Hit::vm("w"), Hit::Records] {
        assert_eq!(
            find(&once_anew(), &[(4_000, hit)], &[granted("b1")]).len(),
            1
        );
    }
}

#[test]
fn what_was_done_long_after_it_stopped_explains_nothing() {
    let late = [(5_001 + SILENCE_MS, Hit::host("a1"))];
    assert_eq!(find(&once_anew(), &late, &[granted("b1")]).len(), 1);
}

#[test]
fn what_was_asked_of_the_vm_itself_explains_it() {
    let hits = [(4_000, Hit::vm("v"))];
    assert_eq!(find(&once_anew(), &hits, &[granted("b1")]), [""; 0]);
}

#[test]
fn a_boot_without_a_grant_is_found() {
    let hits = [(4_000, Hit::host("a1"))];
    let found = find(&once_anew(), &hits, &[]);
    assert_eq!(found, ["v booted anew 1 times and was granted 0 times"]);
    // A guest that resets itself where it is, too.
    let reset = [
        life("a1", 5, "b6", 1500, 5000),
        life("a1", 5, "c1", 5200, 9000),
    ]
    .concat();
    assert_eq!(find(&reset, &[(4_000, Hit::vm("v"))], &[]).len(), 1);
    // More grants than boots: a start failed.
    let twice = [granted("a2"), granted("b1")];
    assert_eq!(find(&once_anew(), &hits, &twice), [""; 0]);
    // Whoever sets the records back has lost what was granted.
    let hits = [(4_000, Hit::host("a1")), (4_000, Hit::Records)];
    assert_eq!(find(&once_anew(), &hits, &[]), [""; 0]);
}

#[test]
fn the_place_before_is_that_of_the_last_sign() {
    // Moved live to a2 and lost there: that a1 was hit is no reason.
    let records = [
        life("a1", 5, "b6", 1500, 3000).to_vec(),
        vec![record(Kind::Beat, "a2", 7, "b6", 3060, 5000)],
        life("b1", 6, "c1", 9000, 12_000).to_vec(),
    ]
    .concat();
    let found = find(&records, &[(2_500, Hit::host("a1"))], &[granted("b1")]);
    assert!(
        found.len() == 1 && found[0].contains("last on a2"),
        "{found:?}"
    );
    assert_eq!(
        find(&records, &[(4_000, Hit::host("a2"))], &[granted("b1")]),
        [""; 0]
    );
}

#[test]
fn running_on_and_moving_live_need_no_reason() {
    let moved = [
        life("a1", 5, "b6", 1500, 3000).to_vec(),
        vec![record(Kind::Beat, "a2", 7, "b6", 3060, 5000)],
    ]
    .concat();
    assert_eq!(find(&moved, &[], &[]), [""; 0]);
}

#[test]
fn earlier_vms_of_that_name_and_starts_are_no_boots_anew() {
    // An earlier trial's, and the first start in this one; then one that is made while it runs.
    let earlier = life("a1", 4, "a0", 100, 900).to_vec();
    let first = [earlier.clone(), life("a2", 5, "b6", 1500, 5000).to_vec()].concat();
    assert_eq!(find(&first, &[], &[]), [""; 0]);
    let made = [earlier, life("a2", 5, "b6", 3000, 5000).to_vec()].concat();
    assert_eq!(find(&made, &[], &[]), [""; 0]);
}

#[test]
fn a_late_word_of_a_boot_is_the_same_boot() {
    let records = [
        life("a1", 5, "b6", 1500, 5000).to_vec(),
        vec![
            record(Kind::Beat, "b1", 6, "c1", 9000, 9000),
            record(Kind::Boot, "b1", 6, "", 9001, 9001),
            record(Kind::Beat, "b1", 6, "c1", 9050, 12_000),
        ],
    ]
    .concat();
    let hits = [(4_000, Hit::host("a1"))];
    assert_eq!(find(&records, &hits, &[granted("b1")]), [""; 0]);
}

#[test]
fn a_host_that_is_given_up_for_nothing_is_found() {
    let told = [
        event(EventKind::HostFenced, "a1", None),
        event(EventKind::SelfFenced, "a2", Some("v")),
        event(EventKind::HostIsolated, "b1", None),
        event(EventKind::HostSuspect, "b2", None),
    ];
    let found = find(&[], &[], &told);
    assert_eq!(found.len(), 2, "{found:?}");
    let hits = [(3_000, Hit::host("a1")), (3_000, Hit::vm("v"))];
    assert_eq!(find(&[], &hits, &told), [""; 0]);
}
