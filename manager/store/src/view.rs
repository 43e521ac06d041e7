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
//!   was one, and who may sign extensions is not known then ([`View::extension_signers`]).
//!   [`View::unread_policy`] tells of it.
//!
//! Keys that this version does not know are left alone, but for those of [`View::old_errands`].

mod in_force;
mod vantages;

use crate::api::{Batch, KeyValue, Listing};
use crate::events::Events;
use crate::keyspace::{Key, is_old_errand};
use crate::record::{ReadChange, Record, What};
use holdfast_model::asking::HostAsks;
use holdfast_model::errand::Errand;
use holdfast_model::extension::Installed;
use holdfast_model::fence::FenceRecord;
use holdfast_model::host::{GuardState, Membership};
use holdfast_model::id::{
    ClusterName, DeviceName, ExtensionName, HostName, Incarnation, ManagerName, OpId, Revision,
    VmName, VmUuid,
};
use holdfast_model::leader::{LeaderEpoch, LeaderHeartbeat, ManagerPresence};
use holdfast_model::op::{Op, Request};
use holdfast_model::policy::Policy;
use holdfast_model::probe::{Opinion, ProbeKey};
use holdfast_model::standing::HostExtensions;
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::told::ToldSoFar;
use holdfast_model::world::{HostView, Seen, VmView, World};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Everything one process knows of the store.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// All hosts. A world taken of this view shares them; one that changes is copied first.
    pub hosts: BTreeMap<HostName, Arc<HostView>>,
    /// All VMs, likewise.
    pub vms: BTreeMap<VmName, Arc<VmView>>,
    /// All fence records, shared likewise.
    pub fences: Arc<BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>>,
    /// What others than the leader are to ask the fencing devices of hosts, per host and device.
    pub errands: BTreeMap<(HostName, DeviceName), Seen<Errand>>,
    /// All pending requests.
    pub ops: BTreeMap<OpId, Seen<Op>>,
    /// Cluster policy.
    pub policy: Option<Seen<Arc<Policy>>>,
    /// What stands in the store in its place can be read, and its bounds are not safe.
    unsafe_policy: bool,
    /// The cluster's name.
    pub cluster: Option<Seen<ClusterName>>,
    /// Who leads; its revision is the epoch.
    pub leader_epoch: Option<Seen<LeaderEpoch>>,
    /// The leader's last heartbeat.
    pub leader_heartbeat: Option<Seen<LeaderHeartbeat>>,
    /// Managers that were present.
    pub managers: BTreeMap<ManagerName, Seen<ManagerPresence>>,
    /// Which hosts managers find silent that they ask directly.
    pub probes: BTreeMap<ManagerName, Seen<Opinion>>,
    /// What that is signed with.
    pub probe_key: Option<Seen<ProbeKey>>,
    /// Index: the VM that has this UUID.
    pub uuids: BTreeMap<VmUuid, Seen<VmName>>,
    /// Index: the VM that has a slot of a lease volume.
    pub vm_slots: BTreeMap<(String, u32), Seen<VmUuid>>,
    /// Installed extensions.
    pub extensions: BTreeMap<ExtensionName, Seen<Installed>>,
    /// Versions that are asked beside them and not heeded. No decision reads them.
    pub shadows: BTreeMap<ExtensionName, Seen<Installed>>,
    /// How far event handlers have been told.
    pub told: BTreeMap<ExtensionName, Seen<ToldSoFar>>,
    /// How the extensions that hosts ask do there. No decision reads it, so it is apart from the hosts.
    pub host_extensions: BTreeMap<HostName, Seen<HostExtensions>>,
    /// What the agents of hosts have for asking fencing devices of others.
    pub host_asks: BTreeMap<HostName, Seen<HostAsks>>,
    /// Events by their id, which sorts by time.
    pub events: Events,
    /// Records this version cannot read: key and reason.
    pub unreadable: BTreeMap<String, String>,
    /// The newest revision seen; of one prefix alone, the revision its view is of.
    pub revision: Revision,
    /// Every known key, readable or not: the revision of its last write and when that was first
    /// seen here. What lets a listing keep the times of records that did not change.
    index: HashMap<String, (Revision, Instant)>,
}

