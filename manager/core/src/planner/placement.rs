//! Placement: which host a VM goes to, and why not the others.
//!
//! Two phases, as schedulers do it: filters say no with a reason, then the rest is ranked. Answers
//! of placement extensions will enter here, as further filters and one more rank.

use super::draft::Draft;
use super::facts::{is_drained, open_session, silence_ms};
use holdfast_model::host::{GuardState, HostReport, LibvirtState, Membership, StorageState};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::vm::{Failures, Runner, SiteRule, VmSpec};
use holdfast_model::world::HostView;
use std::cmp::Reverse;

/// What is asked for.
pub(super) struct Request<'a> {
    /// The VM.
    pub vm: &'a VmName,
    /// Its definition.
    pub spec: &'a VmSpec,
    /// Its failures so far.
    pub failures: &'a Failures,
    /// Not there: the host it is leaving.
    pub leaving: Option<&'a HostName>,
    /// Rather there than elsewhere at the same site, unless it failed there too often.
    pub last: Option<&'a HostName>,
    /// Only at this site.
    pub only_site: Option<&'a SiteName>,
    /// Only this host.
    pub only_host: Option<&'a HostName>,
    /// For a live migration, not a start.
    pub live: bool,
}

/// What was found.
pub(super) enum Choice {
    /// The best host.
    Host(Runner),
    /// The best host has as much under way as it may: wait for it rather than go further away.
    Busy(String),
    /// No host may take it, each with its reason.
    Nowhere(Vec<(HostName, String)>),
}

/// Lower is better, field by field.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Rank {
    held_down: bool,
    /// Before the site: a VM that cannot start at home starts elsewhere.
    failed_too_often: bool,
    away_from_site: bool,
    not_the_last: bool,
    failures: u32,
    spread: u32,
    free_memory_mib: Reverse<u64>,
    name: HostName,
}

impl Rank {
    /// Whether going to `other` instead costs nothing that matters.
    fn as_good_as(&self, other: &Rank) -> bool {
        (self.held_down, self.away_from_site, self.failed_too_often)
            == (
                other.held_down,
                other.away_from_site,
                other.failed_too_often,
            )
    }
}

/// Chooses.
pub(super) fn choose(draft: &Draft, request: &Request) -> Choice {
    let mut refused = Vec::new();
    let mut ranked = Vec::new();
    for (name, host) in &draft.world.hosts {
        match candidate(draft, request, name, host) {
            Ok((rank, runner)) => ranked.push((rank, runner)),
            Err(reason) => refused.push((name.clone(), reason)),
        }
    }
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    let Some((best, _)) = ranked.first() else {
        return Choice::Nowhere(refused);
    };
    let best = best.clone();
    let mut busy = None;
    for (rank, runner) in ranked {
        if !rank.as_good_as(&best) {
            break;
        }
        match over_budget(draft, request, &runner.host) {
            None => return Choice::Host(runner),
            Some(reason) => busy = busy.or(Some(reason)),
        }
    }
    Choice::Busy(busy.unwrap_or_default())
}

/// Why this host may not take this VM now although it could.
fn over_budget(draft: &Draft, request: &Request, host: &HostName) -> Option<String> {
    let budgets = &draft.world.policy.budgets;
    let load = draft.load().host(host);
    if !request.live {
        return (load.starts >= budgets.starts_per_host)
            .then(|| format!("{host} has {} starts under way", load.starts));
    }
    for end in [Some(host), request.leaving].into_iter().flatten() {
        let migrations = draft.load().host(end).migrations;
        if migrations >= budgets.migrations_per_host {
            return Some(format!("{end} has {migrations} migrations under way"));
        }
    }
    let link = request
        .leaving
        .map_or(0, |from| draft.load().link(draft.world, from, host));
    (link >= budgets.migrations_per_link)
        .then(|| format!("{link} migrations are under way between the sites"))
}

fn candidate(
    draft: &Draft,
    request: &Request,
    name: &HostName,
    host: &HostView,
) -> Result<(Rank, Runner), String> {
    let (runner, held_down) = takes_vms(draft, name, host)?;
    wanted(request, name, host)?;
    let report = healthy(host, &runner)?;
    let free_memory_mib = fits(draft, request, name, report)?;
    if request.live {
        may_receive(request, host, held_down)?;
    }
    let load = draft.load().host(name);
    let site = host.spec.as_ref().map(|spec| &spec.value.site);
    let failures = request
        .failures
        .per_host
        .get(name)
        .map_or(0, |failures| failures.count);
    let spread = request
        .spec
        .spread
        .as_ref()
        .and_then(|group| load.spread.get(group));
    let failed_too_often = failures >= draft.world.policy.restart.same_host_attempts;
    let rank = Rank {
        held_down,
        away_from_site: request
            .spec
            .preferred_site
            .as_ref()
            .is_some_and(|s| Some(s) != site),
        failed_too_often,
        not_the_last: request.last != Some(name),
        failures,
        spread: spread.copied().unwrap_or(0),
        free_memory_mib: Reverse(free_memory_mib),
        name: name.clone(),
    };
    Ok((rank, runner))
}

