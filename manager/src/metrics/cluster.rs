//! Of the cluster: who leads, how old the view is, how hosts and VMs are, what deserves attention, what happened.

use super::text::{Kind, Sample, Text, flag, sample, seconds};
use super::{Scrape, Seen};
use crate::timeline::{Incident, IncidentKind};
use holdfast_model::host::Membership;
use holdfast_model::id::SiteName;
use holdfast_model::status::{Member, Severity, Status, VmState};
use std::collections::BTreeMap;

/// All of it; of a cluster that was never seen only that.
pub(super) fn tell(text: &mut Text, scrape: &Scrape<'_>) {
    let fresh = scrape.seen.as_ref().is_some_and(|seen| seen.fresh);
    text.value(
        Kind::Gauge,
        "holdfast_store_view_fresh",
        "Whether what this manager sees is what is in etcd now.",
        flag(fresh),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_store_view_age_seconds",
        "For how long that has not been confirmed.",
        scrape.view_age_ms.map(|ms| sample([], seconds(ms))),
    );
    let leader = scrape
        .seen
        .as_ref()
        .and_then(|seen| seen.status.leader.as_ref());
    text.value(
        Kind::Gauge,
        "holdfast_is_leader",
        "Whether this manager leads, as it sees it.",
        flag(leader.is_some_and(|leader| leader.name == *scrape.manager)),
    );
    let Some(seen) = &scrape.seen else {
        return;
    };
    members(text, &seen.status);
    hosts(text, &seen.status);
    vms(text, &seen.status);
    conditions(text, &seen.status);
    happened(text, seen);
}

fn members(text: &mut Text, status: &Status) {
    text.value(
        Kind::Gauge,
        "holdfast_store_has_quorum",
        "Whether a majority of etcd's voters answers this manager.",
        flag(status.quorum.healthy),
    );
    let split = |members: &[Member]| {
        let healthy = members.iter().filter(|member| member.healthy).count();
        let states = [("healthy", healthy), ("silent", members.len() - healthy)];
        states.map(|(state, count)| sample([("state", state)], count as f64))
    };
    text.metric(
        Kind::Gauge,
        "holdfast_store_voters",
        "Voters of etcd by whether they answer this manager.",
        split(&status.quorum.members),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_managers",
        "Managers that were seen, by whether they still renew their presence.",
        split(&status.managers),
    );
}

/// Numbers by site and by state.
type Counted<'s> = BTreeMap<(&'s str, &'static str), usize>;

/// Zero for each site that runs something and each state, so that nothing that is counted comes and goes.
fn zeros<'s>(status: &'s Status, states: &[&'static str]) -> Counted<'s> {
    let sites = status.sites.iter().filter(|site| !site.witness);
    let each = sites.flat_map(|site| states.iter().map(move |state| (site.name.as_str(), *state)));
    each.map(|place| (place, 0)).collect()
}

fn samples(counted: Counted<'_>) -> impl Iterator<Item = Sample> {
    counted
        .into_iter()
        .map(|((site, state), count)| sample([("site", site), ("state", state)], count as f64))
}

fn site_word(site: &Option<SiteName>) -> &str {
    site.as_ref().map_or("", SiteName::as_str)
}

fn hosts(text: &mut Text, status: &Status) {
    let mut counted = zeros(status, &HOST_STATES);
    for host in &status.hosts {
        let place = (site_word(&host.site), host_word(host.state));
        *counted.entry(place).or_default() += 1;
    }
    text.metric(
        Kind::Gauge,
        "holdfast_hosts",
        "Hosts by site and state.",
        samples(counted),
    );
}

const HOST_STATES: [&str; 7] = [
    "new",
    "online",
    "suspect",
    "isolated",
    "fenced",
    "rejoining",
    "maintenance",
];

fn host_word(state: Option<Membership>) -> &'static str {
    match state {
        None => "new",
        Some(Membership::Online) => "online",
        Some(Membership::Suspect) => "suspect",
        Some(Membership::Isolated) => "isolated",
        Some(Membership::Fenced) => "fenced",
        Some(Membership::Rejoining) => "rejoining",
        Some(Membership::Maintenance) => "maintenance",
    }
}

