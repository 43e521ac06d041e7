//! What asking placement extensions costs: 1,000 VMs, 100 hosts each, in batches of one VM, as the planner asks.
//! Prints a line for each guest: its name, and nanoseconds per candidate of each round. `cargo xtask bench extensions`
//! makes a table of it, beside the same rule without a sandbox.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{limits, placement, question, wasm, with_peer};
use holdfast_extension_host::{EngineKind, Loaded, Placement, Runtime};
use holdfast_model::extension::Limits;
use std::time::Instant;

const ROUNDS: usize = 11;
const VMS: usize = 1_000;
const HOSTS: usize = 100;

fn main() {
    let asked = with_peer(question(HOSTS), 7);
    let room = Limits {
        cpu_ms: 1_000,
        wall_ms: 10_000,
        memory_mib: 128,
        ..limits()
    };
    let pulley = Runtime::new(EngineKind::Pulley).expect("a runtime");
    let loaded = Loaded::compile(&pulley, &wasm("site-affinity")).expect("a component");
    let interpreted = Placement::new(&loaded, room, true).expect("one for placement");
    for (guest, extension) in [
        ("site-affinity", placement("site-affinity", room)),
        ("label-match", placement("label-match", room)),
        ("free-memory", placement("free-memory", room)),
        ("free-vcpus", placement("free-vcpus", room)),
        ("site-affinity-interpreted", interpreted),
    ] {
        let mut line = guest.to_owned();
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            for _ in 0..VMS {
                let said = extension.ask(&asked).said;
                assert!(said.is_ok(), "{guest}: {said:?}");
            }
            let ns = begin.elapsed().as_nanos() / (VMS * HOSTS) as u128;
            line.push_str(&format!(" {ns}"));
        }
        println!("{line}");
    }
}