impl View {
    /// Replaces what is known under these prefixes. Records whose revision did not change keep the
    /// time at which they were first seen; records that are not listed any more are gone.
    pub fn reset(&mut self, prefixes: &[String], listings: Vec<Listing>, now: Instant) {
        let mut listed = BTreeSet::new();
        for listing in listings {
            self.revision = self.revision.max(listing.revision);
            for item in listing.items {
                self.put(&item, now);
                listed.insert(item.key);
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
            self.delete(&key, Key::parse(&key).as_ref());
        }
    }

    /// Takes in what a watch brought.
    pub fn apply(&mut self, batch: &Batch, now: Instant) {
        for change in &batch.changes {
            self.see(&ReadChange::of(change), now);
        }
        self.complete(batch.revision);
    }

    /// Takes in one change.
    pub fn see(&mut self, change: &ReadChange, now: Instant) {
        let path = change.path.as_str();
        if matches!(change.what, What::Removed) {
            return self.delete(path, change.key.as_ref());
        }
        match self.index.get_mut(path) {
            Some((revision, _)) if *revision == change.revision => return,
            Some(known) => *known = (change.revision, now),
            None => drop(self.index.insert(path.to_owned(), (change.revision, now))),
        }
        let (Some(key), What::Written(record)) = (&change.key, &change.what) else {
            return;
        };
        match record {
            Ok(record) => {
                self.unreadable.remove(path);
                self.store(key, (**record).clone(), change.revision, now);
            }
            Err(why) => {
                tracing::warn!(key = path, why, "unreadable record");
                match key {
                    Key::Policy => self.unsafe_policy = false,
                    key => self.clear(key.clone()),
                }
                self.unreadable.insert(path.to_owned(), why.clone());
            }
        }
    }

    /// Whether a change is the next heartbeat of a host that is online, and was last heard of after that time:
    /// for a planner that found nothing to do, nothing has happened.
    pub fn is_next_beat(&self, change: &ReadChange, heard_since: Instant) -> bool {
        let (Some(Key::HostSession(host)), What::Written(Ok(record))) = (&change.key, &change.what)
        else {
            return false;
        };
        let (Record::HostSession(session), Some(host)) = (&**record, self.hosts.get(host)) else {
            return false;
        };
        let (Some(known), Some(state)) = (&host.session, &host.state) else {
            return false;
        };
        state.value.membership == Membership::Online
            && state.value.incarnation == known.value.incarnation
            && known.seen_at > heard_since
            && session.only_renews(&known.value)
    }

    /// Everything up to this revision has been taken in.
    pub fn complete(&mut self, upto: Revision) {
        self.revision = self.revision.max(upto);
    }

    /// The revision of a key's last write and when it was first seen here, whether the record can
    /// be read or not. `None`: the key does not exist.
    pub fn seen(&self, key: &Key) -> Option<(Revision, Instant)> {
        // Asked for at every turn: what can be read needs no search.
        let readable = match key {
            Key::LeaderEpoch => self.leader_epoch.as_ref().map(when),
            Key::LeaderHeartbeat => self.leader_heartbeat.as_ref().map(when),
            _ => None,
        };
        let known = || match key.fixed() {
            Some(path) => self.index.get(path).copied(),
            None => self.index.get(&key.path()).copied(),
        };
        readable.or_else(known)
    }

    /// Errands that older versions wrote, and that no version reads any more: key and revision. Looks at every key.
    pub fn old_errands(&self) -> Vec<(String, Revision)> {
        let all = self.index.iter().filter(|(path, _)| is_old_errand(path));
        all.map(|(path, (revision, _))| (path.clone(), *revision))
            .collect()
    }

    /// The slot of a lease volume that a VM has.
    pub fn slot_of(&self, volume: &str, uuid: &VmUuid) -> Option<u32> {
        let of_volume = (volume.to_owned(), 0)..=(volume.to_owned(), u32::MAX);
        let mut slots = self.vm_slots.range(of_volume);
        let found = slots.find(|(_, seen)| seen.value == *uuid);
        found.map(|((_, slot), _)| *slot)
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
        // A VM that cannot be read is no VM that the store has forgotten.
        let says = |host: &HostView| no_vms.iter().any(|vm| host.vms.contains_key(vm));
        for host in hosts.values_mut().filter(|host| says(host)) {
            Arc::make_mut(host).vms.retain(|vm, _| !no_vms.contains(vm));
        }
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
            power: Default::default(),
            probes: self.vantages(leader),
        }
    }

