//! Real guests of every language, good ones and bad ones.

mod common;

use common::*;
use holdfast_extension_host::breaker::BreakerState;
use holdfast_extension_host::{CallError, ExtensionError, Loaded, Placement};
use holdfast_model::advice::{Question, Said, Score};
use holdfast_model::extension::Limits;
use std::time::{Duration, Instant};

fn answer(extension: &Placement, question: &Question) -> (Vec<Option<String>>, Vec<u32>) {
    match extension.ask(question).said {
        Ok(Said::Answer { refusals, scores }) => {
            let scores = scores.into_iter().map(Score::thousandths).collect();
            (refusals, scores)
        }
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn site_affinity_keeps_a_group_apart() {
    let extension = placement("site-affinity", limits());
    let alone = question(4);
    let (_, scores) = answer(&extension, &alone);
    assert_eq!(scores.len(), 4);
    let with_one = with_peer(question(4), 0);
    let (_, after) = answer(&extension, &with_one);
    assert!(
        after[0] < scores[0],
        "where the other is: {scores:?}, then {after:?}"
    );
    assert!(
        after[0] < after[2],
        "at the same site in another rack: {after:?}"
    );
}

#[test]
fn a_rule_in_c_refuses_with_its_reason() {
    let extension = placement("label-match", limits());
    let mut asked = question(2);
    asked.vm.labels = labels(&[("needs", "gpu")]);
    asked.candidates[1].labels = std::sync::Arc::new(labels(&[("gpu", "a100")]));
    let (refusals, scores) = answer(&extension, &asked);
    assert!(scores.is_empty(), "it only filters");
    assert!(
        refusals[0]
            .as_ref()
            .is_some_and(|words| words.contains("gpu")),
        "{refusals:?}"
    );
    assert_eq!(refusals[1], None);
}

#[test]
fn a_scorer_in_javascript_answers_within_its_own_limits() {
    let extension = placement(
        "free-memory",
        Limits {
            memory_mib: 64,
            ..limits()
        },
    );
    let (_, scores) = answer(&extension, &question(3));
    assert!(scores[0] < scores[1] && scores[1] < scores[2], "{scores:?}");
}

#[test]
fn the_same_question_gets_the_same_answer_from_any_instance() {
    let asked = with_peer(question(50), 7);
    let first = answer(&placement("site-affinity", limits()), &asked);
    let other = placement("site-affinity", limits());
    for _ in 0..100 {
        assert_eq!(answer(&other, &asked), first);
    }
}

#[test]
fn an_endless_loop_ends_with_its_cpu_time_and_the_next_call_is_a_fresh_start() {
    let extension = placement(
        "bad-loops",
        Limits {
            wall_ms: 60_000,
            ..limits()
        },
    );
    let begin = Instant::now();
    let asked = extension.ask(&question(2));
    let CallError::CpuTime { used_ms, limit_ms } = asked.said.expect_err("it loops") else {
        panic!("ended by something else");
    };
    assert_eq!(limit_ms, 20);
    assert!(used_ms > 20 && asked.cost.cpu >= Duration::from_millis(20));
    assert!(
        begin.elapsed() < Duration::from_secs(60),
        "not by the clock"
    );
    assert!(matches!(
        extension.ask(&question(2)).said,
        Err(CallError::CpuTime { .. })
    ));
}

#[test]
fn time_by_the_clock_is_a_limit_of_its_own() {
    let extension = placement(
        "bad-loops",
        Limits {
            cpu_ms: 5_000,
            wall_ms: 30,
            ..limits()
        },
    );
    let said = extension.ask(&question(2)).said;
    assert_eq!(
        said.expect_err("it loops"),
        CallError::WallTime { limit_ms: 30 }
    );
}

#[test]
fn memory_without_bound_ends_at_the_limit() {
    let extension = placement(
        "bad-grows",
        Limits {
            cpu_ms: 5_000,
            wall_ms: 60_000,
            ..limits()
        },
    );
    let asked = extension.ask(&question(2));
    let error = asked.said.expect_err("it grows");
    assert!(
        matches!(error, CallError::Memory { limit_mib: 32, .. }),
        "{error}"
    );
    assert!(asked.cost.memory_bytes <= 32 << 20);
}

#[test]
fn a_giant_answer_is_not_taken() {
    let extension = placement(
        "bad-talks",
        Limits {
            cpu_ms: 5_000,
            wall_ms: 60_000,
            ..limits()
        },
    );
    let error = extension.ask(&question(2)).said.expect_err("10 MB");
    assert_eq!(error, CallError::TooMuch { limit_kib: 256 });
}

#[test]
fn a_trap_is_told_with_the_guests_own_words() {
    let extension = placement("bad-traps", limits());
    let error = extension.ask(&question(2)).said.expect_err("it traps");
    let CallError::Trapped(words) = &error else {
        panic!("ended by something else: {error}");
    };
    assert!(words.contains("lib.rs"), "the place of the panic: {words}");
    let (lines, _) = extension.journal().lines();
    assert!(!lines.is_empty());
}

#[test]
fn nonsense_is_no_answer() {
    for (name, says) in [
        ("bad-not-a-number", "is not from 0 to 100"),
        ("bad-too-few", "for 3 candidates"),
    ] {
        let said = placement(name, limits()).ask(&question(3)).said;
        let error = said.expect_err(name);
        assert!(matches!(error, CallError::Nonsense(_)), "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
}

#[test]
fn who_fails_three_times_rests() {
    let extension = placement("bad-traps", limits());
    for _ in 0..3 {
        assert_eq!(extension.breaker(), BreakerState::Closed);
        assert!(matches!(
            extension.ask(&question(2)).said,
            Err(CallError::Trapped(_))
        ));
    }
    assert!(matches!(extension.breaker(), BreakerState::Open(_)));
    let asked = extension.ask(&question(2));
    assert!(matches!(asked.said, Err(CallError::Resting { .. })));
    assert_eq!(asked.cost.cpu, Duration::ZERO);
}

#[test]
fn what_is_no_component_is_refused_in_plain_words() {
    let whole = wasm("label-match");
    for (bytes, says) in [
        (Vec::new(), "holdfast ext build"),
        (b"#!/bin/sh".to_vec(), "holdfast ext build"),
        (whole[..whole.len() / 2].to_vec(), "holdfast ext build"),
    ] {
        let error = Loaded::compile(&RUNTIME, &bytes).err().expect("refused");
        assert!(matches!(error, ExtensionError::NotAComponent(_)), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
