//! Interpreted extensions: the same answers, and no memory is made executable.

mod common;

use common::{limits, question, wasm, with_peer};
use holdfast_extension_host::{EngineKind, Loaded, Placement, Runtime};
use holdfast_model::advice::Said;
use holdfast_model::extension::Limits;

/// What this process could execute that stands in no file: where machine code is that was made here.
fn made_executable() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("its own memory");
    let of_kernel = ["[vdso]", "[vsyscall]"];
    let lines = maps.lines().filter(|line| {
        let mut words = line.split_whitespace();
        let is_executable = words.nth(1).is_some_and(|rights| rights.contains('x'));
        let path = words.nth(3).unwrap_or_default();
        is_executable && !path.starts_with('/') && !of_kernel.contains(&path)
    });
    lines.map(ToOwned::to_owned).collect()
}

fn asked(runtime: &Runtime) -> Said {
    let loaded = Loaded::compile(runtime, &wasm("site-affinity")).expect("a component");
    let limits = Limits {
        cpu_ms: 5_000,
        ..limits()
    };
    let rule = Placement::new(&loaded, limits, true).expect("one for placement");
    let said = rule.ask(&with_peer(question(20), 7)).said;
    said.expect("an answer")
}

// One test: another one beside it in this process would make memory executable meanwhile.
#[test]
fn an_interpreted_rule_says_the_same_and_makes_no_memory_executable() {
    let pulley = Runtime::new(EngineKind::Pulley).expect("a runtime");
    let interpreted = asked(&pulley);
    assert_eq!(made_executable(), [""; 0]);
    let native = Runtime::new(EngineKind::Native).expect("a runtime");
    let loaded = Loaded::compile(&native, &wasm("site-affinity")).expect("a component");
    let made = made_executable();
    assert!(!made.is_empty(), "otherwise the look above shows nothing");
    drop(loaded);
    assert_eq!(asked(&native), interpreted);
    // What one has compiled is nothing for the other.
    assert_ne!(native.fingerprint(), pulley.fingerprint());
}
