//! Requests of operators that are carried out once. Lasting wishes are in the specs.

use crate::id::{HostName, OpId, VmName};
use serde::{Deserialize, Serialize};

/// `ops/ID`: one request. The leader removes it when it is done or refused, with an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its id.
    pub id: OpId,
    /// Who asked.
    pub by: String,
    /// For what.
    pub request: Request,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Request {
    /// Migrate a VM live.
    Move {
        /// Which.
        vm: VmName,
        /// Where to; the best host if none is named.
        to: Option<HostName>,
    },
    /// Stop a VM and start it again.
    Restart {
        /// Which.
        vm: VmName,
    },
    /// The operator vouches that a host is off.
    ConfirmOff {
        /// Which.
        host: HostName,
    },
}
