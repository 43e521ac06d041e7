//! What the guardian decides on, put together from the store's view, libvirt's domains and the
//! session. Pure.

use super::life::{Life, Open};
use crate::domain_xml::stamp::Phase;
use crate::driver::{Activity, SeenDomain};
use holdfast_core::guardian::{Domain, DomainState, Elsewhere, Ended, Grant, HostWorld, Job};
use holdfast_model::host::{PauseReason, VmReport};
use holdfast_model::id::{HostName, Incarnation, VmName};
use holdfast_model::policy::Policy;
use holdfast_model::time::Instant;
use holdfast_model::world::VmView;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the shell knows besides the store's view.
pub struct Known<'a> {
    /// Now.
    pub now: Instant,
    /// This host.
    pub host: &'a HostName,
    /// Where it stands.
    pub life: &'a Life,
    /// A guard watches everything that runs here.
    pub guard_works: bool,
    /// libvirt's domains, if it answers.
    pub domains: Option<&'a BTreeMap<VmName, SeenDomain>>,
    /// The owner records were read at least once.
    pub grants_known: bool,
    /// Calls under way.
    pub jobs: BTreeMap<VmName, Job>,
    /// How grants ended.
    pub ends: BTreeMap<VmName, Ended>,
    /// VMs to leave alone this time.
    pub held: &'a BTreeSet<VmName>,
    /// VMs to leave alone as long as no record names this host.
    pub arriving: &'a BTreeSet<VmName>,
}

/// The world. `reports` are this host's own as they stand in the store.
pub fn build(known: Known<'_>, view: &View, reports: BTreeMap<VmName, VmReport>) -> HostWorld {
    let open: Option<&Open> = match known.life {
        Life::Open(open) => Some(open),
        Life::Unknown | Life::Cleaning | Life::Opening(_) => None,
    };
    let incarnation = open.map(|open| open.incarnation.clone());
    let policy = view.policy.as_ref().map(|seen| &seen.value);
    // A record that this version cannot read is no ground to stop what runs.
    let (_, unreadable) = view.excluded();
    let grants = grants(view, known.host);
    let granted: BTreeSet<VmName> = grants.keys().cloned().collect();
    let skipped = |vm: &VmName| {
        (incarnation.is_some() && unreadable.contains(vm))
            || known.held.contains(vm)
            || (known.arriving.contains(vm) && !granted.contains(vm))
    };
    let domain = |(vm, seen): (&VmName, &SeenDomain)| {
        let domain = Domain {
            generation: seen.stamp.generation,
            own: Some(&seen.stamp.incarnation) == incarnation.as_ref(),
            state: state_of(seen, incarnation.as_ref()),
        };
        (vm.clone(), domain)
    };
    let mut world = HostWorld {
        now: known.now,
        host: known.host.clone(),
        may_act_until: open.map_or(Instant(0), Open::may_act_until),
        deadline: open.map_or(Instant(0), life_deadline),
        guard_works: known.guard_works,
        restart: policy.map_or_else(|| Policy::default().restart, |p| p.restart.clone()),
        domains: known.domains.map(|seen| seen.iter().map(domain).collect()),
        grants_known: known.grants_known,
        elsewhere: elsewhere(view, known.domains, &granted),
        grants,
        reports,
        jobs: known.jobs,
        ends: known.ends,
        incarnation: incarnation.clone(),
    };
    world.elsewhere.retain(|vm, _| !skipped(vm));
    world.grants.retain(|vm, _| !skipped(vm));
    world.reports.retain(|vm, _| !skipped(vm));
    world.jobs.retain(|vm, _| !skipped(vm));
    world.ends.retain(|vm, _| !skipped(vm));
    if let Some(domains) = &mut world.domains {
        domains.retain(|vm, _| !skipped(vm));
    }
    world
}

/// When this life ends. With a storage plane only the guard knows: it kills what stands paused as well.
fn life_deadline(open: &Open) -> Instant {
    match open.storage {
        Some(_) => Instant(u64::MAX),
        None => open.deadline(),
    }
}

fn grants(view: &View, host: &HostName) -> BTreeMap<VmName, Grant> {
    let grant = |(name, vm): (&VmName, &Arc<VmView>)| {
        let owner = &vm.owner.as_ref()?.value;
        let names_us = owner.possible_runners().any(|runner| runner.host == *host);
        names_us.then(|| {
            let grant = Grant {
                owner: owner.clone(),
                spec: vm.spec.as_ref().map(|spec| spec.value.clone()),
            };
            (name.clone(), grant)
        })
    };
    view.vms.iter().filter_map(grant).collect()
}

