//! What the sandbox promises, seen from inside: golden guests with a few words changed try it out.

mod common;

use common::{RUNTIME, limits, question};
use holdfast_extension_host::fencing::{Device, Ordered, Power};
use holdfast_extension_host::outside::{
    Output, ProbeError, Probes, Request, Response, Space, Web, WebError,
};
use holdfast_extension_host::placement::CALLS_MAX;
use holdfast_extension_host::storage_check::{Answer, Domain, Findings};
use holdfast_extension_host::{CallError, Fencing, Loaded, Placement, Reach, StorageCheck};
use holdfast_model::advice::{Question, Said, Score};
use holdfast_model::extension::{ExtensionKind, Limits, Rights};
use holdfast_model::id::TargetName;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A golden guest in which each of these words stands, and is replaced by the other ones.
fn changed(golden: &str, changes: &[(&str, &str)]) -> Loaded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut text = std::fs::read_to_string(folder.join(golden)).expect("a golden guest");
    for (old, new) in changes {
        assert!(text.contains(old), "{golden} has no {old}");
        text = text.replace(old, new);
    }
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    Loaded::compile(&RUNTIME, &wasm).unwrap_or_else(|error| panic!("{error}"))
}

/// The golden rule, but that this comes first in its module, and this is the score of the candidate `$at`.
fn rule(first: &str, score: &str) -> Placement {
    let store = "(f64.store (call $in (local.get $scores) (local.get $at) (i32.const 8))";
    let loaded = changed(
        "placement-0.2.0.wat",
        &[
            (
                "(data (i32.const 0) \"there is no candidate\")",
                &format!("(data (i32.const 0) \"there is no candidate\")\n{first}"),
            ),
            (
                &format!("{store} (local.get $score))"),
                &format!("{store} {score})"),
            ),
        ],
    );
    let limits = Limits {
        cpu_ms: 5_000,
        ..limits()
    };
    Placement::new(&loaded, limits, false).expect("one for placement")
}

fn scores(rule: &Placement, question: &Question) -> Vec<u32> {
    match rule.ask(question).said {
        Ok(Said::Answer { scores, .. }) => scores.into_iter().map(Score::thousandths).collect(),
        other => panic!("no answer: {other:?}"),
    }
}

/// For tests: the clock is not looked at.
fn limits_of(kind: ExtensionKind) -> Limits {
    Limits {
        wall_ms: 60_000,
        ..kind.default_limits()
    }
}

fn name(text: &str) -> TargetName {
    text.parse().expect("a name")
}

const COUNTS: &str = "(global $calls (mut i32) (i32.const 0))";
const ONE_MORE: &str = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))";

#[test]
fn an_instance_that_is_kept_warm_is_made_anew_after_so_many_calls() {
    // A prime number: it does not come to the same again where a new instance begins.
    let count = format!(
        "{COUNTS}\n(func $count (result f64)
           {ONE_MORE}
           (f64.convert_i32_u (i32.rem_u (global.get $calls) (i32.const 97))))"
    );
    let rule = rule(&count, "(call $count)");
    let asked = question(1);
    for call in 1..=CALLS_MAX {
        assert_eq!(scores(&rule, &asked), [call % 97 * 1_000], "call {call}");
    }
    assert_ne!((CALLS_MAX + 1) % 97, 1);
    assert_eq!(scores(&rule, &asked), [1_000], "the same one was asked");
    assert_eq!(scores(&rule, &asked), [2_000]);
}

#[test]
fn a_fencing_call_finds_nothing_of_the_one_before() {
    let unset = "(if (i32.eqz (local.get $count))
        (then (return (call $say (i32.const 2) (i32.const 48) (i32.const 14)))))";
    let count = format!(
        "{COUNTS}\n(func $count (result i32)
           {ONE_MORE}
           (i32.store8 offset=80 (i32.const 0) (i32.add (i32.const 0x30) (global.get $calls)))
           (call $say (i32.const 2) (i32.const 80) (i32.const 1)))"
    );
    let data = "(data (i32.const 48) \"no path is set\")";
    let loaded = changed(
        "fencing-0.1.0-http.wat",
        &[
            (data, &format!("{data}\n{count}")),
            // The second one counts.
            (unset, "(drop (call $count)) (return (call $count))"),
        ],
    );
    let fencing = Fencing::new(&loaded, limits_of(ExtensionKind::Fencing)).expect("it fits");
    let device = Device {
        host: "a1".to_owned(),
        name: "board-of-a1".to_owned(),
        settings: Vec::new(),
    };
    for _ in 0..3 {
        let called = fencing.status(&device, Reach::default());
        assert_eq!(called.answer, Ok(Power::Unknown("2".to_owned())));
        for called in [
            fencing.off(&device, Reach::default()),
            fencing.on(&device, Reach::default()),
        ] {
            assert_eq!(called.answer, Ok(Ordered::Refused("2".to_owned())));
        }
    }
}

