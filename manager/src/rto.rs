//! How long a VM can be away after each kind of failure: an upper bound, computed from the policy
//! in force, part by part.
//!
//! ```text
//! loss ── last heartbeat seen ──────── taker_wait ──────── prove, grant ── start ── VM runs
//!     with storage leases:        ──── taker_wait ── look ─┘
//! ```
//! Both waits run at once: a host that loses its power stops writing to both planes at the same time.

use holdfast_core::errand::{ANSWER_MS, CANDIDATES_MAX, EACH_MAX, TAKEN_WITHIN_MS};
use holdfast_core::lease::keeper::period_ms;
use holdfast_model::asking::AskerKind;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::HostName;
use holdfast_model::policy::{FencingPolicy, Policy};
use holdfast_model::timing::Timing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Two transactions (evidence, grant) and the way of both through etcd and a watch, with a margin
/// for a busy disk. Healthy etcd: some 20 ms in all.
const DECIDE_MS: u64 = 500;
/// libvirt's and QEMU's part of starting one domain: 0.4 to 0.7 s for a small guest on a warm
/// daemon (measured in the lab), doubled.
const START_MS: u64 = 1_500;
/// An own heartbeat and a read on a healthy lease volume, and the word of it through etcd. Measured in
/// the lab: 30 to 100 ms.
const LOOK_MS: u64 = 300;
/// etcd's members agree on a new leader: election time-out 1 s by default, twice that at worst,
/// and a managers' watch is set up again.
const STORE_ELECTION_MS: u64 = 3_000;

/// An errand that all but the last do not take, and that the last takes and does not answer, beyond what its device has.
const fn errand_ms(tried: usize) -> u64 {
    tried as u64 * TAKEN_WITHIN_MS + ANSWER_MS
}

/// The bound for one kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// A stable word.
    pub failure: String,
    /// In words.
    pub title: String,
    /// What happens to the VMs.
    pub outcome: String,
    /// The parts, in their order.
    pub parts: Vec<Part>,
    /// The sum: none where VMs are not away at all.
    pub total_ms: u64,
}

/// One part of a bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What takes the time.
    pub text: String,
    /// At most.
    pub ms: u64,
}

/// Everything `holdfast rto` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rto {
    /// The profile the bounds begin with.
    pub profile: String,
    /// The inequality that makes a takeover safe, with its numbers.
    pub safety: String,
    /// Per kind of failure.
    pub bounds: Vec<Bound>,
    /// What the bounds do not include.
    pub notes: Vec<String>,
}

/// The bounds under a policy. `leased`: hosts have storage leases.
pub fn bounds(policy: &Policy, leased: bool) -> Rto {
    let timing = policy.timing.resolve();
    let stop_ms = timing.runner_deadline_ms + timing.kill_bound_ms + timing.watchdog_bound_ms;
    let settle_ms = policy.storage.settle_wait_ms();
    let mut bounds = failures(&timing, settle_ms, leased);
    let fencing = &policy.fencing;
    if fencing.on_suspicion && !fencing.devices.is_empty() {
        bounds.insert(1, by_device(&timing, settle_ms));
        bounds.splice(2..2, by_last_device(fencing, &timing, settle_ms));
    }
    Rto {
        profile: serde_json::to_value(policy.timing.profile)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default(),
        safety: format!(
            "a host stops its VMs within {stop_ms} ms of its last acknowledged heartbeat \
             ({} deadline + {} kill + {} watchdog); they start elsewhere after {} ms of silence, \
             not before{}",
            timing.runner_deadline_ms,
            timing.kill_bound_ms,
            timing.watchdog_bound_ms,
            timing.taker_wait_ms,
            match settle_ms {
                0 => String::new(),
                ms => format!(
                    "; and not before {ms} ms after that is proven: so long the storage may deliver late writes \
                     ({} settle_ms, and the clock's drift)",
                    policy.storage.settle_ms
                ),
            }
        ),
        bounds,
        notes: [
            "until the VM's process runs; the guest's own boot comes on top".to_owned(),
            format!(
                "per VM in the first batch: {} starts at once per host; each further batch adds \
                 one start",
                policy.budgets.starts_per_host
            ),
            if leased {
                "etcd without a majority: nothing is started; VMs with a storage lease run on, others \
                 stop at runner_deadline_ms"
            } else {
                "etcd without a majority: nothing is started, and VMs that only the control plane \
                 protects stop at runner_deadline_ms"
            }
            .to_owned(),
        ]
        .into_iter()
        .chain(by_others(policy))
        .collect(),
    }
}

