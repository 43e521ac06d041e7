//! Of the versions that are tried beside installed extensions: whether they are asked, how often they say the same,
//! what they cost.
//!
//! Each manager knows what it asked itself. Storage checks are asked by hosts: what is told of these is a sum that
//! begins anew host by host, so it is no counter.

use super::text::{Kind, Sample, Text, flag, sample};
use crate::extensions::{ShadowShown, Shown};
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::ManagerName;
use holdfast_model::shadow::{Counts, ShadowStanding};
use holdfast_model::standing::{CallCosts, Readiness};

const KIB: f64 = 1_024.0;
const US_PER_SECOND: f64 = 1_000_000.0;

/// A label's word, and what is counted under it.
type Counted = (&'static str, fn(&Counts) -> u64);

/// One, and how it does wherever it is of concern here.
struct Tried<'s> {
    candidate: &'s Installed,
    standings: Vec<&'s ShadowStanding>,
}

impl<'s> Tried<'s> {
    fn of(shadow: &'s ShadowShown, manager: &ManagerName) -> Self {
        let standings = match is_on_hosts(shadow) {
            true => shadow.hosts.values().collect(),
            false => shadow.managers.get(manager.as_str()).into_iter().collect(),
        };
        Self {
            candidate: &shadow.candidate,
            standings,
        }
    }

    fn sample(&self, value: f64) -> Sample {
        let manifest = &self.candidate.manifest;
        let labels = [
            ("extension", manifest.name.as_str()),
            ("version", manifest.version.as_str()),
        ];
        sample(labels, value)
    }

    /// With one label more.
    fn samples<const N: usize>(&self, label: &'static str, all: [Counted; N]) -> [Sample; N] {
        let manifest = &self.candidate.manifest;
        all.map(|(word, count)| {
            let each = self.standings.iter().map(|there| count(&there.counts));
            let labels = [
                ("extension", manifest.name.as_str()),
                ("version", manifest.version.as_str()),
                (label, word),
            ];
            sample(labels, each.sum::<u64>() as f64)
        })
    }

    fn outcomes(&self) -> [Sample; 4] {
        self.samples(
            "outcome",
            [
                ("agreed", |counts| counts.agreed),
                ("differed", |counts| counts.differed),
                ("failed", |counts| counts.failed),
                ("skipped", |counts| counts.skipped),
            ],
        )
    }

    /// Where it costs most.
    fn dearest(&self, cost: fn(&CallCosts) -> u64) -> f64 {
        let each = self.standings.iter().map(|there| cost(&there.costs));
        each.max().unwrap_or(0) as f64
    }
}

fn is_on_hosts(shadow: &ShadowShown) -> bool {
    shadow.candidate.manifest.kind == ExtensionKind::StorageCheck
}

pub(super) fn tell(text: &mut Text, all: &[&Shown], manager: &ManagerName) {
    let shadows = all.iter().filter_map(|each| each.shadow.as_ref());
    let (on_hosts, here): (Vec<&ShadowShown>, Vec<_>) = shadows.partition(|each| is_on_hosts(each));
    let tried = |each| Tried::of(each, manager);
    let here: Vec<Tried<'_>> = here.into_iter().map(tried).collect();
    let on_hosts: Vec<Tried<'_>> = on_hosts.into_iter().map(tried).collect();
    by_this_manager(text, &here);
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_host_answers",
        "What came of asking a storage check that is tried, on all hosts together since each has it.",
        on_hosts.iter().flat_map(Tried::outcomes),
    );
    let mut everywhere = on_hosts;
    everywhere.extend(here);
    everywhere.sort_by(|one, other| {
        one.candidate
            .manifest
            .name
            .cmp(&other.candidate.manifest.name)
    });
    costs(text, &everywhere);
}

fn by_this_manager(text: &mut Text, here: &[Tried<'_>]) {
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_ready",
        "Whether this manager can ask the version that is tried beside the installed one.",
        here.iter().map(|each| {
            let ready =
                |there: &&ShadowStanding| matches!(there.readiness, Readiness::Ready { .. });
            each.sample(flag(each.standings.iter().any(ready)))
        }),
    );
    text.metric(
        Kind::Counter,
        "holdfast_extension_shadow_answers_total",
        "What came of this manager's questions to it; those that were skipped were not asked.",
        here.iter().flat_map(Tried::outcomes),
    );
    text.metric(
        Kind::Counter,
        "holdfast_extension_shadow_differences_total",
        "In what its answers differed; one may differ in more than one thing.",
        here.iter().flat_map(|each| {
            each.samples(
                "in",
                [
                    ("verdicts", |counts| counts.other_verdicts),
                    ("order", |counts| counts.other_order),
                    ("first-choice", |counts| counts.other_first),
                ],
            )
        }),
    );
}

/// Of the newest thousand calls; of a storage check, of the host where it costs most.
fn costs(text: &mut Text, all: &[Tried<'_>]) {
    let gauge = |cost: fn(&CallCosts) -> u64, unit: fn(&Installed) -> f64| {
        let each = all.iter();
        each.map(|each| each.sample(each.dearest(cost) / unit(each.candidate)))
            .collect::<Vec<_>>()
    };
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_call_cpu_p50_seconds",
        "CPU time of its call in the middle.",
        gauge(|costs| costs.cpu_p50_us, |_| US_PER_SECOND),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_call_cpu_p99_seconds",
        "CPU time of its call that only one in a hundred exceeds.",
        gauge(|costs| costs.cpu_p99_us, |_| US_PER_SECOND),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_call_cpu_p99_limit_ratio",
        "That, as a share of what a call may take: 1 is the limit.",
        gauge(
            |costs| costs.cpu_p99_us,
            |candidate| candidate.limits().cpu_ms as f64 * 1_000.0,
        ),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_memory_peak_bytes",
        "Most memory of its calls.",
        gauge(|costs| costs.memory_kib, |_| 1.0 / KIB),
    );
    text.metric(
        Kind::Gauge,
        "holdfast_extension_shadow_memory_peak_limit_ratio",
        "That, as a share of what it may have: 1 is the limit.",
        gauge(
            |costs| costs.memory_kib,
            |candidate| candidate.limits().memory_mib as f64 * KIB,
        ),
    );
}
