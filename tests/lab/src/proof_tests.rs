//! The proof on made-up logs.

use std::collections::BTreeMap;

use super::*;
use crate::journal::tests::disk;

fn record(kind: Kind, host: u8, port: u16, life: &str, first_ms: u64, last_ms: u64) -> Record {
    Record {
        vm: "v".into(),
        source: format!("10.77.1.{host}:{port}"),
        kind,
        life: life.into(),
        first_ms,
        last_ms,
        first_unix_ms: 0,
        count: 1,
        counters: None,
    }
}

fn boot(host: u8, at_ms: u64) -> Record {
    record(Kind::Boot, host, 5, "", at_ms, at_ms)
}

fn beats(host: u8, life: &str, first_ms: u64, last_ms: u64) -> Record {
    record(Kind::Beat, host, 5, life, first_ms, last_ms)
}

fn prove(records: &[Record]) -> VmProof {
    let host_of = |source: &str| source.split(':').next().unwrap_or_default().to_owned();
    build(records, BTreeMap::new(), &[], host_of).vms.remove(0)
}

fn began(proof: &VmProof) -> Vec<Began> {
    proof.stays.iter().map(|stay| stay.began).collect()
}

#[test]
fn a_restart_is_a_new_life_after_a_gap() {
    let proof = prove(&[
        boot(1, 0),
        beats(1, "b6", 50, 5000),
        boot(2, 9000),
        beats(2, "c1", 9050, 12_000),
    ]);
    assert_eq!(began(&proof), [Began::Started, Began::Restarted]);
    assert_eq!(
        proof.gaps,
        [Gap {
            from_ms: 5000,
            to_ms: 9000,
            length_ms: 4000
        }]
    );
    assert!(proof.overlaps.is_empty());
    assert_eq!(
        (proof.stays[1].first_ms, proof.stays[1].life.as_str()),
        (9000, "c1")
    );
}

#[test]
fn a_migration_is_the_same_life() {
    let proof = prove(&[
        boot(1, 0),
        beats(1, "b6", 50, 5000),
        beats(2, "b6", 5060, 9000),
    ]);
    assert_eq!(began(&proof), [Began::Started, Began::Moved]);
    assert!(proof.overlaps.is_empty() && proof.gaps.is_empty());
}

#[test]
fn a_restart_whose_h_was_lost_is_still_a_restart() {
    let proof = prove(&[beats(1, "b6", 50, 5000), beats(2, "c1", 9000, 9500)]);
    assert_eq!(began(&proof), [Began::Started, Began::Restarted]);
}

#[test]
fn a_reset_in_place_is_a_restart() {
    let proof = prove(&[
        boot(1, 0),
        beats(1, "b6", 50, 5000),
        boot(1, 5100),
        beats(1, "b7", 5200, 6000),
    ]);
    assert_eq!(began(&proof), [Began::Started, Began::Restarted]);
    assert!(proof.overlaps.is_empty());
}

#[test]
fn a_late_datagram_is_no_overlap() {
    let proof = prove(&[beats(1, "b6", 50, 5065), beats(2, "b6", 5060, 9000)]);
    assert!(proof.overlaps.is_empty());
}

#[test]
fn two_copies_beating_in_turn_overlap() {
    let proof = prove(&[
        boot(1, 0),
        beats(1, "b6", 50, 300),
        beats(1, "b6", 350, 600),
        boot(2, 400),
        beats(2, "c1", 450, 700),
    ]);
    assert_eq!(proof.overlaps.len(), 1);
    assert!(
        proof.overlaps[0].text.contains("still heard 200 ms after"),
        "{:?}",
        proof.overlaps
    );
}

#[test]
fn a_copy_that_wakes_up_later_overlaps() {
    // Frozen at 1000, the other ran 5000 to 6000 and was gone, thawed at 9000.
    let proof = prove(&[
        beats(1, "b6", 50, 1000),
        boot(2, 5000),
        beats(2, "c1", 5050, 6000),
        beats(1, "b6", 9000, 9000),
    ]);
    assert_eq!(proof.overlaps.len(), 1);
}

#[test]
fn a_single_beat_of_a_second_copy_overlaps() {
    let proof = prove(&[beats(1, "b6", 0, 9000), boot(2, 5000)]);
    assert_eq!(proof.overlaps.len(), 1);
}

#[test]
fn silence_proves_nothing() {
    let proof = build(&[], BTreeMap::new(), &[], str::to_owned);
    assert!(!proof.heard() && !proof.holds());
    assert!(build(&[boot(1, 0)], BTreeMap::new(), &[], str::to_owned).holds());
}

#[test]
fn a_guest_that_was_never_heard_is_listed() {
    let proof = build(&[boot(1, 0)], BTreeMap::new(), &["w".into()], str::to_owned);
    assert!(proof.holds());
    assert_eq!(proof.never_heard().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn the_disk_is_asked_too() {
    let mut said = record(Kind::Journal, 1, 5, "x", 100, 900);
    said.counters = Some((1, 4));
    let with_disk = |records: &[(&str, u64)]| {
        let journal = Journal::parse(&disk(records, 16)).unwrap();
        let journals = BTreeMap::from([("v".to_owned(), journal)]);
        build(std::slice::from_ref(&said), journals, &[], str::to_owned)
    };
    assert!(with_disk(&[("x", 1), ("x", 2), ("x", 3), ("x", 4)]).holds());
    // Two records said to be durable are not there.
    assert_eq!(with_disk(&[("x", 1), ("x", 2)]).lost_writes, 2);
    // Another boot wrote in between.
    assert_eq!(
        with_disk(&[("x", 1), ("y", 2), ("x", 3), ("y", 4)]).overlaps,
        2
    );
}
