//! The HTTP API, `/v1`. Every manager serves it: reads come from its watch cache, writes go to
//! etcd as guarded transactions. Errors are problem documents, see [`problem`].
//!
//! ```text
//! GET  /v1/health  status  rto  timeline[/ID]  events[?follow]  openapi.json
//! GET  /v1/hosts[/H]  sites[/S]  vms[/V]  why/vm/V[?not_on=H]  why/host/H
//! POST /v1/hosts/H/{drain,resume,confirm-off,forget}   /v1/sites/S/{drain,resume}
//! PUT, DELETE /v1/vms/V    POST /v1/vms/V/{start,stop,restart,move[?to=H]}
//! GET, PUT /v1/config
//! GET  /v1/fencing/power[?host=H]
//! GET  /v1/extensions[/E]  E/log[?shadow]  E/decisions
//! PUT, DELETE /v1/extensions/E[/shadow]   PUT /v1/components/DIGEST[?large&dry_run]
//! POST /v1/extensions/E/{promote,rollback}
//! GET  /metrics
//! ```
//! What changes something takes `?dry_run`; what replaces a record takes `?revision=N`.

mod component_trial;
mod components;
pub mod config;
pub mod events;
mod extension_decisions;
mod extension_hosts;
mod extension_log;
mod extension_sites;
mod extension_versions;
pub mod extensions;
pub mod fencing;
pub mod hosts;
pub mod input;
mod metrics;
pub mod problem;
pub mod reads;
pub mod sent;
pub mod vms;
pub mod write;

use crate::daemon::Workshop;
use crate::daemon::fence::Fencer;
use crate::daemon::probes::Prober;
use crate::extensions::Extensions;
use crate::requests::Requests;
use crate::status::Context;
use crate::why::{Asked, explain};
use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post, put};
use component_trial::OnTrial;
use holdfast_model::advice::Advised;
use holdfast_model::id::{ClusterName, ManagerName, Revision};
use holdfast_model::plan::Plan;
use holdfast_model::time::Instant;
use holdfast_store::api::{Store, Voter};
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::view::View;
use problem::Problem;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// An explanation is kept this long for a view that did not change, in milliseconds: a status is
/// asked for more often than it changes.
const EXPLAINED_MS: u64 = 200;

/// What the voters answered last; the error if none did.
pub type Voters = Result<Vec<Voter>, String>;

/// What the handlers share.
pub struct App {
    /// The cluster, as configured.
    pub cluster: ClusterName,
    /// This manager.
    pub manager: ManagerName,
    /// Where writes go.
    pub store: Arc<dyn Store>,
    /// Where reads come from.
    pub cache: Cache,
    /// The voters' last answers.
    pub voters: watch::Receiver<Voters>,
    /// What the check found wrong with this manager's last plan.
    pub violations: watch::Receiver<Vec<String>>,
    /// What this manager has besides the cluster's records.
    pub own: Own,
    /// What looks at a component that is to be installed; none: this manager cannot.
    pub workshop: Option<Workshop>,
    on_trial: OnTrial,
    explained: Mutex<Option<(Revision, Instant, Arc<Plan>)>>,
}

/// What this manager has besides the cluster's records.
pub struct Own {
    /// Tells the events of one millisecond apart.
    pub numbers: Arc<AtomicU64>,
    /// The extensions on this manager.
    pub extensions: Arc<Extensions>,
    /// What extensions have sent from here.
    pub requests: Option<Arc<dyn Requests>>,
    /// Asks hosts whether they are there.
    pub prober: Arc<Prober>,
    /// Asks fencing devices.
    pub fencer: Arc<Fencer>,
}

/// One look at the cluster.
pub struct Look<'a> {
    /// The view.
    pub view: &'a View,
    /// For the status.
    pub context: Context<'a>,
    /// For the planner.
    pub asked: Asked,
    /// What extensions were asked for it, and said.
    pub advised: &'a [Advised],
}

impl App {
    /// Puts them together.
    pub fn new(
        (cluster, manager): (ClusterName, ManagerName),
        store: Arc<dyn Store>,
        cache: Cache,
        voters: watch::Receiver<Voters>,
        violations: watch::Receiver<Vec<String>>,
        own: Own,
        workshop: Option<Workshop>,
    ) -> Self {
        let explained = Mutex::new(None);
        Self {
            cluster,
            manager,
            store,
            cache,
            voters,
            violations,
            own,
            workshop,
            on_trial: OnTrial::default(),
            explained,
        }
    }

