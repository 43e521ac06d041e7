//! What the loop looks at: libvirt's list, the guard's watch over it, and the world made of both.

use super::claim::Cover;
use super::jobs::hand_over;
use super::life::{Life, Open};
use super::lister::{Closer, Listed};
use super::vms::{Revisions, Vms};
use super::world::{self, Known};
use crate::driver::{Activity, SeenDomain};
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::{HostWorld, Job};
use holdfast_model::host::RunState;
use holdfast_model::id::{HostName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::time::Instant;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};

impl Vms {
    /// Begins a list of libvirt's domains if one is due.
    pub(super) fn begin_list(&mut self, life: &Life, now: Instant) {
        let (tasks, cache) = (&self.tasks, &self.sources.cache);
        let host = self.tools.records.host();
        self.lister.begin(&self.tools, now, || Closer {
            own: life.session().map(|open| open.incarnation.clone()),
            leaving: cache.read(|view| leaving(view, host)),
            busy: tasks.busy(),
        });
    }

    /// A list has ended.
    pub(super) fn on_listed(&mut self, listed: Listed) {
        let number = listed.number;
        let begun_before = |after: &u64| *after > number;
        match listed.domains {
            Some(mut domains) => {
                // One that began before they left may still have them.
                let left = |vm: &VmName| self.left.get(vm).is_some_and(begun_before);
                domains.retain(|seen| !left(&seen.stamp.vm));
                self.seen.listed(domains, (self.tools.clock)());
            }
            None => self.seen.lost(),
        }
        self.carried_on = listed.carried_on;
        self.processes = listed.processes;
        self.settling.retain(|_, after| begun_before(after));
        self.left.retain(|_, after| begun_before(after));
    }

    /// VMs to leave alone this time: their end is not told yet, or the last list is older than what
    /// is known of them.
    fn held(&self) -> BTreeSet<VmName> {
        let mut held = self.seen.held();
        held.extend(self.settling.keys().cloned());
        held
    }

    /// The calls under way, also those of an agent before this one.
    fn jobs(&self) -> BTreeMap<VmName, Job> {
        let mut jobs = self.tasks.jobs();
        for (vm, generation) in &self.carried_on {
            jobs.entry(vm.clone()).or_insert(Job::Migrate {
                generation: *generation,
                aborting: false,
            });
        }
        jobs
    }

    /// Every process with this cluster's stamp is watched by the guard, whatever it does.
    pub(super) async fn hand_over(&mut self, life: &Life) {
        self.all_watched = false;
        let (Some(open), Some(domains)) = (life.session(), self.seen.domains()) else {
            return;
        };
        let Some(connection) = open.armed_on else {
            return;
        };
        let mut watched = BTreeSet::new();
        let mut all = true;
        for seen in domains.values() {
            let generation = seen.stamp.generation;
            // A store that was set back has forgotten what this was granted under.
            let cover = match self.is_forgotten(seen) {
                true => self.known_cover(seen).await.unwrap_or_default(),
                false => self.cover(open, seen),
            };
            let entry = seen
                .process
                .map(|process| (connection, process, generation, cover));
            let watches = entry.is_some_and(|entry| self.watched.contains(&entry));
            if !watches
                && let Err(error) = hand_over(&self.tools, &open.incarnation, seen, cover).await
            {
                // One that is being created has no process yet; its own job hands it over.
                if seen.activity != Activity::StartingUp {
                    tracing::warn!(vm = %seen.stamp.vm, error, "not watched by the guard");
                    all = false;
                }
                continue;
            }
            watched.extend(entry);
        }
        if !all {
            // Looked up anew, as what is not watched may be by then.
            self.lister.due();
        }
        self.watched = watched;
        self.all_watched = all;
    }

    /// The owner record is of an earlier grant than the domain's.
    fn is_forgotten(&self, seen: &SeenDomain) -> bool {
        self.sources.cache.read(|view| {
            let vm = view.vms.get(&seen.stamp.vm);
            let owner = vm.and_then(|vm| vm.owner.as_ref());
            owner.is_none_or(|owner| owner.value.generation < seen.stamp.generation)
        })
    }

