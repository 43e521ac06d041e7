//! The store's records, decoded, with the time at which this process first saw each as it is now.
//!
//! Pure: listings, batches and the time come in as arguments. The cache feeds it in a daemon, the
//! simulation feeds it directly.
//!
//! **Unreadable records.** A record this version cannot decode (a newer version's, or garbage) must
//! never look like one that is not there: an owner that cannot be read is not a free VM. So
//! - its key stands in [`View::unreadable`] with the reason, and its typed place is empty;
//! - [`View::world`] leaves the whole host or VM out that it belongs to (a VM with an unreadable
//!   spec, owner or report of any host; a host with an unreadable spec, session, state or report),
//!   and requests about them: the planner makes no decision about what it cannot see.
//!   [`View::excluded`] names them;
//! - of the policy the last readable one stays in force; [`View::can_plan`] refuses if there never
//!   was one.
//!
//! Keys that this version does not know are left alone.

use crate::api::{Batch, Change, KeyValue, Listing};
use crate::keyspace::Key;
use holdfast_model::event::Event;
use holdfast_model::fence::FenceRecord;
use holdfast_model::id::{
    ClusterName, HostName, Incarnation, ManagerName, OpId, Revision, VmName, VmUuid,
};
use holdfast_model::leader::{LeaderEpoch, LeaderHeartbeat, ManagerPresence};
use holdfast_model::op::{Op, Request};
use holdfast_model::policy::Policy;
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::world::{HostView, Seen, VmView, World};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Everything one process knows of the store.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// All hosts.
    pub hosts: BTreeMap<HostName, HostView>,
    /// All VMs.
    pub vms: BTreeMap<VmName, VmView>,
    /// All fence records.
    pub fences: BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>,
    /// All pending requests.
    pub ops: BTreeMap<OpId, Seen<Op>>,
    /// Cluster policy.
    pub policy: Option<Seen<Policy>>,
    /// The cluster's name.
    pub cluster: Option<Seen<ClusterName>>,
    /// Who leads; its revision is the epoch.
    pub leader_epoch: Option<Seen<LeaderEpoch>>,
    /// The leader's last heartbeat.
    pub leader_heartbeat: Option<Seen<LeaderHeartbeat>>,
    /// Managers that were present.
    pub managers: BTreeMap<ManagerName, Seen<ManagerPresence>>,
    /// Index: the VM that has this UUID.
    pub uuids: BTreeMap<VmUuid, Seen<VmName>>,
    /// Events by their id, which sorts by time.
    pub events: BTreeMap<String, Event>,
    /// Records this version cannot read: key and reason.
    pub unreadable: BTreeMap<String, String>,
    /// The newest revision seen; of one prefix alone, the revision its view is of.
    pub revision: Revision,
    /// Every known key, readable or not: the revision of its last write and when that was first
    /// seen here. What lets a listing keep the times of records that did not change.
    index: BTreeMap<String, (Revision, Instant)>,
}

impl View {
    /// Replaces what is known under these prefixes. Records whose revision did not change keep the
    /// time at which they were first seen; records that are not listed any more are gone.
    pub fn reset(&mut self, prefixes: &[String], listings: Vec<Listing>, now: Instant) {
        let mut listed = BTreeSet::new();
        for listing in listings {
            self.revision = self.revision.max(listing.revision);
            for item in listing.items {
                listed.insert(item.key.clone());
                self.put(item, now);
            }
        }
        let under = |key: &String| {
            prefixes
                .iter()
                .any(|prefix| key.starts_with(prefix.as_str()))
        };
        let gone: Vec<String> = self
            .index
            .keys()
            .filter(|key| under(key) && !listed.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.delete(&key);
        }
    }

    /// Takes in what a watch brought.
    pub fn apply(&mut self, batch: &Batch, now: Instant) {
        for change in &batch.changes {
            match change {
                Change::Put(item) => self.put(item.clone(), now),
                Change::Delete(key, _) => self.delete(key),
            }
        }
        self.revision = self.revision.max(batch.revision);
    }

    /// The revision of a key's last write and when it was first seen here, whether the record can
    /// be read or not. `None`: the key does not exist.
    pub fn seen(&self, key: &Key) -> Option<(Revision, Instant)> {
        self.index.get(&key.path()).copied()
    }