    fn put(&mut self, item: &KeyValue, now: Instant) {
        let known = self.index.get(&item.key);
        if known.is_none_or(|(revision, _)| *revision != item.revision) {
            self.see(&ReadChange::of_item(item), now);
        }
    }

    fn delete(&mut self, path: &str, key: Option<&Key>) {
        self.index.remove(path);
        self.unreadable.remove(path);
        if let Some(key) = key {
            self.clear(key.clone());
        }
    }

    fn store(&mut self, key: &Key, record: Record, revision: Revision, now: Instant) {
        match (key.clone(), record) {
            (_, Record::Cluster(value)) => self.cluster = Some(seen(value, revision, now)),
            (_, Record::LeaderEpoch(value)) => self.leader_epoch = Some(seen(value, revision, now)),
            (_, Record::LeaderHeartbeat(value)) => {
                self.leader_heartbeat = Some(seen(value, revision, now));
            }
            (_, Record::Policy(value)) => self.take_policy(seen(value.into(), revision, now)),
            (_, Record::UnsafePolicy(why)) => self.refuse_policy(why),
            (Key::Manager(name), Record::Manager(value)) => {
                self.managers.insert(name, seen(value, revision, now));
            }
            (Key::Probes(name), Record::Probes(value)) => {
                self.probes.insert(name, seen(value, revision, now));
            }
            (_, Record::ProbeKey(value)) => self.probe_key = Some(seen(value, revision, now)),
            (Key::HostSpec(host), Record::HostSpec(value)) => {
                self.host(host).spec = Some(seen(value, revision, now));
            }
            (Key::HostSession(host), Record::HostSession(value)) => {
                let host = self.host(host);
                host.unguarded_since = match value.guard {
                    GuardState::Absent => host.unguarded_since.or(Some(now)),
                    GuardState::Working => None,
                };
                host.session = Some(seen(value, revision, now));
            }
            (Key::HostReport(host), Record::HostReport(value)) => {
                self.host(host).report = Some(seen(value, revision, now));
            }
            (Key::HostState(host), Record::HostState(value)) => {
                self.host(host).state = Some(seen(value, revision, now));
            }
            (Key::HostExtensions(host), Record::HostExtensions(value)) => {
                self.host_extensions
                    .insert(host, seen(*value, revision, now));
            }
            (Key::HostAsks(host), Record::HostAsks(value)) => {
                self.host_asks.insert(host, seen(*value, revision, now));
            }
            (Key::HostSaw(by, host), Record::HostSaw(value)) => {
                let saw = &mut self.host(by).saw;
                saw.insert(host, seen(value, revision, now));
            }
            // For the agents that look for a slot; nothing is decided on them.
            (Key::HostSlot(..), _) => {}
            (Key::VmSlot(volume, slot), Record::VmSlot(value)) => {
                self.vm_slots
                    .insert((volume, slot), seen(value, revision, now));
            }
            (Key::HostVm(host, vm), Record::HostVm(value)) => {
                let vms = &mut self.host(host).vms;
                vms.insert(vm, seen(value, revision, now));
            }
            (Key::VmSpec(vm), Record::VmSpec(value)) => {
                self.vm(vm).spec = Some(seen(value, revision, now));
            }
            (Key::VmOwner(vm), Record::VmOwner(value)) => {
                self.vm(vm).owner = Some(seen(value, revision, now));
            }
            (Key::Uuid(uuid), Record::Uuid(value)) => {
                self.uuids.insert(uuid, seen(value, revision, now));
            }
            (Key::Extension(name), Record::Extension(value)) => {
                self.extensions.insert(name, seen(*value, revision, now));
            }
            (Key::Shadow(name), Record::Shadow(value)) => {
                self.shadows.insert(name, seen(*value, revision, now));
            }
            (Key::Told(name), Record::Told(value)) => {
                self.told.insert(name, seen(value, revision, now));
            }
            (Key::Fence(host, incarnation), Record::Fence(value)) => {
                let fences = Arc::make_mut(&mut self.fences);
                fences.insert((host, incarnation), seen(value, revision, now));
            }
            (Key::Errand(host, device), Record::Errand(value)) => {
                self.errands
                    .insert((host, device), seen(*value, revision, now));
            }
            (Key::Op(id), Record::Op(value)) => {
                self.ops.insert(id, seen(value, revision, now));
            }
            (Key::Event(id), Record::Event(value)) => self.events.insert(id, value, revision),
            // A record is read by its key: there is no other pair.
            _ => {}
        }
    }

