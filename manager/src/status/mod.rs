//! The cluster at a glance, from one manager's view. Pure: the view, the time and the voters'
//! answers come in as arguments.
//!
//! - `hosts`, `vms`: one line each, with the reason for the state it is in
//! - `conditions`: what deserves attention, and what to do about it

mod conditions;
mod devices;
mod extensions;
mod hosts;
mod planes;
mod policy;
mod rollouts;
mod vms;

pub(crate) use planes::note_unleased;
pub(crate) use vms::exit_words;

use crate::required::is_present;
use holdfast_model::host::{Membership, StorageState};
use holdfast_model::id::{ManagerName, SiteName};
use holdfast_model::plan::{Report, Subject};
use holdfast_model::probe::Vantage;
use holdfast_model::status::{Host, Leader, Member, Quorum, Site, SiteState, Status};
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_store::api::Voter;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};

/// What a status is made of besides the view.
pub struct Context<'a> {
    /// The cluster's name, as this manager is configured.
    pub cluster: &'a str,
    /// Now, by this manager's clock.
    pub now: Instant,
    /// Since when its view is fresh; none if it is not.
    pub view_since: Option<Instant>,
    /// The store's voters as they answered last; the error if none did.
    pub voters: Result<&'a [Voter], &'a str>,
    /// What the planner found on this view.
    pub reports: &'a [Report],
    /// What managers find that ask hosts directly: this one, and those that said something.
    pub probes: BTreeMap<ManagerName, Vantage>,
    /// What the independent check found wrong with a plan of this manager.
    pub violations: &'a [String],
}

/// A view with all that the parts of a status are worked out from.
struct Scene<'a> {
    view: &'a View,
    context: &'a Context<'a>,
    timing: Timing,
}

/// Builds it.
pub fn build(view: &View, context: &Context<'_>) -> Status {
    let timing = view
        .policy
        .as_ref()
        .map(|policy| policy.value.timing.resolve())
        .unwrap_or_else(|| holdfast_model::policy::TimingPolicy::default().resolve());
    let scene = Scene {
        view,
        context,
        timing,
    };
    let hosts = scene.hosts();
    let vms = scene.vms();
    let quorum = scene.quorum();
    let sites = scene.sites(&hosts, &quorum);
    let mut status = Status {
        cluster: view
            .cluster
            .as_ref()
            .map_or_else(|| context.cluster.to_owned(), |seen| seen.value.to_string()),
        quorum,
        leader: scene.leader(),
        managers: scene.managers(),
        sites,
        hosts,
        vms,
        conditions: Vec::new(),
    };
    status.conditions = scene.conditions(&status);
    status
}

