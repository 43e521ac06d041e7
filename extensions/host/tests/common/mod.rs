//! Built guests, and questions for them.
#![allow(dead_code)] // Each test file uses a part of it.

use holdfast_extension_host::{EngineKind, Loaded, Placement, Runtime};
use holdfast_model::advice::{Candidate, Labels, Peer, Question, VmFacts};
use holdfast_model::extension::{ExtensionKind, Limits};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

pub static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(EngineKind::Native).expect("a runtime"));

/// A guest as `cargo xtask extensions` built it.
pub fn wasm(name: &str) -> Vec<u8> {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let path: PathBuf = target.join("extensions").join(name).join("component.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask extensions` builds it",
            path.display()
        )
    })
}

/// Those of its kind, but for the clock: this machine may be busy with other tests.
pub fn limits() -> Limits {
    Limits {
        wall_ms: 60_000,
        ..ExtensionKind::Placement.default_limits()
    }
}

pub fn placement(name: &str, limits: Limits) -> Placement {
    let loaded = Loaded::compile(&RUNTIME, &wasm(name)).expect("a component");
    Placement::new(&loaded, limits, true).expect("one for placement")
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// So many hosts, in turn at site a and site b, each in a rack of its own.
pub fn question(hosts: usize) -> Question {
    let candidate = |n: usize| Candidate {
        host: format!("h{n:03}").parse().expect("a name"),
        site: Some(["a", "b"][n % 2].parse().expect("a name")),
        labels: Arc::new(labels(&[("rack", &format!("r{n}"))])),
        memory_mib: 65_536,
        memory_free_mib: 1_024 * (n as u64 % 60 + 1),
        vcpus: 32,
        vcpus_used: n as u32,
        vms: n as u32,
    };
    Question {
        vm: VmFacts {
            name: "web-1".parse().expect("a name"),
            memory_mib: 2_048,
            vcpus: 2,
            priority: 10,
            preferred_site: Some("a".parse().expect("a name")),
            group: Some("web".to_owned()),
            labels: Labels::default(),
            peers: Vec::new(),
            last_host: None,
            live: false,
        },
        candidates: (0..hosts).map(candidate).collect(),
    }
}

/// A VM of the group is at that candidate already.
pub fn with_peer(mut question: Question, at: usize) -> Question {
    let host = &question.candidates[at];
    question.vm.peers.push(Peer {
        name: "web-0".parse().expect("a name"),
        host: host.host.clone(),
        site: host.site.clone(),
        labels: Arc::clone(&host.labels),
    });
    question
}
