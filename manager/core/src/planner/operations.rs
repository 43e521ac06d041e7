//! Operations: what operators asked of VMs. Stop and delete come from the VM's spec; move and restart are
//! requests that are answered once. What is asked of hosts is in [`super::leave`].

use super::candidate::Request;
use super::draft::Draft;
use super::facts::{open_session, report_of, resolution};
use super::grant::migrate;
use super::placement::{Choice, choose, link_busy};
use super::recovery::wants_to_run;
use super::suspect::is_suspect;
use holdfast_model::event::EventKind;
use holdfast_model::host::RunState;
use holdfast_model::id::{HostName, VmName};
use holdfast_model::op::{Op, Request as Asked};
use holdfast_model::plan::{PlannerStep, Report, Subject, Write};
use holdfast_model::vm::{Intent, Owner, Runner, VmSpec};
use holdfast_model::world::{Seen, VmView};

pub(super) fn step(draft: &mut Draft) {
    let world = draft.world;
    for (name, vm) in &world.vms {
        if !draft.vm_done(name) {
            stop_or_delete(draft, name, vm);
        }
    }
    for op in world.ops.values() {
        if draft.op_done(&op.value.id) {
            continue;
        }
        match &op.value.request {
            Asked::Move { vm, to } => move_vm(draft, op, vm, to.as_ref()),
            Asked::Restart { vm } => restart(draft, op, vm),
            Asked::ConfirmOff { .. } => {} // fencing answers it
        }
    }
}

fn stop_or_delete(draft: &mut Draft, name: &VmName, vm: &VmView) {
    let spec = vm.spec.as_ref();
    if spec.is_some_and(|spec| wants_to_run(&spec.value)) {
        return;
    }
    let owner = vm.owner.as_ref();
    if let Some(owner) = owner
        && owner.value.possible_runners().next().is_some()
    {
        if owner.value.incoming.is_none()
            && matches!(owner.value.intent, Intent::Run | Intent::Resume)
        {
            let kept = spec.is_some_and(|s| !s.value.deleting);
            let why = if kept { "stopped" } else { "deleted" };
            let why = format!("{why} by an operator");
            ask_to_stop(draft, name, &owner.value, &why, None);
        }
        return;
    }
    let Some(spec) = spec.filter(|spec| spec.value.deleting) else {
        return;
    };
    let write = Write::DeleteVm {
        vm: name.clone(),
        expect_spec: spec.revision,
        expect_owner: owner.map(|owner| owner.revision),
    };
    let text = format!("{name} is stopped and removed, as asked");
    let mut event = draft.event(EventKind::VmDeleted, text.clone());
    event.vm = Some(name.clone());
    draft.push(text, vec![write], vec![event]);
}

fn ask_to_stop(draft: &mut Draft, name: &VmName, owner: &Owner, why: &str, done: Option<Write>) {
    let next = Owner {
        intent: Intent::Stop,
        reason: why.to_owned(),
        ..owner.clone()
    };
    let mut writes = vec![draft.owner_write(name, next)];
    writes.extend(done);
    draft.push(format!("{name} is asked to stop: {why}"), writes, vec![]);
}

fn done(op: &Seen<Op>) -> Write {
    Write::DeleteOp {
        id: op.value.id.clone(),
        expect: op.revision,
    }
}

fn refuse(draft: &mut Draft, op: &Seen<Op>, vm: &VmName, what: &str, why: &str) {
    let text = format!("{what} of {vm} by {} refused: {why}", op.value.by);
    let mut event = draft.event(EventKind::OpRefused, text.clone());
    event.vm = Some(vm.clone());
    draft.push(text, vec![done(op)], vec![event]);
}

/// A VM that runs, undisturbed: what can be moved or restarted.
pub(super) struct Settled<'w> {
    pub spec: &'w VmSpec,
    pub owner: &'w Seen<Owner>,
    pub holder: &'w Runner,
}

/// Why a VM is not settled: for good, as far as one can see, or for the moment.
pub(super) enum NotSettled {
    Off(String),
    Passing(String),
}

/// Finds out whether a VM runs undisturbed.
pub(super) fn settled<'w>(draft: &Draft<'w>, name: &VmName) -> Result<Settled<'w>, NotSettled> {
    let world = draft.world;
    let vm = world.vms.get(name);
    let Some(spec) = vm.and_then(|vm| vm.spec.as_ref()).map(|spec| &spec.value) else {
        return Err(NotSettled::Off("there is no such VM".to_owned()));
    };
    if !wants_to_run(spec) {
        return Err(NotSettled::Off("it is to be stopped".to_owned()));
    }
    let owner = vm.and_then(|vm| vm.owner.as_ref());
    let Some((owner, holder)) = owner.and_then(|o| Some((o, o.value.holder.as_ref()?))) else {
        return Err(NotSettled::Off("it does not run".to_owned()));
    };
    if draft.vm_done(name) {
        return Err(NotSettled::Passing(
            "another decision about it was just made".to_owned(),
        ));
    }
    if owner.value.incoming.is_some() || owner.value.intent != Intent::Run {
        return Err(NotSettled::Passing(
            "it is being moved or stopped".to_owned(),
        ));
    }
    if resolution(world, name, &owner.value, holder).is_some() {
        return Err(NotSettled::Passing("it is being recovered".to_owned()));
    }
    if let Some(text) = is_out_of_reach(draft, holder) {
        return Err(NotSettled::Passing(text));
    }
    match report_of(world, name, owner.value.generation, holder).map(|report| &report.state) {
        Some(RunState::Running) => Ok(Settled {
            spec,
            owner,
            holder,
        }),
        Some(RunState::Paused { reason }) => Err(NotSettled::Off(format!(
            "it is paused on {} ({reason:?})",
            holder.host
        ))),
        _ => Err(NotSettled::Passing(format!(
            "{} has not said yet that it runs",
            holder.host
        ))),
    }
}