impl<'a> Scene<'a> {
    /// What the planner says about a subject, in one line.
    fn said(&self, subject: &Subject) -> Option<String> {
        let texts: Vec<String> = self
            .context
            .reports
            .iter()
            .filter(|report| report.subject == *subject)
            .map(|report| self.sentence(report))
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn sentence(&self, report: &Report) -> String {
        let mut text = report.text.clone();
        if let Some(until) = report.until {
            let left = until.since(self.context.now);
            text += &format!(" ({:.1} s left)", left as f64 / 1000.0);
        }
        // Hosts with the same reason stand together: most refusals are alike.
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (host, reason) in &report.refused {
            reasons.entry(reason).or_default().push(host.as_str());
        }
        let refused: Vec<String> = reasons
            .iter()
            .map(|(reason, hosts)| format!("{}: {reason}", hosts.join(", ")))
            .collect();
        if !refused.is_empty() {
            text += &format!(" ({})", refused.join("; "));
        }
        text
    }

    /// Time since a record was first seen as it is, without the time in which this manager saw
    /// nothing.
    fn silence_ms(&self, seen_at: Instant) -> u64 {
        let since = self
            .context
            .view_since
            .map_or(seen_at, |since| since.max(seen_at));
        self.context.now.since(since)
    }

    fn leader(&self) -> Option<Leader> {
        let epoch = self.view.leader_epoch.as_ref()?;
        let beat = self.view.leader_heartbeat.as_ref()?;
        let renews = beat.value.life == epoch.value.life;
        let fresh = self.context.view_since.is_some()
            && self.silence_ms(beat.seen_at.max(epoch.seen_at)) < 2 * self.timing.leader_wait_ms;
        (renews && fresh).then(|| Leader {
            name: epoch.value.manager.clone(),
            epoch: epoch.revision,
        })
    }

    fn managers(&self) -> Vec<Member> {
        self.view
            .managers
            .values()
            .map(|seen| Member {
                name: seen.value.name.to_string(),
                site: Some(seen.value.site.clone()),
                healthy: is_present(self.context.now, seen.seen_at),
            })
            .collect()
    }

    fn quorum(&self) -> Quorum {
        let Ok(voters) = self.context.voters else {
            return Quorum {
                healthy: false,
                members: Vec::new(),
            };
        };
        let members: Vec<Member> = voters
            .iter()
            .map(|voter| Member {
                name: voter.name.clone(),
                site: self.site_of_address(&voter.endpoint),
                healthy: voter.healthy,
            })
            .collect();
        let answer = members.iter().filter(|member| member.healthy).count();
        let majority = answer > members.len() / 2;
        Quorum {
            healthy: majority && self.context.view_since.is_some(),
            members,
        }
    }

    /// etcd does not know sites; a voter that shares its address with a manager stands where the
    /// manager does.
    fn site_of_address(&self, endpoint: &str) -> Option<SiteName> {
        let host = |address: &str| {
            let rest = address.split("://").last().unwrap_or(address);
            rest.rsplit_once(':')
                .map_or(rest, |(host, _)| host)
                .to_owned()
        };
        let wanted = host(endpoint);
        let loopback = wanted.starts_with("127.") || wanted == "localhost";
        let mut managers = self.view.managers.values();
        let found = managers.find(|seen| host(&seen.value.api) == wanted)?;
        (!loopback).then(|| found.value.site.clone())
    }

    fn sites(&self, hosts: &[Host], quorum: &Quorum) -> Vec<Site> {
        let mut names: BTreeMap<SiteName, bool> = BTreeMap::new();
        for host in hosts {
            names.extend(host.site.clone().map(|site| (site, false)));
        }
        for site in self
            .view
            .policy
            .iter()
            .flat_map(|policy| &policy.value.sites)
        {
            names.insert(site.name.clone(), site.witness);
        }
        let site = |(name, witness): (SiteName, bool)| {
            let there: Vec<&Host> = hosts
                .iter()
                .filter(|host| host.site.as_ref() == Some(&name))
                .collect();
            let state = if witness && there.is_empty() {
                self.witness_state(&name, quorum)
            } else {
                site_state(&there)
            };
            Site {
                state,
                witness,
                storage: self.site_storage(&there),
                name,
            }
        };
        names.into_iter().map(site).collect()
    }

    /// A witness runs nothing; it is there if anything of it answers.
    fn witness_state(&self, name: &SiteName, quorum: &Quorum) -> SiteState {
        let managers = self.managers();
        let there: Vec<bool> = managers
            .iter()
            .chain(&quorum.members)
            .filter(|member| member.site.as_ref() == Some(name))
            .map(|member| member.healthy)
            .collect();
        match (
            there.is_empty(),
            there.iter().all(|up| *up),
            there.iter().any(|up| *up),
        ) {
            (true, ..) => SiteState::Empty,
            (_, true, _) => SiteState::Online,
            (_, _, true) => SiteState::Degraded,
            _ => SiteState::Lost,
        }
    }

    /// The worst thing a host there says of its storage.
    fn site_storage(&self, there: &[&Host]) -> String {
        let reports = there.iter().filter_map(|host| {
            let report = self.view.hosts.get(&host.name)?.report.as_ref()?;
            Some((&host.name, &report.value.storage))
        });
        let rank = |state: &StorageState| match state {
            StorageState::NotChecked => 0,
            StorageState::Synced => 1,
            StorageState::Degraded { .. } => 2,
            StorageState::Unknown { .. } => 3,
            StorageState::Unusable { .. } => 4,
        };
        match reports.max_by_key(|(_, state)| rank(state)) {
            None => String::new(),
            Some((_, state @ (StorageState::NotChecked | StorageState::Synced))) => {
                storage_words(state)
            }
            Some((host, state)) => format!("{host}: {}", storage_words(state)),
        }
    }
}

fn site_state(hosts: &[&Host]) -> SiteState {
    let states: BTreeSet<Option<Membership>> = hosts.iter().map(|host| host.state).collect();
    let well = |state: &Option<Membership>| {
        matches!(state, Some(Membership::Online | Membership::Maintenance))
    };
    if states.is_empty() {
        SiteState::Empty
    } else if states.iter().all(well) {
        SiteState::Online
    } else if states.iter().any(well) {
        SiteState::Degraded
    } else if states.contains(&Some(Membership::Rejoining)) {
        SiteState::Rejoining
    } else {
        SiteState::Lost
    }
}

fn storage_words(state: &StorageState) -> String {
    match state {
        StorageState::NotChecked => "not checked".to_owned(),
        StorageState::Synced => "synced".to_owned(),
        StorageState::Degraded { detail } => format!("degraded: {detail}"),
        StorageState::Unusable { reason } => format!("not usable: {reason}"),
        StorageState::Unknown { reason } => format!("unknown: {reason}"),
    }
}
