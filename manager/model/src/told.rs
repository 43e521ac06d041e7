//! How far an event handler has been told: `told/NAME`, written by the leader, so that the next one goes on there.

use crate::id::Revision;
use serde::{Deserialize, Serialize};

/// A place in the order in which events were written: the revision, and within one transaction the event's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventPlace {
    /// The revision that wrote it.
    pub revision: Revision,
    /// Its id; empty before the first of that revision.
    pub id: String,
}

/// How far one handler is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldSoFar {
    /// What comes after this is yet to be told.
    pub after: EventPlace,
    /// Events it was told of, and took.
    pub told: u64,
    /// Events it never took: it failed, or was too slow.
    pub dropped: u64,
    /// Why the last of those were dropped; none once it has taken everything that came after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<String>,
}
