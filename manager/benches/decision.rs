//! What extensions add to one decision of the planner: 100 hosts, 2,000 VMs, a host or a site just lost; with none,
//! with 15 and with 20 that answer, and with the 15 and 5 that do nothing right. A line for each: its name, its unit, a
//! number for each round. `DECISION_ROUNDS` and `DECISION_VMS` in the environment have it do less, under a profiler.
//!
//! Each round asks new questions, as a failover does: kept answers would cost nothing.

#[path = "../core/tests/common/mod.rs"]
mod common;

use common::*;
use holdfast_core::planner::{plan, plan_with};
use holdfast_extension_host::{EngineKind, Loaded, Runtime};
use holdfast_extension_ready::{Prepares, Users};
use holdfast_manager::extensions::Extensions;
use holdfast_model::advice::Fallback;
use holdfast_model::component::digest;
use holdfast_model::extension::{Installed, LimitsAsked, Manifest};
use holdfast_model::id::HostName;
use holdfast_model::time::UnixMs;
use holdfast_model::world::World;
use std::time::{Duration, Instant};

const HOSTS: usize = 100;
const VMS: usize = 2_000;
const ROUNDS: usize = 11;

const GOOD: [(&str, usize); 3] = [("site-affinity", 8), ("label-match", 5), ("free-memory", 2)];
/// As many as with the bad ones.
const ALL_GOOD: [(&str, usize); 3] = [
    ("site-affinity", 11),
    ("label-match", 7),
    ("free-memory", 2),
];
const BAD: [(&str, usize); 5] = [
    ("bad-traps", 1),
    ("bad-loops", 1),
    ("bad-grows", 1),
    ("bad-not-a-number", 1),
    ("bad-too-few", 1),
];

fn main() {
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    for (what, lost) in [("a host lost", 1), ("a site lost", HOSTS / 2)] {
        let none = rounds(lost, |world| {
            let begin = Instant::now();
            let plan = plan(world);
            (begin.elapsed(), plan.steps.len())
        });
        println!("{what}, none, us\t{none}");
        for (name, which) in [
            ("15 that answer", GOOD.to_vec()),
            ("20 that answer", ALL_GOOD.to_vec()),
            ("15 of these and 5 bad", [&GOOD[..], &BAD[..]].concat()),
        ] {
            let all = extensions(&runtime, &which);
            let times = rounds(lost, |world| {
                let begin = Instant::now();
                let plan = plan_with(world, &all.decision());
                (begin.elapsed(), plan.steps.len())
            });
            println!("{what}, {name}, us\t{times}");
        }
    }
}

/// A number of the environment, or this.
fn wanted(variable: &str, otherwise: usize) -> usize {
    let text = std::env::var(variable);
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Each with other VMs: their memory is part of the question.
fn rounds(lost: usize, decide: impl Fn(&World) -> (Duration, usize)) -> String {
    let times = (0..wanted("DECISION_ROUNDS", ROUNDS)).map(|round| {
        let (world, vms) = after_loss(lost, round as u64);
        let (took, steps) = decide(&world);
        assert!(steps >= vms, "{steps} steps for {vms} VMs");
        took.as_micros().to_string()
    });
    times.collect::<Vec<_>>().join(" ")
}

/// Half of the hosts and VMs at each site; so many hosts of site a are closed by evidence. With how many VMs are to be
/// placed.
fn after_loss(lost: usize, round: u64) -> (World, usize) {
    let mut w = world();
    w.policy_mut().budgets.starts_per_host = 64;
    w.policy_mut().fencing.storm_percent = 100;
    for i in 0..HOSTS {
        let site = if i % 2 == 0 { "a" } else { "b" };
        host(&mut w, &format!("{site}{i:03}"), site);
        let view = host_mut(&mut w, &format!("{site}{i:03}"));
        if let Some(report) = &mut view.report {
            report.value.capacity.memory_mib = 512 * 1024;
            report.value.capacity.cpus = 64;
        }
    }
    let hosts: Vec<HostName> = w.hosts.keys().cloned().collect();
    let all = wanted("DECISION_VMS", VMS);
    for i in 0..all {
        let on = &hosts[i % hosts.len()];
        let (vm, site) = (format!("vm{i:04}"), &on.as_str()[..1]);
        running(&mut w, &vm, site, (i % 5) as i32, on.as_str());
        if let Some(spec) = &mut vm_mut(&mut w, &vm).spec {
            spec.value.memory_mib += round;
        }
    }
    let gone = hosts.iter().filter(|host| host.as_str().starts_with('a'));
    let gone: Vec<String> = gone.take(lost).map(ToString::to_string).collect();
    for host in &gone {
        silent(&mut w, host, 9_000);
    }
    let closing = plan(&w);
    apply(&mut w, &closing);
    (w, all / HOSTS * lost)
}

/// Ready to be asked, each under a name of its own.
fn extensions(runtime: &Runtime, which: &[(&str, usize)]) -> Extensions {
    let all = Extensions::default();
    let mut installed = Vec::new();
    for (guest, copies) in which {
        let (manifest, wasm) = built(guest);
        let loaded = Loaded::compile(runtime, &wasm).expect("a component");
        for copy in 0..*copies {
            let mut manifest = manifest.clone();
            manifest.name = name(&format!("{guest}-{copy}"));
            let each = Installed {
                granted: manifest.rights.clone(),
                manifest,
                digest: format!("{}-{copy}", digest(&wasm)),
                bytes: wasm.len() as u64,
                limits: LimitsAsked::default(),
                then: Fallback::Open,
                signed: None,
                by: "bench".to_owned(),
                at: UnixMs(0),
                before: None,
                rollout: None,
            };
            installed.push((each, loaded.clone()));
        }
    }
    all.take_in(installed.iter().map(|(each, _)| each.clone()).collect());
    for (each, loaded) in &installed {
        all.prepare(each, loaded).expect("one for placement");
    }
    all
}

/// A guest as `cargo xtask extensions` built it.
fn built(guest: &str) -> (Manifest, Vec<u8>) {
    let own = std::env::current_exe().expect("this program's own path");
    let target = own.ancestors().nth(3).expect("a target directory");
    let dir = target.join("extensions").join(guest);
    let read = |file: &str| {
        let path = dir.join(file);
        std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask extensions` builds it",
                path.display()
            )
        })
    };
    let text = String::from_utf8(read("extension.toml")).expect("text");
    (
        toml::from_str(&text).expect("a manifest"),
        read("component.wasm"),
    )
}
