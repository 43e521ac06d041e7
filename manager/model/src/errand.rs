//! Errands: where the leader does not reach a fencing device, it has a manager ask it that does.
//!
//! ```text
//! leader ──> Sent ──> Taken ──> Answered          the manager that it is for writes all but the first
//!              └────────┴─────> Declined: nothing was done
//! ```
//! Managers do not call each other: `errands/HOST/DEVICE` is in the store, and each stage is a write on the revision of
//! the one before. It is taken by a transaction that compares the leader's epoch and the host's session besides,
//! so that one of a deposed leader, or about a host that was heard of meanwhile, is not carried out.

use crate::fence_device::FenceDevice;
use crate::id::{DeviceName, ErrandId, HostName, Incarnation, ManagerName, Revision};
use crate::power::PowerState;
use serde::{Deserialize, Serialize};

/// `errands/HOST/DEVICE`: to switch a host off, and then to say how its power stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Tells it from every other, also of the same attempt.
    pub id: ErrandId,
    /// The leader that wants it done.
    pub by: ManagerName,
    /// That leader's epoch.
    pub epoch: Revision,
    /// Who is to do it.
    pub to: Addressee,
    /// The host.
    pub host: HostName,
    /// The life of it that is to end.
    pub incarnation: Incarnation,
    /// The host's session as it was decided on: a later one is a sign of life.
    pub session_revision: Revision,
    /// The device.
    pub device: DeviceName,
    /// As the leader's policy has it.
    pub as_set: FenceDevice,
    /// The how-manieth time for this life of the host, from 1.
    pub attempt: u32,
    /// How far it is.
    pub stage: ErrandStage,
}

/// One life of a manager: what was meant for an earlier one is not done by a later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// The manager.
    pub manager: ManagerName,
    /// Its life.
    pub life: String,
}

/// How far an errand is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum ErrandStage {
    /// It waits for whom it is for.
    Sent,
    /// It is being carried out, by the life that it is for.
    Taken,
    /// It was carried out, or may have been.
    Answered {
        /// How the power stands, as the device said after it had been told to switch off.
        power: PowerState,
    },
    /// Nothing was done, and nothing will be.
    Declined {
        /// Why, in words.
        reason: String,
    },
}
