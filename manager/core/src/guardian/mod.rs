//! The guardian: what one host does next, given its grants and what it finds running.
//!
//! ```text
//! grants (etcd) ─┐
//! domains ───────┼─> decide() ─> reports to write, actions to take, when to wake
//! own reports ───┘
//!
//! per VM:  job under way ──────────────> jobs      waits, or escalates
//!          no session, no grant ───────> strays    destroyed, reports cleared
//!          owner.holder is this life ──> run, stop, migrate, exits
//!          owner.incoming is this life > incoming
//! ```
//! A grant is a (VM, generation) whose owner record names this host and its present incarnation.
//! A generation is started at most once on a host: `Starting` is written durably before the domain
//! is created, so an agent that comes back knows that it may have run. A domain that no grant
//! covers is destroyed; one that cannot be judged (libvirt silent, grants not read yet) is left
//! to the guard's deadline.
//!
//! The runner's deadline is a state machine of its own, [`deadline`], run by the guard.

mod case;
pub mod deadline;
mod exits;
mod incoming;
mod jobs;
mod migrate;
pub mod planes;
mod run;
mod settle;
mod stop;
mod strays;
mod types;

pub use settle::settled_ends;
pub use types::*;

use case::{Case, Next, Seat};
use holdfast_model::id::VmName;
use holdfast_model::vm::Intent;
use std::collections::BTreeMap;

/// Decides. The same world always gives the same decision.
pub fn decide(world: &HostWorld) -> Decision {
    let mut decision = Decision {
        clean: is_clean(world),
        ..Decision::default()
    };
    // While libvirt does not answer nobody knows what runs: nothing is started, reported or
    // destroyed, and the guard's deadline stands on its own.
    let Some(domains) = &world.domains else {
        return decision;
    };
    for vm in names(world, domains) {
        let next = decide_one(world, domains, vm);
        if let Some(report) = next.report {
            decision.reports.insert(vm.clone(), report);
        }
        if let Some(action) = next.action {
            decision.actions.insert(vm.clone(), action);
        }
        decision.wake_at = [decision.wake_at, next.wake_at].into_iter().flatten().min();
    }
    decision
}

/// Nothing of this cluster is left on the host: no domain, no call that could bring one.
fn is_clean(world: &HostWorld) -> bool {
    world.domains.as_ref().is_some_and(|domains| {
        let over = |vm: &VmName| jobs::is_over(world, vm, domains.get(vm));
        domains.is_empty() && world.jobs.keys().all(over)
    })
}

/// Every VM this host has anything to do with, sorted.
fn names<'a>(world: &'a HostWorld, domains: &'a BTreeMap<VmName, Domain>) -> Vec<&'a VmName> {
    let known = domains.keys().chain(world.grants.keys());
    let told = world.reports.keys().chain(world.jobs.keys());
    let mut names: Vec<&VmName> = known.chain(told).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn decide_one(world: &HostWorld, domains: &BTreeMap<VmName, Domain>, vm: &VmName) -> Next {
    let domain = domains.get(vm);
    let seat = Seat::of(world, vm, domain);
    if !jobs::is_over(world, vm, domain) {
        return jobs::under_way(world, vm, &seat);
    }
    if let Some(domain) = domain
        && domain.state.stands_still()
    {
        if world.now >= world.deadline {
            return Next::destroy("it stands paused past this host's deadline");
        }
        return decide_idle(world, vm, domain, &seat).wake_at(world.deadline);
    }
    domain.map_or_else(
        || decide_seat(&seat, is_reported(world, vm)),
        |domain| decide_idle(world, vm, domain, &seat),
    )
}

/// A domain is here, and no call is under way.
fn decide_idle(world: &HostWorld, vm: &VmName, domain: &Domain, seat: &Seat<'_>) -> Next {
    let forgotten = strays::forgotten(world, vm, domain);
    forgotten.unwrap_or_else(|| decide_seat(seat, is_reported(world, vm)))
}

fn is_reported(world: &HostWorld, vm: &VmName) -> bool {
    world.reports.contains_key(vm)
}

fn decide_seat(seat: &Seat<'_>, reported: bool) -> Next {
    match seat {
        Seat::NotKnown => Next::nothing(),
        Seat::NoSession { domain } => strays::without_session(*domain),
        Seat::Elsewhere { domain } => strays::elsewhere(*domain, reported),
        Seat::EarlierLife { domain } => strays::of_an_earlier_life(*domain),
        Seat::Holder(case) => holder(case),
        Seat::Incoming(case) => incoming::next(case),
    }
}

/// This life of this host may run the VM.
fn holder(case: &Case<'_>) -> Next {
    let granted = case.owner.generation;
    let ended = case.report.is_some_and(|state| state.is_final());
    match case.domain {
        None if ended => Next::nothing(),
        None => match case.owner.intent {
            Intent::Run => run::absent(case),
            Intent::Stop
            | Intent::Kill
            | Intent::Resume
            | Intent::Migrate
            | Intent::AbortMigration => exits::gone(case),
        },
        Some(domain) if domain.generation > granted => run::newer_than_the_grant(case, domain),
        Some(_) if ended => Next::destroy("its grant has ended and was reported so"),
        Some(domain) if domain.generation < granted => run::older_than_the_grant(case, domain),
        Some(domain) => match case.owner.intent {
            Intent::Run => run::present(case, domain),
            Intent::Stop => stop::present(case, domain),
            Intent::Kill => stop::killed(case),
            Intent::Resume => run::to_resume(case, domain),
            Intent::Migrate => migrate::source(case, domain),
            Intent::AbortMigration => migrate::aborted(case, domain),
        },
    }
}
