//! What the rule costs without a sandbox, as if it were compiled into the manager: 1,000 VMs, 100 hosts each.
//! Prints a line for each way to write it: its name, a tab, and nanoseconds per candidate of each round. The first is
//! the plain one, which is what the sandbox is held against; the second is the very code of the component, told of the
//! hosts once. `cargo xtask bench extensions` puts them beside those of the component.

use holdfast_extension::placement::v0_1::{Candidate, Filter, Label, Peer, Purpose, Vm};
use holdfast_extension::placement::{self, Rule};
use std::hint::black_box;
use std::time::Instant;

mod plain;
// Not as a library: a component that is one as well is not optimised as a whole.
#[path = "../../src/rule/mod.rs"]
mod rule;

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
    rounds("compiled in", || {
        let (vm, hosts) = (black_box(&vm), black_box(&hosts));
        let verdicts = plain::Spread::filter(vm, hosts);
        let scores: Vec<f64> = hosts.iter().map(|host| plain::score(vm, host)).collect();
        drop(black_box((verdicts, scores)));
    });
    let (told, vm, candidates) = by_columns(&vm, &hosts);
    let rule = rule::Affinity::prepare(told);
    rounds("compiled in, told of hosts once", || {
        drop(black_box(
            rule.judge(black_box(&vm), black_box(&candidates)),
        ));
    });
}

fn rounds(name: &str, one_vm: impl Fn()) {
    let mut line = format!("{name}\t");
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        (0..VMS).for_each(|_| one_vm());
        let ns = begin.elapsed().as_nanos() / (VMS * HOSTS) as u128;
        line += &format!(" {ns}");
    }
    println!("{line}");
}

/// The same question as the present contract has it.
fn by_columns(
    vm: &Vm,
    hosts: &[Candidate],
) -> (Vec<placement::Host>, placement::Vm, placement::Candidates) {
    let label = |label: &Label| placement::Label {
        key: label.key.clone(),
        value: label.value.clone(),
    };
    let told = hosts.iter().map(|host| placement::Host {
        name: host.host.clone(),
        site: host.site.clone(),
        labels: host.labels.iter().map(label).collect(),
    });
    let peer = |peer: &Peer| placement::Peer {
        name: peer.name.clone(),
        host: hosts
            .iter()
            .position(|host| host.host == peer.host)
            .expect("a host") as u32,
    };
    let vm = placement::Vm {
        name: vm.name.clone(),
        memory_mib: vm.memory_mib,
        vcpus: vm.vcpus,
        priority: vm.priority,
        preferred_site: vm.preferred_site.clone(),
        group: vm.group.clone(),
        labels: Vec::new(),
        peers: vm.peers.iter().map(peer).collect(),
        last_host: None,
        purpose: placement::Purpose::Start,
    };
    let candidates = placement::Candidates {
        hosts: (0..hosts.len() as u32).collect(),
        memory_mib: hosts.iter().map(|host| host.memory_mib).collect(),
        memory_free_mib: hosts.iter().map(|host| host.memory_free_mib).collect(),
        vcpus: hosts.iter().map(|host| host.vcpus).collect(),
        vcpus_used: hosts.iter().map(|host| host.vcpus_used).collect(),
        vms: hosts.iter().map(|host| host.vms).collect(),
    };
    (told.collect(), vm, candidates)
}
