//! Guests that never get beyond their start function: what instantiates one is bounded as a call is. They are golden
//! guests with such a function in the first of their modules.

mod common;

use common::{RUNTIME, limits, question};
use holdfast_extension_host::breaker::BreakerState;
use holdfast_extension_host::storage_check::Domain;
use holdfast_extension_host::{CallError, Cost, Loaded, Placement, Reach, StorageCheck};
use holdfast_model::extension::Limits;
use std::path::Path;
use std::time::Duration;

const MODULE: &str = "(core module $heap\n";
const ENDLESS: &str = "    (func $endless (loop $again (br $again)))\n    (start $endless)\n";

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::read_to_string(folder.join(format!("{name}.wat"))).expect("a golden guest")
}

fn loaded(text: &str) -> Loaded {
    let wasm = wat::parse_str(text).expect("a component");
    // To load it is to compile it: nothing of it runs.
    Loaded::compile(&RUNTIME, &wasm).expect("one that fits its contract")
}

fn endless(name: &str) -> Loaded {
    let text = golden(name);
    let changed = text.replacen(MODULE, &format!("{MODULE}{ENDLESS}"), 1);
    assert_ne!(changed, text, "{name} has no such module");
    loaded(&changed)
}

fn ended(error: &CallError, cost: Cost, limits: Limits) {
    let CallError::CpuTime { limit_ms, .. } = error else {
        panic!("ended by something else: {error}");
    };
    assert_eq!(*limit_ms, limits.cpu_ms);
    assert!(cost.cpu >= Duration::from_millis(limits.cpu_ms), "{cost:?}");
}

#[test]
fn a_rule_that_loops_in_its_start_function_ends_with_its_cpu_time_and_rests() {
    let bad = Placement::new(&endless("placement-0.2.0"), limits(), true);
    let bad = bad.expect("nothing of it runs yet");
    for _ in 0..3 {
        assert_eq!(bad.breaker(), BreakerState::Closed);
        let asked = bad.ask(&question(2));
        let error = asked.said.expect_err("it does not start");
        ended(&error, asked.cost, limits());
    }
    assert!(matches!(bad.breaker(), BreakerState::Open(_)));
    let asked = bad.ask(&question(2));
    assert!(matches!(asked.said, Err(CallError::Resting { .. })));
    // This thread and the engine are as good as before.
    let good = Placement::new(&loaded(&golden("placement-0.2.0")), limits(), true);
    let said = good.expect("it fits").ask(&question(2)).said;
    said.expect("an answer");
}

/// Of a kind that gets a fresh instance for each call.
#[test]
fn a_storage_check_that_loops_in_its_start_function_likewise() {
    let limits = Limits {
        cpu_ms: 20,
        ..limits()
    };
    let domain = Domain {
        name: "own".to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: Vec::new(),
    };
    let check = |loaded: &Loaded| {
        StorageCheck::new(loaded, limits, Reach::default()).expect("nothing of it runs yet")
    };
    let bad = check(&endless("storage-check-0.1.0"));
    for _ in 0..3 {
        assert_eq!(bad.breaker(), BreakerState::Closed);
        let called = bad.check(&domain);
        let error = called.answer.expect_err("it does not start");
        ended(&error, called.cost, limits);
    }
    assert!(matches!(bad.breaker(), BreakerState::Open(_)));
    let called = bad.check(&domain);
    assert!(matches!(called.answer, Err(CallError::Resting { .. })));
    let good = check(&loaded(&golden("storage-check-0.1.0")));
    good.check(&domain).answer.expect("an answer");
}
