//! The ground truth: which VM's vCPUs ran where and when, and what must never be.
//!
//! The invariants, by name:
//! - `runs-once`: no two domains of one VM run at any instant.
//! - `no-stale-image`: memory that a migration brought is never set going after the VM ran on
//!   elsewhere.
//! - `no-start-without-grant`: vCPUs are set going only where the store, at that very instant,
//!   grants this generation to this life of this host, and has no proof that this life is over.
//! - `closed-is-stopped`: when a life is recorded as closed (but for a person's word), none of its
//!   VMs runs.
//! - `no-start-on-bad-storage`: no guest boots on a host that had told, well before it was granted the VM, that its
//!   storage is of no use, and whose storage is so still.
//! - `no-start-without-claim`: under a storage lease no guest boots but where its claim of this very grant is what the
//!   storage has last; `damaged-is-not-free`: and nobody takes a VM's sector that cannot be believed.
//! - `evidence-first`: a new grant is written only when every earlier possible runner is resolved.
//! - `own-epoch`, `own-session`: what leaders and hosts write is written by the present leader, and
//!   by the life whose session is open.
//! - `off-is-off`: no life is recorded as powered off while its host has had power all along, unless a fencing device
//!   lied and no other one of that host contradicted it.
//! - `errand-once`, `own-errand`: what a leader has another manager ask, or an agent, is asked once, by the life of the
//!   one that it is for, while that leader leads; `out-of-reach`, `not-to-ask`: and by one from where the device is
//!   reached, and that the policy lets ask.
//! - `own-host`, `own-standing`: no agent asks about its own host; nor any without an open session, or of whose host the
//!   leader holds that it is suspect, isolated, lost or just back.
//! - `needless-power-off`: no fencing device is asked about a host that was heard of within the wait.
//! - `clean-session`: a new life begins only where no domain of an earlier one is left.
//! - `needless-stop`: no running VM is ended by Holdfast while its host is connected and its grant
//!   stands.

use super::words::Words;
use holdfast_model::id::{BootId, ErrandId, Generation, HostName, Incarnation, SiteName, VmName};
use std::collections::{BTreeMap, BTreeSet};

/// One span in which a domain's vCPUs ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where.
    pub host: HostName,
    /// Which life of that host; as far as the store is concerned.
    pub incarnation: Option<Incarnation>,
    /// Which domain of all there ever were.
    pub domain: u64,
    /// The grant stamped on it.
    pub generation: Generation,
    /// Since when.
    pub from: u64,
    /// Until when; still if none.
    pub to: Option<u64>,
    /// Its guest booted here, from its disk.
    pub cold: bool,
}

/// Why a domain's vCPUs stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A fault of the scenario, or the guest itself.
    Scenario,
    /// Its guest shut down because it was asked to.
    Asked,
    /// The agent destroyed it.
    Destroyed,
    /// The guard killed it.
    Killed,
    /// A migration stopped it to move it.
    Migration,
}

/// How long ago the heartbeats were sent that a host's planes count from, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// The last one that the store acknowledged.
    pub control_ms: u64,
    /// The last one that the lease volume has.
    pub storage_ms: u64,
}

