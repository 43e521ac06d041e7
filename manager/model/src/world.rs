//! What the planner reads: one manager's view of the store, with the time at which this manager
//! first saw each record as it is now.
//!
//! All waits of the planner are counted from those times. Every manager keeps them, so a new
//! leader starts with warm timers and no wait needs a synchronised clock or a stored date.

use crate::fence::FenceRecord;
use crate::host::{HostReport, HostSpec, HostState, Session, VmReport};
use crate::id::{HostName, Incarnation, ManagerName, OpId, Revision, VmName};
use crate::lease::Sighting;
use crate::op::Op;
use crate::policy::Policy;
use crate::power::PowerReadings;
use crate::probe::Vantage;
use crate::time::{Instant, UnixMs};
use crate::vm::{Owner, VmSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A record as this manager sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// The record.
    pub value: T,
    /// The revision of its last write.
    pub revision: Revision,
    /// When this manager first saw that revision, by its own clock.
    pub seen_at: Instant,
}

/// Everything the planner decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// Now, by this manager's own clock.
    pub now: Instant,
    /// Now, for people: stamped on events.
    pub wall: UnixMs,
    /// Since when this manager's view of the store has been fresh without a gap. Silence is
    /// counted from here at the earliest: an outage of the store is nobody's silence.
    pub view_since: Instant,
    /// The store's revision this view is of.
    pub revision: Revision,
    /// The epoch of the leader that plans: the mod revision of `leader/epoch`.
    pub epoch: Revision,
    /// The leader that plans.
    pub leader: ManagerName,
    /// Cluster policy; the default one until an operator sets it. Shared likewise.
    pub policy: Arc<Policy>,
    /// All hosts. Shared with the view it was taken of: making a world copies no record.
    pub hosts: BTreeMap<HostName, Arc<HostView>>,
    /// All VMs, likewise.
    pub vms: BTreeMap<VmName, Arc<VmView>>,
    /// All fence records, likewise.
    #[serde(with = "pairs")]
    pub fences: Arc<BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>>,
    /// All pending requests.
    pub ops: BTreeMap<OpId, Seen<Op>>,
    /// What fencing devices answered to this leader, per host and device: its own memory, not in the store.
    #[serde(default)]
    pub power: PowerReadings,
    /// What managers find that ask hosts directly. The leader's own is its memory, as it is now; the others'
    /// are what they wrote when it changed last.
    #[serde(default)]
    pub probes: BTreeMap<ManagerName, Vantage>,
}

impl World {
    /// The policy, to change it in this world alone.
    pub fn policy_mut(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }
}

/// One host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Desired.
    pub spec: Option<Seen<HostSpec>>,
    /// Its heartbeat.
    pub session: Option<Seen<Session>>,
    /// What it says of itself.
    pub report: Option<Seen<HostReport>>,
    /// What the leader holds of it.
    pub state: Option<Seen<HostState>>,
    /// What it says of VMs.
    pub vms: BTreeMap<VmName, Seen<VmReport>>,
    /// Since when its session has said that no guard works, by this manager's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unguarded_since: Option<Instant>,
    /// What it found in the heartbeat slots of other hosts.
    #[serde(default)]
    pub saw: BTreeMap<HostName, Seen<Sighting>>,
}

/// One VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmView {
    /// Desired.
    pub spec: Option<Seen<VmSpec>>,
    /// Who may run it.
    pub owner: Option<Seen<Owner>>,
}

/// JSON has no keys that are pairs: a list of entries instead.
mod pairs {
    use super::*;
    use serde::{Deserializer, Serializer};

    type Map = BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>;

    pub fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.values())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Map>, D::Error> {
        let list = Vec::<Seen<FenceRecord>>::deserialize(from)?;
        let key =
            |seen: &Seen<FenceRecord>| (seen.value.host.clone(), seen.value.incarnation.clone());
        let map: Map = list.into_iter().map(|seen| (key(&seen), seen)).collect();
        Ok(Arc::new(map))
    }
}
