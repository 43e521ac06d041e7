//! Events in, incidents out.

use super::assemble::assemble;
use super::{HostLane, Incident, IncidentKind, Mark, Phase, VmLane};
use crate::wall::stamp;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::time::UnixMs;
use std::collections::{BTreeMap, BTreeSet};

/// Losses and moves this close together are one incident.
const TOGETHER_MS: u64 = 60_000;

/// The incidents in these events (in the order in which they were written), oldest first. `sites` tells where hosts stand.
pub fn build<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    sites: &BTreeMap<HostName, SiteName>,
) -> Vec<Incident> {
    let mut builder = Builder {
        sites,
        ..Builder::default()
    };
    for event in events {
        builder.take(event);
    }
    builder.finish()
}

static NO_SITES: BTreeMap<HostName, SiteName> = BTreeMap::new();

/// An incident that is being told.
pub(super) struct Draft {
    pub kind: IncidentKind,
    pub start: UnixMs,
    pub latest: UnixMs,
    pub hosts: Vec<HostLane>,
    pub vms: Vec<VmLane>,
}

struct Builder<'a> {
    sites: &'a BTreeMap<HostName, SiteName>,
    drafts: Vec<Draft>,
    /// Where each VM was last known to run.
    at: BTreeMap<VmName, HostName>,
    /// VMs that ended on a host and were not granted again since.
    exits: BTreeMap<VmName, UnixMs>,
}

impl Default for Builder<'_> {
    fn default() -> Self {
        Self {
            sites: &NO_SITES,
            drafts: Vec::new(),
            at: BTreeMap::new(),
            exits: BTreeMap::new(),
        }
    }
}

/// How long a host was silent when it was told, by the words of the planner ("no heartbeat for
/// 1.3 s"): an outage began with the last heartbeat and not when it was noticed. Events have no
/// field for it; where the words change, times count from when it was noticed.
fn silence_ms(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("no heartbeat for ")?;
    let seconds: f64 = rest.split_once(" s")?.0.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some((seconds * 1000.0).round() as u64)
}

impl Draft {
    fn mark(&mut self, at: UnixMs, phase: Phase) -> Mark {
        self.latest = self.latest.max(at);
        Mark {
            phase,
            at_ms: at.0.saturating_sub(self.start.0),
        }
    }

    fn host(&mut self, host: &HostName, sites: &BTreeMap<HostName, SiteName>) -> &mut HostLane {
        let index = self.hosts.iter().position(|lane| lane.host == *host);
        let index = index.unwrap_or_else(|| {
            self.hosts.push(HostLane {
                host: host.clone(),
                site: sites.get(host).cloned(),
                marks: Vec::new(),
                evidence: None,
            });
            self.hosts.len() - 1
        });
        &mut self.hosts[index]
    }

    fn vm(&mut self, vm: &VmName, from: Option<&HostName>) -> &mut VmLane {
        let index = self.vms.iter().position(|lane| lane.vm == *vm);
        let index = index.unwrap_or_else(|| {
            self.vms.push(VmLane {
                vm: vm.clone(),
                from: from.cloned(),
                to: None,
                reason: None,
                marks: Vec::new(),
                killed_ms: None,
            });
            self.vms.len() - 1
        });
        &mut self.vms[index]
    }

    fn open_lane(&self, vm: &VmName) -> bool {
        let lane = self.vms.iter().find(|lane| lane.vm == *vm);
        lane.is_some_and(|lane| !lane.is_done())
    }
}