/// The host's present life if it takes VMs at all, and whether it is held down.
fn takes_vms(draft: &Draft, name: &HostName, host: &HostView) -> Result<(Runner, bool), String> {
    let Some(session) = open_session(host) else {
        return Err(match &host.session {
            Some(_) => "lost: its session is closed".to_owned(),
            None => "it never had a session".to_owned(),
        });
    };
    let silence = silence_ms(draft.world, session);
    if silence >= draft.timing.suspect_after_ms {
        return Err(format!(
            "suspect: no heartbeat for {:.1} s",
            silence as f64 / 1000.0
        ));
    }
    if session.value.guard == GuardState::Absent {
        return Err("its guard does not work".to_owned());
    }
    if is_drained(host) {
        return Err("in maintenance".to_owned());
    }
    let state = host.state.as_ref().map(|state| &state.value);
    let held_down = match state {
        Some(state) if state.incarnation != session.value.incarnation => true,
        Some(state) => matches!(
            state.membership,
            Membership::Rejoining | Membership::Isolated | Membership::Fenced
        ),
        None => false,
    };
    let incarnation = session.value.incarnation.clone();
    Ok((
        Runner {
            host: name.clone(),
            incarnation,
        },
        held_down,
    ))
}

/// Whether the request allows this host.
pub(super) fn wanted(request: &Request, name: &HostName, host: &HostView) -> Result<(), String> {
    if request.leaving == Some(name) {
        return Err("it is there already".to_owned());
    }
    if request.only_host.is_some_and(|only| only != name) {
        return Err("another host was asked for".to_owned());
    }
    let site = host.spec.as_ref().map(|spec| &spec.value.site);
    if request.only_site.is_some() && request.only_site != site {
        return Err("at another site than asked for".to_owned());
    }
    if request.spec.site_rule == SiteRule::Must
        && let Some(must) = &request.spec.preferred_site
        && Some(must) != site
    {
        return Err(format!("the VM must be at site {must}"));
    }
    Ok(())
}

/// Whether libvirt and storage work there, by the report of its present life.
fn healthy<'h>(host: &'h HostView, runner: &Runner) -> Result<&'h HostReport, String> {
    let report = host.report.as_ref().map(|report| &report.value);
    let Some(report) = report.filter(|report| report.incarnation == runner.incarnation) else {
        return Err("it has not reported its capacity yet".to_owned());
    };
    if let LibvirtState::Unreachable { reason } = &report.libvirt {
        return Err(format!("libvirt does not answer there: {reason}"));
    }
    match &report.storage {
        StorageState::Unusable { reason } => Err(format!("storage is not usable there: {reason}")),
        StorageState::Unknown { reason } => Err(format!("storage is unknown there: {reason}")),
        StorageState::NotChecked | StorageState::Synced | StorageState::Degraded { .. } => {
            Ok(report)
        }
    }
}

/// The memory left in MiB if the VM went there.
fn fits(
    draft: &Draft,
    request: &Request,
    name: &HostName,
    report: &HostReport,
) -> Result<u64, String> {
    let policy = &draft.world.policy.placement;
    let load = draft.load().host(name);
    let usable = report
        .capacity
        .memory_mib
        .saturating_sub(policy.reserved_memory_mib);
    let needed = load.memory_mib.saturating_add(request.spec.memory_mib);
    if needed > usable {
        return Err(format!(
            "memory: {} MiB needed, {} MiB free",
            request.spec.memory_mib,
            usable.saturating_sub(load.memory_mib)
        ));
    }
    let ratio = u64::from(policy.vcpu_ratio_percent);
    let vcpus = u64::from(report.capacity.cpus).saturating_mul(ratio) / 100;
    let wanted = u64::from(load.vcpus).saturating_add(u64::from(request.spec.vcpus));
    if wanted > vcpus {
        return Err(format!(
            "vCPUs: {} needed, {} of {vcpus} free",
            request.spec.vcpus,
            vcpus.saturating_sub(u64::from(load.vcpus))
        ));
    }
    Ok(usable - needed)
}

/// What a live migration needs besides.
fn may_receive(request: &Request, host: &HostView, held_down: bool) -> Result<(), String> {
    if held_down && request.only_host.is_none() {
        return Err("held down after its return".to_owned());
    }
    if host.vms.contains_key(request.vm) {
        return Err("it is still clearing away an earlier grant of this VM".to_owned());
    }
    Ok(())
}
