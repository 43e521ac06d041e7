//! Live migrations under way: two possible runners until the end is settled.
//!
//! ```text
//! Migrate ── source: MigratedAway, destination: whole ──────────> destination holds, generation+1
//!    │   └── source: MigrationFailed, or it died ──> AbortMigration
//!    └──────────────────────────────────────────────────┐
//! AbortMigration ── destination: NotHere or fenced ──> source holds on, same generation
//!                                                      (or, if it died: recovery starts it anew)
//! ```
//! A destination is given the VM only on the source's own word that it is gone whole. A source that
//! died without that word may have run on after the last copy, so the copy is stale by then: the
//! destination drops it and the VM is started from its disk.

use super::draft::Draft;
use super::facts::{Resolution, report_of, resolution};
use super::grant::lease_on;
use holdfast_model::event::EventKind;
use holdfast_model::host::RunState;
use holdfast_model::id::VmName;
use holdfast_model::plan::{PlannerStep, Subject};
use holdfast_model::vm::{Intent, Owner, Runner};

pub(super) fn step(draft: &mut Draft) {
    let world = draft.world;
    for (name, vm) in &world.vms {
        let Some(owner) = &vm.owner else { continue };
        let Some(to) = &owner.value.incoming else {
            continue;
        };
        if draft.vm_done(name) {
            continue;
        }
        match &owner.value.holder {
            Some(from) => settle(draft, name, &owner.value, from, to),
            // Not written by this version; the destination is the only possible runner then.
            None if resolution(world, name, &owner.value, to).is_some() => {
                clear(draft, name, &owner.value, "no source");
            }
            None => abort(draft, name, &owner.value, to, "no source"),
        }
    }
}

fn settle(draft: &mut Draft, name: &VmName, owner: &Owner, from: &Runner, to: &Runner) {
    let world = draft.world;
    let source = resolution(world, name, owner, from);
    let destination = resolution(world, name, owner, to);
    let arrived = report_of(world, name, owner.generation, to).map(|report| &report.state);
    let said = report_of(world, name, owner.generation, from).map(|report| &report.state);
    let subject = Subject::Vm(name.clone());
    match (source, destination) {
        (Some(Resolution::MigratedAway), None) => match arrived {
            Some(RunState::Incoming { complete: true }) => commit(draft, name, owner, to),
            _ => arrives(draft, name, owner, from, to),
        },
        (_, Some(_)) => clear(draft, name, owner, &failure(said, &from.host, &to.host)),
        (Some(_), None) => abort(draft, name, owner, to, &format!("{} lost it", from.host)),
        (None, None) => match said {
            Some(RunState::MigrationFailed { reason }) => abort(draft, name, owner, to, reason),
            _ => draft.report(
                PlannerStep::Migration,
                subject,
                format!("moving live from {} to {}", from.host, to.host),
            ),
        },
    }
}

/// The source has sent it whole and the destination has not said that it has it. It cannot tell
/// "not yet" from "came and died before I looked", so it is asked to give up after a while: it
/// answers that nothing is there, and the VM is started from its disk.
fn arrives(draft: &mut Draft, name: &VmName, owner: &Owner, from: &Runner, to: &Runner) {
    let world = draft.world;
    let host = world.hosts.get(&from.host);
    let left = host.and_then(|host| host.vms.get(name));
    let since = left.map_or(world.now, |report| report.seen_at.max(world.view_since));
    let until = since.plus(2 * draft.timing.suspect_after_ms);
    if world.now >= until {
        return abort(
            draft,
            name,
            owner,
            to,
            &format!("{} has nothing of it", to.host),
        );
    }
    let text = format!("moved whole; waiting for {} to say that it has it", to.host);
    draft.wait(
        PlannerStep::Migration,
        Subject::Vm(name.clone()),
        text,
        until,
    );
}

fn failure(
    said: Option<&RunState>,
    from: &holdfast_model::id::HostName,
    to: &holdfast_model::id::HostName,
) -> String {
    match said {
        Some(RunState::MigrationFailed { reason }) => reason.clone(),
        _ => format!("the move from {from} to {to} was cut short"),
    }
}

/// The destination holds it from now on.
fn commit(draft: &mut Draft, name: &VmName, owner: &Owner, to: &Runner) {
    let next = Owner {
        holder: Some(to.clone()),
        incoming: None,
        generation: owner.generation.next(),
        lease: lease_on(draft, name, &to.host),
        intent: Intent::Run,
        migrate_failures: 0,
        ..owner.clone()
    };
    let text = format!(
        "{name} moved to {}, generation {}",
        to.host, next.generation
    );
    let event = draft.vm_event(EventKind::MigrationDone, name, &next, text.clone());
    let write = draft.owner_write(name, next);
    draft.push(text, vec![write], vec![event]);
}

/// The destination must give up before the source may go on.
fn abort(draft: &mut Draft, name: &VmName, owner: &Owner, to: &Runner, reason: &str) {
    if owner.intent == Intent::AbortMigration {
        let text = format!(
            "migration to {} given up; waiting until both ends say so",
            to.host
        );
        draft.report(PlannerStep::Migration, Subject::Vm(name.clone()), text);
        return;
    }
    let next = Owner {
        intent: Intent::AbortMigration,
        ..owner.clone()
    };
    let write = draft.owner_write(name, next);
    draft.push(
        format!("{name}: migration to {} given up: {reason}", to.host),
        vec![write],
        vec![],
    );
}

/// The destination is out. The source carries on, if it still can: otherwise the next round finds
/// it resolved and recovers the VM.
fn clear(draft: &mut Draft, name: &VmName, owner: &Owner, reason: &str) {
    let from = owner.holder.as_ref();
    let said = from.and_then(|from| report_of(draft.world, name, owner.generation, from));
    let source_ran_on = said.is_some_and(|report| !report.state.is_final());
    let source_open = from.filter(|from| resolution(draft.world, name, owner, from).is_none());
    if let (Some(_), Some(to)) = (source_open, &owner.incoming) {
        // The source's own call must have ended before it is told to carry on. It may hang with
        // the link that took the destination: then it is called off.
        let state = said.map(|report| &report.state);
        let ended = matches!(state, Some(RunState::MigrationFailed { .. }));
        let under_way = matches!(state, Some(RunState::MigratingOut));
        if !ended && (under_way || owner.intent == Intent::Migrate) {
            abort(draft, name, owner, to, reason);
            return;
        }
    }
    let next = Owner {
        incoming: None,
        intent: Intent::Run,
        migrate_failures: owner.migrate_failures.saturating_add(1),
        reason: if source_ran_on {
            format!("migration failed, it stays: {reason}")
        } else {
            owner.reason.clone()
        },
        ..owner.clone()
    };
    let text = format!("{name}: migration failed: {reason}");
    let event = draft.vm_event(EventKind::MigrationFailed, name, owner, text.clone());
    let write = draft.owner_write(name, next);
    draft.push(text, vec![write], vec![event]);
}