    /// Why this view is no ground for a plan, if it is not.
    pub fn can_plan(&self) -> Result<(), String> {
        match self.unreadable.get(&Key::Policy.path()) {
            Some(why) if self.policy.is_none() => Err(format!(
                "the cluster policy cannot be read by this version ({why}); upgrade this manager, \
                 or apply the policy again with `holdfast config apply -f FILE`"
            )),
            _ => Ok(()),
        }
    }

    /// Whether the leader of this epoch still leads, as far as this view goes. One that sees another
    /// epoch, or not its own yet, plans nothing: every write of it would be refused.
    pub fn is_led_by(&self, epoch: Revision) -> bool {
        self.leader_epoch
            .as_ref()
            .is_some_and(|seen| seen.revision == epoch)
    }

    /// Hosts and VMs that [`Self::world`] leaves out because a record of theirs cannot be read.
    pub fn excluded(&self) -> (BTreeSet<HostName>, BTreeSet<VmName>) {
        let (mut hosts, mut vms) = (BTreeSet::new(), BTreeSet::new());
        for key in self.unreadable.keys().filter_map(|key| Key::parse(key)) {
            match key {
                Key::HostSpec(host)
                | Key::HostSession(host)
                | Key::HostReport(host)
                | Key::HostState(host) => {
                    hosts.insert(host);
                }
                Key::VmSpec(vm) | Key::VmOwner(vm) | Key::HostVm(_, vm) => {
                    vms.insert(vm);
                }
                _ => {}
            }
        }
        (hosts, vms)
    }

    /// What the planner reads. `view_since`: see [`World::view_since`]. `epoch` and `leader` are
    /// those of the manager that plans. Call [`Self::can_plan`] first.
    pub fn world(
        &self,
        now: Instant,
        wall: UnixMs,
        view_since: Instant,
        epoch: Revision,
        leader: &ManagerName,
    ) -> World {
        let (no_hosts, no_vms) = self.excluded();
        let mut hosts = self.hosts.clone();
        hosts.retain(|host, _| !no_hosts.contains(host));
        let mut vms = self.vms.clone();
        vms.retain(|vm, _| !no_vms.contains(vm));
        let mut ops = self.ops.clone();
        ops.retain(|_, op| match &op.value.request {
            Request::Move { vm, to } => {
                !no_vms.contains(vm) && !to.as_ref().is_some_and(|host| no_hosts.contains(host))
            }
            Request::Restart { vm } => !no_vms.contains(vm),
            Request::ConfirmOff { host } => !no_hosts.contains(host),
        });
        World {
            now,
            wall,
            view_since,
            revision: self.revision,
            epoch,
            leader: leader.clone(),
            policy: self
                .policy
                .as_ref()
                .map(|seen| seen.value.clone())
                .unwrap_or_default(),
            hosts,
            vms,
            fences: self.fences.clone(),
            ops,
        }
    }

    fn put(&mut self, item: KeyValue, now: Instant) {
        let known = self.index.get(&item.key).copied();
        if known.is_some_and(|(revision, _)| revision == item.revision) {
            return;
        }
        self.index.insert(item.key.clone(), (item.revision, now));
        let Some(key) = Key::parse(&item.key) else {
            return;
        };
        match self.store(key.clone(), &item, now) {
            Ok(()) => {
                self.unreadable.remove(&item.key);
            }
            Err(why) => {
                tracing::warn!(key = item.key, why, "unreadable record");
                if key != Key::Policy {
                    self.clear(key);
                }
                self.unreadable.insert(item.key, why);
            }
        }
    }

    fn delete(&mut self, path: &str) {
        self.index.remove(path);
        self.unreadable.remove(path);
        if let Some(key) = Key::parse(path) {
            self.clear(key);
        }
    }