#[test]
fn a_storage_check_finds_nothing_of_the_call_before() {
    let count = format!(
        "{COUNTS}\n(func $count (result i32)
           {ONE_MORE}
           (i32.store8 offset=48 (i32.const 0) (i32.add (i32.const 0x30) (global.get $calls)))
           (call $found (i32.const 128) (i32.const 2) (i32.const 48) (i32.const 1))
           (call $found (i32.const 140) (i32.const 2) (i32.const 48) (i32.const 1))
           (call $found (i32.const 152) (i32.const 2) (i32.const 48) (i32.const 1))
           (i32.const 128))"
    );
    let data = "(data (i32.const 32) \"slow\")";
    let write = "(call $write (i32.const 0) (local.get $path) (local.get $path-bytes))";
    let loaded = changed(
        "storage-check-0.1.0.wat",
        &[
            (data, &format!("{data}\n{count}")),
            (write, "(drop (call $count)) (return (call $count))"),
        ],
    );
    let limits = limits_of(ExtensionKind::StorageCheck);
    let check = StorageCheck::new(&loaded, limits, Reach::default()).expect("it fits");
    let second = || Answer::Unknown("2".to_owned());
    for _ in 0..3 {
        let found = Findings {
            reachable: second(),
            usable: second(),
            synced: second(),
        };
        assert_eq!(check.check(&domain()).answer, Ok(found));
    }
}

fn domain() -> Domain {
    Domain {
        name: "vmstore".to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: Vec::new(),
    }
}

#[test]
fn tables_count_as_memory() {
    // 16 bytes an entry: 17.6 MB with each call, of 32 MiB.
    let grows = "(table $table 0 funcref)
        (func $grow (result f64)
          (f64.convert_i32_s (table.grow $table (ref.null func) (i32.const 1100000))))";
    let rule = rule(grows, "(call $grow)");
    let asked = question(1);
    let first = rule.ask(&asked);
    assert!(first.said.is_ok(), "{:?}", first.said);
    assert!((16_000_000..20_000_000).contains(&first.cost.memory_bytes));
    let second = rule.ask(&asked);
    let error = second.said.expect_err("it has grown twice");
    assert!(
        matches!(error, CallError::Memory { limit_mib: 32, .. }),
        "{error}"
    );
    assert!(second.cost.memory_bytes <= 32 << 20);
    let third = rule.ask(&asked);
    assert!(third.said.is_ok(), "a new one: {:?}", third.said);
}

#[test]
fn a_guest_has_no_more_parts_than_it_may() {
    let heap = "(core instance $heap (instantiate $heap))";
    for (parts, starts) in [(32, true), (80, false)] {
        let more = "(core instance (instantiate $part))\n".repeat(parts);
        let more = format!("{heap}\n(core module $part)\n{more}");
        let loaded = changed("placement-0.2.0.wat", &[(heap, &more)]);
        let rule = Placement::new(&loaded, limits(), false).expect("one for placement");
        let said = rule.ask(&question(1)).said;
        assert_eq!(said.is_ok(), starts, "{parts}: {said:?}");
        if let Err(error) = said {
            assert!(error.to_string().contains("instance count"), "{error}");
        }
    }
}

/// Panics until it is told to answer.
#[derive(Default)]
struct Panics(AtomicBool);

impl Panics {
    fn unless_mended(&self) {
        let mended = self.0.load(Ordering::Relaxed);
        assert!(mended, "as this test wants it");
    }

