//! Expectations. `expect` checks one now; `wait TIME until` lets time pass until it holds.
//!
//! ```text
//! vm V running [on H | at S]      its vCPUs run there: one domain, by the hypervisors
//! vm V down                       no domain of it runs anywhere
//! vm V absent                     no host has a domain of it, paused or not
//! vm V holder H                   the owner record
//! vm V boots N                    its guest booted N times since the mark
//! vm V paused                     a domain of it stands still on a host
//! vm V generation N               of its owner record
//! all running                     every VM that should run does
//! no-boots                        no guest booted since the mark
//! runs-once                       no invariant was broken so far
//! host H MEMBERSHIP               online, suspect, fenced, rejoining, maintenance
//! host H evidence KIND            a fence record of it says so: lapsed, released, rebooted, confirmed
//! host H life L                   its session is of that incarnation
//! host H guard working|absent     its session says so
//! host H planes control=P storage=P   by its guard; P: valid, lapsed, unused
//! leader S | leader none          the manager that leads
//! says V|H|S "text"               the leading planner's words about it contain this
//! log "text"                      a line of the log contains this
//! no-strays                       no host has a domain that the store does not grant it
//! quiet                           the leader plans nothing, no call is under way, no report wrong
//! ```

use super::words::{WordError, Words, parse};
use crate::sim::Sim;
use crate::sim::manager::manager_of;
use holdfast_core::guardian::DomainState;
use holdfast_model::fence::FenceRecord;
use holdfast_model::host::{HostState, Session};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::plan::Subject;
use holdfast_model::vm::{Owner, VmSpec};
use holdfast_store::keyspace::Key;

/// Whether it holds now.
pub fn met(sim: &mut Sim, text: &str) -> Result<(), WordError> {
    let mut words = Words::of(text);
    let subject = words.word("an expectation")?;
    match subject.as_str() {
        "vm" => vm(sim, &mut words)?,
        "all" => {
            if !words.takes("running") {
                return Err(WordError::Missing("running"));
            }
            all_running(sim)?;
        }
        "no-boots" => no_boots(sim)?,
        "runs-once" => {
            if let Some(violation) = sim.ctx.truth.violations.first() {
                return not_met(violation.clone());
            }
        }
        "host" => host(sim, &mut words)?,
        "leader" => leader(sim, &words.word("site or none")?)?,
        "says" => {
            let about = words.word("a name")?;
            says(sim, &about, &words.rest())?;
        }
        "log" => {
            let text = words.rest();
            if !sim.ctx.log.iter().any(|line| line.contains(&text)) {
                return not_met(format!("no line of the log says `{text}`"));
            }
        }
        "no-strays" => no_strays(sim)?,
        "quiet" => quiet(sim)?,
        _ => return Err(WordError::Extra(subject)),
    }
    words.end()
}

fn not_met(text: String) -> Result<(), WordError> {
    Err(WordError::NotMet(text))
}

fn runs_on(sim: &Sim, vm: &VmName) -> Vec<HostName> {
    let running = sim.ctx.truth.running(vm);
    running.iter().map(|span| span.host.clone()).collect()
}

fn names(hosts: &[HostName]) -> String {
    if hosts.is_empty() {
        return "nowhere".to_owned();
    }
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    format!("on {}", names.join(", "))
}

