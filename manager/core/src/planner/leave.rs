//! Hosts that give their VMs away by live migration, the highest priority first.
//!
//! ```text
//! drained by an operator ─────────────────────────────┐
//! its session says that no guard works, for the grace ┴──> each VM to the best other host, or it stays
//! ```
//! Without a guard nobody ends the VMs of a host that loses its planes, so its silence would prove
//! nothing and they could not be started elsewhere: they leave while its agent can still hand them over.

use super::draft::Draft;
use super::facts::{is_drained, open_session};
use super::operations::{settled, try_migration};
use super::suspect::is_suspect;
use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{PlannerStep, Subject};
use holdfast_model::time::Instant;
use holdfast_model::world::HostView;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// So long a guard may be away before its host's VMs leave, in milliseconds: longer than a service
/// manager takes to start it again and than it takes to be replaced by a newer one, even if the first
/// attempts fail.
const GUARD_GRACE_MS: u64 = 30_000;

pub(super) fn step(draft: &mut Draft) {
    let world = draft.world;
    let mut reasons: BTreeMap<&HostName, String> = BTreeMap::new();
    for (name, host) in &world.hosts {
        if is_drained(host) {
            reasons.insert(name, format!("{name} is drained"));
        } else if let Some(since) = unguarded_since(draft, name, host) {
            let until = since.plus(GUARD_GRACE_MS);
            match world.now < until {
                true => wait(draft, name, until),
                false => {
                    let text = format!("{name} has been without a working guard for too long");
                    reasons.insert(name, text);
                }
            }
        }
    }
    let mut leaving: Vec<(&VmName, &String, i32)> = Vec::new();
    for (name, vm) in &world.vms {
        let owner = vm.owner.as_ref().map(|owner| &owner.value);
        let host = owner.and_then(|owner| Some(&owner.holder.as_ref()?.host));
        if let Some(reason) = host.and_then(|host| reasons.get(host)) {
            let priority = vm.spec.as_ref().map_or(0, |spec| spec.value.priority);
            leaving.push((name, reason, priority));
        }
    }
    leaving.sort_by_key(|(name, _, priority)| (Reverse(*priority), (*name).clone()));
    for (name, reason, _) in leaving {
        if let Ok(settled) = settled(draft, name) {
            let step = PlannerStep::Operations;
            try_migration(draft, step, name, &settled, None, reason.clone());
        }
    }
}

/// Since when a host that is there has had no guard.
fn unguarded_since(draft: &Draft, name: &HostName, host: &HostView) -> Option<Instant> {
    let session = open_session(host)?;
    let there = !is_suspect(draft.world, &draft.timing, name, session);
    let since = host.unguarded_since.filter(|_| there)?;
    Some(since.max(draft.world.view_since))
}

fn wait(draft: &mut Draft, host: &HostName, until: Instant) {
    let text = format!(
        "no guard works on it, so nobody would stop its VMs in time; after {} s of that they leave",
        GUARD_GRACE_MS / 1_000
    );
    draft.wait(
        PlannerStep::Operations,
        Subject::Host(host.clone()),
        text,
        until,
    );
}
