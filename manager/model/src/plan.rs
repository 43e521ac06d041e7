//! What the planner answers: writes to make, each step one transaction, and a report of what each
//! step of the planner found and waits for.

use crate::advice::Advised;
use crate::event::Event;
use crate::fence::FenceRecord;
use crate::host::{HostState, Session};
use crate::id::{HostName, Incarnation, OpId, Revision, VmName};
use crate::power::PowerAsk;
use crate::time::Instant;
use crate::vm::Owner;
use serde::{Deserialize, Serialize};

/// A complete decision. Executing it makes no choices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In order. A step that fails on its guard is dropped: the next round sees why.
    pub steps: Vec<Step>,
    /// What is asked of fencing devices: the one thing a manager does besides writing. After the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<PowerAsk>,
    /// What placement extensions said to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advised: Vec<Advised>,
    /// What was found, and what is waited for.
    pub reports: Vec<Report>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<Instant>,
}

/// One transaction: all of its writes happen, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The writes; the leader's epoch is compared in each transaction besides.
    pub writes: Vec<Write>,
    /// Written with them.
    pub events: Vec<Event>,
    /// Why, in words.
    pub why: String,
}

/// One guarded write. `expect` is the revision the record was decided on; `None`: it must not
/// exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "write")]
pub enum Write {
    /// Set who may run a VM.
    Owner {
        /// The VM.
        vm: VmName,
        /// The record.
        owner: Owner,
        /// Decided on.
        expect: Option<Revision>,
    },
    /// Close a session on the very heartbeat that was seen last.
    CloseSession {
        /// The host.
        host: HostName,
        /// The record, closed.
        session: Session,
        /// Decided on.
        expect: Revision,
    },
    /// Record that an incarnation is closed.
    Fence {
        /// The record.
        record: FenceRecord,
        /// Decided on.
        expect: Option<Revision>,
    },
    /// Set a host's membership.
    HostState {
        /// The host.
        host: HostName,
        /// The record.
        state: HostState,
        /// Decided on.
        expect: Option<Revision>,
    },
    /// A request is done or refused.
    DeleteOp {
        /// Which.
        id: OpId,
        /// Decided on.
        expect: Revision,
    },
    /// Remove a stopped VM: its spec, its owner and the index of its UUID.
    DeleteVm {
        /// Which.
        vm: VmName,
        /// The spec's revision decided on.
        expect_spec: Revision,
        /// The owner's revision decided on.
        expect_owner: Option<Revision>,
    },
    /// Compare only: the spec of a VM is still the one that was decided on.
    CheckVmSpec {
        /// Which.
        vm: VmName,
        /// Decided on.
        expect: Revision,
    },
    /// Compare only: the record that closes a life in half, on which a decision about a VM without a
    /// storage lease rests. The life may open its session again, which takes the record away.
    CheckFence {
        /// The host.
        host: HostName,
        /// Its life.
        incarnation: Incarnation,
        /// Decided on.
        expect: Revision,
    },
    /// Compare only: a host's session is still the one that was decided on: it has not renewed it.
    CheckSession {
        /// The host.
        host: HostName,
        /// Decided on.
        expect: Revision,
    },
    /// Compare only: the spec of a host (its maintenance) is still the one that was decided on.
    CheckHostSpec {
        /// Which.
        host: HostName,
        /// Decided on.
        expect: Revision,
    },
}

/// What one step of the planner found about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The planner's step.
    pub step: PlannerStep,
    /// About what.
    pub subject: Subject,
    /// What it found, and what it waits for, in words.
    pub text: String,
    /// Hosts that were looked at and refused, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(HostName, String)>,
    /// When the wait ends if it is a wait for time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
}

/// The planner's steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannerStep {
    /// Who is there.
    Membership,
    /// Who is proven gone.
    Fencing,
    /// What must be started.
    Recovery,
    /// What operators asked for.
    Operations,
    /// What placement extensions failed to say.
    Placement,
    /// Live migrations under way.
    Migration,
    /// What goes home.
    Failback,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "name")]
pub enum Subject {
    /// The whole cluster.
    Cluster,
    /// A host.
    Host(HostName),
    /// A VM.
    Vm(VmName),
    /// A site.
    Site(crate::id::SiteName),
}
