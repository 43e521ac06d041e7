//! The cluster's records as event handlers read them: as the leader saw them when the call began.

use holdfast_extension_host::outside::{Entry, Records};
use holdfast_model::fence::FenceRecord;
use holdfast_model::id::{HostName, Incarnation, VmName};
use holdfast_model::time::Instant;
use holdfast_model::vm::VmSpec;
use holdfast_model::world::{HostView, Seen, VmView};
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::view::View;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The key of a VM's spec that stays here: passwords of consoles and the like can stand in it.
const DOMAIN_XML: &str = "domain_xml";

/// What the view showed at one moment. It shares the view's records, and copies none.
pub struct Picture {
    now: Instant,
    hosts: BTreeMap<HostName, Arc<HostView>>,
    vms: BTreeMap<VmName, Arc<VmView>>,
    fences: Arc<BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>>,
    /// All keys in their order; most handlers ask for single ones.
    keys: OnceLock<Vec<String>>,
}

impl Picture {
    /// Of this view, now.
    pub fn of(view: &View, now: Instant) -> Self {
        Self {
            now,
            hosts: view.hosts.clone(),
            vms: view.vms.clone(),
            fences: view.fences.clone(),
            keys: OnceLock::new(),
        }
    }

    fn entry<T: Serialize>(&self, key: &str, seen: Option<&Seen<T>>) -> Option<Entry> {
        let seen = seen?;
        self.told(key, seen, serde_json::to_string(&seen.value).ok()?)
    }

    fn spec(&self, key: &str, seen: Option<&Seen<VmSpec>>) -> Option<Entry> {
        let seen = seen?;
        let mut value = serde_json::to_value(&seen.value).ok()?;
        value.as_object_mut().map(|spec| spec.remove(DOMAIN_XML));
        self.told(key, seen, Value::to_string(&value))
    }

    fn told<T>(&self, key: &str, seen: &Seen<T>, value: String) -> Option<Entry> {
        Some(Entry {
            key: key.to_owned(),
            value,
            revision: u64::try_from(seen.revision.0).unwrap_or_default(),
            age_ms: self.now.since(seen.seen_at),
        })
    }

    fn all_keys(&self) -> Vec<String> {
        let hosts = self.hosts.iter().flat_map(|(name, host)| {
            let own = [
                (host.spec.is_some(), Key::HostSpec(name.clone())),
                (host.session.is_some(), Key::HostSession(name.clone())),
                (host.report.is_some(), Key::HostReport(name.clone())),
                (host.state.is_some(), Key::HostState(name.clone())),
            ];
            let own = own.into_iter().filter(|(there, _)| *there);
            let vms = host.vms.keys();
            own.map(|(_, key)| key)
                .chain(vms.map(|vm| Key::HostVm(name.clone(), vm.clone())))
        });
        let vms = self.vms.iter().flat_map(|(name, vm)| {
            let own = [
                (vm.spec.is_some(), Key::VmSpec(name.clone())),
                (vm.owner.is_some(), Key::VmOwner(name.clone())),
            ];
            own.into_iter()
                .filter_map(|(there, key)| there.then_some(key))
        });
        let fences = self.fences.keys();
        let fences = fences.map(|(host, life)| Key::Fence(host.clone(), life.clone()));
        let keys = hosts.chain(vms).chain(fences).map(|key| key.path());
        let short = keys.filter_map(|path| Some(path.strip_prefix(ROOT)?.to_owned()));
        let mut keys: Vec<String> = short.collect();
        keys.sort_unstable();
        keys
    }
}

impl Records for Picture {
    fn get(&self, key: &str) -> Option<Entry> {
        let host = |name| self.hosts.get(name);
        let vm = |name| self.vms.get(name);
        match &Key::parse(&format!("{ROOT}{key}"))? {
            Key::HostSpec(name) => self.entry(key, host(name)?.spec.as_ref()),
            Key::HostSession(name) => self.entry(key, host(name)?.session.as_ref()),
            Key::HostReport(name) => self.entry(key, host(name)?.report.as_ref()),
            Key::HostState(name) => self.entry(key, host(name)?.state.as_ref()),
            Key::HostVm(name, vm) => self.entry(key, host(name)?.vms.get(vm)),
            Key::VmSpec(name) => self.spec(key, vm(name)?.spec.as_ref()),
            Key::VmOwner(name) => self.entry(key, vm(name)?.owner.as_ref()),
            Key::Fence(host, life) => {
                self.entry(key, self.fences.get(&(host.clone(), life.clone())))
            }
            _ => None,
        }
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.keys.get_or_init(|| self.all_keys());
        let from = keys.partition_point(|key| key.as_str() < prefix);
        let found = keys[from..].iter();
        found
            .take_while(|key| key.starts_with(prefix))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::host::HostSpec;
    use holdfast_model::id::Revision;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    fn seen<T: DeserializeOwned>(value: Value, revision: i64) -> Option<Seen<T>> {
        Some(Seen {
            value: serde_json::from_value(value).expect("a record"),
            revision: Revision(revision),
            seen_at: Instant(1_000),
        })
    }

    fn picture() -> Picture {
        let spec = |host: &str| json!({"name": host, "site": "a"});
        let host = |host: &str| {
            let spec: Option<Seen<HostSpec>> = seen(spec(host), 5);
            let view = HostView {
                spec,
                ..HostView::default()
            };
            (name(host), Arc::new(view))
        };
        let vm = VmView {
            spec: seen(
                json!({"name": "web", "uuid": "5e5a4b6f-7e57-4d0c-9d2e-000000000001",
                       "domain_xml": "<domain><graphics passwd='x'/></domain>", "run": true, "memory_mib": 1,
                       "vcpus": 1}),
                7,
            ),
            owner: None,
        };
        Picture {
            now: Instant(3_500),
            // Their keys sort otherwise than they do: `-` comes before `/`.
            hosts: [host("a"), host("a-1")].into(),
            vms: [(name("web"), Arc::new(vm))].into(),
            fences: Arc::default(),
            keys: OnceLock::new(),
        }
    }

    #[test]
    fn records_are_found_by_their_keys_with_revision_and_age() {
        let picture = picture();
        let found = picture.get("hosts/a/spec").expect("it is there");
        assert_eq!((found.revision, found.age_ms), (5, 2_500));
        let value: Value = serde_json::from_str(&found.value).expect("JSON");
        assert_eq!(value["site"], "a");
        for none in [
            "hosts/a/session",
            "hosts/b/spec",
            "probe-key",
            "policy",
            "",
            "vms/web",
        ] {
            assert_eq!(picture.get(none), None, "{none}");
        }
    }

    #[test]
    fn keys_come_in_their_order_and_each_has_a_record() {
        let picture = picture();
        let all = picture.keys("");
        assert_eq!(all, ["hosts/a-1/spec", "hosts/a/spec", "vms/web/spec"]);
        assert_eq!(picture.keys("hosts/a/"), ["hosts/a/spec"]);
        assert!(picture.keys("vms/x").is_empty() && picture.keys("zzz").is_empty());
        for key in all {
            assert_eq!(picture.get(&key).expect("it is there").key, key);
        }
    }

    #[test]
    fn a_domain_s_definition_is_not_handed_over() {
        let spec = picture().get("vms/web/spec").expect("it is there").value;
        assert!(
            spec.contains("\"memory_mib\":1") && !spec.contains("passwd"),
            "{spec}"
        );
    }
}
