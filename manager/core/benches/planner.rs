//! One decision of the planner for 100 hosts and 2,000 VMs: idle, and with a site just lost.
//!
//! Run by `cargo xtask bench planner`, or `cargo bench -p holdfast-core`.

#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use criterion::{Criterion, criterion_group, criterion_main};
use holdfast_core::{planner::plan, verify::verify};
use holdfast_model::id::HostName;
use holdfast_model::world::World;
use std::hint::black_box;

const HOSTS: usize = 100;
const VMS: usize = 2_000;

/// Half of the hosts and VMs at each site, all of them well.
fn large() -> World {
    let mut w = world();
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
    for i in 0..VMS {
        let on = &hosts[i % hosts.len()];
        let site = &on.as_str()[..1];
        running(
            &mut w,
            &format!("vm{i:04}"),
            site,
            (i % 5) as i32,
            on.as_str(),
        );
    }
    w
}

/// Site a is closed by evidence; its 1,000 VMs are to be placed.
fn site_lost() -> World {
    let mut w = large();
    w.policy_mut().budgets.starts_per_host = 64;
    let lost: Vec<String> = w
        .hosts
        .keys()
        .filter(|h| h.as_str().starts_with('a'))
        .map(|h| h.to_string())
        .collect();
    for host in &lost {
        silent(&mut w, host, 9_000);
    }
    let closing = plan(&w);
    apply(&mut w, &closing);
    w
}

fn bench(c: &mut Criterion) {
    let idle = large();
    assert_eq!(plan(&idle).steps.len(), 0);
    c.bench_function("planner/100 hosts 2000 VMs/idle", |b| {
        b.iter(|| plan(black_box(&idle)))
    });
    let lost = site_lost();
    let decided = plan(&lost);
    assert_eq!(decided.steps.len(), VMS / 2, "one grant per lost VM");
    c.bench_function("planner/100 hosts 2000 VMs/site lost", |b| {
        b.iter(|| plan(black_box(&lost)))
    });
    c.bench_function("verify/100 hosts 2000 VMs/site lost", |b| {
        b.iter(|| verify(black_box(&lost), black_box(&decided)));
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