/// What it costs that the leader has others ask devices.
fn by_others(policy: &Policy) -> Option<String> {
    let mut devices = policy.fencing.devices.values();
    let by_others = |device: &FenceDevice| !device.from.is_empty() || !device.askers.is_empty();
    devices.any(by_others).then(|| {
        format!(
            "a fencing device that another manager or an agent asks for the leader (`from`, `askers`): up to \
             {TAKEN_WITHIN_MS} ms more for each that does not take it; who asked in vain is followed by another one in \
             the next attempt, 2 s later"
        )
    })
}

/// Each kind of failure, with its parts.
fn failures(timing: &Timing, settle_ms: u64, leased: bool) -> Vec<Bound> {
    let period_ms = u64::from(period_ms(timing.runner_deadline_ms));
    // The last heartbeat on the volume may have been seen one period after the last one in etcd.
    let look = (
        "its heartbeat on the lease volume is looked at",
        if leased { period_ms + LOOK_MS } else { 0 },
    );
    let wait = (
        "silence, until its VMs have stopped for certain",
        timing.taker_wait_ms,
    );
    let decide = ("evidence and grant", DECIDE_MS);
    let settle = settles(settle_ms);
    let start = ("start", START_MS);
    let election = ("etcd elects a leader", STORE_ELECTION_MS);
    let again = "started again elsewhere, by priority";
    vec![
        bound(
            "host-loss",
            "host lost (power, hang, network)",
            again,
            &[wait, look, decide, settle, start],
        ),
        bound(
            "site-loss",
            "site lost, etcd's leader with it",
            "started again at the other site, by priority",
            &[election, wait, look, decide, settle, start],
        ),
        bound(
            "link-cut",
            "link between the sites cut",
            "the side without the witness stops its VMs; started again on the other",
            &[election, wait, look, decide, settle, start],
        ),
        isolation(timing, settle_ms, leased, period_ms),
        bound(
            "vm-crash",
            "VM's process dies",
            "started again, on the same host first",
            &[decide, start],
        ),
        bound(
            "manager-loss",
            "leading manager dies",
            "VMs run on; decisions pause for leader_wait_ms",
            &[],
        ),
        bound(
            "agent-loss",
            "agent or libvirtd of a host dies",
            match leased {
                true => "VMs run on, however long it takes: their storage lease is the guard's",
                false => "VMs run on, if the agent is back before the runner's deadline",
            },
            &[],
        ),
        bound(
            "witness-loss",
            "witness lost",
            "VMs run on; the next site loss cannot be decided",
            &[],
        ),
    ]
}

/// What the storage may still deliver of a VM that has stopped.
fn settles(settle_ms: u64) -> (&'static str, u64) {
    let text = "the storage may deliver late writes ([storage] settle_ms)";
    (text, settle_ms)
}

/// How it is noticed that a host is lost whose devices are asked on suspicion.
fn noticed(timing: &Timing) -> (&'static str, u64) {
    match timing.probe_suspect_ms {
        0 => ("silence, until it is suspect", timing.suspect_after_ms),
        // The last heartbeat came right before it was lost, or else the last answer to a probe.
        probe_ms => (
            "asked in vain from two sites, and its heartbeat is overdue",
            timing
                .session_quiet_ms()
                .max(probe_ms + 2 * timing.probe_again_ms()),
        ),
    }
}

/// A host that is lost and has a device that is asked on suspicion.
fn by_device(timing: &Timing, settle_ms: u64) -> Bound {
    bound(
        "host-loss-device",
        "host lost whose fencing device answers (what that takes comes on top)",
        "started again elsewhere, by priority; a device that does not answer: as without one",
        &[
            noticed(timing),
            ("evidence and grant", DECIDE_MS),
            settles(settle_ms),
            ("start", START_MS),
        ],
    )
}

