//! Evacuation: VMs whose storage has failed while their host is there.
//!
//! ```text
//! the host's check: unusable ── for the grace ─┬─ another host can take it ──> Kill ──(exited)──> recovery
//!                                              └─ none can ──────────────────> left, and said
//! paused on an I/O error, check good ── for the grace ── on_io_error ────────> Kill | Resume | left
//! ```
//! The guest is not asked first: without its storage it could not shut down. Nothing is stopped that
//! could not be started again, so nothing at all while no host's storage is known to be good; and it must
//! have been good for the grace as well: after an outage of the whole storage one host is always the
//! first to see it again, and nothing is moved there that is about to see it too. The graces count from
//! when this manager first saw the reports that stand in the store: one that is written anew, for
//! whatever reason, begins them again.

use super::candidate::Request;
use super::draft::Draft;
use super::facts::{open_session, resolution};
use super::placement::{Choice, choose};
use super::recovery::{failed, wants_to_run};
use super::suspect::is_suspect;
use holdfast_model::event::EventKind;
use holdfast_model::host::{
    HostReport, LibvirtState, PauseReason, RunState, StorageState, VmReport,
};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{PlannerStep, Report, Subject};
use holdfast_model::policy::OnIoError;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Failures, Intent, Owner, VmSpec};
use holdfast_model::world::{HostView, Seen, VmView, World};

pub(super) fn step(draft: &mut Draft) {
    let order = draft.by_priority();
    // What was stopped before and is not started yet has the first right to a place.
    for (name, vm) in order.iter() {
        keep_its_place(draft, name, vm);
    }
    for (name, vm) in order.iter().copied() {
        if draft.vm_done(name) {
            continue;
        }
        if let Some(case) = Case::of(draft, name, vm) {
            decide(draft, &case);
        }
    }
}

/// A VM that runs, or stands paused, on a host that is there and says how its storage is.
struct Case<'w> {
    name: &'w VmName,
    spec: &'w VmSpec,
    owner: &'w Seen<Owner>,
    host: &'w HostName,
    storage: &'w Seen<HostReport>,
    said: &'w Seen<VmReport>,
}

impl<'w> Case<'w> {
    fn of(draft: &Draft<'w>, name: &'w VmName, vm: &'w VmView) -> Option<Self> {
        let world = draft.world;
        let spec = &vm.spec.as_ref()?.value;
        let owner = vm.owner.as_ref()?;
        let holder = owner.value.holder.as_ref()?;
        let wanted = wants_to_run(spec)
            && owner.value.incoming.is_none()
            && matches!(owner.value.intent, Intent::Run | Intent::Resume);
        if !wanted {
            return None;
        }
        let view = world.hosts.get(&holder.host)?;
        let said = view.vms.get(name).filter(|said| {
            said.value.incarnation == holder.incarnation
                && said.value.generation == owner.value.generation
        })?;
        let storage = of_this_life(view, &holder.incarnation)?;
        let case = Self {
            name,
            spec,
            owner,
            host: &holder.host,
            storage,
            said,
        };
        // Nearly all need nothing: what takes longer to find out comes last.
        let there = || {
            open_session(view).is_some_and(|session| {
                session.value.incarnation == holder.incarnation
                    && !is_suspect(world, &draft.timing, &holder.host, session)
            })
        };
        let over = || resolution(world, name, &owner.value, holder).is_some();
        (case.needs_something() && there() && !over()).then_some(case)
    }

    /// Whether there may be anything to decide: see [`decide`].
    fn needs_something(&self) -> bool {
        self.is_paused()
            || self.owner.value.intent == Intent::Resume
            || matches!(self.storage.value.storage, StorageState::Unusable { .. })
    }

    fn is_paused(&self) -> bool {
        let io_error = RunState::Paused {
            reason: PauseReason::IoError,
        };
        self.said.value.state == io_error
    }

    /// The place it could be started at once it is stopped here.
    fn elsewhere(&self, draft: &Draft) -> Choice {
        choose(
            draft,
            &request(self.name, self.spec, &self.owner.value.failures, self.host),
        )
    }

    fn subject(&self) -> Subject {
        Subject::Vm(self.name.clone())
    }

    /// When the grace is over that began with what was said then.
    fn grace_over(&self, draft: &Draft, said: Instant) -> Instant {
        let grace_ms = draft.world.policy.storage.grace_ms;
        said.max(draft.world.view_since).plus(grace_ms)
    }
}

