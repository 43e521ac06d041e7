//! What is kept, what makes room, and what is in it.

use super::*;
use holdfast_model::advice::{Candidate, Fallback, Labels, Peer, Score, VmFacts};
use serde_json::Value;
use std::collections::BTreeSet;
use std::str::FromStr;

fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    T::from_str(text).expect("a name")
}

fn question(vm: &str, hosts: &[&str]) -> Question {
    let labels = Arc::new(Labels::from([("rack".to_owned(), "r1".to_owned())]));
    let candidate = |host: &&str| Candidate {
        host: name(host),
        site: Some(name("a")),
        labels: Arc::clone(&labels),
        memory_mib: 4_096,
        memory_free_mib: 2_048,
        vcpus: 4,
        vcpus_used: 1,
        vms: 1,
    };
    Question {
        vm: VmFacts {
            name: name(vm),
            memory_mib: 256,
            vcpus: 1,
            priority: 0,
            preferred_site: Some(name("a")),
            group: Some("web".to_owned()),
            labels: (*labels).clone(),
            peers: vec![Peer {
                name: name("other"),
                host: name("a1"),
                site: Some(name("a")),
                labels: Arc::clone(&labels),
            }],
            last_host: Some(name("a1")),
            live: false,
        },
        candidates: hosts.iter().map(candidate).collect(),
    }
}

fn advice(extension: &str, said: Said) -> Advice {
    Advice {
        extension: name(extension),
        version: "0.1.0".to_owned(),
        said,
    }
}

fn answer(score: f64) -> Said {
    Said::Answer {
        refusals: vec![None],
        scores: vec![Score::new(score).expect("a score")],
    }
}

fn nothing(reason: &str) -> Said {
    Said::Nothing {
        reason: reason.to_owned(),
        then: Fallback::Closed,
    }
}

/// What a decision asked.
fn noted(asked: &[(&str, Said)]) -> Noted {
    let noting = Noting::default();
    for (vm, said) in asked {
        noting.hear(&question(vm, &["a1"]), &[advice("rule", said.clone())]);
    }
    noting.end()
}

fn here(decisions: &Decisions) -> DecisionsHere {
    decisions.about(&name("rule"), &name("m-a"))
}

fn vms(here: &DecisionsHere) -> Vec<String> {
    let each = here.decisions.iter();
    each.map(|each| each.question.vm.name.to_string()).collect()
}

#[test]
fn the_same_once_more_is_counted_and_the_newest_is_last() {
    let decisions = Decisions::default();
    let first = noted(&[("web", answer(1.0)), ("db", nothing("not asked for 9 s"))]);
    decisions.take_in(first, UnixMs(1));
    // The same answer; and none, in other words.
    let again = noted(&[("db", nothing("not asked for 8 s")), ("web", answer(1.0))]);
    decisions.take_in(again, UnixMs(2));
    let told = here(&decisions);
    assert_eq!(vms(&told), ["db", "web"]);
    for each in &told.decisions {
        let counted = (each.since, each.at, each.times);
        assert_eq!(counted, (UnixMs(1), UnixMs(2), 2));
    }
    assert_eq!(
        told.decisions[0].advice[0].said,
        nothing("not asked for 8 s")
    );
    // Another answer to the same question is another decision.
    decisions.take_in(noted(&[("web", answer(2.0))]), UnixMs(3));
    let told = here(&decisions);
    assert_eq!(vms(&told), ["db", "web", "web"]);
    assert_eq!((told.forgotten, told.missed), (0, 0));
    // Of one that was asked nothing there is nothing.
    let other = decisions.about(&name("other"), &name("m-a"));
    assert!(other.decisions.is_empty());
}

#[test]
fn the_oldest_makes_room_by_number_and_by_bytes() {
    let decisions = Decisions::bounded(2, usize::MAX);
    for (at, vm) in ["vm1", "vm2", "vm3"].into_iter().enumerate() {
        decisions.take_in(noted(&[(vm, answer(1.0))]), UnixMs(at as u64));
    }
    let told = here(&decisions);
    assert_eq!((vms(&told), told.forgotten), (names(&["vm2", "vm3"]), 1));

    let one = bytes(&told.decisions[0]);
    let decisions = Decisions::bounded(usize::MAX, 2 * one + one / 2);
    for vm in ["vm1", "vm2", "vm3", "vm4"] {
        decisions.take_in(noted(&[(vm, answer(1.0))]), UnixMs(1));
    }
    let told = here(&decisions);
    assert_eq!((vms(&told), told.forgotten), (names(&["vm3", "vm4"]), 2));
    let kept: usize = told.decisions.iter().map(|each| bytes(each)).sum();
    assert_eq!(
        decisions.kept().bytes,
        kept,
        "what is counted is what is kept"
    );
    // One that does not fit at all leaves nothing behind, and the next one is taken in.
    let decisions = Decisions::bounded(usize::MAX, one + one / 2);
    let noting = Noting::default();
    noting.hear(
        &question("huge", &["a1"; 40]),
        &[advice("rule", answer(1.0))],
    );
    decisions.take_in(noting.end(), UnixMs(1));
    assert_eq!(
        (vms(&here(&decisions)), decisions.kept().bytes),
        (vec![], 0)
    );
    decisions.take_in(noted(&[("vm1", answer(1.0))]), UnixMs(2));
    assert_eq!(vms(&here(&decisions)), ["vm1"]);
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn noting_down_ends_when_its_time_is_over() {
    let noting = Noting::default();
    noting.took.set(NOTING);
    noting.hear(&question("web", &["a1"]), &[advice("rule", answer(1.0))]);
    let decisions = Decisions::default();
    decisions.take_in(noting.end(), UnixMs(1));
    let told = here(&decisions);
    assert_eq!((told.missed, told.decisions.len()), (1, 0));
}

/// Whoever adds to what extensions are asked adds to what is kept and handed out: it may be nothing secret.
#[test]
fn there_is_nothing_in_it_but_what_extensions_see() {
    let decisions = Decisions::default();
    let both = noted(&[("web", answer(1.0)), ("db", nothing("it trapped"))]);
    decisions.take_in(both, UnixMs(1));
    let told = serde_json::to_value(here(&decisions)).expect("JSON");
    let mut keys = BTreeSet::new();
    collect(&told, &mut keys);
    let known = [
        "advice",
        "at",
        "candidates",
        "decisions",
        "extension",
        "forgotten",
        "group",
        "host",
        "labels",
        "last_host",
        "live",
        "manager",
        "memory_free_mib",
        "memory_mib",
        "missed",
        "name",
        "peers",
        "preferred_site",
        "priority",
        "question",
        "rack",
        "reason",
        "refusals",
        "said",
        "scores",
        "since",
        "site",
        "then",
        "times",
        "vcpus",
        "vcpus_used",
        "version",
        "vm",
        "vms",
    ];
    assert_eq!(keys, known.map(str::to_owned).into());
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => {
            for (key, value) in all {
                keys.insert(key.clone());
                collect(value, keys);
            }
        }
        Value::Array(all) => all.iter().for_each(|each| collect(each, keys)),
        _ => {}
    }
}