fn vm(sim: &Sim, words: &mut Words) -> Result<(), WordError> {
    let vm: VmName = words.parse("VM")?;
    let hosts = runs_on(sim, &vm);
    match words
        .word("running, down, absent, paused, holder, generation or boots")?
        .as_str()
    {
        "paused" => {
            let mut domains = sim
                .hosts
                .values()
                .filter_map(|host| host.m.domains.get(&vm));
            match domains.any(|domain| matches!(domain.state, DomainState::Paused { .. })) {
                true => Ok(()),
                false => not_met(format!("{vm} stands paused nowhere")),
            }
        }
        "generation" => {
            let wanted: u64 = words.parse("generation")?;
            let owner: Option<Owner> = sim.ctx.record(&Key::VmOwner(vm.clone()));
            match owner.map(|owner| owner.generation.0) {
                Some(found) if found == wanted => Ok(()),
                found => not_met(format!("the generation of {vm} is {found:?}")),
            }
        }
        "absent" => {
            let mut all = sim.hosts.values();
            match all.find(|host| host.m.domains.contains_key(&vm)) {
                Some(host) => not_met(format!("{} has a domain of {vm}", host.m.name)),
                None => Ok(()),
            }
        }
        "down" if hosts.is_empty() => Ok(()),
        "down" => not_met(format!("{vm} runs {}", names(&hosts))),
        "running" => {
            let right = match words.next().as_deref() {
                None => hosts.len() == 1,
                Some("on") => hosts == [words.parse("host")?],
                Some("at") => at_site(sim, &hosts, &words.parse("site")?),
                Some(word) => return Err(WordError::Extra(word.to_owned())),
            };
            match right {
                true => Ok(()),
                false => not_met(format!("{vm} runs {}", names(&hosts))),
            }
        }
        "holder" => {
            let wanted: HostName = words.parse("host")?;
            let owner: Option<Owner> = sim.ctx.record(&Key::VmOwner(vm.clone()));
            let holder = owner.and_then(|owner| owner.holder);
            match holder {
                Some(holder) if holder.host == wanted => Ok(()),
                other => not_met(format!("the holder of {vm} is {other:?}")),
            }
        }
        "boots" => {
            let wanted: usize = words.parse("times")?;
            let boots = sim.ctx.truth.boots_since_mark(&vm);
            match boots == wanted {
                true => Ok(()),
                false => not_met(format!("{vm} booted {boots} times since the mark")),
            }
        }
        word => Err(WordError::Extra(word.to_owned())),
    }
}

fn at_site(sim: &Sim, hosts: &[HostName], site: &SiteName) -> bool {
    let [host] = hosts else { return false };
    sim.hosts.get(host).is_some_and(|host| host.m.site == *site)
}

/// Every VM the store has a definition of.
pub(super) fn all_vms(sim: &Sim) -> Vec<VmSpec> {
    let listing = sim.ctx.store.list_now(holdfast_store::keyspace::VMS);
    listing
        .items
        .iter()
        .filter(|item| item.key.ends_with("/spec"))
        .filter_map(|item| serde_json::from_slice(&item.value).ok())
        .collect()
}

fn all_running(sim: &Sim) -> Result<(), WordError> {
    for spec in all_vms(sim).iter().filter(|spec| spec.run) {
        let hosts = runs_on(sim, &spec.name);
        if hosts.len() != 1 {
            return not_met(format!("{} runs {}", spec.name, names(&hosts)));
        }
    }
    Ok(())
}

fn no_boots(sim: &Sim) -> Result<(), WordError> {
    for spec in all_vms(sim) {
        let boots = sim.ctx.truth.boots_since_mark(&spec.name);
        if boots > 0 {
            return not_met(format!("{} booted {boots} times since the mark", spec.name));
        }
    }
    Ok(())
}

fn host(sim: &Sim, words: &mut Words) -> Result<(), WordError> {
    let host: HostName = words.parse("host")?;
    let wanted = words.word("membership or evidence")?;
    match wanted.as_str() {
        "evidence" => return evidence(sim, &host, &words.word("kind")?),
        "life" | "guard" => return session(sim, &host, &wanted, &words.word("life or guard")?),
        "planes" => return planes(sim, &host, words),
        _ => {}
    }
    let state: Option<HostState> = sim.ctx.record(&Key::HostState(host.clone()));
    let found = state.map(|state| format!("{:?}", state.membership).to_lowercase());
    match found {
        Some(found) if found == wanted => Ok(()),
        found => not_met(format!("{host} is {found:?}")),
    }
}

/// What a host's session says.
fn session(sim: &Sim, host: &HostName, what: &str, wanted: &str) -> Result<(), WordError> {
    let session: Option<Session> = sim.ctx.record(&Key::HostSession(host.clone()));
    let found = session.map(|session| match what {
        "life" => session.incarnation.to_string(),
        _ => format!("{:?}", session.guard).to_lowercase(),
    });
    match found.as_deref() == Some(wanted) {
        true => Ok(()),
        false => not_met(format!("the {what} of {host} is {found:?}")),
    }
}

