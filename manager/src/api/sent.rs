//! What extensions have had this manager send and run, and the agents of hosts.

use super::App;
use super::extension_log::others;
use crate::requests::{ProgramRun, Requested};
use axum::Json;
use axum::extract::State;
use holdfast_model::id::{HostName, ManagerName};
use holdfast_model::requests::Newest;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What extensions have had this manager and hosts' agents send and run.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestsHere {
    /// This manager.
    pub manager: ManagerName,
    /// Oldest first.
    pub requests: Vec<Requested>,
    /// Programs, oldest first.
    #[serde(default)]
    pub programs: Vec<ProgramRun>,
    /// Where the API of the other managers listens that are there: each has what was sent from it.
    #[serde(default)]
    pub others: BTreeMap<ManagerName, String>,
    /// The newest of what the agents of hosts sent and ran, as they have told last.
    #[serde(default)]
    pub hosts: BTreeMap<HostName, Newest>,
}

/// What extensions have had this manager send and run: the newest.
pub async fn requests(State(app): State<Arc<App>>) -> Json<RequestsHere> {
    let requests = app.own.requests.as_ref();
    // What was sent from here is told without etcd as well.
    let seen = app.glance(|look| (others(&app, look), of_hosts(look.view)));
    let (others, hosts) = seen.unwrap_or_default();
    Json(RequestsHere {
        manager: app.manager.clone(),
        requests: requests.map_or_else(Vec::new, |requests| requests.newest()),
        programs: requests.map_or_else(Vec::new, |requests| requests.programs()),
        others,
        hosts,
    })
}

fn of_hosts(view: &View) -> BTreeMap<HostName, Newest> {
    let all = view.host_asks.iter();
    let asked = all.filter(|(_, seen)| !seen.value.newest.is_empty());
    asked
        .map(|(host, seen)| (host.clone(), seen.value.newest.clone()))
        .collect()
}
