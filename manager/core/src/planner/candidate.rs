//! What placement is about: what is asked for, the hosts that passed the filters, and how they compare.

use super::places::Place;
use holdfast_model::host::HostReport;
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::vm::{Failures, Runner, VmSpec};
use std::cmp::Reverse;

/// What is asked for.
pub(super) struct Request<'a> {
    /// The VM.
    pub vm: &'a VmName,
    /// Its definition.
    pub spec: &'a VmSpec,
    /// Its failures so far.
    pub failures: &'a Failures,
    /// Not there: the host it is leaving.
    pub leaving: Option<&'a HostName>,
    /// Rather there than elsewhere at the same site, unless it failed there too often.
    pub last: Option<&'a HostName>,
    /// Only at this site.
    pub only_site: Option<&'a SiteName>,
    /// Only this host.
    pub only_host: Option<&'a HostName>,
    /// For a live migration, not a start.
    pub live: bool,
}

/// Lower is better, field by field.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
pub(super) struct Rank {
    pub held_down: bool,
    /// Before the site: a VM that cannot start at home starts elsewhere.
    pub failed_too_often: bool,
    pub away_from_site: bool,
    /// What extensions make of it.
    pub advised: Reverse<u64>,
    pub not_the_last: bool,
    pub failures: u32,
    pub spread: u32,
    pub free_memory_mib: Reverse<u64>,
    pub name: HostName,
}

/// A host that passed the filters.
pub(super) struct Candidate<'p> {
    pub rank: Rank,
    pub place: &'p Place<'p>,
    pub report: &'p HostReport,
    pub runner: &'p Runner,
}

impl Rank {
    /// Whether going to `other` instead costs nothing that matters.
    pub fn as_good_as(&self, other: &Rank) -> bool {
        (self.held_down, self.away_from_site, self.failed_too_often)
            == (
                other.held_down,
                other.away_from_site,
                other.failed_too_often,
            )
    }
}
