//! A store that was set back to an older state (etcd restored from a backup) has forgotten grants that were
//! made since. A host that runs a VM under one of them says so under its open session, with a generation
//! above the owner's. Nothing is started meanwhile, and the record is put right: the host that runs the VM
//! holds it. That is no start: every other possible runner has to be proven stopped first, as ever.

use super::draft::Draft;
use super::facts::{open_session, resolution};
use super::grant::lease_of_session;
use holdfast_model::event::EventKind;
use holdfast_model::host::{RunState, VmReport};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::{PlannerStep, Subject, Write};
use holdfast_model::vm::{Failures, Intent, Owner, PastGrant, Runner};
use holdfast_model::world::World;
use std::collections::BTreeMap;

pub(super) fn step(draft: &mut Draft) {
    for (vm, runners) in forgotten(draft.world) {
        draft.leave_alone(&vm);
        let subject = Subject::Vm(vm.clone());
        let [(runner, generation)] = &runners[..] else {
            let hosts: Vec<&str> = runners.iter().map(|(r, _)| r.host.as_str()).collect();
            let text = format!(
                "the store has forgotten newer grants of it, and hosts {} all say that they have it: \
                 destroy it by hand on all but one. Nothing is started",
                hosts.join(" and ")
            );
            draft.report(PlannerStep::Recovery, subject, text);
            continue;
        };
        take_back(draft, &vm, runner, *generation);
    }
}

/// By VM: lives that have it under a grant that its owner record knows nothing of.
fn forgotten(world: &World) -> BTreeMap<VmName, Vec<(Runner, Generation)>> {
    let mut found: BTreeMap<VmName, Vec<(Runner, Generation)>> = BTreeMap::new();
    for (name, host) in &world.hosts {
        let Some(session) = open_session(host) else {
            continue;
        };
        for (vm, said) in &host.vms {
            let VmReport {
                incarnation,
                generation,
                state,
            } = &said.value;
            // What an agent says of a domain whose grant the record knows nothing of. A copy that a
            // migration brought is no such thing.
            let has = matches!(
                state,
                RunState::Running | RunState::Paused { .. } | RunState::Unknown { .. }
            );
            if *incarnation != session.value.incarnation || !has {
                continue;
            }
            let owner = world.vms.get(vm).and_then(|view| view.owner.as_ref());
            let runner = Runner {
                host: name.clone(),
                incarnation: incarnation.clone(),
            };
            if owner.is_none_or(|owner| is_forgotten(&owner.value, &runner, *generation)) {
                let of_vm = found.entry(vm.clone()).or_default();
                of_vm.push((runner, *generation));
            }
        }
    }
    found
}

/// Whether that grant is one that the record knows nothing of: above it, or the same one given to another
/// host once more.
fn is_forgotten(owner: &Owner, runner: &Runner, generation: Generation) -> bool {
    let given_twice = || {
        let other = owner.holder.as_ref().is_some_and(|holder| holder != runner);
        other && owner.incoming.as_ref() != Some(runner) && generation == owner.generation
    };
    generation > owner.generation || given_twice()
}

fn take_back(draft: &mut Draft, name: &VmName, runner: &Runner, generation: Generation) {
    let world = draft.world;
    let subject = Subject::Vm(name.clone());
    let view = world.vms.get(name);
    let spec = view.and_then(|view| view.spec.as_ref());
    let Some(spec) = spec else {
        let text = format!(
            "it runs on {} under generation {generation}, and the store knows nothing of it: was etcd \
             restored from a backup? Apply its definition again (`holdfast vm apply`)",
            runner.host
        );
        draft.report(PlannerStep::Recovery, subject, text);
        return;
    };
    let old = view.and_then(|view| view.owner.as_ref());
    let open = old.and_then(|old| {
        let mut others = old.value.possible_runners();
        others
            .find(|other| *other != runner && resolution(world, name, &old.value, other).is_none())
    });
    if let Some(other) = open {
        let text = format!(
            "it runs on {} under generation {generation}, which the store has forgotten; waiting for \
             the proof that it does not run on {}",
            runner.host, other.host
        );
        draft.report(PlannerStep::Recovery, subject, text);
        return;
    }
    let reason = format!(
        "the store had forgotten generation {generation} on {}: it was set back",
        runner.host
    );
    let owner = Owner {
        holder: Some(runner.clone()),
        incoming: None,
        generation,
        lease: lease_of_session(world, &runner.host),
        intent: Intent::Run,
        rest: None,
        failures: Failures::default(),
        placed_by_hand: false,
        run_serial: spec.value.run_serial,
        migrate_failures: 0,
        follows: Vec::new(),
        reason: reason.clone(),
    };
    let event = draft.vm_event(EventKind::Note, name, &owner, format!("{name}: {reason}"));
    let writes = vec![
        draft.owner_write(name, owner),
        Write::CheckVmSpec {
            vm: name.clone(),
            expect: spec.revision,
        },
    ];
    draft.push(format!("{name}: {reason}"), writes, vec![event]);
}

/// A holder was refused on the lease volume: the claim there is of a life that the store knows nothing of,
/// and that may be running the VM. It becomes the holder; what closes it is evidence, as ever, and the
/// grant after it knows the claim.
pub(super) fn take_in(
    draft: &mut Draft,
    name: &VmName,
    past: &Owner,
    generation: Generation,
    runner: &Runner,
) {
    let reason = format!(
        "the lease volume has a claim by {} (incarnation {}) under generation {generation}, which the \
         store had forgotten: it was set back",
        runner.host, runner.incarnation
    );
    let above = is_forgotten(past, runner, generation);
    let owner = Owner {
        holder: Some(runner.clone()),
        incoming: None,
        generation: match above {
            true => generation,
            false => past.generation.next(),
        },
        lease: StorageClass::Quorum,
        intent: Intent::Run,
        rest: None,
        reason: reason.clone(),
        ..past.clone()
    };
    let event = draft.vm_event(EventKind::Note, name, &owner, format!("{name}: {reason}"));
    let mut write = draft.owner_write(name, owner);
    if let Write::Owner { owner, .. } = &mut write
        && !above
    {
        // After the grant that was refused.
        let at = owner.follows.len().min(1);
        let claim = PastGrant {
            generation,
            runner: runner.clone(),
            ran: false,
        };
        owner.follows.insert(at, claim);
    }
    draft.push(format!("{name}: {reason}"), vec![write], vec![event]);
}
