//! `GET /metrics`: outside of `/v1`, where scrapers look for it. Not refused while etcd is away: that is when somebody
//! has to be told.

use super::App;
use super::events::incidents;
use super::extensions::shown;
use crate::metrics::{CONTENT_TYPE, Scrape, Seen, text};
use crate::status::build;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::sync::Arc;

/// What monitoring is told.
pub async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let seen = app.glance(|look| Seen {
        status: build(look.view, &look.context),
        fresh: look.context.view_since.is_some(),
        operations: look.view.ops.len(),
        incidents: incidents(look.view),
        extensions: look
            .view
            .extensions
            .keys()
            .filter_map(|name| shown(&app, look, name))
            .collect(),
    });
    let scrape = Scrape {
        cluster: &app.cluster,
        manager: &app.manager,
        view_age_ms: app.cache.age_ms(),
        fencing: app.own.fencer.counts(),
        requests: app.own.requests.as_ref().map(|requests| requests.counts()),
        // Never seen, or another cluster's: what this manager says of itself has to do.
        seen: seen.ok(),
    };
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text(&scrape))
}