fn of_this_life<'w>(
    view: &'w HostView,
    life: &holdfast_model::id::Incarnation,
) -> Option<&'w Seen<HostReport>> {
    let report = view.report.as_ref()?;
    (report.value.incarnation == *life).then_some(report)
}

fn request<'a>(
    vm: &'a VmName,
    spec: &'a VmSpec,
    failures: &'a Failures,
    leaving: &'a HostName,
) -> Request<'a> {
    Request {
        vm,
        spec,
        failures,
        leaving: Some(leaving),
        last: None,
        only_site: None,
        only_host: None,
        live: false,
    }
}

fn keep_its_place(draft: &mut Draft, name: &VmName, vm: &VmView) {
    let (Some(spec), Some(owner)) = (&vm.spec, &vm.owner) else {
        return;
    };
    let killed = owner.value.intent == Intent::Kill && wants_to_run(&spec.value);
    let Some(holder) = owner.value.holder.as_ref().filter(|_| killed) else {
        return;
    };
    if draft.vm_done(name) {
        return; // it is being started in this very round
    }
    let request = request(name, &spec.value, &owner.value.failures, &holder.host);
    if let Choice::Host(runner) = choose(draft, &request) {
        draft.change_load(|load| load.promise(name, &spec.value, &runner.host));
    }
}

fn decide(draft: &mut Draft, case: &Case) {
    let paused = case.is_paused();
    if case.owner.value.intent == Intent::Resume && case.said.revision > case.owner.revision {
        return resumed(draft, case);
    }
    if !paused && case.said.value.state != RunState::Running {
        return;
    }
    match &case.storage.value.storage {
        StorageState::Unusable { reason } => lost(draft, case, reason),
        StorageState::Synced | StorageState::Degraded { .. } if paused => stuck(draft, case),
        StorageState::NotChecked | StorageState::Unknown { .. } if paused => {
            let text = "paused on an I/O error, and its host does not know whether its storage is good: \
                        left as it is";
            draft.report(PlannerStep::Recovery, case.subject(), text);
        }
        StorageState::Synced
        | StorageState::Degraded { .. }
        | StorageState::NotChecked
        | StorageState::Unknown { .. } => {}
    }
}

/// The host has no storage: its VMs go where there is.
fn lost(draft: &mut Draft, case: &Case, reason: &str) {
    let host = case.host;
    let why = format!("storage is not usable on {host}: {reason}");
    let until = case.grace_over(draft, case.storage.seen_at);
    if draft.world.now < until {
        let grace_ms = draft.world.policy.storage.grace_ms;
        let text = format!(
            "{why}; if that lasts for {:.0} s it is stopped there and started elsewhere",
            grace_ms as f64 / 1000.0
        );
        return draft.wait(PlannerStep::Recovery, case.subject(), text, until);
    }
    if !answers(draft, case, &why) {
        return;
    }
    match case.elsewhere(draft) {
        Choice::Host(to) => match good_since(draft.world, &to.host) {
            Some(since) if draft.world.now >= case.grace_over(draft, since) => {
                let failures = case.owner.value.failures.clone();
                kill(draft, case, why, failures, &to.host);
            }
            Some(since) => {
                let until = case.grace_over(draft, since);
                let text = format!("{why}, and it has not been good on {} for long", to.host);
                draft.wait(PlannerStep::Recovery, case.subject(), text, until);
            }
            None => {
                let text = format!(
                    "{why}, and nobody knows whether it is on {}: it is left as it is",
                    to.host
                );
                draft.report(PlannerStep::Recovery, case.subject(), text);
            }
        },
        Choice::Busy(busy) => {
            let text = format!("{why}; it waits its turn to leave: {busy}");
            draft.report(PlannerStep::Recovery, case.subject(), text);
        }
        Choice::Nowhere(refused) => draft.report_whole(Report {
            step: PlannerStep::Recovery,
            subject: case.subject(),
            text: format!("{why}, and no other host can take it: it is left as it is"),
            refused,
            until: None,
        }),
    }
}

/// Since when a host's storage check has said that the storage is good; none if it does not.
fn good_since(world: &World, host: &HostName) -> Option<Instant> {
    let report = world.hosts.get(host)?.report.as_ref()?;
    let good = matches!(
        report.value.storage,
        StorageState::Synced | StorageState::Degraded { .. }
    );
    good.then_some(report.seen_at)
}