/// The same where only devices of its last order answer: those of each order before it are asked in vain first. Of the
/// host of which that takes longest; none if no host has devices of several orders.
fn by_last_device(fencing: &FencingPolicy, timing: &Timing, settle_ms: u64) -> Option<Bound> {
    let devices = fencing.devices.iter();
    let hosts: BTreeSet<HostName> = devices.flat_map(|(name, it)| it.hosts_of(name)).collect();
    let in_vain = |host: &HostName| -> Vec<(u32, u64)> {
        let mut orders: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, device) in fencing.devices_of(host) {
            let slowest = orders.entry(device.order).or_default();
            *slowest = (*slowest).max(asked_in_vain_ms(device));
        }
        orders.pop_last();
        orders.into_iter().collect()
    };
    let each = hosts.iter().map(|host| (host, in_vain(host)));
    let several = each.filter(|(_, before)| !before.is_empty());
    let (host, before) = several.max_by_key(|(_, b)| b.iter().map(|(_, ms)| ms).sum::<u64>())?;
    let words: Vec<_> = before
        .iter()
        .map(|(order, ms)| (format!("devices of order {order} of {host}, in vain"), *ms))
        .collect();
    let mut parts = vec![noticed(timing)];
    parts.extend(words.iter().map(|(text, ms)| (text.as_str(), *ms)));
    parts.extend([
        ("evidence and grant", DECIDE_MS),
        settles(settle_ms),
        ("start", START_MS),
    ]);
    Some(bound(
        "host-loss-last-device",
        "the same, and only devices of its last `order` answer (what they take comes on top)",
        "started again elsewhere, by priority; sooner where silence alone proves it, as above",
        &parts,
    ))
}

/// A device that does not answer is given up after this: an order to switch off, and the status after it. Where another
/// manager asks it, or an agent, that has to be found and to answer as well.
fn asked_in_vain_ms(device: &FenceDevice) -> u64 {
    let errand_ms = if device.lets(AskerKind::Agents) {
        errand_ms(2 * EACH_MAX)
    } else if device.from.is_empty() {
        0
    } else {
        errand_ms(CANDIDATES_MAX)
    };
    2 * device.timeout_ms + errand_ms
}

/// A host that loses etcd and keeps its storage.
fn isolation(timing: &Timing, settle_ms: u64, leased: bool, period_ms: u64) -> Bound {
    let settle = settles(settle_ms);
    let wait = ("silence in etcd", timing.taker_wait_ms);
    let decide = ("evidence and grant", DECIDE_MS);
    let start = ("start", START_MS);
    let title = "host loses etcd and keeps its storage";
    if !leased {
        let outcome = "its VMs stop at runner_deadline_ms; started again elsewhere";
        return bound(
            "host-isolated",
            title,
            outcome,
            &[wait, decide, settle, start],
        );
    }
    let beats = (
        "its heartbeat on the lease volume is seen",
        period_ms + LOOK_MS,
    );
    let asked = ("it reads the request in its mailbox", period_ms + LOOK_MS);
    let stops = (
        "it stops its VMs and says so",
        timing.kill_bound_ms + LOOK_MS,
    );
    let outcome =
        "its VMs are released and started elsewhere (on_isolation = \"keep\": they run on)";
    let parts = [wait, beats, asked, stops, decide, settle, start];
    bound("host-isolated", title, outcome, &parts)
}