/// What the owner records of the other VMs say that have a domain here.
fn elsewhere(
    view: &View,
    domains: Option<&BTreeMap<VmName, SeenDomain>>,
    granted: &BTreeSet<VmName>,
) -> BTreeMap<VmName, Elsewhere> {
    let here = domains.into_iter().flat_map(BTreeMap::keys);
    let others = here.filter(|vm| !granted.contains(*vm));
    let record = |vm: &VmName| {
        let owner = view.vms.get(vm)?.owner.as_ref()?;
        Some((vm.clone(), Elsewhere::of(&owner.value)))
    };
    others.filter_map(record).collect()
}

/// What a domain does, in the guardian's words. libvirt says "paused on request" of three things;
/// the stamp tells them apart:
///
/// - another host's incarnation: a migration brought it, whole, and nobody has taken it over;
/// - ours, and never resumed: created, or taken over, by an agent that did not come to the resume;
/// - ours, and resumed once: somebody paused it.
///
/// A domain of a strange incarnation counts as received only while this host has a session: a
/// session is opened only when nothing of an earlier life of this host is left.
pub fn state_of(seen: &SeenDomain, own: Option<&Incarnation>) -> DomainState {
    let ours = own == Some(&seen.stamp.incarnation);
    let paused = |reason| DomainState::Paused { reason };
    match seen.activity {
        Activity::Running => DomainState::Running,
        Activity::ShuttingDown => DomainState::ShuttingDown,
        Activity::PausedOnRequest if ours => match seen.stamp.phase {
            Phase::Created => DomainState::Created,
            Phase::Started => paused(PauseReason::ByHand),
        },
        Activity::PausedOnRequest if own.is_some() => DomainState::Received,
        Activity::StartingUp if ours => DomainState::Created,
        Activity::PausedIoError => paused(PauseReason::IoError),
        Activity::PausedMigration if ours => paused(PauseReason::Migration),
        Activity::PausedOther if ours => paused(PauseReason::Other),
        Activity::PausedOnRequest
        | Activity::StartingUp
        | Activity::PausedMigration
        | Activity::PausedOther => DomainState::Receiving,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain_xml::stamp::Stamp;
    use holdfast_model::id::Generation;

    fn seen(activity: Activity, incarnation: &str, phase: Phase) -> SeenDomain {
        SeenDomain {
            stamp: Stamp {
                cluster: "c1".parse().expect("a name"),
                vm: "web".parse().expect("a name"),
                generation: Generation(3),
                incarnation: incarnation.parse().expect("a name"),
                phase,
            },
            uuid: "11111111-2222-3333-4444-555555555555"
                .parse()
                .expect("a UUID"),
            activity,
            process: None,
        }
    }

    #[test]
    fn one_state_of_libvirt_is_three_of_ours() {
        use Activity::{PausedMigration, PausedOnRequest, PausedOther, Running, StartingUp};
        use Phase::{Created, Started};
        let own = "own".parse().expect("a name");
        let by_hand = DomainState::Paused {
            reason: PauseReason::ByHand,
        };
        let migration = DomainState::Paused {
            reason: PauseReason::Migration,
        };
        for (activity, incarnation, phase, state) in [
            (PausedOnRequest, "own", Created, DomainState::Created),
            (PausedOnRequest, "own", Started, by_hand),
            (PausedOnRequest, "peer", Started, DomainState::Received),
            (PausedMigration, "peer", Started, DomainState::Receiving),
            (StartingUp, "peer", Started, DomainState::Receiving),
            (PausedOther, "peer", Started, DomainState::Receiving),
            (PausedMigration, "own", Started, migration),
            (StartingUp, "own", Created, DomainState::Created),
            (Running, "peer", Started, DomainState::Running),
        ] {
            let found = state_of(&seen(activity, incarnation, phase), Some(&own));
            assert_eq!(found, state, "{activity:?} {incarnation} {phase:?}");
        }
    }

    #[test]
    fn without_a_session_nothing_counts_as_received() {
        for activity in [
            Activity::PausedOnRequest,
            Activity::PausedMigration,
            Activity::PausedOther,
            Activity::StartingUp,
        ] {
            let found = state_of(&seen(activity, "peer", Phase::Started), None);
            assert_eq!(found, DomainState::Receiving, "{activity:?}");
        }
    }
}
