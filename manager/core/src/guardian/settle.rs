//! Which of the remembered ends the store has by now, so that the shell may forget them.

use super::types::{EndKind, HostWorld};
use holdfast_model::host::RunState;
use holdfast_model::id::VmName;
use std::collections::BTreeSet;

/// VMs whose entry in [`HostWorld::ends`] has been reported or concerns nobody any more. To be
/// removed before the next decision: an old failure kept for too long would be taken for a new one.
pub fn settled_ends(world: &HostWorld) -> BTreeSet<VmName> {
    world
        .ends
        .keys()
        .filter(|vm| is_settled(world, vm))
        .cloned()
        .collect()
}

fn is_settled(world: &HostWorld, vm: &VmName) -> bool {
    let Some(end) = world.ends.get(vm) else {
        return true;
    };
    let Some(life) = &world.incarnation else {
        // A closed life reports nothing.
        return true;
    };
    if !world.grants_known {
        return false;
    }
    let report = world.reports.get(vm);
    match world.grants.get(vm) {
        None => report.is_none(),
        Some(grant) if grant.owner.generation > end.generation => true,
        Some(_) => report.is_some_and(|report| {
            let same = report.incarnation == *life && report.generation == end.generation;
            let told = report.state.is_final()
                || (matches!(end.how, EndKind::MigrationFailed { .. })
                    && report.state != RunState::MigratingOut);
            same && told
        }),
    }
}
