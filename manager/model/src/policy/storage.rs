//! The storage: what is known of it, and what becomes of VMs when it fails.

use crate::id::SiteName;
use crate::timing::DRIFT;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of the storage that VMs have their disks on, and what becomes of them when it has failed while their
/// host is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoragePolicy {
    /// How long a host's storage check must say that the storage is unusable before the VMs there are
    /// stopped and started where it is good; and how long a VM must have been paused on an I/O error on
    /// a host whose storage is good. In milliseconds. Where no other host's storage is good, nothing
    /// is stopped.
    pub grace_ms: u64,
    /// What becomes of a VM that is paused on an I/O error while its host's storage is good, where its definition
    /// does not say.
    pub on_io_error: OnIoError,
    /// How long the storage may still deliver writes of a VM that has stopped (queues of a fabric, a cache of a
    /// client), in milliseconds: so much longer nothing of it is started on another host, whatever proves that it has
    /// stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub settle_ms: u64,
    /// The site where the storage's arbiter or third copy stands, so that it can be told whether the storage and etcd
    /// would go on at the same side when a site is cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arbiter_site: Option<SiteName>,
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

impl StoragePolicy {
    /// How long a manager waits by its own clock for the settle time to be over, in milliseconds: its clock may be
    /// fast.
    pub fn settle_wait_ms(&self) -> u64 {
        (self.settle_ms as f64 / (1.0 - DRIFT)).ceil() as u64
    }
}

impl Default for StoragePolicy {
    fn default() -> Self {
        Self {
            grace_ms: 10_000,
            on_io_error: OnIoError::Restart,
            settle_ms: 0,
            arbiter_site: None,
        }
    }
}

/// What becomes of a VM that is paused on an I/O error on a host whose storage check says that the
/// storage is good. Where it is not, VMs are moved away whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnIoError {
    /// It is destroyed and started again, elsewhere if another host can take it.
    #[default]
    Restart,
    /// It goes on where it is, once its host has checked that it still may run it.
    Resume,
    /// It stays paused until an operator decides.
    Leave,
}