fn move_vm(draft: &mut Draft, op: &Seen<Op>, vm: &VmName, to: Option<&HostName>) {
    let settled = match settled(draft, vm) {
        Ok(settled) => settled,
        Err(NotSettled::Off(why)) => return refuse(draft, op, vm, "move", &why),
        Err(NotSettled::Passing(why)) => {
            let text = format!("move asked for by {} waits: {why}", op.value.by);
            draft.report(PlannerStep::Operations, Subject::Vm(vm.clone()), text);
            return;
        }
    };
    let mut request = live_request(vm, &settled);
    request.only_host = to;
    match choose(draft, &request) {
        Choice::Host(runner) => {
            let reason = format!("asked for by {}", op.value.by);
            migrate(
                draft,
                vm,
                &settled.owner.value,
                runner,
                Some(done(op)),
                reason,
            );
        }
        Choice::Busy(why) => {
            let text = format!("move asked for by {} waits its turn: {why}", op.value.by);
            draft.report(PlannerStep::Operations, Subject::Vm(vm.clone()), text);
        }
        Choice::Nowhere(refused) => {
            let why = match to.and_then(|to| refused.iter().find(|(host, _)| host == to)) {
                Some((host, why)) => format!("{host}: {why}"),
                None if to.is_some() => "there is no such host".to_owned(),
                None => refused
                    .iter()
                    .map(|(host, why)| format!("{host}: {why}"))
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            refuse(draft, op, vm, "move", &why);
        }
    }
}

/// A request for the best host to move a settled VM to.
pub(super) fn live_request<'a>(vm: &'a VmName, settled: &'a Settled) -> Request<'a> {
    Request {
        vm,
        spec: settled.spec,
        failures: &settled.owner.value.failures,
        leaving: Some(&settled.holder.host),
        last: None,
        only_site: None,
        only_host: None,
        live: true,
    }
}

fn restart(draft: &mut Draft, op: &Seen<Op>, vm: &VmName) {
    match settled(draft, vm) {
        Ok(settled) => {
            let why = format!("restart asked for by {}", op.value.by);
            ask_to_stop(draft, vm, &settled.owner.value, &why, Some(done(op)));
        }
        Err(NotSettled::Off(why)) => refuse(draft, op, vm, "restart", &why),
        Err(NotSettled::Passing(why)) => {
            let text = format!("restart asked for by {} waits: {why}", op.value.by);
            draft.report(PlannerStep::Operations, Subject::Vm(vm.clone()), text);
        }
    }
}

/// Why nothing can leave the holder live: its host has no session, is silent, or has begun another life. Whether that life is over
/// is for evidence to say; what is written about it meanwhile would only make that evidence old.
fn is_out_of_reach(draft: &Draft, holder: &Runner) -> Option<String> {
    let host = draft.world.hosts.get(&holder.host);
    let Some(session) = host.and_then(|host| open_session(host)) else {
        return Some(format!("{} has no session", holder.host));
    };
    if session.value.incarnation != holder.incarnation {
        return Some(format!("{} has begun another life", holder.host));
    }
    is_suspect(draft.world, &draft.timing, &holder.host, session)
        .then(|| format!("{} is silent", holder.host))
}

/// Moves a settled VM to the best host, now or when the wait after earlier failures is over; says
/// why if it cannot.
pub(super) fn try_migration(
    draft: &mut Draft,
    step: PlannerStep,
    name: &VmName,
    settled: &Settled,
    only_site: Option<&holdfast_model::id::SiteName>,
    reason: String,
) {
    let failures = settled.owner.value.migrate_failures;
    let wait_ms = match failures {
        0 => 0,
        n => draft.world.policy.restart.backoff_ms(n.saturating_add(1)),
    };
    let until = settled.owner.seen_at.plus(wait_ms);
    let subject = Subject::Vm(name.clone());
    if draft.world.now < until {
        let text = format!("its migration failed {failures} times; next try after a wait");
        return draft.wait(step, subject, text, until);
    }
    let from = &settled.holder.host;
    if let Some(why) = only_site.and_then(|site| link_busy(draft, from, site)) {
        draft.report(step, subject, format!("{reason}; it waits its turn: {why}"));
        return;
    }
    let mut request = live_request(name, settled);
    request.only_site = only_site;
    match choose(draft, &request) {
        Choice::Host(runner) => migrate(draft, name, &settled.owner.value, runner, None, reason),
        Choice::Busy(why) => {
            draft.report(step, subject, format!("{reason}; it waits its turn: {why}"));
        }
        Choice::Nowhere(refused) => draft.report_whole(Report {
            step,
            subject,
            text: format!("{reason}, but no host can take it; it runs on where it is"),
            refused,
            until: None,
        }),
    }
}
