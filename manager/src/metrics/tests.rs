//! The whole text for a small cluster, and for none.

use super::*;
use crate::extensions::ShadowShown;
use crate::timeline::{IncidentKind, Summary};
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{ExtensionKind, Installed, LimitsAsked, Manifest, Rights};
use holdfast_model::id::Revision;
use holdfast_model::shadow::{Counts, ShadowStanding};
use holdfast_model::standing::{CallCosts, OnHost, Readiness};
use holdfast_model::time::UnixMs;
use holdfast_model::told::{EventPlace, ToldSoFar};
use serde_json::json;
use std::collections::BTreeMap;
use std::str::FromStr;

fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    T::from_str(text).expect("a name")
}

fn status() -> Status {
    let host = |host: &str, site: &str, state: &str| {
        json!({
            "name": host, "site": site, "state": state, "incarnation": null, "boot_id": null,
            "planes": {"control": "valid", "storage": "none"}, "reason": "", "silence_ms": null,
            "vms": 0, "memory_mib": [0, 0], "libvirt": "", "storage": "",
        })
    };
    let vm = |vm: &str, site: Option<&str>, state: &str| {
        json!({
            "name": vm, "uuid": null, "state": state, "host": null, "site": site,
            "preferred_site": null, "generation": 1, "lease": "", "reason": "", "priority": 0,
        })
    };
    let member =
        |name: &str, healthy: bool| json!({"name": name, "site": null, "healthy": healthy});
    let status = json!({
        "cluster": "lab",
        "quorum": {"healthy": true, "members": [member("a", true), member("b", false), member("w", true)]},
        "leader": {"name": "m-a", "epoch": 7},
        "managers": [member("m-a", true)],
        "sites": [{"name": "a", "state": "online"}, {"name": "w", "state": "online", "witness": true}],
        "hosts": [host("a1", "a", "online"), host("a2", "a", "fenced"), host("b1", "b", "online")],
        "vms": [
            vm("web-1", Some("a"), "running"), vm("web-2", Some("a"), "running"), vm("db", None, "waiting"),
        ],
        "conditions": [
            {"severity": "critical", "code": "vm-waiting", "text": ""},
            {"severity": "warning", "code": "storage", "text": ""},
            {"severity": "warning", "code": "storage", "text": ""},
        ],
    });
    serde_json::from_value(status).expect("a status")
}

fn incident(kind: IncidentKind, started_at: u64, duration_ms: Option<u64>) -> Incident {
    Incident {
        id: String::new(),
        kind,
        title: String::new(),
        started_at: UnixMs(started_at),
        duration_ms,
        hosts: Vec::new(),
        vms: Vec::new(),
        summary: Summary {
            vms: 2,
            done: 2,
            median_ms: duration_ms.map(|_| 5_900),
            slowest_ms: duration_ms,
        },
    }
}

fn shown(extension: &str, kind: ExtensionKind, readiness: Readiness) -> Shown {
    let manifest = Manifest {
        name: name(extension),
        version: "0.2.0".to_owned(),
        kind,
        summary: String::new(),
        limits: LimitsAsked::default(),
        rights: Rights::default(),
    };
    Shown {
        installed: Installed {
            manifest,
            digest: "d2".to_owned(),
            bytes: 1,
            granted: Rights::default(),
            limits: LimitsAsked::default(),
            then: Fallback::Closed,
            signed: None,
            before: None,
            rollout: None,
            by: String::new(),
            at: UnixMs(0),
        },
        rights: Vec::new(),
        not_granted: Vec::new(),
        managers: [("m-a".to_owned(), readiness)].into(),
        away: Vec::new(),
        hosts: BTreeMap::new(),
        costs: CallCosts {
            calls: 1_200,
            failed: 3,
            last_failure: None,
            cpu_p50_us: 1_500,
            cpu_p99_us: 5_000,
            cpu_p99_percent: 25,
            memory_kib: 8_192,
            memory_percent: 25,
        },
        bound: BTreeMap::new(),
        signer: None,
        shadow: Default::default(),
        told: None,
    }
}

/// The next version of one, tried beside it.
fn shadow<const N: usize>(beside: &Shown, managers: [(&str, ShadowStanding); N]) -> ShadowShown {
    let mut candidate = beside.installed.clone();
    candidate.manifest.version = "0.3.0".to_owned();
    candidate.digest = "d3".to_owned();
    let managers = managers.into_iter();
    ShadowShown {
        candidate,
        rights: Vec::new(),
        newly: Vec::new(),
        managers: managers
            .map(|(manager, there)| (manager.to_owned(), there))
            .collect(),
        hosts: BTreeMap::new(),
    }
}

