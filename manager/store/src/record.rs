//! The store's records, decoded: what a view is made of.
//!
//! Reading a record is apart from taking it into a [`View`](crate::view::View), so that a process
//! with many views of one store (the simulation) reads each record once.

use crate::api::{Change, KeyValue};
use crate::keyspace::Key;
use holdfast_model::asking::HostAsks;
use holdfast_model::errand::Errand;
use holdfast_model::event::Event;
use holdfast_model::extension::Installed;
use holdfast_model::fence::FenceRecord;
use holdfast_model::host::{HostReport, HostSpec, HostState, Session, VmReport};
use holdfast_model::id::{ClusterName, Revision, VmName, VmUuid};
use holdfast_model::leader::{LeaderEpoch, LeaderHeartbeat, ManagerPresence};
use holdfast_model::lease::Sighting;
use holdfast_model::op::Op;
use holdfast_model::policy::Policy;
use holdfast_model::probe::{Opinion, ProbeKey};
use holdfast_model::standing::HostExtensions;
use holdfast_model::told::ToldSoFar;
use holdfast_model::vm::{Owner, VmSpec};
use serde::de::DeserializeOwned;

/// A record, as its key says what it is.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Cluster(ClusterName),
    LeaderEpoch(LeaderEpoch),
    LeaderHeartbeat(LeaderHeartbeat),
    Policy(Box<Policy>),
    /// A policy under which a VM could run twice, or that cannot work: why. Nobody goes by it.
    UnsafePolicy(String),
    Manager(ManagerPresence),
    Probes(Opinion),
    ProbeKey(ProbeKey),
    HostSpec(HostSpec),
    HostSession(Session),
    HostReport(HostReport),
    HostState(HostState),
    HostExtensions(Box<HostExtensions>),
    HostAsks(Box<HostAsks>),
    HostVm(VmReport),
    HostSaw(Sighting),
    /// A slot of a lease volume for hosts: whose it is does not matter to a view.
    Slot,
    VmSlot(VmUuid),
    VmSpec(VmSpec),
    VmOwner(Owner),
    Uuid(VmName),
    Fence(FenceRecord),
    Errand(Box<Errand>),
    Extension(Box<Installed>),
    Shadow(Box<Installed>),
    Told(ToldSoFar),
    Op(Op),
    Event(Event),
}

impl Record {
    /// Reads what stands under a key; why it cannot be read, otherwise.
    pub(crate) fn read(key: &Key, item: &KeyValue) -> Result<Self, String> {
        Ok(match key {
            Key::Cluster => Self::Cluster(decode(item)?),
            Key::LeaderEpoch => Self::LeaderEpoch(decode(item)?),
            Key::LeaderHeartbeat => Self::LeaderHeartbeat(decode(item)?),
            Key::Policy => Self::policy(decode(item)?),
            Key::Manager(name) => {
                let record = decode::<ManagerPresence>(item)?;
                same(name, &record.name)?;
                Self::Manager(record)
            }
            Key::Probes(_) => Self::Probes(decode(item)?),
            Key::ProbeKey => Self::ProbeKey(decode(item)?),
            Key::HostSpec(host) => {
                let record = decode::<HostSpec>(item)?;
                same(host, &record.name)?;
                Self::HostSpec(record)
            }
            Key::HostSession(_) => Self::HostSession(decode(item)?),
            Key::HostReport(_) => Self::HostReport(decode(item)?),
            Key::HostState(_) => Self::HostState(decode(item)?),
            Key::HostExtensions(_) => Self::HostExtensions(Box::new(decode(item)?)),
            Key::HostAsks(_) => Self::HostAsks(Box::new(decode(item)?)),
            Key::HostVm(..) => Self::HostVm(decode(item)?),
            Key::HostSaw(..) => Self::HostSaw(decode(item)?),
            Key::HostSlot(..) => Self::Slot,
            Key::VmSlot(..) => Self::VmSlot(decode(item)?),
            Key::VmSpec(vm) => {
                let record = decode::<VmSpec>(item)?;
                same(vm, &record.name)?;
                Self::VmSpec(record)
            }
            Key::VmOwner(_) => Self::VmOwner(decode(item)?),
            Key::Uuid(_) => Self::Uuid(decode(item)?),
            Key::Fence(host, incarnation) => {
                let record = decode::<FenceRecord>(item)?;
                same(host, &record.host)?;
                same(incarnation, &record.incarnation)?;
                Self::Fence(record)
            }
            Key::Errand(host, device) => {
                let record = decode::<Errand>(item)?;
                same(host, &record.host)?;
                same(device, &record.device)?;
                Self::Errand(Box::new(record))
            }
            Key::Extension(name) => {
                let record = decode::<Installed>(item)?;
                same(name, &record.manifest.name)?;
                Self::Extension(Box::new(record))
            }
            Key::Shadow(name) => {
                let record = decode::<Installed>(item)?;
                same(name, &record.manifest.name)?;
                Self::Shadow(Box::new(record))
            }
            Key::Told(_) => Self::Told(decode(item)?),
            Key::Op(id) => {
                let record = decode::<Op>(item)?;
                same(id, &record.id)?;
                Self::Op(record)
            }
            Key::Event(_) => Self::Event(decode(item)?),
        })
    }

    /// Whoever applies a policy has its bounds checked. What another tool, or another version, has written is checked
    /// by whoever reads it.
    fn policy(policy: Policy) -> Self {
        match policy.timing.resolve().check() {
            Ok(()) => Self::Policy(Box::new(policy)),
            Err(error) => Self::UnsafePolicy(format!("[timing] {error}")),
        }
    }
}

/// A change, read.
#[derive(Debug, Clone)]
pub struct ReadChange {
    pub(crate) path: String,
    /// None: this version does not know such keys.
    pub(crate) key: Option<Key>,
    pub(crate) revision: Revision,
    pub(crate) what: What,
}

/// What a change did.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Removed the key.
    Removed,
    /// Wrote a key this version does not know.
    Unknown,
    /// Wrote a record, or something that cannot be read.
    Written(Result<Box<Record>, String>),
}

impl ReadChange {
    /// Reads a change.
    pub fn of(change: &Change) -> Self {
        match change {
            Change::Put(item) => Self::of_item(item),
            Change::Delete(path, revision) => Self {
                path: path.clone(),
                key: Key::parse(path),
                revision: *revision,
                what: What::Removed,
            },
        }
    }

    pub(crate) fn of_item(item: &KeyValue) -> Self {
        let key = Key::parse(&item.key);
        let what = match &key {
            Some(key) => What::Written(Record::read(key, item).map(Box::new)),
            None => What::Unknown,
        };
        Self {
            path: item.key.clone(),
            key,
            revision: item.revision,
            what,
        }
    }

    /// Whether it took the key away.
    pub fn is_removal(&self) -> bool {
        matches!(self.what, What::Removed)
    }

    /// Of which key.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same, taken apart; none if this version does not know it.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

fn decode<T: DeserializeOwned>(item: &KeyValue) -> Result<T, String> {
    serde_json::from_slice(&item.value).map_err(|error| {
        format!(
            "{error}; written by a newer version, or damaged (revision {})",
            item.revision
        )
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