fn bound(failure: &str, title: &str, outcome: &str, parts: &[(&str, u64)]) -> Bound {
    Bound {
        failure: failure.to_owned(),
        title: title.to_owned(),
        outcome: outcome.to_owned(),
        parts: parts
            .iter()
            .filter(|(_, ms)| *ms > 0)
            .map(|(text, ms)| Part {
                text: (*text).to_owned(),
                ms: *ms,
            })
            .collect(),
        total_ms: parts.iter().map(|(_, ms)| ms).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::timing::Profile;
    use serde_json::json;

    #[test]
    fn the_sum_is_that_of_the_parts_and_follows_the_policy() {
        let mut policy = Policy::default();
        let mut totals = Vec::new();
        for profile in [Profile::Fast, Profile::Default, Profile::Patient] {
            policy.timing.profile = profile;
            let rto = bounds(&policy, false);
            for bound in &rto.bounds {
                let sum: u64 = bound.parts.iter().map(|part| part.ms).sum();
                assert_eq!(sum, bound.total_ms, "{}", bound.failure);
            }
            totals.push((rto.bounds[0].total_ms, rto.bounds[1].total_ms));
        }
        assert_eq!(totals, [(4_750, 7_750), (7_500, 10_500), (20_000, 23_000)]);
        policy.timing.profile = Profile::Default;
        let leased = bounds(&policy, true);
        assert_eq!(
            leased.bounds[0].total_ms, 8_800,
            "one look at the lease volume"
        );
    }

    #[test]
    fn the_settle_time_is_part_of_every_start_on_another_host() {
        let mut policy = Policy::default();
        policy.fencing.on_suspicion = true;
        add(&mut policy, "a1", json!({"agent": "fence_x"}));
        let order2 = json!({"agent": "fence_y", "hosts": ["a1"], "order": 2});
        add(&mut policy, "strip", order2);
        for leased in [false, true] {
            policy.storage.settle_ms = 0;
            let before = bounds(&policy, leased);
            assert!(!before.safety.contains("settle_ms"), "{}", before.safety);
            policy.storage.settle_ms = 5_000;
            let after = bounds(&policy, leased);
            assert!(after.safety.contains("5000 settle_ms"), "{}", after.safety);
            let more = before.bounds.iter().zip(&after.bounds);
            let more: Vec<_> = more
                .map(|(before, after)| (&before.failure[..], after.total_ms - before.total_ms))
                .filter(|(_, ms)| *ms > 0)
                .collect();
            let elsewhere = [
                "host-loss",
                "host-loss-device",
                "host-loss-last-device",
                "site-loss",
                "link-cut",
                "host-isolated",
            ];
            assert_eq!(more, elsewhere.map(|failure| (failure, 5_006)));
        }
    }

    #[test]
    fn a_device_counts_once_it_is_asked_on_suspicion() {
        let mut policy = Policy::default();
        policy.timing.profile = Profile::Default;
        let device = serde_json::json!({"agent": "fence_x"});
        let device = serde_json::from_value(device).expect("a device");
        let name = "a1".parse().expect("a name");
        policy.fencing.devices.insert(name, device);
        let by_device = |policy: &Policy| {
            let bounds = bounds(policy, true).bounds.into_iter();
            let mut found = bounds.filter(|bound| bound.failure == "host-loss-device");
            found.next().map(|bound| bound.total_ms)
        };
        assert_eq!(by_device(&policy), None);
        policy.fencing.on_suspicion = true;
        assert_eq!(by_device(&policy), Some(3_250));
        policy.timing.probe_suspect_ms = Some(0);
        assert_eq!(by_device(&policy), Some(4_500));
    }

    fn add(policy: &mut Policy, name: &str, device: serde_json::Value) {
        let device = serde_json::from_value(device).expect("a device");
        let name = name.parse().expect("a name");
        policy.fencing.devices.insert(name, device);
    }

    #[test]
    fn orders_before_the_last_one_take_their_time() {
        let mut policy = Policy::default();
        policy.timing.profile = Profile::Default;
        policy.fencing.on_suspicion = true;
        add(
            &mut policy,
            "a1",
            json!({"agent": "fence_x", "timeout_ms": 3_000}),
        );
        add(
            &mut policy,
            "a2",
            json!({"agent": "fence_x", "timeout_ms": 60_000}),
        );
        let last = |policy: &Policy| {
            let bounds = bounds(policy, true).bounds.into_iter();
            let mut found = bounds.filter(|bound| bound.failure == "host-loss-last-device");
            found.next()
        };
        assert_eq!(last(&policy), None, "one order of each");
        // Of one order the slowest counts, of the last none.
        let of_a1 = |order: u32, timeout_ms: u64| json!({"agent": "fence_y", "hosts": ["a1"], "order": order, "timeout_ms": timeout_ms});
        add(&mut policy, "left", of_a1(1, 4_000));
        add(&mut policy, "right", of_a1(3, 50_000));
        let mut errand = of_a1(2, 1_000);
        errand["from"] = json!(["a"]);
        add(&mut policy, "strip", errand);
        let found = last(&policy).expect("several orders");
        let of_orders: Vec<(&str, u64)> = found.parts[1..3]
            .iter()
            .map(|part| (part.text.as_str(), part.ms))
            .collect();
        assert_eq!(
            of_orders,
            [
                ("devices of order 1 of a1, in vain", 8_000),
                ("devices of order 2 of a1, in vain", 7_500),
            ]
        );
        assert_eq!(found.total_ms, 3_250 + 8_000 + 7_500);
    }
}
