//! Errands: where the leader does not reach a fencing device, it has a manager ask it that does, or the agent of a host.
//!
//! ```text
//! leader ──> Sent ──> Taken ──> Answered          whom it is for writes all but the first
//!              └────────┴─────> Declined: nothing was done
//! ```
//! Managers and agents do not call each other: `errands/HOST/DEVICE` is in the store, and each stage is a write on the revision of
//! the one before. It is taken by a transaction that compares the leader's epoch and the host's session besides,
//! so that one of a deposed leader, or about a host that was heard of meanwhile, is not carried out. An agent's
//! compares that host's own session as well.

use crate::asking::Asker;
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
    /// As the leader's policy has it, but for who may ask: that is decided, and earlier versions do not know it.
    pub as_set: FenceDevice,
    /// The how-manieth time for this life of the host, from 1.
    pub attempt: u32,
    /// How far it is.
    pub stage: ErrandStage,
}

/// One life of a manager, or of an agent: what was meant for an earlier one is not done by a later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// The manager. Where it is an agent, the name of its host: earlier versions read no record without one, and no
    /// manager has that life.
    pub manager: ManagerName,
    /// Its life.
    pub life: String,
    /// It is not a manager that it is for, but the agent of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<HostName>,
}

impl Addressee {
    /// This life of a manager.
    pub fn manager(manager: ManagerName, life: String) -> Self {
        let agent = None;
        Self {
            manager,
            life,
            agent,
        }
    }

    /// This life of the agent of a host.
    pub fn agent(host: HostName, life: String) -> Option<Self> {
        // Names of both kinds are spelled alike.
        let manager = host.as_str().parse().ok()?;
        Some(Self {
            manager,
            life,
            agent: Some(host),
        })
    }

    /// Who it is.
    pub fn asker(&self) -> Asker {
        match &self.agent {
            Some(host) => Asker::Agent(host.clone()),
            None => Asker::Manager(self.manager.clone()),
        }
    }
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