    /// Empties a record's typed place. A host or a VM of which nothing is left is gone.
    fn clear(&mut self, key: Key) {
        match key {
            Key::Cluster => self.cluster = None,
            Key::LeaderEpoch => self.leader_epoch = None,
            Key::LeaderHeartbeat => self.leader_heartbeat = None,
            Key::Policy => self.forget_policy(),
            Key::Manager(name) => drop(self.managers.remove(&name)),
            Key::Probes(name) => drop(self.probes.remove(&name)),
            Key::ProbeKey => self.probe_key = None,
            Key::HostSpec(host) => self.clear_host(host, |view| view.spec = None),
            Key::HostSession(host) => self.clear_host(host, |view| {
                view.session = None;
                view.unguarded_since = None;
            }),
            Key::HostReport(host) => self.clear_host(host, |view| view.report = None),
            Key::HostState(host) => self.clear_host(host, |view| view.state = None),
            Key::HostExtensions(host) => drop(self.host_extensions.remove(&host)),
            Key::HostAsks(host) => drop(self.host_asks.remove(&host)),
            Key::HostVm(host, vm) => self.clear_host(host, |view| drop(view.vms.remove(&vm))),
            Key::HostSaw(by, host) => self.clear_host(by, |view| drop(view.saw.remove(&host))),
            Key::HostSlot(..) => {}
            Key::VmSlot(volume, slot) => drop(self.vm_slots.remove(&(volume, slot))),
            Key::VmSpec(vm) => self.clear_vm(vm, |view| view.spec = None),
            Key::VmOwner(vm) => self.clear_vm(vm, |view| view.owner = None),
            Key::Uuid(uuid) => drop(self.uuids.remove(&uuid)),
            Key::Fence(host, incarnation) => {
                Arc::make_mut(&mut self.fences).remove(&(host, incarnation));
            }
            Key::Errand(host, device) => drop(self.errands.remove(&(host, device))),
            Key::Extension(name) => drop(self.extensions.remove(&name)),
            Key::Shadow(name) => drop(self.shadows.remove(&name)),
            Key::Told(name) => drop(self.told.remove(&name)),
            Key::Op(id) => drop(self.ops.remove(&id)),
            Key::Event(id) => self.events.remove(&id),
        }
    }

    fn host(&mut self, host: HostName) -> &mut HostView {
        Arc::make_mut(self.hosts.entry(host).or_default())
    }

    fn vm(&mut self, vm: VmName) -> &mut VmView {
        Arc::make_mut(self.vms.entry(vm).or_default())
    }

    fn clear_host(&mut self, host: HostName, clear: impl FnOnce(&mut HostView)) {
        if let Some(view) = self.hosts.get_mut(&host) {
            let view = Arc::make_mut(view);
            clear(view);
            if *view == HostView::default() {
                self.hosts.remove(&host);
            }
        }
    }

    fn clear_vm(&mut self, vm: VmName, clear: impl FnOnce(&mut VmView)) {
        if let Some(view) = self.vms.get_mut(&vm) {
            let view = Arc::make_mut(view);
            clear(view);
            if *view == VmView::default() {
                self.vms.remove(&vm);
            }
        }
    }
}

fn when<T>(seen: &Seen<T>) -> (Revision, Instant) {
    (seen.revision, seen.seen_at)
}

fn seen<T>(value: T, revision: Revision, seen_at: Instant) -> Seen<T> {
    Seen {
        value,
        revision,
        seen_at,
    }
}