    /// Looks at the view. A problem while there never was one.
    pub fn look<R>(&self, f: impl FnOnce(&Look<'_>) -> R) -> Result<R, Problem> {
        self.look_with(|view, asked| self.plan(view, asked), f)
    }

    /// Likewise, without what the planner says of it: for who is asked every few seconds and gives no reasons.
    fn glance<R>(&self, f: impl FnOnce(&Look<'_>) -> R) -> Result<R, Problem> {
        self.look_with(|_, _| Arc::default(), f)
    }

    fn look_with<R>(
        &self,
        plan: impl FnOnce(&View, &Asked) -> Arc<Plan>,
        f: impl FnOnce(&Look<'_>) -> R,
    ) -> Result<R, Problem> {
        let voters = self.voters.borrow().clone();
        let violations = self.violations.borrow().clone();
        self.cache.read_fresh(|view, view_since, now| {
            if view.revision == Revision::default() {
                return Err(not_ready(&voters));
            }
            if let Some(theirs) = view
                .cluster
                .as_ref()
                .filter(|seen| seen.value != self.cluster)
            {
                return Err(Problem::new(
                    "wrong-cluster",
                    format!(
                        "this manager is configured for cluster `{}`, but etcd keeps cluster `{}`; \
                         correct `cluster` or [etcd] endpoints in manager.toml",
                        self.cluster, theirs.value
                    ),
                ));
            }
            let manager = self.manager.clone();
            let asked = Asked {
                now,
                wall: wall(),
                view_since,
                manager,
                probes: self.own.prober.vantage(),
                extensions: Arc::clone(&self.own.extensions),
            };
            let plan = plan(view, &asked);
            let context = Context {
                cluster: self.cluster.as_str(),
                now,
                view_since,
                voters: match &voters {
                    Ok(voters) => Ok(voters),
                    Err(error) => Err(error),
                },
                reports: &plan.reports,
                probes: self.own.prober.all(view),
                violations: &violations,
            };
            Ok(f(&Look {
                view,
                context,
                asked,
                advised: &plan.advised,
            }))
        })
    }

    fn plan(&self, view: &View, asked: &Asked) -> Arc<Plan> {
        let mut kept = self
            .explained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, at, plan)) = kept.as_ref()
            && *revision == view.revision
            && asked.now.since(*at) < EXPLAINED_MS
        {
            return plan.clone();
        }
        let plan = Arc::new(explain(view, asked));
        *kept = Some((view.revision, asked.now, plan.clone()));
        plan
    }
}

/// What is wrong with the voters, if anything is.
pub fn trouble(voters: &Voters) -> Option<String> {
    let voters = match voters {
        Ok(voters) => voters,
        Err(error) => return Some(error.clone()),
    };
    let down = voters.iter().filter(|voter| !voter.healthy);
    let down: Vec<String> = down
        .map(|voter| format!("{} ({})", voter.name, voter.endpoint))
        .collect();
    (!down.is_empty()).then(|| format!("no answer from {}", down.join(", ")))
}

fn not_ready(voters: &Voters) -> Problem {
    let why = trouble(voters).unwrap_or_else(|| "its contents are still being read".to_owned());
    Problem::new(
        "no-quorum",
        format!(
            "this manager has not been able to read etcd since it started: {why}. It keeps trying; \
             start etcd's members, or correct [etcd] endpoints in manager.toml"
        ),
    )
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let v1 = Router::new()
        .route("/health", get(reads::health))
        .route("/status", get(reads::status))
        .route("/rto", get(reads::rto))
        .route("/openapi.json", get(reads::openapi))
        .route("/timeline", get(events::timelines))
        .route("/timeline/{id}", get(events::timeline))
        .route("/events", get(events::events))
        .route("/hosts", get(reads::hosts))
        .route("/hosts/{host}", get(reads::host))
        .route("/hosts/{host}/drain", post(hosts::drain))
        .route("/hosts/{host}/resume", post(hosts::resume))
        .route("/hosts/{host}/confirm-off", post(hosts::confirm_off))
        .route("/hosts/{host}/forget", post(hosts::forget))
        .route("/sites", get(reads::sites))
        .route("/sites/{site}", get(reads::site))
        .route("/sites/{site}/drain", post(hosts::drain_site))
        .route("/sites/{site}/resume", post(hosts::resume_site))
        .route("/vms", get(reads::vms))
        .route(
            "/vms/{vm}",
            get(reads::vm).put(vms::apply).delete(vms::delete),
        )
        .route("/vms/{vm}/start", post(vms::start))
        .route("/vms/{vm}/stop", post(vms::stop))
        .route("/vms/{vm}/restart", post(vms::restart))
        .route("/vms/{vm}/move", post(vms::move_vm))
        .route("/why/vm/{vm}", get(reads::why_vm))
        .route("/why/host/{host}", get(reads::why_host))
        .route("/config", get(config::show).put(config::apply))
        .route("/extensions", get(extensions::list))
        .route(
            "/extensions/{name}",
            get(extensions::show)
                .put(extensions::install)
                .delete(extensions::remove),
        )
        .route("/components/{digest}", put(components::upload));
    let v1 = v1
        .route(
            "/extensions/{name}/shadow",
            put(extension_versions::install_shadow).delete(extension_versions::remove_shadow),
        )
        .route(
            "/extensions/{name}/promote",
            post(extension_versions::promote),
        )
        .route(
            "/extensions/{name}/rollback",
            post(extension_versions::rollback),
        );
    let v1 = v1.route("/fencing/power", get(fencing::power));
    let v1 = v1.route("/requests", get(sent::requests)).route(
        "/extensions/{name}/decisions",
        get(extension_decisions::decisions),
    );
    #[cfg(feature = "extensions")]
    let v1 = v1.route("/extensions/{name}/log", get(extension_log::log));
    Router::new()
        .nest("/v1", v1)
        .route("/metrics", get(metrics::metrics))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .with_state(app)
}

async fn unknown_route(uri: Uri) -> Problem {
    let detail = format!(
        "nothing is served at {}; /v1/openapi.json lists what is",
        uri.path()
    );
    Problem::new("not-found", detail)
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let detail = format!(
        "{} does not take {method}; /v1/openapi.json lists what it takes",
        uri.path()
    );
    Problem::new("method-not-allowed", detail)
}
