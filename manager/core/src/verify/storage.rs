//! Intents that end a VM by force, or resume it, because its storage failed.

use super::{Found, Rule};
use holdfast_model::host::{GuardState, PauseReason, RunState, SessionState, StorageState};
use holdfast_model::id::VmName;
use holdfast_model::policy::OnIoError;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Intent, Owner, Runner};
use holdfast_model::world::{HostView, World};

pub(super) fn check(world: &World, vm: &VmName, new: &Owner, found: &mut Found) {
    if !matches!(new.intent, Intent::Kill | Intent::Resume) {
        return;
    }
    let old = world.vms.get(vm).and_then(|view| view.owner.as_ref());
    let Some(old) = old.map(|old| &old.value) else {
        let text = format!("{vm} begins with {:?}", new.intent);
        return found.add(Rule::ForcedByStorage, text);
    };
    let same_grant = old.generation == new.generation && old.holder == new.holder;
    let alone = old.incoming.is_none() && new.incoming.is_none();
    let from = match new.intent {
        _ if old.intent == new.intent => true,
        Intent::Kill => matches!(old.intent, Intent::Run | Intent::Resume) && is_wanted(world, vm),
        _ => old.intent == Intent::Run && is_wanted(world, vm),
    };
    found.unless(same_grant && alone && from, Rule::ForcedByStorage, || {
        format!("{vm} goes from {:?} to {:?}", old.intent, new.intent)
    });
    if old.intent == new.intent {
        return;
    }
    let why = new.holder.as_ref().and_then(|at| case(world, vm, old, at));
    let spec = world.vms.get(vm).and_then(|view| view.spec.as_ref());
    let own = spec.and_then(|spec| spec.value.on_io_error);
    let on_io_error = own.unwrap_or(world.policy.storage.on_io_error);
    let right = match (new.intent, why) {
        (Intent::Kill, Some(Why::Lost)) => true,
        (Intent::Kill, Some(Why::Stuck)) => on_io_error == OnIoError::Restart,
        (_, Some(Why::Stuck)) => on_io_error == OnIoError::Resume,
        _ => false,
    };
    found.unless(right, Rule::ForcedByStorage, || {
        format!("{:?} of {vm}, and its storage gives no reason", new.intent)
    });
}

fn is_wanted(world: &World, vm: &VmName) -> bool {
    let spec = world.vms.get(vm).and_then(|view| view.spec.as_ref());
    spec.is_some_and(|spec| spec.value.run && !spec.value.deleting)
}

enum Why {
    /// Its host has had no storage for the grace, and another one has.
    Lost,
    /// It has been paused on an I/O error for the grace, and its host has had storage.
    Stuck,
}

fn case(world: &World, vm: &VmName, owner: &Owner, at: &Runner) -> Option<Why> {
    let host = world.hosts.get(&at.host)?;
    let said = host.vms.get(vm).filter(|said| {
        said.value.incarnation == at.incarnation && said.value.generation == owner.generation
    })?;
    let report = host.report.as_ref()?;
    if report.value.incarnation != at.incarnation {
        return None;
    }
    let lasts = |since: Instant| {
        world.now.since(since.max(world.view_since)) >= world.policy.storage.grace_ms
    };
    let paused = said.value.state
        == RunState::Paused {
            reason: PauseReason::IoError,
        };
    match report.value.storage {
        StorageState::Unusable { .. } => {
            let mut others = world.hosts.iter().filter(|(name, _)| **name != at.host);
            let place = others.any(|(_, host)| has_storage(world, host));
            let affected = paused || said.value.state == RunState::Running;
            (affected && place && lasts(report.seen_at)).then_some(Why::Lost)
        }
        StorageState::Synced | StorageState::Degraded { .. } => {
            let both = lasts(report.seen_at) && lasts(said.seen_at);
            (paused && both).then_some(Why::Stuck)
        }
        StorageState::NotChecked | StorageState::Unknown { .. } => None,
    }
}

/// A present, guarded, undrained host whose storage has been known to be good for the grace.
fn has_storage(world: &World, host: &HostView) -> bool {
    let suspect_after_ms = world.policy.timing.resolve().suspect_after_ms;
    let (Some(session), Some(report)) = (&host.session, &host.report) else {
        return false;
    };
    let silence = world.now.since(session.seen_at.max(world.view_since));
    let drained = host
        .spec
        .as_ref()
        .is_some_and(|spec| spec.value.maintenance);
    session.value.state == SessionState::Open
        && session.value.guard == GuardState::Working
        && silence < suspect_after_ms
        && !drained
        && world.now.since(report.seen_at.max(world.view_since)) >= world.policy.storage.grace_ms
        && report.value.incarnation == session.value.incarnation
        && matches!(
            report.value.storage,
            StorageState::Synced | StorageState::Degraded { .. }
        )
}
