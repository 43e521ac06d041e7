//! Failback: VMs away from their preferred site go home by live migration, once that site has been
//! well for the hold-down and its storage is in sync. A VM that an operator moved stays.

use super::draft::Draft;
use super::facts::{is_drained, open_session, site_of};
use super::operations::{settled, try_migration};
use holdfast_model::host::{Membership, StorageState};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::plan::{PlannerStep, Subject};
use holdfast_model::time::Instant;
use holdfast_model::world::HostView;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Whether VMs may go home to a site.
enum Readiness {
    Ready,
    Waiting(String, Option<Instant>),
}

pub(super) fn step(draft: &mut Draft) {
    if !draft.world.policy.failback.enabled {
        return;
    }
    for (site, mut away) in vms_away(draft) {
        match readiness(draft, &site) {
            Readiness::Waiting(text, until) => {
                let text = format!("{} VMs would go home: {text}", away.len());
                match until {
                    Some(until) => {
                        draft.wait(PlannerStep::Failback, Subject::Site(site), text, until);
                    }
                    None => draft.report(PlannerStep::Failback, Subject::Site(site), text),
                }
            }
            Readiness::Ready => {
                away.sort_by_key(|(name, priority)| (Reverse(*priority), name.clone()));
                for (name, _) in away {
                    let Ok(settled) = settled(draft, &name) else {
                        continue;
                    };
                    let reason = format!("home to site {site}");
                    let step = PlannerStep::Failback;
                    try_migration(draft, step, &name, &settled, Some(&site), reason);
                }
            }
        }
    }
}

/// VMs per preferred site that run elsewhere, with their priorities.
fn vms_away(draft: &Draft) -> BTreeMap<SiteName, Vec<(VmName, i32)>> {
    let world = draft.world;
    let mut away: BTreeMap<SiteName, Vec<(VmName, i32)>> = BTreeMap::new();
    for (name, vm) in &world.vms {
        let (Some(spec), Some(owner)) = (&vm.spec, &vm.owner) else {
            continue;
        };
        let (Some(home), Some(holder)) = (&spec.value.preferred_site, &owner.value.holder) else {
            continue;
        };
        let elsewhere = site_of(world, &holder.host) != Some(home);
        if elsewhere && !owner.value.placed_by_hand && owner.value.incoming.is_none() {
            away.entry(home.clone())
                .or_default()
                .push((name.clone(), spec.value.priority));
        }
    }
    away
}

/// A site is ready when one host at least can take VMs, and nothing there changed for the
/// hold-down: a host that is lost for good does not hold the others up for ever.
fn readiness(draft: &Draft, site: &SiteName) -> Readiness {
    let hold_ms = draft.world.policy.failback.hold_down_ms;
    let mut good = 0;
    let mut since = Instant(0);
    for (name, host) in &draft.world.hosts {
        if site_of(draft.world, name) != Some(site) || is_drained(host) {
            continue;
        }
        since = since.max(
            host.state
                .as_ref()
                .map_or(draft.world.now, |state| state.seen_at),
        );
        match host_ready(name, host) {
            Ok(true) => {
                good += 1;
                since = since.max(host.report.as_ref().map_or(since, |report| report.seen_at));
            }
            Ok(false) => {}
            Err(text) => return Readiness::Waiting(text, None),
        }
    }
    if good == 0 {
        return Readiness::Waiting("no host of the site is online".to_owned(), None);
    }
    let until = since.plus(hold_ms);
    if draft.world.now < until {
        let text = format!(
            "the site must have been well for {:.0} s",
            hold_ms as f64 / 1000.0
        );
        return Readiness::Waiting(text, Some(until));
    }
    Readiness::Ready
}

/// Whether a host counts as good; an error holds the whole site up.
fn host_ready(name: &HostName, host: &HostView) -> Result<bool, String> {
    let membership = host.state.as_ref().map(|state| state.value.membership);
    match membership {
        Some(Membership::Rejoining) => return Err(format!("{name} is held down")),
        Some(Membership::Isolated) => return Err(format!("{name} is isolated")),
        Some(Membership::Suspect) => return Err(format!("{name} is suspect")),
        Some(Membership::Online) if open_session(host).is_some() => {}
        _ => return Ok(false),
    }
    match host.report.as_ref().map(|report| &report.value.storage) {
        Some(StorageState::Synced | StorageState::NotChecked) => Ok(true),
        Some(StorageState::Degraded { detail }) => {
            Err(format!("storage is not in sync: {name} says {detail}"))
        }
        Some(StorageState::Unusable { reason } | StorageState::Unknown { reason }) => {
            Err(format!("storage at {name}: {reason}"))
        }
        None => Ok(false),
    }
}
