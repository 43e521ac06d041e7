//! Recovery: what should run and provably does not is started, by priority. It never gives up;
//! it waits longer after each failure in a row.

use super::candidate::Request;
use super::draft::Draft;
use super::facts::{Resolution, report_of, resolution};
use super::grant::grant;
use super::late_writes::Ended;
use super::placement::{Choice, choose};
use super::set_back;
use super::settle::awaited;
use holdfast_model::event::EventKind;
use holdfast_model::host::{ExitKind, RunState};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{PlannerStep, Report, Subject};
use holdfast_model::vm::{Failures, Intent, Owner, Rest, Runner, VmSpec};
use holdfast_model::world::{Seen, VmView, World};
use std::cmp::Reverse;

pub(super) fn step(draft: &mut Draft) {
    for (name, vm) in draft.by_priority().iter().copied() {
        if !draft.vm_done(name) {
            recover(draft, name, vm);
        }
    }
}

/// All VMs, those that matter most first.
pub(super) fn by_priority(world: &World) -> Vec<(&VmName, &VmView)> {
    let all = world.vms.iter();
    let mut order: Vec<_> = all.map(|(name, vm)| (name, vm.as_ref())).collect();
    order.sort_by_key(|(name, vm)| {
        let spec = vm.spec.as_ref();
        let priority = spec.map_or(i32::MIN, |spec| spec.value.priority);
        (Reverse(priority), *name)
    });
    order
}

fn recover(draft: &mut Draft, name: &VmName, vm: &VmView) {
    let spec = vm.spec.as_ref();
    let Some(owner) = vm.owner.as_ref() else {
        if let Some(spec) = spec.filter(|spec| wants_to_run(&spec.value)) {
            start(draft, name, spec, &Past::none());
        }
        return;
    };
    if owner.value.incoming.is_some() {
        // Two possible runners: the migration step settles it first.
        return;
    }
    let Some(holder) = &owner.value.holder else {
        rested(draft, name, spec, owner);
        return;
    };
    match resolution(draft.world, name, &owner.value, holder) {
        Some(how) => stopped(draft, name, spec, owner, holder, &how),
        None => running(draft, name, owner, holder),
    }
}

/// Whether operators want it to run.
pub(super) fn wants_to_run(spec: &VmSpec) -> bool {
    spec.run && !spec.deleting
}

/// What is known of a VM's earlier grants.
struct Past<'a> {
    owner: Option<&'a Owner>,
    failures: Failures,
    last: Option<&'a HostName>,
    ended: Option<Ended<'a>>,
    reason: String,
}

impl Past<'_> {
    fn none() -> Self {
        let reason = "it should run".to_owned();
        Self {
            owner: None,
            failures: Failures::default(),
            last: None,
            ended: None,
            reason,
        }
    }
}

/// Nobody holds it.
fn rested(draft: &mut Draft, name: &VmName, spec: Option<&Seen<VmSpec>>, owner: &Seen<Owner>) {
    let Some(spec) = spec.filter(|spec| wants_to_run(&spec.value)) else {
        return;
    };
    let past = &owner.value;
    if let Some(Rest::GuestShutdown { run_serial }) = past.rest
        && spec.value.run_serial <= run_serial
    {
        let text = "off: its guest shut itself down; `holdfast vm start` starts it";
        draft.report(PlannerStep::Recovery, Subject::Vm(name.clone()), text);
        return;
    }
    let in_a_row = past.failures.in_a_row;
    let until = owner
        .seen_at
        .plus(draft.world.policy.restart.backoff_ms(in_a_row));
    if draft.world.now < until {
        let text = format!("failed {in_a_row} times in a row; next try after a wait");
        draft.wait(
            PlannerStep::Recovery,
            Subject::Vm(name.clone()),
            text,
            until,
        );
        return;
    }
    let ended = Ended::before(owner);
    let past = Past {
        owner: Some(past),
        ended: Some(ended),
        failures: past.failures.clone(),
        last: past.failures.last_host.as_ref(),
        reason: if in_a_row > 0 {
            past.reason.clone()
        } else {
            "it should run".to_owned()
        },
    };
    start(draft, name, spec, &past);
}

/// Its holder is proven stopped.
fn stopped(
    draft: &mut Draft,
    name: &VmName,
    spec: Option<&Seen<VmSpec>>,
    owner: &Seen<Owner>,
    holder: &Runner,
    how: &Resolution,
) {
    let past = &owner.value;
    if let Resolution::Exited(ExitKind::ClaimedBefore {
        generation, runner, ..
    }) = how
    {
        return set_back::take_in(draft, name, past, *generation, runner);
    }
    let (failures, last, reason) = judge(draft, past, holder, how);
    let guest_wants_off = matches!(how, Resolution::Exited(ExitKind::GuestShutdown));
    let rest = guest_wants_off.then_some(Rest::GuestShutdown {
        run_serial: past.run_serial,
    });
    let woken = spec.is_some_and(|spec| spec.value.run_serial > past.run_serial);
    let spec = spec.filter(|spec| wants_to_run(&spec.value));
    let waits = draft.world.policy.restart.backoff_ms(failures.in_a_row) > 0;
    if let Some(spec) = spec
        && (rest.is_none() || woken)
        && !waits
    {
        let past = Past {
            owner: Some(past),
            failures,
            last,
            ended: Ended::of(draft.world, name, &owner.value, holder),
            reason,
        };
        start(draft, name, spec, &past);
        return;
    }
    let next = Owner {
        holder: None,
        incoming: None,
        intent: Intent::Run,
        rest,
        failures,
        reason: reason.clone(),
        ..past.clone()
    };
    let kind = if spec.is_some() {
        EventKind::VmExited
    } else {
        EventKind::VmStopped
    };
    let mut event = draft.vm_event(kind, name, past, format!("{name}: {reason}"));
    event.host = Some(holder.host.clone());
    let write = draft.owner_write(name, next);
    draft.push(
        format!("{name} has no holder: {reason}"),
        vec![write],
        vec![event],
    );
}

