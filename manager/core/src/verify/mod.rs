//! An independent check of every plan, before it is executed.
//!
//! It shares no code with the planner on purpose: it answers one question again, from the world
//! alone, for every write. Is this safe, whatever the planner thought? A plan with a violation is
//! not executed, and that is a bug to report.

mod advised;
mod hosts;
mod owners;
mod power;
mod probes;
mod storage;

use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{Plan, Step, Write};
use holdfast_model::world::World;
use std::collections::BTreeSet;
use std::fmt;

/// A rule that a plan broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A record is written at most once per plan, on the revision the world has.
    OneGuardedWrite,
    /// A VM gets a new holder only when every possible runner is proven stopped, or by a settled
    /// migration.
    NoStartWithoutEvidence,
    /// Nothing is started elsewhere while the storage may still deliver what it wrote before it stopped.
    AfterLateWrites,
    /// Generations go up by one with each new holder or start, and never otherwise.
    Generation,
    /// A grant under a storage lease knows the ones before it that may have been claimed.
    Memory,
    /// A grant goes to a present, guarded, undrained host with room, inside a *must* rule.
    FitTarget,
    /// A grant is guarded by the VM's definition it was decided on.
    GuardedBySpec,
    /// A session is closed only by evidence that the world bears out.
    ClosedByEvidence,
    /// A fencing device is asked only about a host that is silent on every plane it has, by a step that
    /// fails if it is not.
    SwitchedOffInSilence,
    /// A host is called suspect only while its session is silent, or two managers ask it in vain.
    SuspectInSilence,
    /// A VM is stopped by force, or resumed, only because its storage failed, and only when it could be
    /// started again.
    ForcedByStorage,
    /// Only a VM that nobody holds is removed.
    DeletedWhenStopped,
    /// No VM goes to a host that a placement extension has ruled out.
    HeedsExtensions,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// What is wrong with a plan; empty if nothing is.
pub fn verify(world: &World, plan: &Plan) -> Vec<Violation> {
    let mut found = Found::default();
    let mut written = BTreeSet::new();
    for step in &plan.steps {
        for write in &step.writes {
            if let Some(key) = key(write)
                && !written.insert(key.clone())
            {
                found.add(Rule::OneGuardedWrite, format!("{key} is written twice"));
            }
            check_write(world, step, write, &mut found);
        }
    }
    let mut asked = BTreeSet::new();
    for ask in &plan.asks {
        found.unless(
            asked.insert((&ask.host, &ask.device)),
            Rule::SwitchedOffInSilence,
            || format!("{} is asked about {} twice", ask.device, ask.host),
        );
        power::ask(world, ask, &mut found);
        for write in &ask.step.writes {
            check_write(world, &ask.step, write, &mut found);
        }
    }
    owners::room(world, plan, &mut found);
    advised::check(world, plan, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, rule: Rule, text: String) {
        self.0.push(Violation { rule, text });
    }

    fn unless(&mut self, holds: bool, rule: Rule, text: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, text());
        }
    }
}

fn key(write: &Write) -> Option<String> {
    Some(match write {
        Write::Owner { vm, .. } => format!("owner of {vm}"),
        Write::DeleteVm { vm, .. } => format!("owner of {vm}"),
        Write::CloseSession { host, .. } => format!("session of {host}"),
        Write::Fence { record, .. } => format!("fence of {}/{}", record.host, record.incarnation),
        Write::HostState { host, .. } => format!("state of {host}"),
        Write::DeleteOp { id, .. } => format!("request {id}"),
        Write::CheckVmSpec { .. }
        | Write::CheckHostSpec { .. }
        | Write::CheckFence { .. }
        | Write::CheckSession { .. } => return None,
    })
}

fn check_write(world: &World, step: &Step, write: &Write, found: &mut Found) {
    match write {
        Write::Owner { vm, owner, expect } => {
            owners::check(world, step, vm, owner, *expect, found);
            storage::check(world, vm, owner, found);
        }
        Write::CloseSession {
            host,
            session,
            expect,
        } => {
            hosts::close(world, step, host, session, *expect, found);
        }
        Write::Fence { record, expect } => hosts::fence(world, step, record, *expect, found),
        Write::HostState {
            host,
            state,
            expect,
        } => {
            probes::state(world, host, state, found);
            let has = world
                .hosts
                .get(host)
                .and_then(|h| h.state.as_ref())
                .map(|s| s.revision);
            found.unless(has == *expect, Rule::OneGuardedWrite, || {
                stale("state", host)
            });
        }
        Write::DeleteOp { id, expect } => {
            let has = world.ops.get(id).map(|op| op.revision);
            found.unless(has == Some(*expect), Rule::OneGuardedWrite, || {
                stale("request", id)
            });
        }
        Write::DeleteVm {
            vm,
            expect_spec,
            expect_owner,
        } => {
            let view = world.vms.get(vm);
            let spec = view.and_then(|v| v.spec.as_ref());
            let owner = view.and_then(|v| v.owner.as_ref());
            let current = spec.map(|s| s.revision) == Some(*expect_spec)
                && owner.map(|o| o.revision) == *expect_owner;
            found.unless(current, Rule::OneGuardedWrite, || stale("VM", vm));
            let free = owner.is_none_or(|o| o.value.possible_runners().next().is_none());
            found.unless(free, Rule::DeletedWhenStopped, || {
                format!("{vm} may still run")
            });
        }
        Write::CheckVmSpec { vm, expect } => check_vm_spec(world, vm, *expect, found),
        Write::CheckHostSpec { host, expect } => check_host_spec(world, host, *expect, found),
        Write::CheckSession { host, expect } => {
            let view = world.hosts.get(host);
            let has = view.and_then(|h| h.session.as_ref()).map(|s| s.revision);
            found.unless(has == Some(*expect), Rule::OneGuardedWrite, || {
                stale("session", host)
            });
        }
        Write::CheckFence {
            host,
            incarnation,
            expect,
        } => {
            let key = (host.clone(), incarnation.clone());
            let has = world.fences.get(&key).map(|fence| fence.revision);
            found.unless(has == Some(*expect), Rule::OneGuardedWrite, || {
                stale("fence", host)
            });
        }
    }
}

fn check_vm_spec(
    world: &World,
    vm: &VmName,
    expect: holdfast_model::id::Revision,
    found: &mut Found,
) {
    let has = world
        .vms
        .get(vm)
        .and_then(|v| v.spec.as_ref())
        .map(|spec| spec.revision);
    found.unless(has == Some(expect), Rule::OneGuardedWrite, || {
        stale("spec", vm)
    });
}

fn check_host_spec(
    world: &World,
    host: &HostName,
    expect: holdfast_model::id::Revision,
    found: &mut Found,
) {
    let has = world
        .hosts
        .get(host)
        .and_then(|h| h.spec.as_ref())
        .map(|spec| spec.revision);
    found.unless(has == Some(expect), Rule::OneGuardedWrite, || {
        stale("spec", host)
    });
}

fn stale(what: &str, name: &dyn fmt::Display) -> String {
    format!("{what} of {name} is written on another revision than the one that was read")
}