impl Builder<'_> {
    fn take(&mut self, event: &Event) {
        let at = event.at;
        match (event.kind, &event.host, &event.vm) {
            (EventKind::HostSuspect, Some(host), _) => {
                let last = at.0.saturating_sub(silence_ms(&event.text).unwrap_or(0));
                self.host_lost(host, UnixMs(last), Phase::Lost);
            }
            (EventKind::HostFenced, Some(host), _) => {
                self.host_lost(host, at, Phase::Proven);
                if let Some(draft) = self.drafts.last_mut() {
                    draft.host(host, self.sites).evidence = Some(event.text.clone());
                }
            }
            (
                EventKind::HostOnline | EventKind::HostRejoining | EventKind::HostMaintenance,
                Some(host),
                _,
            ) => self.host_back(host, at),
            (EventKind::VmGranted, host, Some(vm)) => {
                self.granted(vm, host.as_ref(), event);
            }
            (EventKind::VmRunning, host, Some(vm)) => {
                self.progress(vm, host.as_ref(), Phase::Running, at);
                self.moved_to(vm, host.as_ref());
            }
            (EventKind::SelfFenced, Some(host), Some(vm)) => self.killed(vm, host, at),
            (EventKind::VmExited, _, Some(vm)) => {
                self.exits.entry(vm.clone()).or_insert(at);
            }
            (EventKind::VmStopped | EventKind::VmDeleted, _, Some(vm)) => {
                self.progress(vm, None, Phase::Stopped, at);
                self.at.remove(vm);
                self.exits.remove(vm);
            }
            (EventKind::MigrationStarted, host, Some(vm)) => {
                self.moving(vm, host.as_ref(), event);
            }
            (EventKind::MigrationDone, host, Some(vm)) => {
                self.progress(vm, host.as_ref(), Phase::Moved, at);
                self.moved_to(vm, host.as_ref());
            }
            (EventKind::MigrationFailed, _, Some(vm)) => {
                self.progress(vm, None, Phase::NotMoved, at);
            }
            _ => {}
        }
    }

    fn moved_to(&mut self, vm: &VmName, host: Option<&HostName>) {
        if let Some(host) = host {
            self.at.insert(vm.clone(), host.clone());
        }
        self.exits.remove(vm);
    }

    /// The newest incident of this kind if `at` is close to it; a new one otherwise. It is last.
    fn draft(&mut self, kinds: &[IncidentKind], at: UnixMs) -> &mut Draft {
        let near = |draft: &Draft| {
            kinds.contains(&draft.kind) && at.0 <= draft.latest.0.saturating_add(TOGETHER_MS)
        };
        match self.drafts.iter().rposition(near) {
            Some(index) => {
                let draft = self.drafts.remove(index);
                self.drafts.push(draft);
            }
            None => self.drafts.push(Draft {
                kind: kinds[0],
                start: at,
                latest: at,
                hosts: Vec::new(),
                vms: Vec::new(),
            }),
        }
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    fn host_lost(&mut self, host: &HostName, at: UnixMs, phase: Phase) {
        let on_it = |entry: &(&VmName, &HostName)| entry.1 == host;
        let vms: Vec<VmName> = self.at.iter().filter(on_it).map(|e| e.0.clone()).collect();
        let sites = self.sites;
        let draft = self.draft(&[IncidentKind::HostLoss, IncidentKind::FalseAlarm], at);
        draft.kind = IncidentKind::HostLoss;
        let mark = draft.mark(at, phase);
        draft.host(host, sites).marks.push(mark);
        for vm in vms {
            draft.vm(&vm, Some(host)).reach(mark);
        }
    }

    fn host_back(&mut self, host: &HostName, at: UnixMs) {
        let waits = |draft: &Draft| {
            let lane = draft.hosts.iter().find(|lane| lane.host == *host);
            lane.is_some_and(|lane| lane.at(Phase::Back).is_none())
        };
        let Some(draft) = self.drafts.iter_mut().rev().find(|draft| waits(draft)) else {
            return;
        };
        let proven = |lane: &HostLane| lane.at(Phase::Proven).is_some();
        let taken = draft.hosts.iter().any(|l| l.host == *host && proven(l));
        let latest = draft.latest;
        let mark = draft.mark(at, Phase::Back);
        if taken {
            // Coming back is no longer part of the outage.
            draft.latest = latest;
        } else {
            let kept = |lane: &VmLane| lane.from.as_ref() != Some(host);
            draft.vms.retain(kept);
        }
        let all_back = |lane: &HostLane| lane.host == *host || lane.at(Phase::Back).is_some();
        if !draft.hosts.iter().any(proven) && draft.hosts.iter().all(all_back) {
            draft.kind = IncidentKind::FalseAlarm;
        }
        for lane in draft.hosts.iter_mut().filter(|lane| lane.host == *host) {
            lane.marks.push(mark);
        }
    }

    /// A guard stopped it there. That is told when its host is back, often long after the VM runs elsewhere.
    fn killed(&mut self, vm: &VmName, host: &HostName, at: UnixMs) {
        let left = |lane: &&mut VmLane| {
            lane.vm == *vm && lane.from.as_ref() == Some(host) && lane.killed_ms.is_none()
        };
        let losses = self.drafts.iter_mut().rev();
        for draft in losses.filter(|draft| draft.kind == IncidentKind::HostLoss) {
            if let Some(lane) = draft.vms.iter_mut().find(left) {
                lane.killed_ms = Some(at.0.saturating_sub(draft.start.0));
                return;
            }
        }
    }

    fn granted(&mut self, vm: &VmName, to: Option<&HostName>, event: &Event) {
        let at = event.at;
        let from = self.at.get(vm).cloned();
        let exit = self.exits.remove(vm);
        let again = event.generation.is_some_and(|generation| generation.0 > 1);
        if self.progress(vm, to, Phase::Granted, at) {
            self.reason(vm, event);
        } else if exit.is_some() || from.is_some() {
            // It ended on a healthy host. Where that was not told, the grant is its first sign.
            let exit = exit.unwrap_or(at);
            let draft = self.draft(&[IncidentKind::VmRestart], exit);
            let marks = [
                draft.mark(exit, Phase::Exited),
                draft.mark(at, Phase::Granted),
            ];
            let lane = draft.vm(vm, from.as_ref());
            marks.into_iter().for_each(|mark| lane.reach(mark));
            lane.to = to.cloned();
            self.reason(vm, event);
        } else if again {
            // Older events are trimmed: it ran somewhere, and a host was just lost.
            let fresh = |draft: &&mut Draft| {
                draft.kind == IncidentKind::HostLoss
                    && at.0 <= draft.latest.0.saturating_add(TOGETHER_MS)
            };
            if let Some(draft) = self.drafts.last_mut().filter(fresh) {
                let mark = draft.mark(at, Phase::Granted);
                let lane = draft.vm(vm, None);
                lane.reach(mark);
                lane.to = to.cloned();
                self.reason(vm, event);
            }
        }
        if let Some(host) = to {
            self.at.insert(vm.clone(), host.clone());
        }
    }

    /// Keeps the first words on why a VM was touched.
    fn reason(&mut self, vm: &VmName, event: &Event) {
        if let Some(draft) = self
            .drafts
            .iter_mut()
            .rev()
            .find(|draft| draft.open_lane(vm))
        {
            let lane = draft.vm(vm, None);
            lane.reason.get_or_insert_with(|| event.text.clone());
        }
    }

    /// Adds a mark where this VM's lane is open. False if there is none.
    fn progress(&mut self, vm: &VmName, to: Option<&HostName>, phase: Phase, at: UnixMs) -> bool {
        let Some(draft) = self
            .drafts
            .iter_mut()
            .rev()
            .find(|draft| draft.open_lane(vm))
        else {
            return false;
        };
        let mark = draft.mark(at, phase);
        let lane = draft.vm(vm, None);
        lane.reach(mark);
        if to.is_some() {
            lane.to = to.cloned();
        }
        true
    }

    fn moving(&mut self, vm: &VmName, from: Option<&HostName>, event: &Event) {
        let from = from.or(self.at.get(vm)).cloned();
        let draft = self.draft(&[IncidentKind::Moves], event.at);
        let mark = draft.mark(event.at, Phase::Moving);
        draft.vm(vm, from.as_ref()).reach(mark);
        self.reason(vm, event);
    }

    fn finish(mut self) -> Vec<Incident> {
        self.drafts.sort_by_key(|draft| draft.start);
        let mut ids = BTreeSet::new();
        let mut incidents = Vec::new();
        for draft in self.drafts {
            let stem = stamp(draft.start);
            let mut id = stem.clone();
            let mut n = 2;
            while !ids.insert(id.clone()) {
                id = format!("{stem}-{n}");
                n += 1;
            }
            incidents.push(assemble(id, draft, self.sites));
        }
        incidents
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
