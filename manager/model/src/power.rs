//! Fencing devices: what is asked of them, and what they answered.
//!
//! A device switches a host's power and says how it stands. What it is told to do is one thing, what it
//! says afterwards another, and only the second is ever evidence.

use crate::id::{DeviceName, HostName, Incarnation, Revision};
use crate::plan::Step;
use crate::time::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What came of the last ask of each device, per host.
pub type PowerReadings = BTreeMap<HostName, BTreeMap<DeviceName, PowerReading>>;

/// What the leader wants asked of a device: to switch a host off, and then to say how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerAsk {
    /// The host.
    pub host: HostName,
    /// The life of it that is to end.
    pub incarnation: Incarnation,
    /// The host's session as it was decided on: a later one is a sign of life.
    pub session_revision: Revision,
    /// The device.
    pub device: DeviceName,
    /// The how-manieth time for this life, from 1. All devices of the host are asked once at the most in one.
    pub attempt: u32,
    /// Written first, and only if it is accepted is the device asked: the transaction proves that the
    /// leader leads and that the host has not renewed its session.
    pub step: Step,
}

/// What came of one ask. The leader's own memory, never stored: a new leader asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerReading {
    /// The life it is about.
    pub incarnation: Incarnation,
    /// The host's session when it was asked.
    pub session_revision: Revision,
    /// The device.
    pub device: DeviceName,
    /// The how-manieth time for this life.
    pub attempt: u32,
    /// When the device was told to switch off, at the earliest.
    pub asked_at: Instant,
    /// When it was asked how the power stands, after that; `asked_at` until then.
    pub read_at: Instant,
    /// When the answer was there; `asked_at` until then.
    pub answered_at: Instant,
    /// The answer.
    pub state: PowerState,
}

/// How a host's power stands, as its device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PowerState {
    /// The device is being asked.
    Asked,
    /// It says off, after it was told to switch off.
    Off,
    /// It says on.
    On,
    /// It says on, and would not switch it off.
    StillOn {
        /// Why not, in words.
        reason: String,
    },
    /// It says nothing that could be believed: never evidence.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

impl PowerState {
    /// The device says that the host has power.
    pub fn says_on(&self) -> bool {
        matches!(self, Self::On | Self::StillOn { .. })
    }
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("is being asked"),
            Self::Off => f.write_str("says off"),
            Self::On => f.write_str("says on"),
            Self::StillOn { reason } => {
                write!(f, "says on, and would not switch it off: {reason}")
            }
            Self::Unknown { reason } => f.write_str(reason),
        }
    }
}
