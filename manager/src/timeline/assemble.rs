//! A draft, told to its end, as an incident: its kind, its title, its figures.

use super::build::Draft;
use super::{Incident, IncidentKind, Phase, Summary, VmLane};
use holdfast_model::id::{HostName, SiteName};
use std::collections::{BTreeMap, BTreeSet};

/// Puts it together.
pub(super) fn assemble(id: String, draft: Draft, sites: &BTreeMap<HostName, SiteName>) -> Incident {
    let lost: BTreeSet<&HostName> = draft.hosts.iter().map(|lane| &lane.host).collect();
    let whole_site = sites
        .values()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .find(|site| {
            let mut there = sites
                .iter()
                .filter(|(_, at)| at == site)
                .map(|(host, _)| host);
            there.all(|host| lost.contains(host))
        });
    let kind = match (draft.kind, whole_site) {
        (IncidentKind::HostLoss, Some(_)) => IncidentKind::SiteLoss,
        (kind, _) => kind,
    };
    let hosts: Vec<&str> = draft.hosts.iter().map(|lane| lane.host.as_str()).collect();
    let hosts = hosts.join(", ");
    let title = match kind {
        IncidentKind::SiteLoss => {
            let site = whole_site.map_or("", |site| site.as_str());
            format!("site {site} lost ({hosts})")
        }
        IncidentKind::HostLoss => format!("host {hosts} lost"),
        IncidentKind::FalseAlarm => format!("host {hosts} was silent and came back"),
        IncidentKind::VmRestart => format!("{} restarted", count(&draft.vms)),
        IncidentKind::Moves => format!("{} migrated live", count(&draft.vms)),
    };
    let settled = draft
        .hosts
        .iter()
        .all(|lane| lane.at(Phase::Proven).or(lane.at(Phase::Back)).is_some());
    let over = settled && draft.vms.iter().all(VmLane::is_done);
    let mut ends: Vec<u64> = draft
        .vms
        .iter()
        .filter_map(|lane| lane.at(Phase::Running).or(lane.at(Phase::Moved)))
        .collect();
    ends.sort_unstable();
    let summary = Summary {
        vms: draft.vms.len(),
        done: ends.len(),
        median_ms: ends.get(ends.len().saturating_sub(1) / 2).copied(),
        slowest_ms: ends.last().copied(),
    };
    Incident {
        id,
        kind,
        title,
        started_at: draft.start,
        duration_ms: over.then(|| draft.latest.0.saturating_sub(draft.start.0)),
        hosts: draft.hosts,
        vms: draft.vms,
        summary,
    }
}

fn count(vms: &[VmLane]) -> String {
    match vms {
        [one] => format!("VM {}", one.vm),
        many => format!("{} VMs", many.len()),
    }
}
