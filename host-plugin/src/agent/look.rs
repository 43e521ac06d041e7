//! What the loop looks at: libvirt's list, the guard's watch over it, and the world made of both.

use super::jobs::hand_over;
use super::life::Life;
use super::vms::{Revisions, Vms};
use super::world::{self, Known};
use crate::domain_xml::stamp::{Phase, Stamp};
use crate::driver::libvirt::on_thread;
use crate::driver::{Activity, DomainRef};
use crate::guard::scan::scan;
use holdfast_core::guardian::{HostWorld, Job};
use holdfast_model::host::RunState;
use holdfast_model::id::VmName;
use holdfast_model::time::Instant;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// libvirt is listed at least this often, whatever it tells by itself.
const LIST_EVERY_MS: u64 = 5_000;
/// For a look at libvirtd's files and the processes they name.
const SCAN: Duration = Duration::from_secs(3);

impl Vms {
    /// Lists libvirt's domains if that is due; true if there is a new list.
    pub(super) async fn list(&mut self) -> bool {
        let now = (self.tools.clock)();
        if !self.list_due && now.since(self.listed_at) < LIST_EVERY_MS {
            return false;
        }
        self.list_due = false;
        self.listed_at = now;
        match self.tools.driver.list().await {
            Ok(list) => {
                self.processes = None;
                self.seen.listed(list, (self.tools.clock)());
                true
            }
            Err(error) => {
                tracing::debug!(%error, "no list of domains");
                self.seen.lost();
                self.processes = self.scan_processes().await;
                false
            }
        }
    }

    /// What libvirtd's own files say runs here. Good enough to tell that a host without libvirt is
    /// clean: a domain whose file is not written yet has never run.
    async fn scan_processes(&self) -> Option<bool> {
        if !self.tools.driver.has_processes() {
            return None;
        }
        let (dir, cluster) = (
            self.tools.config.libvirt.run_dir.clone(),
            self.tools.config.cluster.clone(),
        );
        let look = move || !scan(&dir, &cluster).is_empty();
        on_thread("scan", SCAN, look).await.ok()
    }

    /// What an agent before this one left half done: a migration that libvirtd carries on, a domain
    /// that was resumed and not stamped so.
    pub(super) async fn look_closer(&mut self, life: &Life) {
        let own = life.session().map(|open| open.incarnation.clone());
        let leaving = self.leaving();
        let mut carried_on = BTreeMap::new();
        for (vm, seen) in self.seen.domains().into_iter().flatten() {
            if self.tasks.is_busy(vm) || Some(&seen.stamp.incarnation) != own.as_ref() {
                continue;
            }
            let domain = DomainRef {
                uuid: seen.uuid.clone(),
                vm: vm.clone(),
                generation: seen.stamp.generation,
            };
            // Without an answer nobody knows that it has ended.
            if leaving.contains(vm) && self.tools.driver.is_migrating(&domain).await != Ok(false) {
                carried_on.insert(vm.clone(), seen.stamp.generation);
            }
            if seen.activity == Activity::Running && seen.stamp.phase == Phase::Created {
                let started = Stamp {
                    phase: Phase::Started,
                    ..seen.stamp.clone()
                };
                if let Err(error) = self.tools.driver.restamp(&domain, &started).await {
                    tracing::debug!(%vm, %error, "not stamped as started");
                }
            }
        }
        self.carried_on = carried_on;
    }

    /// VMs that this host reported to be migrating away.
    fn leaving(&self) -> BTreeSet<VmName> {
        let host = self.tools.records.host();
        self.sources.cache.read(|view| {
            let reports = view.hosts.get(host).into_iter().flat_map(|host| &host.vms);
            let leaving = reports.filter(|(_, seen)| seen.value.state == RunState::MigratingOut);
            leaving.map(|(vm, _)| vm.clone()).collect()
        })
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
            let entry = seen.process.map(|process| {
                let generation = seen.stamp.generation;
                (connection, process, generation)
            });
            let known = entry.is_some_and(|entry| self.watched.contains(&entry));
            if !known && let Err(error) = hand_over(&self.tools, &open.incarnation, seen).await {
                // One that is being created has no process yet; its own job hands it over.
                if seen.activity != Activity::StartingUp {
                    tracing::warn!(vm = %seen.stamp.vm, error, "not watched by the guard");
                    all = false;
                }
                continue;
            }
            watched.extend(entry);
        }
        // Looked up anew, as what is not watched may be by then.
        self.list_due |= !all;
        self.watched = watched;
        self.all_watched = all;
    }

    pub(super) fn tell_clean(&self) {
        let nothing_runs = || self.processes.map(|some| !some);
        let empty = self
            .seen
            .domains()
            .map(BTreeMap::is_empty)
            .or_else(nothing_runs);
        let clean = empty.map(|empty| empty && self.tasks.is_empty());
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
            held: &self.seen.held(),
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