fn vms(text: &mut Text, status: &Status) {
    let mut counted = zeros(status, &VM_STATES);
    // Those that wait or are off are nowhere.
    counted.extend(VM_STATES.map(|state| (("", state), 0)));
    for vm in &status.vms {
        let place = (site_word(&vm.site), vm_word(vm.state));
        *counted.entry(place).or_default() += 1;
    }
    text.metric(
        Kind::Gauge,
        "holdfast_vms",
        "VMs by the site where they are, if they are anywhere, and by state.",
        samples(counted),
    );
}

const VM_STATES: [&str; 8] = [
    "running",
    "starting",
    "migrating",
    "stopping",
    "paused",
    "stopped",
    "waiting",
    "unknown",
];

fn vm_word(state: VmState) -> &'static str {
    match state {
        VmState::Running => "running",
        VmState::Starting => "starting",
        VmState::Migrating => "migrating",
        VmState::Stopping => "stopping",
        VmState::Paused => "paused",
        VmState::Stopped => "stopped",
        VmState::Waiting => "waiting",
        VmState::Unknown => "unknown",
    }
}

fn conditions(text: &mut Text, status: &Status) {
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for condition in &status.conditions {
        let severity = match condition.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        *counted
            .entry((severity, condition.code.as_str()))
            .or_default() += 1;
    }
    text.metric(
        Kind::Gauge,
        "holdfast_conditions",
        "What deserves attention, by the code that `holdfast status` shows.",
        counted.into_iter().map(|((severity, code), count)| {
            sample([("severity", severity), ("code", code)], count as f64)
        }),
    );
}

const INCIDENTS: [IncidentKind; 5] = [
    IncidentKind::HostLoss,
    IncidentKind::SiteLoss,
    IncidentKind::FalseAlarm,
    IncidentKind::VmRestart,
    IncidentKind::Moves,
];

fn incident_word(kind: IncidentKind) -> &'static str {
    match kind {
        IncidentKind::HostLoss => "host-loss",
        IncidentKind::SiteLoss => "site-loss",
        IncidentKind::FalseAlarm => "false-alarm",
        IncidentKind::VmRestart => "vm-restart",
        IncidentKind::Moves => "moves",
    }
}

fn happened(text: &mut Text, seen: &Seen) {
    text.value(
        Kind::Gauge,
        "holdfast_operations_pending",
        "Requests of operators that wait to be carried out.",
        seen.operations as f64,
    );
    let of = |kind: IncidentKind| seen.incidents.iter().filter(move |each| each.kind == kind);
    let word = |kind: IncidentKind| [("kind", incident_word(kind))];
    text.metric(
        Kind::Gauge,
        "holdfast_incidents",
        "Incidents in the events that are kept, as `holdfast timeline` tells them.",
        INCIDENTS.map(|kind| sample(word(kind), of(kind).count() as f64)),
    );
    let last = |of_one: fn(&Incident) -> Option<f64>| {
        let each = INCIDENTS.into_iter().filter_map(move |kind| {
            let newest = of(kind).next_back()?;
            Some(sample(word(kind), of_one(newest)?))
        });
        each.collect::<Vec<_>>()
    };
    text.metric(
        Kind::Gauge,
        "holdfast_last_incident_start_timestamp_seconds",
        "When the last of its kind began, in seconds since 1970.",
        last(|incident| Some(seconds(incident.started_at.0))),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_last_incident_duration_seconds",
        "From the beginning of the last of its kind to its end; none while it goes on.",
        last(|incident| incident.duration_ms.map(seconds)),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_last_incident_median_vm_seconds",
        "From its beginning until half of its VMs ran again.",
        last(|incident| incident.summary.median_ms.map(seconds)),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_last_incident_slowest_vm_seconds",
        "From its beginning until the last of its VMs ran again.",
        last(|incident| incident.summary.slowest_ms.map(seconds)),
    );
}