/// It said the same so many times.
fn standing(readiness: Readiness, agreed: u64, cpu_p99_us: u64) -> ShadowStanding {
    ShadowStanding {
        readiness,
        digest: "d3".to_owned(),
        counts: Counts {
            asked: agreed + 4,
            agreed,
            differed: 3,
            other_verdicts: 2,
            other_order: 1,
            other_first: 1,
            failed: 1,
            skipped: 5,
        },
        costs: CallCosts {
            cpu_p50_us: 1_000,
            cpu_p99_us,
            memory_kib: 1_024,
            ..CallCosts::default()
        },
        differences: Vec::new(),
        log: Vec::new(),
    }
}

fn extensions() -> Vec<Shown> {
    let ready = |digest: &str| Readiness::Ready {
        digest: digest.to_owned(),
    };
    let rests = Readiness::Resting {
        digest: "d2".to_owned(),
        why: "it trapped".to_owned(),
    };
    let mut check = shown("gluster-check", ExtensionKind::StorageCheck, ready("d2"));
    let on_host = |readiness, cpu_p99_us| OnHost {
        readiness,
        costs: CallCosts {
            cpu_p99_us,
            ..CallCosts::default()
        },
        log: Vec::new(),
        shadow: None,
    };
    check.hosts = [
        (name("a1"), on_host(Some(ready("d2")), 20_000)),
        (name("b1"), on_host(Some(ready("d2")), 50_000)),
        (name("b2"), on_host(None, 0)),
    ]
    .into();
    let mut notifier = shown("notifier", ExtensionKind::Events, rests);
    notifier.told = Some(ToldSoFar {
        after: EventPlace {
            revision: Revision(9),
            id: String::new(),
        },
        told: 400,
        dropped: 50,
        behind: None,
    });
    check.shadow = Some(shadow(&check, []));
    if let Some(shadow) = &mut check.shadow {
        shadow.hosts = [
            (name("a1"), standing(ready("d3"), 20, 100_000)),
            (name("b1"), standing(Readiness::Loading, 1, 0)),
        ]
        .into();
    }
    // The version before is asked.
    let mut rule = shown("rack-rule", ExtensionKind::Placement, ready("d1"));
    // What another manager counted is told by that one.
    let counted = [
        ("m-a", standing(ready("d3"), 30, 4_000)),
        ("m-b", standing(ready("d3"), 70, 9_000)),
    ];
    rule.shadow = Some(shadow(&rule, counted));
    vec![check, notifier, rule]
}

fn scrape(seen: Option<Seen>) -> String {
    text(&Scrape {
        cluster: &name("lab"),
        manager: &name("m-a"),
        view_age_ms: seen.as_ref().map(|_| 250),
        fencing: FencingCounts {
            asked: 4,
            off: 3,
            on: 0,
            unknown: 1,
            by_managers: 2,
            by_agents: 1,
        },
        requests: seen.as_ref().map(|_| RequestCounts {
            sent: 10,
            answered: 8,
            not_done: 1,
            unknown: 1,
        }),
        seen,
    })
}

#[test]
fn a_small_cluster_is_told_as_it_is() {
    let incidents = vec![
        incident(IncidentKind::HostLoss, 1_764_000_000_000, Some(8_500)),
        incident(IncidentKind::Moves, 1_764_000_100_000, None),
        incident(IncidentKind::HostLoss, 1_764_000_200_500, Some(6_250)),
    ];
    let told = scrape(Some(Seen {
        status: status(),
        fresh: true,
        operations: 2,
        incidents,
        extensions: extensions(),
    }));
    let version = env!("CARGO_PKG_VERSION");
    let golden = include_str!("golden.txt").replace("VERSION", version);
    for (told, wanted) in told.lines().zip(golden.lines()) {
        assert_eq!(told, wanted);
    }
    assert_eq!(told.lines().count(), golden.lines().count());
}

#[test]
fn without_etcd_a_manager_tells_of_itself() {
    let told = scrape(None);
    let names: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "holdfast_build_info",
            "holdfast_store_view_fresh",
            "holdfast_is_leader",
            "holdfast_fencing_requests_total",
            "holdfast_fencing_answers_total",
            "holdfast_fencing_answers_total",
            "holdfast_fencing_answers_total",
            "holdfast_fencing_errands_total",
            "holdfast_fencing_errands_total",
        ]
    );
    assert!(told.contains("\nholdfast_store_view_fresh 0\n"), "{told}");
}
