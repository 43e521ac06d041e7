//! The two writes that let a VM run somewhere: a new grant, and an incoming migration.

use super::draft::Draft;
use super::facts::open_session;
use holdfast_model::event::EventKind;
use holdfast_model::id::{Generation, HostName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::Write;
use holdfast_model::vm::{Failures, Intent, Owner, Runner, VmSpec};
use holdfast_model::world::{Seen, World};

/// Grants a VM to a host under a new generation. The caller has proven that no earlier possible
/// runner is left; `verify` checks it once more.
pub(super) fn grant(
    draft: &mut Draft,
    vm: &VmName,
    spec: &Seen<VmSpec>,
    runner: Runner,
    generation: Generation,
    failures: Failures,
    reason: String,
) {
    let host = runner.host.clone();
    let owner = Owner {
        holder: Some(runner),
        incoming: None,
        generation,
        lease: lease_on(draft, vm, &host),
        intent: Intent::Run,
        rest: None,
        failures,
        placed_by_hand: false,
        run_serial: spec.value.run_serial,
        migrate_failures: 0,
        follows: Vec::new(),
        reason: reason.clone(),
    };
    let why = format!("{vm} to {host}, generation {generation}: {reason}");
    let event = draft.vm_event(EventKind::VmGranted, vm, &owner, why.clone());
    let mut writes = vec![
        draft.owner_write(vm, owner),
        Write::CheckVmSpec {
            vm: vm.clone(),
            expect: spec.revision,
        },
    ];
    writes.extend(check_host(draft, &host));
    draft.push(why, writes, vec![event]);
}

/// Whether a grant of that VM to that host's present life relies on its storage lease.
pub(super) fn lease_on(draft: &Draft, vm: &VmName, host: &HostName) -> StorageClass {
    let world = draft.world;
    let spec = world.vms.get(vm).and_then(|view| view.spec.as_ref());
    let wanted = spec.is_some_and(|spec| spec.value.storage_lease);
    match wanted {
        true => lease_of_session(world, host),
        false => StorageClass::Plain,
    }
}

/// What a VM that runs there may rely on, whatever it was granted under: at the least this is waited for.
pub(super) fn lease_of_session(world: &World, host: &HostName) -> StorageClass {
    let session = world.hosts.get(host).and_then(|host| open_session(host));
    match session.is_some_and(|session| session.value.has_storage_plane()) {
        true => StorageClass::Quorum,
        false => StorageClass::Plain,
    }
}

/// Begins a live migration of a running VM.
pub(super) fn migrate(
    draft: &mut Draft,
    vm: &VmName,
    owner: &Owner,
    to: Runner,
    by_hand: Option<Write>,
    reason: String,
) {
    let from = owner
        .holder
        .as_ref()
        .map(|holder| holder.host.to_string())
        .unwrap_or_default();
    let host = to.host.clone();
    let why = format!("{vm} moves live from {from} to {host}: {reason}");
    let next = Owner {
        incoming: Some(to),
        intent: Intent::Migrate,
        placed_by_hand: owner.placed_by_hand || by_hand.is_some(),
        reason,
        ..owner.clone()
    };
    let event = draft.vm_event(EventKind::MigrationStarted, vm, &next, why.clone());
    let mut writes = vec![draft.owner_write(vm, next)];
    writes.extend(check_host(draft, &host));
    writes.extend(by_hand);
    draft.push(why, writes, vec![event]);
}

/// A drain that comes in between makes the write fail.
fn check_host(draft: &Draft, host: &HostName) -> Option<Write> {
    let spec = draft.world.hosts.get(host)?.spec.as_ref()?;
    Some(Write::CheckHostSpec {
        host: host.clone(),
        expect: spec.revision,
    })
}