/// What an end says about the VM: its failures with this one, the host to prefer, and the words.
fn judge<'o>(
    draft: &Draft,
    past: &'o Owner,
    holder: &'o Runner,
    how: &Resolution,
) -> (Failures, Option<&'o HostName>, String) {
    let host = &holder.host;
    let stay = Some(host);
    match how {
        Resolution::Fenced(evidence) => (
            past.failures.clone(),
            None,
            format!("{host} was lost ({evidence})"),
        ),
        Resolution::Exited(ExitKind::GuestShutdown) => (
            Failures::default(),
            stay,
            format!("its guest shut itself down on {host}"),
        ),
        // What it failed of was written down when it was stopped by force.
        Resolution::Exited(ExitKind::Stopped) if past.intent == Intent::Kill => {
            (past.failures.clone(), None, past.reason.clone())
        }
        Resolution::Exited(ExitKind::Stopped) => (
            Failures::default(),
            stay,
            format!("it was stopped on {host} as asked"),
        ),
        Resolution::Exited(ExitKind::SelfFenced) => (
            past.failures.clone(),
            None,
            format!("{host} stopped it: it had lost its lease"),
        ),
        Resolution::Exited(ExitKind::Crashed { reason }) => {
            let failures = failed(past, host, 1, reason); // the same host once more
            (failures, stay, format!("it crashed on {host}: {reason}"))
        }
        Resolution::Exited(
            ExitKind::StartFailed { reason } | ExitKind::ClaimedBefore { reason, .. },
        ) => {
            // Another host is tried at once: count as if all attempts here were used up.
            let attempts = draft.world.policy.restart.same_host_attempts;
            let failures = failed(past, host, attempts, reason);
            (
                failures,
                None,
                format!("its start on {host} failed: {reason}"),
            )
        }
        Resolution::MigratedAway | Resolution::NotHere => (
            past.failures.clone(),
            None,
            format!("it is not on {host} any more"),
        ),
    }
}

pub(super) fn failed(past: &Owner, host: &HostName, count: u32, reason: &str) -> Failures {
    let mut failures = past.failures.clone();
    failures.in_a_row = failures.in_a_row.saturating_add(1);
    failures.last_host = (count == 1).then(|| host.clone());
    let here = failures.per_host.entry(host.clone()).or_default();
    here.count = here.count.saturating_add(count);
    here.reason = reason.to_owned();
    failures
}

/// Starts it on the best host, or says why there is none.
fn start(draft: &mut Draft, name: &VmName, spec: &Seen<VmSpec>, past: &Past) {
    let request = Request {
        vm: name,
        spec: &spec.value,
        failures: &past.failures,
        leaving: None,
        last: past.last,
        only_site: None,
        only_host: None,
        live: false,
    };
    let subject = Subject::Vm(name.clone());
    match choose(draft, &request) {
        Choice::Host(runner) => {
            if let Some((host, until)) = awaited(draft, &request, &runner) {
                let text = format!("waits a moment for {host}, which is just coming up");
                return draft.wait(PlannerStep::Recovery, subject, text, until);
            }
            let ended = past.ended.as_ref();
            if let Some(until) = ended.and_then(|ended| ended.holds(draft.world, &runner)) {
                let text = format!(
                    "it has stopped, and its storage may still deliver writes of it ([storage] settle_ms); then it \
                     starts on {}",
                    runner.host
                );
                return draft.wait(PlannerStep::Recovery, subject, text, until);
            }
            let generation = past
                .owner
                .map(|owner| owner.generation)
                .unwrap_or_default()
                .next();
            let reason = past.reason.clone();
            grant(
                draft,
                name,
                spec,
                runner,
                generation,
                past.failures.clone(),
                reason,
            );
        }
        Choice::Busy(reason) => {
            let text = format!("waits its turn: {reason}");
            draft.report(PlannerStep::Recovery, subject, text);
        }
        Choice::Nowhere(refused) => draft.report_whole(Report {
            step: PlannerStep::Recovery,
            subject,
            text: "no host can take it; it starts as soon as one can".to_owned(),
            refused,
            until: None,
        }),
    }
}

/// It runs, or may run. Once it has run well for a while, earlier failures are forgotten.
fn running(draft: &mut Draft, name: &VmName, owner: &Seen<Owner>, holder: &Runner) {
    let world = draft.world;
    let report = report_of(world, name, owner.value.generation, holder);
    if !report.is_some_and(|report| report.state == RunState::Running) {
        return;
    }
    if owner.value.failures == Failures::default() && owner.value.migrate_failures == 0 {
        return;
    }
    let seen = world
        .hosts
        .get(&holder.host)
        .and_then(|host| host.vms.get(name));
    let since = seen.map_or(owner.seen_at, |seen| seen.seen_at.max(owner.seen_at));
    let until = since.plus(world.policy.restart.stable_after_ms);
    if world.now < until {
        draft.wake_at(until);
        return;
    }
    let next = Owner {
        failures: Failures::default(),
        migrate_failures: 0,
        ..owner.value.clone()
    };
    let write = draft.owner_write(name, next);
    draft.push(
        format!("{name} runs well: earlier failures are forgotten"),
        vec![write],
        vec![],
    );
}