/// What really happened.
#[derive(Debug, Default)]
pub struct Truth {
    /// Per VM, in the order of their beginnings.
    pub spans: BTreeMap<VmName, Vec<Span>>,
    /// Broken invariants, in words, with their names first.
    pub violations: Vec<String>,
    /// Since when restarts are counted.
    pub mark: u64,
    /// Per host, when the heartbeat was sent that was acknowledged last.
    pub acknowledged: BTreeMap<HostName, u64>,
    /// Per host, when the heartbeat was sent that the lease volume has.
    pub written: BTreeMap<HostName, u64>,
    /// The store is set back as it stands, with its clients at work, once. A start that had been checked
    /// when it was is on its way still, for this long (in practice they are stopped first).
    pub starts_forgiven_until: u64,
    /// Claims were taken off the lease volume by an operator. A start that had claimed before is on its way still,
    /// for this long.
    pub claims_forgiven_until: u64,
    /// Hosts whose storage is of no use, with when the store was first told so.
    pub unfit: BTreeMap<HostName, Option<u64>>,
    /// Per VM, its last grant to a host, and when it was written.
    pub granted: BTreeMap<VmName, (Generation, u64)>,
    /// Hosts that an operator vouched for while they had power.
    pub vouched_wrongly: BTreeSet<HostName>,
    /// Per host, its life and for how long it had been silent on either plane when its guard last began
    /// to kill: a renewal that comes afterwards takes nothing back.
    pub kills: BTreeMap<HostName, (Option<Incarnation>, Silence)>,
    /// Per host, when its guard was away last (killed or stopped): from when to when.
    pub guard_away: BTreeMap<HostName, (u64, u64)>,
    /// Why this run proves nothing any more: what happened is beyond what is assumed (`docs/safety.md`).
    pub beyond: Option<String>,
    /// Per site and host, when the host could not have answered the site's managers.
    pub unheard: BTreeMap<SiteName, BTreeMap<HostName, super::probes::Unheard>>,
    /// Per host, its present boot, or the one to come: its power was off in between.
    pub boots: BTreeMap<HostName, BootId>,
    /// Per host, when somebody put supplies of it back last while it ran.
    pub put_back: BTreeMap<HostName, u64>,
    /// Per host, when a leader decided last that a device is told to switch it off.
    pub told_off: BTreeMap<HostName, u64>,
    /// Errands for which a device was asked.
    pub errands: BTreeSet<ErrandId>,
    /// Per host whose agent may ask fencing devices, when the store got its last heartbeat.
    pub beats: BTreeMap<HostName, u64>,
    /// What fencing devices said.
    pub words: Words,
    /// Per host, its life that was asked to release everything, and heard it.
    pub asked: BTreeMap<HostName, Incarnation>,
}

impl Truth {
    /// vCPUs are set going. What is wrong with that, if anything is.
    pub fn begin(&mut self, vm: &VmName, span: Span) -> Option<String> {
        let spans = self.spans.entry(vm.clone()).or_default();
        let others: Vec<String> = spans
            .iter()
            .filter(|other| other.to.is_none())
            .map(|other| format!("{} (generation {})", other.host, other.generation))
            .collect();
        let twice = (!others.is_empty()).then(|| {
            format!(
                "runs-once: {vm} starts running on {} (generation {}) while it runs on {}",
                span.host,
                span.generation,
                others.join(", ")
            )
        });
        spans.push(span);
        twice
    }

    /// vCPUs stop. The span that ended, if the domain ran.
    pub fn end(&mut self, vm: &VmName, domain: u64, now: u64) -> Option<Span> {
        let span = self
            .spans
            .get_mut(vm)?
            .iter_mut()
            .find(|span| span.domain == domain && span.to.is_none())?;
        span.to = Some(now);
        Some(span.clone())
    }

    /// When it ran last, now if it runs.
    pub fn last_ran(&self, vm: &VmName, now: u64) -> Option<u64> {
        let spans = self.spans.get(vm)?;
        spans.iter().map(|span| span.to.unwrap_or(now)).max()
    }

    /// How long a host has been silent now.
    pub fn silence(&self, host: &HostName, now: u64) -> Silence {
        let since = |last: Option<&u64>| now - last.copied().unwrap_or(0);
        Silence {
            control_ms: since(self.acknowledged.get(host)),
            storage_ms: since(self.written.get(host)),
        }
    }

    /// Where it runs now.
    pub fn running(&self, vm: &VmName) -> Vec<&Span> {
        let spans = self.spans.get(vm).map(Vec::as_slice).unwrap_or_default();
        spans.iter().filter(|span| span.to.is_none()).collect()
    }

    /// How often its guest booted since the mark.
    pub fn boots_since_mark(&self, vm: &VmName) -> usize {
        let spans = self.spans.get(vm).map(Vec::as_slice).unwrap_or_default();
        spans
            .iter()
            .filter(|span| span.cold && span.from >= self.mark)
            .count()
    }
}