    /// What it was handed over with before: as this process knows, or else the guard.
    async fn known_cover(&self, seen: &SeenDomain) -> Option<Cover> {
        let (process, generation) = (seen.process?, seen.stamp.generation);
        let mut watched = self.watched.iter();
        let known = watched.find(|(_, p, g, _)| (*p, *g) == (process, generation));
        if let Some((_, _, _, cover)) = known {
            return Some(*cover);
        }
        let Ok(Answer::Status(status)) = self.tools.guard.call(Call::Status).await else {
            return None;
        };
        let mut watched = status.watched.into_iter();
        let known = watched.find(|w| w.process == process && w.generation == generation)?;
        Some(Cover {
            leased: known.lease == StorageClass::Quorum,
            slot: known.slot,
        })
    }

    /// What protects a domain, by its owner record.
    fn cover(&self, open: &Open, seen: &SeenDomain) -> Cover {
        let generation = seen.stamp.generation;
        let lease = self.sources.cache.read(|view| {
            let owner = view.vms.get(&seen.stamp.vm)?.owner.as_ref()?;
            Some(self.lease_of(Some(&owner.value), Some(generation)))
        });
        let leased = lease == Some(StorageClass::Quorum);
        // What carries this life's stamp was claimed by it before.
        let claimed = leased && seen.stamp.incarnation == open.incarnation;
        let volume = open.storage.as_ref().filter(|_| claimed);
        let slot = volume.and_then(|plane| {
            let slot = |view: &View| view.slot_of(&plane.volume, &seen.uuid);
            self.sources.cache.read(slot)
        });
        Cover { leased, slot }
    }

    pub(super) fn tell_clean(&self) {
        let nothing_runs = || self.processes.map(|some| !some);
        let empty = self
            .seen
            .domains()
            .map(BTreeMap::is_empty)
            .or_else(nothing_runs);
        let settled = self.tasks.is_empty() && self.settling.is_empty();
        let clean = empty.map(|empty| empty && settled);
        self.sinks.clean.send_if_modified(|told| {
            let news = *told != clean;
            *told = clean;
            news
        });
    }

    /// The world, and the revisions it was read at: of owners and of this host's own reports.
    pub(super) fn world(&self, life: &Life, now: Instant) -> (HostWorld, Revisions, Revisions) {
        let host = self.tools.records.host();
        let armed = life.session().is_some_and(|open| open.armed_on.is_some());
        let guard_works = armed && self.all_watched;
        let own = life.session().map(|open| &open.incarnation);
        let known = Known {
            now,
            host,
            life,
            guard_works,
            domains: self.seen.domains(),
            grants_known: self.grants_known,
            jobs: self.jobs(),
            ends: self.ends.clone(),
            held: &self.held(),
            arriving: &self.seen.arriving(own, now),
        };
        self.sources.cache.read(|view: &View| {
            let mut reports = BTreeMap::new();
            let mut seen_at = Revisions::new();
            for (vm, seen) in view.hosts.get(host).into_iter().flat_map(|host| &host.vms) {
                reports.insert(vm.clone(), seen.value.clone());
                seen_at.insert(vm.clone(), seen.revision);
            }
            self.tools
                .records
                .overlay(&mut reports, |vm| seen_at.get(vm).copied());
            let owner = |vm: &VmName| view.seen(&Key::VmOwner(vm.clone()));
            let owners = (view.vms.keys())
                .filter_map(|vm| Some((vm.clone(), owner(vm)?.0)))
                .collect();
            (world::build(known, view, reports), owners, seen_at)
        })
    }
}

/// VMs that this host reported to be migrating away.
fn leaving(view: &View, host: &HostName) -> BTreeSet<VmName> {
    let reports = view.hosts.get(host).into_iter().flat_map(|host| &host.vms);
    let leaving = reports.filter(|(_, seen)| seen.value.state == RunState::MigratingOut);
    leaving.map(|(vm, _)| vm.clone()).collect()
}