/// Its I/O error is over, or is its own.
fn stuck(draft: &mut Draft, case: &Case) {
    let host = case.host;
    let why = format!("it was paused on an I/O error on {host}");
    let on_io_error = case.spec.on_io_error(&draft.world.policy);
    if on_io_error == OnIoError::Leave {
        let whose = match case.spec.on_io_error {
            Some(_) => " of its definition",
            None => "",
        };
        let text =
            format!("{why}, and stays so until an operator decides, as on_io_error{whose} says");
        return draft.report(PlannerStep::Recovery, case.subject(), text);
    }
    let until = case.grace_over(draft, case.said.seen_at.max(case.storage.seen_at));
    if draft.world.now < until {
        return draft.wait(PlannerStep::Recovery, case.subject(), why, until);
    }
    if !answers(draft, case, &why) {
        return;
    }
    if on_io_error == OnIoError::Resume {
        return resume(draft, case);
    }
    let attempts = draft.world.policy.restart.same_host_attempts;
    let failures = failed(&case.owner.value, host, attempts, "I/O error");
    match anywhere(draft, case, &failures) {
        Choice::Host(to) => kill(draft, case, why, failures, &to.host),
        Choice::Busy(busy) => {
            let text = format!("{why}; it waits its turn to be started again: {busy}");
            draft.report(PlannerStep::Recovery, case.subject(), text);
        }
        Choice::Nowhere(refused) => draft.report_whole(Report {
            step: PlannerStep::Recovery,
            subject: case.subject(),
            text: format!("{why}, and no host can take it: it is left as it is"),
            refused,
            until: None,
        }),
    }
}

/// The place it would be started at once it is stopped, the one it has now included.
fn anywhere(draft: &mut Draft, case: &Case, failures: &Failures) -> Choice {
    let (world, owner) = (draft.world, &case.owner.value);
    let stopped = Owner {
        holder: None,
        ..owner.clone()
    };
    draft.change_load(|load| load.replace(world, case.name, &stopped));
    let mut request = request(case.name, case.spec, failures, case.host);
    request.leaving = None;
    let choice = choose(draft, &request);
    draft.change_load(|load| load.replace(world, case.name, owner));
    choice
}

/// Without libvirt nothing can be done about it there: what is asked for now would happen at a time
/// when it is not wanted any more.
fn answers(draft: &mut Draft, case: &Case, why: &str) -> bool {
    let LibvirtState::Unreachable { reason } = &case.storage.value.libvirt else {
        return true;
    };
    let text = format!("{why}, and libvirt does not answer there: {reason}");
    draft.report(PlannerStep::Recovery, case.subject(), text);
    false
}

fn kill(draft: &mut Draft, case: &Case, why: String, failures: Failures, to: &HostName) {
    let (name, host) = (case.name, case.host);
    let text = format!("{name} is stopped on {host} by force: {why}; {to} can take it");
    let next = Owner {
        intent: Intent::Kill,
        failures,
        reason: why,
        ..case.owner.value.clone()
    };
    let event = draft.vm_event(EventKind::VmStopped, name, &next, text.clone());
    let write = draft.owner_write(name, next);
    draft.push(text, vec![write], vec![event]);
    if to != host {
        draft.change_load(|load| load.promise(name, case.spec, to));
    }
}

fn resume(draft: &mut Draft, case: &Case) {
    let (name, host) = (case.name, case.host);
    if case.owner.value.intent == Intent::Resume {
        let text = format!("{host} is asked to resume it");
        return draft.report(PlannerStep::Recovery, case.subject(), text);
    }
    let text = format!("{name} is to be resumed on {host}: it was paused on an I/O error there");
    let next = Owner {
        intent: Intent::Resume,
        ..case.owner.value.clone()
    };
    let event = draft.vm_event(EventKind::Note, name, &next, text.clone());
    let write = draft.owner_write(name, next);
    draft.push(text, vec![write], vec![event]);
}

/// Its host has said something since it was asked to resume it: it did. A further error is looked at
/// anew, after another grace.
fn resumed(draft: &mut Draft, case: &Case) {
    let (name, host) = (case.name, case.host);
    let next = Owner {
        intent: Intent::Run,
        ..case.owner.value.clone()
    };
    let write = draft.owner_write(name, next);
    draft.push(format!("{name} was resumed on {host}"), vec![write], vec![]);
}
