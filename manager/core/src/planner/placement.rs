//! Placement: which host a VM goes to, and why not the others.
//!
//! Two phases, as schedulers do it: filters say no with a reason, then the rest is ranked. What placement
//! extensions say comes in between, as further refusals and one more rank ([`super::advised`]).

use super::advised;
use super::candidate::{Candidate, Rank, Request};
use super::capacity::HostLoad;
use super::draft::Draft;
use super::places::{Place, Refusal};
use holdfast_model::host::HostReport;
use holdfast_model::id::{HostName, SiteName};
use holdfast_model::vm::{Runner, SiteRule};
use holdfast_model::world::HostView;
use std::cmp::Reverse;

/// What was found.
pub(super) enum Choice {
    /// The best host.
    Host(Runner),
    /// The best host has as much under way as it may: wait for it rather than go further away.
    Busy(String),
    /// No host may take it, each with its reason.
    Nowhere(Vec<(HostName, String)>),
}

/// Chooses.
pub(super) fn choose(draft: &Draft, request: &Request) -> Choice {
    let mut refused = Vec::new();
    let mut ranked = Vec::new();
    for place in draft.places() {
        match candidate(draft, request, place) {
            Ok(candidate) => ranked.push(candidate),
            Err(reason) => refused.push((place.name, reason)),
        }
    }
    heed_extensions(draft, request, &mut ranked, &mut refused);
    ranked.sort_by(|a, b| a.rank.cmp(&b.rank));
    let Some(best) = ranked.first() else {
        let refused = refused.into_iter();
        let told = refused.map(|(host, reason)| (host.clone(), reason.into_owned()));
        return Choice::Nowhere(told.collect());
    };
    let good = ranked
        .iter()
        .take_while(|each| each.rank.as_good_as(&best.rank));
    let mut busy = None;
    for Candidate { runner, place, .. } in good {
        match over_budget(draft, request, place) {
            None => return Choice::Host((*runner).clone()),
            Some(budget) => busy = busy.or(Some((budget, place.name))),
        }
    }
    if let (Some((Budget::Link(_), _)), Some(from)) = (&busy, request.leaving) {
        draft.link_is_full(from, best.place.site);
    }
    Choice::Busy(busy.map_or_else(String::new, |(budget, host)| budget.told(request, host)))
}

/// Asks placement extensions about the hosts that are left.
fn heed_extensions<'p>(
    draft: &Draft,
    request: &Request,
    ranked: &mut Vec<Candidate<'p>>,
    refused: &mut Vec<(&'p HostName, Refusal)>,
) {
    let Some(heard) = advised::ask(draft, request, ranked) else {
        return;
    };
    let asked = std::mem::take(ranked).into_iter();
    for ((mut each, refusal), score) in asked.zip(heard.refusals).zip(heard.scores) {
        match refusal {
            Some(words) => refused.push((each.place.name, words.into())),
            None => {
                each.rank.advised = Reverse(score);
                ranked.push(each);
            }
        }
    }
}

/// What is used up, with how much of it is under way.
enum Budget {
    Starts(u32),
    MigrationsThere(u32),
    MigrationsHere(u32),
    Link(u32),
}

impl Budget {
    fn told(&self, request: &Request, host: &HostName) -> String {
        match (self, request.leaving) {
            (Self::Starts(n), _) => format!("{host} has {n} starts under way"),
            (Self::MigrationsHere(n), Some(from)) => {
                format!("{from} has {n} migrations under way")
            }
            (Self::MigrationsThere(n) | Self::MigrationsHere(n), _) => {
                format!("{host} has {n} migrations under way")
            }
            (Self::Link(n), _) => link_told(*n),
        }
    }
}

/// Why this host may not take this VM now although it could.
fn over_budget(draft: &Draft, request: &Request, place: &Place) -> Option<Budget> {
    let budgets = &draft.world.policy.budgets;
    let load = draft.load().host(place.name);
    if !request.live {
        return (load.starts >= budgets.starts_per_host).then_some(Budget::Starts(load.starts));
    }
    if load.migrations >= budgets.migrations_per_host {
        return Some(Budget::MigrationsThere(load.migrations));
    }
    let from = request.leaving?;
    let here = draft.load().host(from).migrations;
    if here >= budgets.migrations_per_host {
        return Some(Budget::MigrationsHere(here));
    }
    link_in_use(draft, from, place.site).map(Budget::Link)
}

