//! What the rule costs without a sandbox, as if it were compiled into the manager: 1,000 VMs, 100 hosts each.
//! Prints nanoseconds per candidate, a number for each round; `cargo xtask bench extensions` puts them beside those
//! of the component.

use holdfast_extension::placement::{Candidate, Filter, Label, Peer, Purpose, Vm};
use std::hint::black_box;
use std::time::Instant;

// Not as a library: a component that is one as well is not optimised as a whole.
#[path = "../src/rule/mod.rs"]
mod rule;
use rule::{Spread, score};

const ROUNDS: usize = 11;
const VMS: usize = 1_000;
const HOSTS: usize = 100;

fn labels(rack: usize) -> Vec<Label> {
    vec![Label {
        key: "rack".to_owned(),
        value: format!("r{rack}"),
    }]
}

fn host(n: usize) -> Candidate {
    Candidate {
        host: format!("h{n:03}"),
        site: ["a", "b"][n % 2].to_owned(),
        labels: labels(n),
        memory_mib: 65_536,
        memory_free_mib: 1_024 * (n as u64 % 60 + 1),
        vcpus: 32,
        vcpus_used: n as u32,
        vms: n as u32,
    }
}

fn main() {
    let hosts: Vec<Candidate> = (0..HOSTS).map(host).collect();
    let vm = Vm {
        name: "web-1".to_owned(),
        memory_mib: 2_048,
        vcpus: 2,
        priority: 10,
        preferred_site: Some("a".to_owned()),
        group: Some("web".to_owned()),
        labels: Vec::new(),
        peers: vec![Peer {
            name: "web-0".to_owned(),
            host: "h007".to_owned(),
            site: "b".to_owned(),
            labels: labels(7),
        }],
        last_host: None,
        purpose: Purpose::Start,
    };
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..VMS {
            let (vm, hosts) = (black_box(&vm), black_box(&hosts));
            let verdicts = Spread::filter(vm, hosts);
            let scores: Vec<f64> = hosts.iter().map(|host| score(vm, host)).collect();
            drop(black_box((verdicts, scores)));
        }
        let ns = begin.elapsed().as_nanos() / (VMS * HOSTS) as u128;
        println!("{ns}");
    }
}
