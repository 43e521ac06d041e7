//! Extensions that the policy requires: where one cannot be asked. Found out while all is well, not in a failover.

use holdfast_model::extension::ExtensionKind;
use holdfast_model::host::SessionState;
use holdfast_model::id::{ExtensionName, ManagerName};
use holdfast_model::leader::ManagerPresence;
use holdfast_model::standing::Readiness;
use holdfast_model::time::Instant;
use holdfast_store::view::View;
use std::collections::BTreeMap;

/// A manager renews its presence this often, in milliseconds.
pub const PRESENCE_MS: u64 = 2_000;
/// A manager whose presence is older than this does not answer: three renewals missed.
const PRESENT_MS: u64 = 3 * PRESENCE_MS + 500;

/// Whether a manager is there whose presence was seen as it is at this time.
pub(crate) fn is_present(now: Instant, seen_at: Instant) -> bool {
    now.since(seen_at) < PRESENT_MS
}

/// The managers that are there.
pub(crate) fn present(view: &View, now: Instant) -> impl Iterator<Item = &ManagerPresence> {
    let all = view.managers.values();
    all.filter(move |seen| is_present(now, seen.seen_at))
        .map(|seen| &seen.value)
}

/// The managers that were there once and do not answer now.
pub(crate) fn absent(view: &View, now: Instant) -> impl Iterator<Item = &ManagerPresence> {
    let all = view.managers.values();
    all.filter(move |seen| !is_present(now, seen.seen_at))
        .map(|seen| &seen.value)
}

/// Those that the policy requires.
///
/// # Errors
/// Why that is not known, if the policy cannot be read here and never could be: any of them may be required then.
pub(crate) fn required(view: &View) -> Result<Vec<&ExtensionName>, &str> {
    let policy = view.policy_in_force()?;
    let all = policy.into_iter().flat_map(|policy| &policy.extensions);
    let required = all.filter(|(_, own)| own.required);
    Ok(required.map(|(name, _)| name).collect())
}

/// Where one cannot be asked among those that are there and are to ask it: who, and why, in words.
pub(crate) fn gaps(view: &View, now: Instant, name: &ExtensionName) -> Vec<String> {
    let Some(installed) = view.extensions.get(name) else {
        return vec!["it is not installed".to_owned()];
    };
    if installed.value.manifest.kind == ExtensionKind::StorageCheck {
        return on_hosts(view, name);
    }
    let each = present(view, now);
    let missing = each.filter_map(|manager| {
        let why = lacks(manager.extensions.get(name))?;
        Some(format!("manager {}: {why}", manager.name))
    });
    missing.collect()
}

fn on_hosts(view: &View, name: &ExtensionName) -> Vec<String> {
    let there = view.hosts.iter().filter_map(|(host, parts)| {
        let session = &parts.session.as_ref()?.value;
        let is_open = session.state == SessionState::Open;
        is_open.then_some((host, &session.incarnation))
    });
    let missing = there.filter_map(|(host, life)| {
        let told = view.host_extensions.get(host);
        let told = told.filter(|seen| seen.value.incarnation == *life);
        let why = match told.and_then(|seen| seen.value.extensions.get(name)) {
            None => Some("[storage] of its host.toml does not name it".to_owned()),
            Some(there) => lacks(there.readiness.as_ref()),
        };
        Some(format!("host {host}: {}", why?))
    });
    missing.collect()
}

fn lacks(readiness: Option<&Readiness>) -> Option<String> {
    match readiness {
        Some(Readiness::Ready { .. }) => None,
        Some(Readiness::Resting { why, .. }) => Some(format!("it failed too often: {why}")),
        Some(Readiness::Failed {
            before: Some(_), ..
        }) => None,
        Some(Readiness::Failed { why, before: None }) => {
            Some(format!("it cannot run there: {why}"))
        }
        Some(Readiness::Loading) | None => Some("it is being loaded".to_owned()),
    }
}