/// How many migrations are under way between the site of a host and another one, if that is as many as
/// there may be.
fn link_in_use(draft: &Draft, from: &HostName, to: Option<&SiteName>) -> Option<u32> {
    let link = draft.load().link(draft.world, from, to);
    (link >= draft.world.policy.budgets.migrations_per_link).then_some(link)
}

/// Why nothing may leave a host for a site any more in this round, whichever host there would be the best:
/// another VM was told so. With thousands of VMs on their way home it is this that nearly all wait for.
pub(super) fn link_busy(draft: &Draft, from: &HostName, to: &SiteName) -> Option<String> {
    let full = draft.is_link_full(from, to);
    let link = full.then(|| link_in_use(draft, from, Some(to)))?;
    link.map(link_told)
}

fn link_told(under_way: u32) -> String {
    format!("{under_way} migrations are under way between the sites")
}

fn candidate<'p>(
    draft: &Draft,
    request: &Request,
    place: &'p Place<'p>,
) -> Result<Candidate<'p>, Refusal> {
    let (runner, held_down) = place.takes_vms.as_ref().map_err(Refusal::clone)?;
    wanted(request, place.name, place.host)?;
    let report = place.healthy.as_ref().map_err(Refusal::clone)?;
    let load = draft.load().host(place.name);
    let free_memory_mib = fits(draft, request, load, report)?;
    if request.live {
        may_receive(request, place.host, *held_down)?;
    }
    let failures = request
        .failures
        .per_host
        .get(place.name)
        .map_or(0, |failures| failures.count);
    let spread = request
        .spec
        .spread
        .as_ref()
        .and_then(|group| load.spread.get(group));
    let failed_too_often = failures >= draft.world.policy.restart.same_host_attempts;
    let rank = Rank {
        held_down: *held_down,
        away_from_site: request
            .spec
            .preferred_site
            .as_ref()
            .is_some_and(|s| Some(s) != place.site),
        advised: Reverse(0),
        failed_too_often,
        not_the_last: request.last != Some(place.name),
        failures,
        spread: spread.copied().unwrap_or(0),
        free_memory_mib: Reverse(free_memory_mib),
        name: place.name.clone(),
    };
    Ok(Candidate {
        rank,
        place,
        report,
        runner,
    })
}

/// Whether the request allows this host.
pub(super) fn wanted(request: &Request, name: &HostName, host: &HostView) -> Result<(), Refusal> {
    if request.leaving == Some(name) {
        return Err("it is there already".into());
    }
    if request.only_host.is_some_and(|only| only != name) {
        return Err("another host was asked for".into());
    }
    let site = host.spec.as_ref().map(|spec| &spec.value.site);
    if request.only_site.is_some() && request.only_site != site {
        return Err("at another site than asked for".into());
    }
    if request.spec.site_rule == SiteRule::Must
        && let Some(must) = &request.spec.preferred_site
        && Some(must) != site
    {
        return Err(format!("the VM must be at site {must}").into());
    }
    Ok(())
}

/// The memory left in MiB if the VM went there.
fn fits(
    draft: &Draft,
    request: &Request,
    load: &HostLoad,
    report: &HostReport,
) -> Result<u64, Refusal> {
    let policy = &draft.world.policy.placement;
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
        )
        .into());
    }
    let ratio = u64::from(policy.vcpu_ratio_percent);
    let vcpus = u64::from(report.capacity.cpus).saturating_mul(ratio) / 100;
    let wanted = u64::from(load.vcpus).saturating_add(u64::from(request.spec.vcpus));
    if wanted > vcpus {
        return Err(format!(
            "vCPUs: {} needed, {} of {vcpus} free",
            request.spec.vcpus,
            vcpus.saturating_sub(u64::from(load.vcpus))
        )
        .into());
    }
    Ok(usable - needed)
}

/// What a live migration needs besides.
fn may_receive(request: &Request, host: &HostView, held_down: bool) -> Result<(), Refusal> {
    if held_down && request.only_host.is_none() {
        return Err("held down after its return".into());
    }
    if host.vms.contains_key(request.vm) {
        return Err("it is still clearing away an earlier grant of this VM".into());
    }
    Ok(())
}