/// How a host's lease planes stand, by its guard.
fn planes(sim: &Sim, host: &HostName, words: &mut Words) -> Result<(), WordError> {
    let unknown = || WordError::NotMet(format!("there is no host {host}"));
    let machine = &sim.hosts.get(host).ok_or_else(unknown)?.m;
    let (control, storage) = machine.deadline.planes(machine.local(&sim.ctx));
    for (plane, wanted) in words.settings()? {
        let found = match plane.as_str() {
            "control" => control,
            "storage" => storage,
            _ => return Err(WordError::Extra(plane)),
        };
        let found = format!("{found:?}").to_lowercase();
        if found != wanted {
            return not_met(format!("{plane} of {host} is {found}"));
        }
    }
    Ok(())
}

fn evidence(sim: &Sim, host: &HostName, kind: &str) -> Result<(), WordError> {
    let prefix = format!("{}fences/{host}/", holdfast_store::keyspace::ROOT);
    let listing = sim.ctx.store.list_now(&prefix);
    let mut found = Vec::new();
    for item in &listing.items {
        if let Ok(record) = serde_json::from_slice::<FenceRecord>(&item.value) {
            let value = serde_json::to_value(&record.evidence).unwrap_or_default();
            found.push(value["kind"].as_str().unwrap_or_default().to_owned());
        }
    }
    match found.iter().any(|one| one == kind) {
        true => Ok(()),
        false => not_met(format!("the fence records of {host} say {found:?}")),
    }
}

fn leader(sim: &Sim, wanted: &str) -> Result<(), WordError> {
    let record: Option<holdfast_model::leader::LeaderEpoch> = sim.ctx.record(&Key::LeaderEpoch);
    let leads = record.filter(|record| {
        let manager = sim.managers.get(&record.manager);
        manager.is_some_and(|manager| manager.epoch().is_some())
    });
    let found = leads.map_or("none".to_owned(), |record| record.manager.to_string());
    let wanted = match wanted {
        "none" => "none".to_owned(),
        site => manager_of(&parse("site", site)?).to_string(),
    };
    match found == wanted {
        true => Ok(()),
        false => not_met(format!("the leader is {found}")),
    }
}

fn says(sim: &Sim, about: &str, text: &str) -> Result<(), WordError> {
    let mut found = Vec::new();
    for manager in sim.managers.values().filter(|m| m.epoch().is_some()) {
        for ((_, subject), (_, said)) in &manager.said {
            let name = match subject {
                Subject::Cluster => "cluster",
                Subject::Host(host) => host.as_str(),
                Subject::Vm(vm) => vm.as_str(),
                Subject::Site(site) => site.as_str(),
            };
            if name == about {
                found.push(said.clone());
            }
        }
    }
    match found.iter().any(|said| said.contains(text)) {
        true => Ok(()),
        false => not_met(format!("the planner says of {about}: {found:?}")),
    }
}

fn no_strays(sim: &Sim) -> Result<(), WordError> {
    for host in sim.hosts.values() {
        for vm in host.m.domains.keys() {
            let owner: Option<Owner> = sim.ctx.record(&Key::VmOwner(vm.clone()));
            let mut runners = owner.iter().flat_map(Owner::possible_runners);
            if !runners.any(|runner| runner.host == host.m.name) {
                return not_met(format!("{} has a domain of {vm}", host.m.name));
            }
        }
    }
    Ok(())
}

fn quiet(sim: &Sim) -> Result<(), WordError> {
    for host in sim.hosts.values() {
        if let Some(vm) = host.busy_with() {
            return not_met(format!("{} is busy with {vm}", host.m.name));
        }
    }
    match sim.managers.values().find(|manager| !manager.is_idle()) {
        Some(manager) => not_met(format!("{} carries out a plan", manager.name)),
        None => Ok(()),
    }
}