    fn store(&mut self, key: Key, item: &KeyValue, now: Instant) -> Result<(), String> {
        match key {
            Key::Cluster => self.cluster = Some(decode(item, now)?),
            Key::LeaderEpoch => self.leader_epoch = Some(decode(item, now)?),
            Key::LeaderHeartbeat => self.leader_heartbeat = Some(decode(item, now)?),
            Key::Policy => self.policy = Some(decode(item, now)?),
            Key::Manager(name) => {
                let seen = decode::<ManagerPresence>(item, now)?;
                same(&name, &seen.value.name)?;
                self.managers.insert(name, seen);
            }
            Key::HostSpec(host) => {
                let seen = decode::<holdfast_model::host::HostSpec>(item, now)?;
                same(&host, &seen.value.name)?;
                self.host(host).spec = Some(seen);
            }
            Key::HostSession(host) => self.host(host).session = Some(decode(item, now)?),
            Key::HostReport(host) => self.host(host).report = Some(decode(item, now)?),
            Key::HostState(host) => self.host(host).state = Some(decode(item, now)?),
            Key::HostVm(host, vm) => {
                let seen = decode(item, now)?;
                self.host(host).vms.insert(vm, seen);
            }
            Key::HostSaw(by, host) => {
                let seen = decode(item, now)?;
                self.host(by).saw.insert(host, seen);
            }
            Key::VmSpec(vm) => {
                let seen = decode::<holdfast_model::vm::VmSpec>(item, now)?;
                same(&vm, &seen.value.name)?;
                self.vm(vm).spec = Some(seen);
            }
            Key::VmOwner(vm) => self.vm(vm).owner = Some(decode(item, now)?),
            Key::Uuid(uuid) => {
                self.uuids.insert(uuid, decode(item, now)?);
            }
            Key::Fence(host, incarnation) => {
                let seen = decode::<FenceRecord>(item, now)?;
                same(&host, &seen.value.host)?;
                same(&incarnation, &seen.value.incarnation)?;
                self.fences.insert((host, incarnation), seen);
            }
            // For the agents that look for a slot; nothing is decided on them.
            Key::HostSlot(..) | Key::VmSlot(..) => {}
            Key::Op(id) => {
                let seen = decode::<Op>(item, now)?;
                same(&id, &seen.value.id)?;
                self.ops.insert(id, seen);
            }
            Key::Event(id) => {
                self.events.insert(id, decode::<Event>(item, now)?.value);
            }
        }
        Ok(())
    }

    /// Empties a record's typed place. A host or a VM of which nothing is left is gone.
    fn clear(&mut self, key: Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::LeaderEpoch => self.leader_epoch = None,
            Key::LeaderHeartbeat => self.leader_heartbeat = None,
            Key::Policy => self.policy = None,
            Key::Manager(name) => drop(self.managers.remove(&name)),
            Key::HostSpec(host) => self.clear_host(host, |view| view.spec = None),
            Key::HostSession(host) => self.clear_host(host, |view| view.session = None),
            Key::HostReport(host) => self.clear_host(host, |view| view.report = None),
            Key::HostState(host) => self.clear_host(host, |view| view.state = None),
            Key::HostVm(host, vm) => self.clear_host(host, |view| drop(view.vms.remove(&vm))),
            Key::HostSaw(by, host) => self.clear_host(by, |view| drop(view.saw.remove(&host))),
            Key::HostSlot(..) | Key::VmSlot(..) => {}
            Key::VmSpec(vm) => self.clear_vm(vm, |view| view.spec = None),
            Key::VmOwner(vm) => self.clear_vm(vm, |view| view.owner = None),
            Key::Uuid(uuid) => drop(self.uuids.remove(&uuid)),
            Key::Fence(host, incarnation) => drop(self.fences.remove(&(host, incarnation))),
            Key::Op(id) => drop(self.ops.remove(&id)),
            Key::Event(id) => drop(self.events.remove(&id)),
        }
    }

    fn host(&mut self, host: HostName) -> &mut HostView {
        self.hosts.entry(host).or_default()
    }

    fn vm(&mut self, vm: VmName) -> &mut VmView {
        self.vms.entry(vm).or_default()
    }

    fn clear_host(&mut self, host: HostName, clear: impl FnOnce(&mut HostView)) {
        if let Some(view) = self.hosts.get_mut(&host) {
            clear(view);
            if *view == HostView::default() {
                self.hosts.remove(&host);
            }
        }
    }

    fn clear_vm(&mut self, vm: VmName, clear: impl FnOnce(&mut VmView)) {
        if let Some(view) = self.vms.get_mut(&vm) {
            clear(view);
            if *view == VmView::default() {
                self.vms.remove(&vm);
            }
        }
    }
}

fn decode<T: DeserializeOwned>(item: &KeyValue, now: Instant) -> Result<Seen<T>, String> {
    let value = serde_json::from_slice(&item.value).map_err(|error| {
        format!(
            "{error}; written by a newer version, or damaged (revision {})",
            item.revision
        )
    })?;
    Ok(Seen {
        value,
        revision: item.revision,
        seen_at: now,
    })
}

/// A record names what it is about; under another's key it is not believed.
fn same<T: PartialEq + std::fmt::Display>(key: &T, record: &T) -> Result<(), String> {
    if key == record {
        Ok(())
    } else {
        Err(format!(
            "the record under the key of `{key}` says it is of `{record}`"
        ))
    }
}
