//! Changes to hosts and sites: drain, resume, confirm-off, forget.

use super::input::{Asker, Name, Options};
use super::problem::Problem;
use super::reads::{no_such, no_such_host};
use super::vms::{asking, op_id};
use super::write::{Change, Decided, Outcome, carry_out};
use super::{App, Look};
use crate::status::build;
use axum::Json;
use axum::extract::State;
use holdfast_model::host::{HostSpec, SessionState};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::op::Request;
use holdfast_model::world::{HostView, Seen};
use holdfast_store::api::Compare;
use holdfast_store::keyspace::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

type Answer = Result<Json<Outcome>, Problem>;

fn view_of<'a>(look: &'a Look<'_>, host: &HostName) -> Result<&'a HostView, Problem> {
    look.view
        .hosts
        .get(host)
        .map(|view| &**view)
        .ok_or_else(|| no_such_host(look, host))
}

fn spec_of<'a>(look: &'a Look<'_>, host: &HostName) -> Result<&'a Seen<HostSpec>, Problem> {
    view_of(look, host)?.spec.as_ref().ok_or_else(|| {
        let detail = format!("host {host} has not joined yet; start holdfast-host there");
        Problem::new("not-possible", detail)
    })
}

/// VMs whose owner names a host.
fn vms_on(look: &Look<'_>, host: &HostName) -> Vec<VmName> {
    let named = look.view.vms.iter().filter(|(_, vm)| {
        let owner = vm.owner.as_ref();
        owner.is_some_and(|owner| owner.value.possible_runners().any(|r| r.host == *host))
    });
    named.map(|(name, _)| name.clone()).collect()
}

/// Sets the maintenance of hosts in one transaction; those that have it already are left alone.
fn maintenance(
    look: &Look<'_>,
    what: &str,
    hosts: &[HostName],
    on: bool,
) -> Result<Decided, Problem> {
    let mut change = Change::new(format!("{} {what}", if on { "drain" } else { "resume" }));
    let mut leaving = 0;
    for host in hosts {
        let present = spec_of(look, host)?;
        if present.value.maintenance == on {
            continue;
        }
        let spec = HostSpec {
            maintenance: on,
            ..present.value.clone()
        };
        change = change.put(Key::HostSpec(host.clone()), &spec, Some(present.revision));
        leaving += vms_on(look, host).len();
    }
    if change.txn.ops.is_empty() {
        let state = if on { "drained" } else { "in service" };
        return Ok(Decided::Nothing(format!("{what} is {state} already")));
    }
    if on && leaving > 0 {
        change.warnings.push(format!(
            "{leaving} VMs move away live, within the budgets; `holdfast host list` shows how many \
             are left"
        ));
    }
    if let [host] = hosts {
        change.host = Some(host.clone());
    }
    Ok(Decided::Write(change))
}

/// `POST /v1/hosts/{H}/drain`: its VMs move away, none come.
pub async fn drain(
    State(app): State<Arc<App>>,
    Name(host): Name<HostName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let what = format!("host {host}");
    let hosts = [host];
    carry_out(&app, &asking, |look| maintenance(look, &what, &hosts, true)).await
}

/// `POST /v1/hosts/{H}/resume`.
pub async fn resume(
    State(app): State<Arc<App>>,
    Name(host): Name<HostName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let what = format!("host {host}");
    let hosts = [host];
    carry_out(&app, &asking, |look| {
        maintenance(look, &what, &hosts, false)
    })
    .await
}

fn hosts_of(look: &Look<'_>, site: &SiteName) -> Result<Vec<HostName>, Problem> {
    let status = build(look.view, &look.context);
    if !status.sites.iter().any(|known| known.name == *site) {
        let known: Vec<&str> = status.sites.iter().map(|site| site.name.as_str()).collect();
        return Err(no_such("site", site.as_str(), &known));
    }
    let there = status
        .hosts
        .iter()
        .filter(|host| host.site.as_ref() == Some(site));
    let hosts: Vec<HostName> = there.map(|host| host.name.clone()).collect();
    if hosts.is_empty() {
        return Err(Problem::new(
            "not-possible",
            format!("site {site} has no hosts"),
        ));
    }
    Ok(hosts)
}

/// `POST /v1/sites/{S}/drain`: all of its hosts.
pub async fn drain_site(
    State(app): State<Arc<App>>,
    Name(site): Name<SiteName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let what = format!("site {site}");
    carry_out(&app, &asking, |look| {
        maintenance(look, &what, &hosts_of(look, &site)?, true)
    })
    .await
}