/// Whether this manager cannot ask all that is required, and another one that does not lead now can: that one should
/// lead next. One that does not know what is required, for it never could read the policy, decides nothing while it
/// leads: any other is fitter.
pub(crate) fn another_is_fitter(
    view: &View,
    now: Instant,
    me: &ManagerName,
    own: &BTreeMap<ExtensionName, Readiness>,
) -> bool {
    let asked_by_managers = |name: &&ExtensionName| {
        let installed = view.extensions.get(*name);
        installed.is_some_and(|seen| seen.value.manifest.kind != ExtensionKind::StorageCheck)
    };
    let led = view.leader_epoch.as_ref().map(|seen| &seen.value.manager);
    let mut others =
        present(view, now).filter(|other| other.name != *me && Some(&other.name) != led);
    let Ok(required) = required(view) else {
        return others.next().is_some();
    };
    let required: Vec<&ExtensionName> = required.into_iter().filter(asked_by_managers).collect();
    let is_fit = |there: &BTreeMap<ExtensionName, Readiness>| {
        required
            .iter()
            .all(|name| lacks(there.get(*name)).is_none())
    };
    !is_fit(own) && others.any(|other| is_fit(&other.extensions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::id::Revision;
    use holdfast_store::api::{Batch, Change, KeyValue};
    use holdfast_store::keyspace::Key;
    use serde_json::{Value, json};

    fn view(records: &[(Key, Value)]) -> View {
        let view = seen(records);
        assert!(view.unreadable.is_empty(), "{:?}", view.unreadable);
        view
    }

    /// Likewise, and some of them may be unreadable.
    fn seen(records: &[(Key, Value)]) -> View {
        let mut view = View::default();
        for (number, (key, value)) in (1..).zip(records) {
            let item = KeyValue {
                key: key.path(),
                value: value.to_string().into_bytes(),
                revision: Revision(number),
            };
            let batch = Batch {
                revision: Revision(number),
                changes: vec![Change::Put(item)],
            };
            view.apply(&batch, Instant(1_000));
        }
        view
    }

    fn extension(kind: &str) -> (Key, Value) {
        let manifest =
            json!({"name": "rule", "version": "1.0.0", "kind": kind, "summary": "Test."});
        let value = json!({"manifest": manifest, "digest": "d", "bytes": 1, "granted": {}, "then": "closed",
                           "by": "me", "at": 1});
        (Key::Extension("rule".parse().expect("a name")), value)
    }

    fn policy() -> (Key, Value) {
        let value = json!({"sites": [{"name": "a"}], "extensions": {"rule": {"required": true}}});
        (Key::Policy, value)
    }

    fn manager(name: &str, readiness: Value) -> (Key, Value) {
        let value = json!({"name": name, "site": "a", "api": "http://x", "life": name, "version": "1", "beat": 1,
                           "extensions": {"rule": readiness}});
        (Key::Manager(name.parse().expect("a name")), value)
    }

    fn ready() -> Value {
        json!({"state": "ready", "digest": "d"})
    }

    fn failed() -> Value {
        json!({"state": "failed", "why": "no memory"})
    }

    fn gaps_now(view: &View, now: u64) -> Vec<String> {
        gaps(view, Instant(now), &"rule".parse().expect("a name"))
    }

    #[test]
    fn gaps_are_of_managers_that_are_there() {
        assert_eq!(gaps_now(&view(&[policy()]), 1_000), ["it is not installed"]);
        let upgraded = json!({"state": "failed", "why": "new", "before": "d"});
        let view = view(&[
            policy(),
            extension("placement"),
            manager("m-a", ready()),
            manager("m-b", failed()),
            manager("m-c", upgraded),
        ]);
        assert_eq!(
            gaps_now(&view, 2_000),
            ["manager m-b: it cannot run there: no memory"],
            "the version before is asked on m-c"
        );
        assert_eq!(gaps_now(&view, 60_000), [""; 0], "all have gone");
    }

    #[test]
    fn gaps_of_a_storage_check_are_of_hosts() {
        let session = |host: &str| {
            let state = if host == "b1" { "closed" } else { "open" };
            let value = json!({"incarnation": format!("{host}-1"), "boot_id": "boot-1", "machine_id": "machine-1",
                               "beat": 7, "state": state, "guard": "working", "version": "1",
                               "bounds": {"runner_deadline_ms": 2000, "kill_bound_ms": 500, "watchdog_bound_ms": 0}});
            (Key::HostSession(host.parse().expect("a name")), value)
        };
        let told = |host: &str, life: u32, there: Value| {
            let value = json!({"incarnation": format!("{host}-{life}"), "extensions": there});
            (Key::HostExtensions(host.parse().expect("a name")), value)
        };
        let view = view(&[
            policy(),
            extension("storage-check"),
            manager("m-a", failed()),
            session("a1"),
            told("a1", 1, json!({"rule": {"readiness": ready()}})),
            session("a2"),
            told("a2", 0, json!({"rule": {"readiness": ready()}})),
            session("b1"),
            session("a3"),
            told("a3", 1, json!({"rule": {"readiness": failed()}})),
        ]);
        assert_eq!(
            gaps_now(&view, 2_000),
            [
                "host a2: [storage] of its host.toml does not name it",
                "host a3: it cannot run there: no memory"
            ]
        );
    }

    #[test]
    fn only_for_one_that_is_there_and_fit_does_a_manager_stand_back() {
        let epoch = json!({"manager": "m-c", "life": "m-c", "site": "a"});
        let records = [
            policy(),
            extension("placement"),
            manager("m-b", failed()),
            manager("m-c", ready()),
            (Key::LeaderEpoch, epoch),
        ];
        let me: ManagerName = "m-b".parse().expect("a name");
        let own = |state: Value| {
            let readiness = serde_json::from_value(state).expect("readiness");
            BTreeMap::from([("rule".parse().expect("a name"), readiness)])
        };
        let alone = view(&records);
        let now = Instant(2_000);
        assert!(
            !another_is_fitter(&alone, now, &me, &own(failed())),
            "the other one led, and is gone"
        );
        let with = [&records[..], &[manager("m-a", ready())]].concat();
        let with = view(&with);
        assert!(another_is_fitter(&with, now, &me, &own(failed())));
        assert!(another_is_fitter(&with, now, &me, &BTreeMap::new()));
        assert!(!another_is_fitter(&with, now, &me, &own(ready())));
        assert!(
            !another_is_fitter(&with, Instant(60_000), &me, &own(failed())),
            "it is gone as well"
        );
        let unfit = [&records[..], &[manager("m-a", failed())]].concat();
        assert!(!another_is_fitter(&view(&unfit), now, &me, &own(failed())));
    }

    #[test]
    fn what_a_policy_requires_that_never_could_be_read_is_not_known() {
        assert_eq!(required(&view(&[])), Ok(Vec::new()), "none was written");
        let rule: ExtensionName = "rule".parse().expect("a name");
        let future = (Key::Policy, json!({"from_the_future": true}));
        let unread = seen(&[future.clone(), manager("m-b", ready())]);
        required(&unread).expect_err("any of them may be");
        let (me, now) = ("m-b".parse().expect("a name"), Instant(2_000));
        let own = BTreeMap::new();
        assert!(!another_is_fitter(&unread, now, &me, &own), "nobody else");
        let with = seen(&[future.clone(), manager("m-a", failed())]);
        assert!(
            another_is_fitter(&with, now, &me, &own),
            "it decides nothing"
        );
        let last = seen(&[policy(), future]);
        assert_eq!(
            required(&last),
            Ok(vec![&rule]),
            "the last one that was read"
        );
    }
}
