//! Reads, all from this manager's cache.

use super::config::in_force;
use super::input::{Name, Options};
use super::problem::Problem;
use super::{App, Look};
use crate::rto;
use crate::status::build;
use crate::why::{self, WhyHost, WhyVm};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use holdfast_model::host::VmReport;
use holdfast_model::id::{HostName, ManagerName, Revision, SiteName, VmName};
use holdfast_model::status::{Host, Site, Status, Vm};
use holdfast_model::vm::{Owner, VmSpec};
use holdfast_strict::nearest;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::sync::Arc;

/// Items of a list that are sent at once, at most and if nothing is asked for.
const PAGE: usize = 1_000;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; none on the last.
    pub next: Option<String>,
}

/// Whether this manager is of use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// Which.
    pub manager: ManagerName,
    /// Its cluster.
    pub cluster: String,
    /// Its view of etcd is complete and fresh.
    pub fresh: bool,
    /// The software's version.
    pub version: String,
}

/// One VM with its records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VmDetail {
    /// Its line of the status.
    pub vm: Vm,
    /// What operators want.
    pub spec: Option<VmSpec>,
    /// The spec's revision: give it back as `revision` with a change.
    pub revision: Option<Revision>,
    /// Who may run it.
    pub owner: Option<Owner>,
    /// What hosts said of it.
    pub said: Vec<(HostName, VmReport)>,
}

/// One site with its hosts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteDetail {
    /// Its line of the status.
    pub site: Site,
    /// Its hosts.
    pub hosts: Vec<Host>,
    /// VMs there.
    pub vms: Vec<VmName>,
}

type Answer<T> = Result<Json<T>, Problem>;

/// `GET /v1/health`.
pub async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    Json(Health {
        manager: app.manager.clone(),
        cluster: app.cluster.to_string(),
        fresh: app.cache.view_since().is_some(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn look_at_status(app: &App) -> Result<Status, Problem> {
    app.look(|look| build(look.view, &look.context))
}

/// `GET /v1/status`.
pub async fn status(State(app): State<Arc<App>>) -> Answer<Status> {
    look_at_status(&app).map(Json)
}

/// `GET /v1/rto`.
pub async fn rto(State(app): State<Arc<App>>) -> Answer<rto::Rto> {
    app.look(|look| {
        let policy = in_force(&app, look.view)?.cloned();
        let mut sessions = look
            .view
            .hosts
            .values()
            .filter_map(|host| host.session.as_ref());
        let leased = sessions.any(|session| session.value.has_storage_plane());
        Ok(Json(rto::bounds(&policy.unwrap_or_default(), leased)))
    })?
}

/// `GET /v1/openapi.json`.
pub async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

fn page<T, N: Display>(items: Vec<T>, name: impl Fn(&T) -> N, options: Options) -> Answer<Page<T>> {
    let options = options.only(&["limit", "after"])?;
    let limit = options
        .number::<usize>("limit")?
        .unwrap_or(PAGE)
        .clamp(1, PAGE);
    let after = options.text("after").unwrap_or_default();
    let mut items: Vec<T> = items
        .into_iter()
        .filter(|item| after.is_empty() || *name(item).to_string() > *after)
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|item| name(item).to_string());
    Ok(Json(Page { items, next }))
}

/// `GET /v1/hosts`.
pub async fn hosts(State(app): State<Arc<App>>, options: Options) -> Answer<Page<Host>> {
    page(
        look_at_status(&app)?.hosts,
        |host| host.name.clone(),
        options,
    )
}

/// `GET /v1/sites`.
pub async fn sites(State(app): State<Arc<App>>, options: Options) -> Answer<Page<Site>> {
    page(
        look_at_status(&app)?.sites,
        |site| site.name.clone(),
        options,
    )
}

/// `GET /v1/vms`.
pub async fn vms(State(app): State<Arc<App>>, options: Options) -> Answer<Page<Vm>> {
    page(look_at_status(&app)?.vms, |vm| vm.name.clone(), options)
}

/// `GET /v1/hosts/{H}`: the same as why it is as it is.
pub async fn host(state: State<Arc<App>>, name: Name<HostName>) -> Answer<WhyHost> {
    why_host(state, name).await
}

/// `GET /v1/sites/{S}`.
pub async fn site(State(app): State<Arc<App>>, Name(name): Name<SiteName>) -> Answer<SiteDetail> {
    let status = look_at_status(&app)?;
    let known: Vec<&str> = status.sites.iter().map(|site| site.name.as_str()).collect();
    let found = status.sites.iter().find(|site| site.name == name);
    let site = found
        .ok_or_else(|| no_such("site", name.as_str(), &known))?
        .clone();
    let at = |site: &Option<SiteName>| site.as_ref() == Some(&name);
    let vms = status
        .vms
        .iter()
        .filter(|vm| at(&vm.site))
        .map(|vm| vm.name.clone())
        .collect();
    let hosts = status
        .hosts
        .into_iter()
        .filter(|host| at(&host.site))
        .collect();
    Ok(Json(SiteDetail { site, hosts, vms }))
}

/// `GET /v1/vms/{V}`.
pub async fn vm(State(app): State<Arc<App>>, Name(name): Name<VmName>) -> Answer<VmDetail> {
    app.look(|look| {
        let found = why::vm(look.view, &look.asked, &look.context, &name, None);
        let why = found.ok_or_else(|| no_such_vm(look, &name))?;
        let spec = look.view.vms.get(&name).and_then(|vm| vm.spec.as_ref());
        Ok(Json(VmDetail {
            vm: why.vm,
            spec: spec.map(|spec| spec.value.clone()),
            revision: spec.map(|spec| spec.revision),
            owner: why.owner,
            said: why.said,
        }))
    })?
}

/// `GET /v1/why/vm/{V}`.
pub async fn why_vm(
    State(app): State<Arc<App>>,
    Name(name): Name<VmName>,
    options: Options,
) -> Answer<WhyVm> {
    let options = options.only(&["not_on"])?;
    let not_on = options.name::<HostName>("not_on")?;
    app.look(|look| {
        let found = why::vm(
            look.view,
            &look.asked,
            &look.context,
            &name,
            not_on.as_ref(),
        );
        let found = found.map(|why| WhyVm {
            extensions: why::heard(look.view, &look.asked, look.advised, &name),
            ..why
        });
        found.map(Json).ok_or_else(|| no_such_vm(look, &name))
    })?
}

/// `GET /v1/why/host/{H}`.
pub async fn why_host(State(app): State<Arc<App>>, Name(name): Name<HostName>) -> Answer<WhyHost> {
    app.look(|look| {
        let found = why::host(look.view, &look.context, &name);
        found.map(Json).ok_or_else(|| no_such_host(look, &name))
    })?
}

/// There is no VM of this name.
pub fn no_such_vm(look: &Look<'_>, name: &VmName) -> Problem {
    let known: Vec<&str> = look.view.vms.keys().map(VmName::as_str).collect();
    no_such("vm", name.as_str(), &known)
}

/// There is no host of this name.
pub fn no_such_host(look: &Look<'_>, name: &HostName) -> Problem {
    let known: Vec<&str> = look.view.hosts.keys().map(HostName::as_str).collect();
    no_such("host", name.as_str(), &known)
}

/// There is nothing of this kind and name.
pub fn no_such(kind: &str, name: &str, known: &[&str]) -> Problem {
    let called = if kind == "vm" { "VM" } else { kind };
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`holdfast {kind} list` shows them"),
    };
    Problem::new(
        "not-found",
        format!("there is no {called} `{name}`; {advice}"),
    )
}