    fn mend(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Web for Panics {
    fn send(&self, _: &Request, _: Instant) -> Result<Response, WebError> {
        self.unless_mended();
        Ok(Response {
            status: 200,
            body: "on".to_owned(),
        })
    }
}

impl Probes for Panics {
    fn usage(&self, _: &TargetName, _: Instant) -> Result<Space, ProbeError> {
        self.unless_mended();
        Err(ProbeError::Failed("looked at".to_owned()))
    }

    fn read_latency(&self, _: &TargetName, _: Instant) -> Result<u64, ProbeError> {
        Ok(1)
    }

    fn command(&self, _: &TargetName, _: Instant) -> Result<Output, ProbeError> {
        Err(ProbeError::TimedOut("not this one".to_owned()))
    }
}

fn is_the_host_s(answer: Result<impl std::fmt::Debug, CallError>) {
    let error = answer.expect_err("it panicked");
    assert!(matches!(error, CallError::Host(_)), "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn a_panic_of_what_sends_requests_ends_its_call_and_no_other() {
    let loaded = changed("fencing-0.1.0-http.wat", &[]);
    let fencing = Fencing::new(&loaded, limits_of(ExtensionKind::Fencing)).expect("it fits");
    let web = Arc::new(Panics::default());
    let reach = Reach {
        rights: Rights {
            http: [(name("board"), ["GET /*".to_owned()].into())].into(),
            ..Rights::default()
        },
        web: Some(web.clone()),
        ..Reach::default()
    };
    let device = Device {
        host: "a1".to_owned(),
        name: "board-of-a1".to_owned(),
        settings: vec![("path".to_owned(), "/power/a1".to_owned())],
    };
    is_the_host_s(fencing.status(&device, reach.clone()).answer);
    web.mend();
    assert_eq!(fencing.status(&device, reach).answer, Ok(Power::On));
}

#[test]
fn a_panic_of_what_looks_at_storage_ends_its_call_and_no_other() {
    let loaded = changed("storage-check-0.1.0.wat", &[]);
    let probes = Arc::new(Panics::default());
    let reach = Reach {
        rights: Rights {
            paths: [name("storage")].into(),
            ..Rights::default()
        },
        probes: Some(probes.clone()),
        ..Reach::default()
    };
    let limits = limits_of(ExtensionKind::StorageCheck);
    let check = StorageCheck::new(&loaded, limits, reach).expect("it fits");
    is_the_host_s(check.check(&domain()).answer);
    probes.mend();
    let found = check.check(&domain()).answer.expect("it is asked again");
    let looked_at = Answer::Unknown("looked at".to_owned());
    assert_eq!(found.reachable, looked_at);
}

/// 100 for each candidate for which what this has is true.
fn all_true(count: usize, first: &str, is_true: &str) {
    let score = format!("(select (f64.const 100) (f64.const 0) {is_true})");
    let rule = rule(first, &score);
    assert_eq!(scores(&rule, &question(count)), vec![100_000; count]);
}

#[test]
fn a_number_that_is_none_has_the_same_bits_wherever_it_comes_from() {
    // Made of what the compiler cannot know, so that it is this processor that makes them.
    let made = "(func $made (param $which i32) (param $zero f64) (param $inf f64) (result f64)
      (if (i32.eq (local.get $which) (i32.const 0))
        (then (return (f64.div (local.get $zero) (local.get $zero)))))
      (if (i32.eq (local.get $which) (i32.const 1))
        (then (return (f64.sub (local.get $inf) (local.get $inf)))))
      (if (i32.eq (local.get $which) (i32.const 2))
        (then (return (f64.sqrt (f64.sub (local.get $zero) (f64.const 1))))))
      ;; One that carries something.
      (if (i32.eq (local.get $which) (i32.const 3))
        (then (return (f64.add
          (local.get $zero) (f64.reinterpret_i64 (i64.const 0x7ff8_dead_beef_0001))))))
      (if (i32.eq (local.get $which) (i32.const 4))
        (then (return (f64.min
          (local.get $zero) (f64.reinterpret_i64 (i64.const 0xfff8_0000_0000_0002))))))
      (if (i32.eq (local.get $which) (i32.const 5))
        (then (return (f64.promote_f32 (f32.div
          (f32.demote_f64 (local.get $zero)) (f32.demote_f64 (local.get $zero)))))))
      (f64x2.extract_lane 1 (f64x2.div
        (f64x2.splat (local.get $zero)) (f64x2.splat (local.get $zero)))))";
    // As many machines as there are on the first host, which is none; and that many times more than all.
    let zero = "(f64.convert_i32_u (i32.load (i32.load offset=120 (local.get $asked))))";
    let inf = format!("(f64.div (f64.const 1) {zero})");
    let bits = format!("(i64.reinterpret_f64 (call $made (local.get $at) {zero} {inf}))");
    let canonical = "(i64.const 0x7ff8_0000_0000_0000)";
    all_true(7, made, &format!("(i64.eq {bits} {canonical})"));
}

#[test]
fn vectors_that_processors_count_differently_with_are_counted_one_way() {
    let made = "(func $made (param $which i32) (result i32)
      (if (i32.eq (local.get $which) (i32.const 0))
        ;; Of lane 17 of 16: nothing, and not lane 1.
        (then (return (i32.eq (i32.const 0) (i8x16.extract_lane_u 0 (i8x16.relaxed_swizzle
          (v128.const i8x16 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7)
          (i8x16.splat (i32.const 17))))))))
      (if (i32.eq (local.get $which) (i32.const 1))
        ;; No number: 0, and not the least of all.
        (then (return (i32.eq (i32.const 0) (i32x4.extract_lane 0 (i32x4.relaxed_trunc_f32x4_s
          (f32x4.splat (f32.const nan))))))))
      (if (i32.eq (local.get $which) (i32.const 2))
        ;; Bit by bit, and not the byte whose highest bit is set.
        (then (return (i32.eq (i32.const 0x0f) (i8x16.extract_lane_u 0 (i8x16.relaxed_laneselect
          (i8x16.splat (i32.const 0xff)) (i8x16.splat (i32.const 0)) (i8x16.splat (i32.const 0x0f))))))))
      ;; The largest there is, and not the least.
      (i32.eq (i32.const 0x7fff) (i16x8.extract_lane_u 0 (i16x8.relaxed_q15mulr_s
        (i16x8.splat (i32.const 0x8000)) (i16x8.splat (i32.const 0x8000))))))";
    all_true(4, made, "(call $made (local.get $at))");
}
