//! The seeds of the fuzz targets (`fuzz/corpus`), through the same functions that `cargo fuzz` calls,
//! and what comes of changing them at random. `UPDATE_GOLDEN=1` writes the files anew.
//!
//! The files are also the format as it was: a program that no longer writes the same bytes, or no
//! longer reads them, fails here.
#![allow(clippy::unwrap_used)]

#[path = "corpus/seeds.rs"]
mod seeds;

use holdfast_lease::fuzzing::{self, HeadSeen};
use holdfast_lease::sector::{Place, decode};
use holdfast_model::lease::Kind;
use proptest::prelude::*;
use seeds::{NUMBER, Seed, heads, sectors, volume};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Once;

/// All of it lies in git, for ever.
const BYTES_MAX: usize = 300_000;

fn dir(target: &str) -> PathBuf {
    // Where several checkouts share a target directory, another one may have built this.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    own.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
        .join("fuzz/corpus")
        .join(target)
}

/// Every file that is there, by its name.
fn files(target: &str) -> BTreeMap<String, Vec<u8>> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            update("sector", &sectors());
            update("head", &heads());
        }
    });
    let dir = dir(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

/// What a run of the fuzzer found has no name of that kind, and stays where it was found.
fn is_seed(name: &str) -> bool {
    name.starts_with("good-") || name.starts_with("bad-")
}

/// Before anything else looks at them.
fn update<S>(target: &str, seeds: &[Seed<S>]) {
    let dir = dir(target);
    std::fs::create_dir_all(&dir).unwrap();
    let there = std::fs::read_dir(&dir).unwrap().map(Result::unwrap);
    for old in there.filter(|old| is_seed(old.file_name().to_str().unwrap())) {
        std::fs::remove_file(old.path()).unwrap();
    }
    for seed in seeds {
        std::fs::write(dir.join(&seed.name), &seed.bytes).unwrap();
    }
}

fn are_there<S>(target: &str, seeds: &[Seed<S>]) {
    let mut found = files(target);
    found.retain(|name, _| is_seed(name));
    let wanted: BTreeMap<String, Vec<u8>> = (seeds
        .iter()
        .map(|seed| (seed.name.clone(), seed.bytes.clone())))
    .collect();
    assert!(!wanted.is_empty() && wanted.len() == seeds.len(), "names");
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "UPDATE_GOLDEN=1 writes them");
    for (name, bytes) in &wanted {
        assert!(found[name] == *bytes, "{target}/{name} has other bytes now");
    }
}

#[test]
fn the_corpus_is_what_the_seeds_make() {
    are_there("sector", &sectors());
    are_there("head", &heads());
    let seeds = ["sector", "head"].map(files).into_iter().flatten();
    let sizes = seeds.filter_map(|(name, bytes)| is_seed(&name).then_some(bytes.len()));
    assert!(sizes.sum::<usize>() < BYTES_MAX);
}

#[test]
fn every_file_of_the_corpus_keeps_the_promises() {
    let (sectors, heads) = (files("sector"), files("head"));
    assert!(!sectors.is_empty() && !heads.is_empty(), "no corpus");
    for (name, bytes) in sectors {
        let seen = fuzzing::sector(&bytes).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        if is_seed(&name) {
            assert_eq!(seen.believed.is_some(), name.starts_with("good-"), "{name}");
        }
    }
    for (name, bytes) in heads {
        fuzzing::head(&bytes).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    }
}

#[test]
fn every_seed_is_what_its_name_says() {
    let seeds = sectors();
    for kind in fuzzing::KINDS {
        for size in fuzzing::SIZES {
            let is_it = |seed: &Seed<_>| {
                fuzzing::sector(&seed.bytes).unwrap().believed == Some((kind, size))
            };
            assert!(seeds.iter().any(is_it), "no {kind} of {size} bytes");
        }
    }
    for Seed { name, bytes, says } in seeds {
        let Some((kind, says)) = says else { continue };
        let size = match bytes.len() {
            4096 => 4096,
            _ => 512,
        };
        let place = Place {
            volume: volume(7),
            number: NUMBER,
            kind,
            size,
        };
        let error = decode(&bytes, &place).expect_err(&name).to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
    for Seed { name, bytes, says } in heads() {
        let [first, copy] = says;
        let seen = fuzzing::head(&bytes).unwrap();
        assert_eq!(seen, HeadSeen { first, copy }, "{name}");
        assert_eq!(first || copy, name.starts_with("good-"), "{name}");
    }
}

/// A run of bytes somewhere, and what they become.
fn change() -> impl Strategy<Value = (prop::sample::Index, Vec<u8>)> {
    let values = prop_oneof![
        any::<u8>(),
        Just(0),
        Just(1),
        Just(63),
        Just(64),
        Just(0xff)
    ];
    (
        any::<prop::sample::Index>(),
        prop::collection::vec(values, 1..=4),
    )
}

fn changed(mut bytes: Vec<u8>, changes: Vec<(prop::sample::Index, Vec<u8>)>) -> Vec<u8> {
    for (at, values) in changes {
        // The record, mostly: what is behind it is 90 % of a large sector.
        let at = at.index(bytes.len().clamp(1, 480));
        for (byte, value) in bytes.iter_mut().skip(at).zip(values) {
            *byte = value;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn changed_sectors_keep_the_promises(
        seed in prop::sample::select(sectors()),
        changes in prop::collection::vec(change(), 1..6),
        to in prop::option::weighted(0.1, 0..5000usize),
    ) {
        let mut bytes = changed(seed.bytes.clone(), changes);
        if let Some(length) = to {
            bytes.resize(length, 0);
        }
        let seen = fuzzing::sector(&bytes).map_err(|broken| TestCaseError::fail(broken.to_string()))?;
        // Nobody made the checksum right: only what was not changed at all is believed.
        prop_assert!(seen.believed.is_none() || bytes == seed.bytes, "{}", seed.name);
        if bytes.len() >= 64 {
            fuzzing::sum(&mut bytes);
            let seen = fuzzing::sector(&bytes);
            seen.map_err(|broken| TestCaseError::fail(broken.to_string()))?;
        }
    }

    #[test]
    fn changed_heads_keep_the_promises(
        seed in prop::sample::select(heads()),
        changes in prop::collection::vec(change(), 1..6),
        to in prop::option::weighted(0.1, 0..9000usize),
    ) {
        let mut bytes = changed(seed.bytes, changes);
        if let Some(length) = to {
            bytes.resize(length, 0);
        }
        fuzzing::head(&bytes).map_err(|broken| TestCaseError::fail(broken.to_string()))?;
    }
}

/// A fuzzer that never got past the header would be content with anything.
#[test]
fn made_right_bytes_do_reach_the_records() {
    let free = [0; 512];
    let seen = fuzzing::sector(&free).unwrap();
    // A superblock is never empty; the other three kinds are, at both sizes.
    assert_eq!((seen.believed, seen.mended), (None, 6));
    for seed in sectors() {
        if let Some((Kind::Claim, _)) = fuzzing::sector(&seed.bytes).unwrap().believed {
            assert!(
                fuzzing::sector(&seed.bytes).unwrap().mended >= 2,
                "{}",
                seed.name
            );
        }
    }
}
