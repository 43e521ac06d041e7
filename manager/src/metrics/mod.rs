//! What monitoring is told (`GET /metrics`), in Prometheus' text format.
//!
//! Pure. Each figure is worked out when it is asked for, from the status, the view and what the daemon counts anyway:
//! there is no registry, and the format is a page of code ([`text`]). Labels are names of which a cluster has few:
//! sites, states, extensions; never a VM or a host. Every manager tells of the whole cluster as it sees it.

mod cluster;
mod extensions;
mod shadows;
#[cfg(test)]
mod tests;
mod text;

pub use text::CONTENT_TYPE;

use crate::daemon::fence::FencingCounts;
use crate::extensions::Shown;
use crate::requests::RequestCounts;
use crate::timeline::Incident;
use holdfast_model::id::{ClusterName, ManagerName};
use holdfast_model::status::Status;
use text::{Kind, Text, sample};

/// What a manager has to tell.
pub struct Scrape<'a> {
    /// The cluster, as configured.
    pub cluster: &'a ClusterName,
    /// This manager.
    pub manager: &'a ManagerName,
    /// For how long its view of etcd has not been confirmed, in milliseconds; none if there never was one.
    pub view_age_ms: Option<u64>,
    /// What fencing devices were asked from here.
    pub fencing: FencingCounts,
    /// What extensions have sent from here, if they can.
    pub requests: Option<RequestCounts>,
    /// The cluster; none before etcd was read.
    pub seen: Option<Seen>,
}

/// The cluster, as this manager sees it.
pub struct Seen {
    /// At a glance.
    pub status: Status,
    /// That is as it is in etcd now.
    pub fresh: bool,
    /// Requests of operators that wait to be carried out.
    pub operations: usize,
    /// What happened, as far as events are kept.
    pub incidents: Vec<Incident>,
    /// The installed extensions.
    pub extensions: Vec<Shown>,
}

/// The whole answer.
pub fn text(scrape: &Scrape<'_>) -> String {
    let mut text = Text::default();
    text.metric(
        Kind::Gauge,
        "holdfast_build_info",
        "This manager: always 1.",
        [sample(
            [
                ("version", env!("CARGO_PKG_VERSION")),
                ("cluster", scrape.cluster.as_str()),
                ("manager", scrape.manager.as_str()),
            ],
            1.0,
        )],
    );
    cluster::tell(&mut text, scrape);
    fencing(&mut text, scrape.fencing);
    let seen = scrape.seen.iter();
    let all = seen.flat_map(|seen| &seen.extensions).collect::<Vec<_>>();
    extensions::tell(&mut text, &all, scrape.manager);
    shadows::tell(&mut text, &all, scrape.manager);
    if let Some(counts) = scrape.requests {
        requests(&mut text, counts);
    }
    text.finish()
}

fn fencing(text: &mut Text, counts: FencingCounts) {
    text.value(
        Kind::Counter,
        "holdfast_fencing_requests_total",
        "Times that this manager had a fencing device told to switch a host off.",
        counts.asked as f64,
    );
    let FencingCounts {
        off, on, unknown, ..
    } = counts;
    let answers = [("off", off), ("on", on), ("unknown", unknown)];
    text.metric(
        Kind::Counter,
        "holdfast_fencing_answers_total",
        "How the power stood afterwards: all but off have failed.",
        answers.map(|(power, count)| sample([("power", power)], count as f64)),
    );
    let errands = [
        ("managers", counts.by_managers),
        ("agents", counts.by_agents),
    ];
    text.metric(
        Kind::Counter,
        "holdfast_fencing_errands_total",
        "Of those requests, who was to ask for this manager: another manager, or the agent of a host.",
        errands.map(|(by, count)| sample([("by", by)], count as f64)),
    );
}

fn requests(text: &mut Text, counts: RequestCounts) {
    text.value(
        Kind::Counter,
        "holdfast_extension_requests_total",
        "HTTP requests that extensions had this manager send.",
        counts.sent as f64,
    );
    let RequestCounts {
        answered,
        not_done,
        unknown,
        ..
    } = counts;
    let ends = [
        ("answered", answered),
        ("not-done", not_done),
        ("unknown", unknown),
    ];
    text.metric(
        Kind::Counter,
        "holdfast_extension_requests_ended_total",
        "What became of them; what is unknown may have been done.",
        ends.map(|(outcome, count)| sample([("outcome", outcome)], count as f64)),
    );
}
