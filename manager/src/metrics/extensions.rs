//! Of each extension: whether it can be asked, what its calls cost beside what they may, what handlers were told.
//!
//! Storage checks are asked by hosts, which tell how they do there; all others by managers, each of which knows its own
//! calls.

use super::text::{Kind, Sample, Text, flag, sample};
use crate::extensions::Shown;
use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::ManagerName;
use holdfast_model::standing::{CallCosts, Readiness};
use std::collections::BTreeMap;

const KIB: f64 = 1_024.0;
const US_PER_SECOND: f64 = 1_000_000.0;

pub(super) fn tell(text: &mut Text, all: &[&Shown], manager: &ManagerName) {
    text.metric(
        Kind::Gauge,
        "holdfast_extension_info",
        "An installed extension: always 1.",
        all.iter().map(|each| {
            let manifest = &each.installed.manifest;
            let labels = [
                ("extension", manifest.name.as_str()),
                ("kind", manifest.kind.word()),
                ("version", manifest.version.as_str()),
            ];
            sample(labels, 1.0)
        }),
    );
    let by_managers: Vec<&Shown> = all
        .iter()
        .copied()
        .filter(|each| !is_on_hosts(each))
        .collect();
    standing(text, &by_managers, manager);
    calls(text, &by_managers);
    costs(text, all);
    on_hosts(text, all);
    told(text, all);
}

fn is_on_hosts(shown: &Shown) -> bool {
    shown.installed.manifest.kind == ExtensionKind::StorageCheck
}

fn of(shown: &Shown, value: f64) -> Sample {
    sample(
        [("extension", shown.installed.manifest.name.as_str())],
        value,
    )
}

fn standing(text: &mut Text, by_managers: &[&Shown], manager: &ManagerName) {
    let here = |shown: &Shown| shown.managers.get(manager.as_str()).cloned();
    text.metric(
        Kind::Gauge,
        "holdfast_extension_ready",
        "Whether this manager can ask it, in the version that is installed.",
        by_managers.iter().map(|each| {
            let ready = match here(each) {
                Some(Readiness::Ready { digest }) => digest == each.installed.digest,
                _ => false,
            };
            of(each, flag(ready))
        }),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_breaker_open",
        "Whether it failed too often on this manager, and rests.",
        by_managers.iter().map(|each| {
            let rests = matches!(here(each), Some(Readiness::Resting { .. }));
            of(each, flag(rests))
        }),
    );
}

fn calls(text: &mut Text, by_managers: &[&Shown]) {
    let counter = |count: fn(&CallCosts) -> u64| {
        let each = by_managers.iter();
        each.map(move |each| of(each, count(&each.costs) as f64))
            .collect::<Vec<_>>()
    };
    text.metric(
        Kind::Counter,
        "holdfast_extension_calls_total",
        "Calls of this manager; answers that were kept are none.",
        counter(|costs| costs.calls),
    );
    text.metric(
        Kind::Counter,
        "holdfast_extension_call_failures_total",
        "Of them without an answer.",
        counter(|costs| costs.failed),
    );
}

/// Of the newest thousand calls of this manager; of a storage check, of the host where it costs most.
fn costs(text: &mut Text, all: &[&Shown]) {
    let dearest = |shown: &Shown, cost: fn(&CallCosts) -> u64| match is_on_hosts(shown) {
        false => cost(&shown.costs),
        true => {
            let hosts = shown.hosts.values();
            hosts.map(|there| cost(&there.costs)).max().unwrap_or(0)
        }
    };
    let gauge = |cost: fn(&CallCosts) -> u64, unit: fn(&Shown) -> f64| {
        let each = all.iter();
        each.map(|each| of(each, dearest(each, cost) as f64 / unit(each)))
            .collect::<Vec<_>>()
    };
    text.metric(
        Kind::Gauge,
        "holdfast_extension_call_cpu_p50_seconds",
        "CPU time of the call in the middle.",
        gauge(|costs| costs.cpu_p50_us, |_| US_PER_SECOND),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_call_cpu_p99_seconds",
        "CPU time of the call that only one in a hundred exceeds.",
        gauge(|costs| costs.cpu_p99_us, |_| US_PER_SECOND),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_call_cpu_p99_limit_ratio",
        "That, as a share of what a call may take: 1 is the limit.",
        gauge(
            |costs| costs.cpu_p99_us,
            |shown| shown.installed.limits().cpu_ms as f64 * 1_000.0,
        ),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_memory_peak_bytes",
        "Most memory of a call.",
        gauge(|costs| costs.memory_kib, |_| 1.0 / KIB),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_memory_peak_limit_ratio",
        "That, as a share of what it may have: 1 is the limit.",
        gauge(
            |costs| costs.memory_kib,
            |shown| shown.installed.limits().memory_mib as f64 * KIB,
        ),
    );
}

fn on_hosts(text: &mut Text, all: &[&Shown]) {
    const STATES: [&str; 5] = ["ready", "resting", "loading", "failed", "not-heard"];
    let word = |there: &Option<Readiness>| match there {
        Some(Readiness::Ready { .. }) => "ready",
        Some(Readiness::Resting { .. }) => "resting",
        Some(Readiness::Loading) => "loading",
        Some(Readiness::Failed { .. }) => "failed",
        None => "not-heard",
    };
    let checks = all.iter().filter(|each| is_on_hosts(each));
    let samples = checks.flat_map(|each| {
        let mut counted: BTreeMap<&str, usize> = STATES.map(|state| (state, 0)).into();
        for there in each.hosts.values() {
            *counted.entry(word(&there.readiness)).or_default() += 1;
        }
        let name = each.installed.manifest.name.as_str();
        let counted = counted.into_iter();
        counted
            .map(|(state, count)| sample([("extension", name), ("state", state)], count as f64))
            .collect::<Vec<_>>()
    });
    text.metric(
        Kind::Gauge,
        "holdfast_extension_hosts",
        "Hosts whose storage it is to check, by how it stands there.",
        samples,
    );
}

fn told(text: &mut Text, all: &[&Shown]) {
    let handlers = || {
        let told = all
            .iter()
            .filter_map(|each| Some((*each, each.told.as_ref()?)));
        told.collect::<Vec<_>>()
    };
    text.metric(
        Kind::Counter,
        "holdfast_extension_events_told_total",
        "Events that an event handler took, since it was installed.",
        handlers()
            .into_iter()
            .map(|(each, told)| of(each, told.told as f64)),
    );
    text.metric(
        Kind::Counter,
        "holdfast_extension_events_dropped_total",
        "Events that it never took, since it was installed.",
        handlers()
            .into_iter()
            .map(|(each, told)| of(each, told.dropped as f64)),
    );
}