/// `POST /v1/sites/{S}/resume`.
pub async fn resume_site(
    State(app): State<Arc<App>>,
    Name(site): Name<SiteName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let what = format!("site {site}");
    carry_out(&app, &asking, |look| {
        maintenance(look, &what, &hosts_of(look, &site)?, false)
    })
    .await
}

/// `POST /v1/hosts/{H}/confirm-off`: an operator vouches that it is off.
pub async fn confirm_off(
    State(app): State<Arc<App>>,
    Name(host): Name<HostName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let id = op_id()?;
    carry_out(&app, &asking, |look| {
        let view = view_of(look, &host)?;
        let session = view.session.as_ref();
        let open = session.filter(|session| session.value.state == SessionState::Open);
        let unproven = vms_on(look, &host).len();
        if open.is_none() && unproven == 0 {
            let text = format!("{host} has nothing left that is not proven stopped");
            return Ok(Decided::Nothing(text));
        }
        let asked = Request::ConfirmOff { host: host.clone() };
        let mut change =
            Change::new(format!("confirm that host {host} is off")).ask(&id, &asking.by, asked);
        change.host = Some(host.clone());
        if let Some(open) = open {
            let silence_ms = look.asked.now.since(open.seen_at);
            change.warnings.push(format!(
                "its last heartbeat came {:.1} s ago",
                silence_ms as f64 / 1000.0
            ));
        }
        change.warnings.push(format!(
            "{unproven} VMs are started elsewhere on your word: if {host} still runs them, they \
             run twice and their disks are damaged"
        ));
        Ok(Decided::Write(change))
    })
    .await
}

/// `POST /v1/hosts/{H}/forget`: removes every record of a host that is gone for good.
pub async fn forget(
    State(app): State<Arc<App>>,
    Name(host): Name<HostName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    carry_out(&app, &asking, |look| decide_forget(look, &host)).await
}

fn decide_forget(look: &Look<'_>, host: &HostName) -> Result<Decided, Problem> {
    let view = view_of(look, host)?;
    let not_possible = |detail: String| Err(Problem::new("not-possible", detail));
    let open = view
        .session
        .as_ref()
        .filter(|seen| seen.value.state == SessionState::Open);
    if open.is_some() {
        return not_possible(format!(
            "host {host} has an open session: power it off and wait until it is fenced, or confirm \
             with `holdfast host confirm-off {host}`"
        ));
    }
    let vms = vms_on(look, host);
    if !vms.is_empty() {
        let names: BTreeSet<&str> = vms.iter().map(VmName::as_str).collect();
        let names: Vec<&str> = names.into_iter().take(6).collect();
        return not_possible(format!(
            "{} VMs are still held by host {host} ({}); wait until they were started elsewhere",
            vms.len(),
            names.join(", ")
        ));
    }
    let mut change = Change::new(format!("forget host {host}"));
    let records = [
        (
            Key::HostSpec(host.clone()),
            view.spec.as_ref().map(|seen| seen.revision),
        ),
        (
            Key::HostSession(host.clone()),
            view.session.as_ref().map(|seen| seen.revision),
        ),
        (
            Key::HostReport(host.clone()),
            view.report.as_ref().map(|seen| seen.revision),
        ),
        (
            Key::HostState(host.clone()),
            view.state.as_ref().map(|seen| seen.revision),
        ),
    ];
    for (key, revision) in records {
        change = match revision {
            Some(revision) => change.remove(key, revision),
            // It must not have come back in the meantime.
            None => change.guard(Compare::Absent(key.path())),
        };
    }
    if let Some(seen) = look.view.host_extensions.get(host) {
        change = change.remove(Key::HostExtensions(host.clone()), seen.revision);
    }
    if let Some(seen) = look.view.host_asks.get(host) {
        change = change.remove(Key::HostAsks(host.clone()), seen.revision);
    }
    for (vm, seen) in &view.vms {
        change = change.remove(Key::HostVm(host.clone(), vm.clone()), seen.revision);
    }
    // etcd's limit for one transaction, see `TXN_MAX`; what is left over goes with the next call.
    let limit = holdfast_store::api::TXN_MAX - 8;
    if change.txn.ops.len() > limit {
        return not_possible(format!(
            "host {host} has {} VM reports left; let its agent start once and clear them",
            view.vms.len()
        ));
    }
    change
        .warnings
        .push("should it start again, it joins as a new host".to_owned());
    Ok(Decided::Write(change))
}
