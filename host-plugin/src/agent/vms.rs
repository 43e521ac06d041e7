//! The loop that runs this host's VMs: look, decide, do. Woken by every change, it always looks at
//! the whole; a wake-up says nothing but "look again".
//!
//! ```text
//! cache · libvirt · guard · session · ends of calls · timer
//!        └────────> list ─> hand over to the guard ─> world ─> guardian ─┬─> reports
//!                                                                        └─> jobs
//! ```

use super::jobs::{Outcome, Target, Tools, hand_over};
use super::life::Life;
use super::seen::Seen;
use super::tasks::{Finished, Tasks};
use super::world::{self, Known};
use crate::driver::{Activity, DriverEvent};
use crate::guard::client::Stopped;
use crate::process::ProcessId;
use holdfast_core::guardian::{Action, Decision, EndKind, Ended, HostWorld, decide, settled_ends};
use holdfast_model::host::{RunState, VmReport};
use holdfast_model::id::{Generation, Incarnation, Revision, VmName};
use holdfast_model::time::{Instant, UnixMs};
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// libvirt is listed at least this often, whatever it tells by itself.
const LIST_EVERY_MS: u64 = 5_000;
/// The loop looks at the whole at least this often.
const LOOK_EVERY_MS: u64 = 2_000;

/// What wakes the loop.
pub struct Sources {
    /// The store.
    pub cache: Cache,
    /// libvirt.
    pub driver: mpsc::UnboundedReceiver<DriverEvent>,
    /// The guard.
    pub stopped: mpsc::UnboundedReceiver<Stopped>,
    /// The session.
    pub life: watch::Receiver<Life>,
    /// The process is asked to end.
    pub stop: watch::Receiver<bool>,
}

/// Where the loop tells what it found.
pub struct Sinks {
    /// Nothing of this cluster is here.
    pub clean: watch::Sender<Option<bool>>,
    /// Lives that the guard ended.
    pub ended: mpsc::UnboundedSender<Incarnation>,
    /// VMs that the guard stopped, for the events.
    pub fenced: mpsc::UnboundedSender<(VmName, Generation)>,
}

/// The loop's state.
pub struct Vms {
    tools: Tools,
    sources: Sources,
    sinks: Sinks,
    seen: Seen,
    tasks: Tasks,
    finished: mpsc::UnboundedReceiver<Finished>,
    ends: BTreeMap<VmName, Ended>,
    resumed_at: BTreeMap<(VmName, Generation), UnixMs>,
    /// What the guard watches, on which connection to it.
    watched: BTreeSet<(u64, ProcessId, Generation)>,
    all_watched: bool,
    grants_known: bool,
    list_due: bool,
    listed_at: Instant,
}

impl Vms {
    /// The loop, not running yet.
    pub fn new(tools: Tools, sources: Sources, sinks: Sinks) -> Self {
        let (done, finished) = mpsc::unbounded_channel();
        Self {
            tools,
            sources,
            sinks,
            seen: Seen::default(),
            tasks: Tasks::new(done),
            finished,
            ends: BTreeMap::new(),
            resumed_at: BTreeMap::new(),
            watched: BTreeSet::new(),
            all_watched: false,
            grants_known: false,
            list_due: true,
            listed_at: Instant(0),
        }
    }

    /// Runs until the process is asked to end and no call is under way that should not be left.
    pub async fn run(mut self) {
        loop {
            self.drain();
            let wake_at = self.round().await;
            let stopping = *self.sources.stop.borrow();
            if stopping && self.tasks.may_be_left() {
                return;
            }
            self.wait(wake_at).await;
        }
    }

    async fn wait(&mut self, wake_at: Option<Instant>) {
        let now = (self.tools.clock)();
        let latest = now.plus(LOOK_EVERY_MS);
        let until = wake_at.map_or(latest, |at| at.min(latest));
        // Never a busy loop, even if something asks to be woken in the past.
        let wait = Duration::from_millis(until.since(now).max(5));
        tokio::select! {
            () = self.sources.cache.changed() => {}
            event = self.sources.driver.recv() => self.on_driver(event),
            stopped = self.sources.stopped.recv() => self.on_stopped(stopped),
            finished = self.finished.recv() => self.on_finished(finished),
            _ = self.sources.life.changed() => {}
            _ = self.sources.stop.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Everything that has arrived counts before the next look.
    fn drain(&mut self) {
        while let Ok(event) = self.sources.driver.try_recv() {
            self.on_driver(Some(event));
        }
        while let Ok(stopped) = self.sources.stopped.try_recv() {
            self.on_stopped(Some(stopped));
        }
        while let Ok(finished) = self.finished.try_recv() {
            self.on_finished(Some(finished));
        }
    }

    fn on_driver(&mut self, event: Option<DriverEvent>) {
        self.list_due = true;
        match event {
            Some(DriverEvent::Stopped { uuid, how }) => self.seen.stopped(uuid, how),
            Some(DriverEvent::Lost { .. }) => self.seen.lost(),
            Some(DriverEvent::IoError { uuid, text }) => {
                tracing::error!(%uuid, text, "a disk had an I/O error");
            }
            Some(DriverEvent::Connected | DriverEvent::Changed { .. }) | None => {}
        }
    }

    fn on_stopped(&mut self, stopped: Option<Stopped>) {
        let Some(stopped) = stopped else { return };
        self.list_due = true;
        for killed in stopped.killed {
            if !killed.gone {
                tracing::warn!(vm = %killed.vm, "the guard is killing it");
                continue;
            }
            let (vm, generation) = (killed.vm, killed.generation);
            self.seen.explained(&vm, generation);
            let how = EndKind::SelfFenced;
            self.ends.insert(vm.clone(), Ended { generation, how });
            let _ = self.sinks.fenced.send((vm, generation));
        }
        if let Some(incarnation) = stopped.incarnation {
            let _ = self.sinks.ended.send(incarnation);
        }
    }

    fn on_finished(&mut self, finished: Option<Finished>) {
        let Some(finished) = finished else { return };
        self.list_due = true;
        let (vm, generation) = (finished.vm.clone(), finished.generation);
        if !self.tasks.finish(&finished, (self.tools.clock)()) {
            return;
        }
        let Outcome {
            end,
            resumed_at,
            failure,
        } = finished.outcome;
        if let Some(failure) = failure {
            tracing::warn!(%vm, %generation, failure, "not done");
        }
        if let Some(at) = resumed_at {
            tracing::info!(%vm, %generation, "runs");
            self.resumed_at.insert((vm.clone(), generation), at);
        }
        if let Some(how) = end {
            tracing::info!(%vm, %generation, ?how, "ended");
            self.seen.explained(&vm, generation);
            self.ends.insert(vm, Ended { generation, how });
        }
    }

    /// One look at the whole; when to look again at the latest.
    async fn round(&mut self) -> Option<Instant> {
        let life = self.sources.life.borrow_and_update().clone();
        self.list().await;
        self.hand_over(&life).await;
        let now = (self.tools.clock)();
        let busy = self.tasks.busy();
        for (vm, end) in self.seen.ends(now, &busy) {
            // What a call or the guard said of this grant's end is more than what was seen of it.
            let known = self.ends.get(&vm);
            if known.is_none_or(|known| known.generation < end.generation) {
                self.ends.insert(vm, end);
            }
        }
        self.tasks.forget_gone(self.seen.domains(), now);
        self.tell_clean();
        self.grants_known |= self.sources.cache.view_since().is_some();
        if !life.is_known() {
            return self.seen.wake_at();
        }
        let (mut world, owners, seen_at) = self.world(&life, now);
        for vm in settled_ends(&world) {
            self.ends.remove(&vm);
            world.ends.remove(&vm);
        }
        let decision = decide(&world);
        let wake_at = decision.wake_at;
        if !*self.sources.stop.borrow() {
            self.apply(decision, &world, &owners, &seen_at);
        }
        let wakes = [wake_at, self.seen.wake_at(), self.tasks.wake_at()];
        wakes.into_iter().flatten().min()
    }

    async fn list(&mut self) {
        let now = (self.tools.clock)();
        if !self.list_due && now.since(self.listed_at) < LIST_EVERY_MS {
            return;
        }
        self.list_due = false;
        self.listed_at = now;
        match self.tools.driver.list().await {
            Ok(list) => self.seen.listed(list, (self.tools.clock)()),
            Err(error) => {
                tracing::debug!(%error, "no list of domains");
                self.seen.lost();
            }
        }
    }

    /// Every process with this cluster's stamp is watched by the guard, whatever it does.
    async fn hand_over(&mut self, life: &Life) {
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

    fn tell_clean(&self) {
        let empty = self.seen.domains().map(BTreeMap::is_empty);
        let clean = empty.map(|empty| empty && self.tasks.is_empty());
        self.sinks.clean.send_if_modified(|told| {
            let news = *told != clean;
            *told = clean;
            news
        });
    }

    /// The world, and the revisions it was read at: of owners and of this host's own reports.
    fn world(&self, life: &Life, now: Instant) -> (HostWorld, Revisions, Revisions) {
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
            jobs: self.tasks.jobs(),
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

    fn apply(
        &mut self,
        decision: Decision,
        world: &HostWorld,
        owners: &Revisions,
        seen_at: &Revisions,
    ) {
        let Decision {
            mut reports,
            mut actions,
            ..
        } = decision;
        let names: BTreeSet<VmName> = reports.keys().chain(actions.keys()).cloned().collect();
        for vm in names {
            let (report, action) = (reports.remove(&vm), actions.remove(&vm));
            let target = self.target(&vm, action.as_ref(), world, owners);
            let events = match &report {
                Some(Some(report)) => self.events(&vm, report, world.reports.get(&vm)),
                _ => Vec::new(),
            };
            if let Some(uuid) = target.spec.as_ref().map(|spec| &spec.uuid)
                && matches!(action, Some(Action::Start { .. }))
                && !self.tasks.is_busy(&vm)
            {
                self.seen.begins(uuid);
            }
            let seen = seen_at.get(&vm).copied();
            self.tasks
                .begin(&self.tools, target, report, action, seen, events, world.now);
        }
    }

    fn target(
        &self,
        vm: &VmName,
        action: Option<&Action>,
        world: &HostWorld,
        owners: &Revisions,
    ) -> Target {
        let grant = world.grants.get(vm);
        let domain = self.seen.domains().and_then(|domains| domains.get(vm));
        let stamped = domain.map(|domain| domain.stamp.generation);
        let granted = grant.map(|grant| grant.owner.generation);
        let generation = match action {
            Some(
                Action::Start { generation }
                | Action::TakeOver { generation }
                | Action::Resume { generation }
                | Action::Migrate { generation, .. },
            ) => Some(*generation),
            // These are about what is here.
            Some(Action::Shutdown | Action::Destroy { .. } | Action::AbortMigration) => stamped,
            None => granted,
        };
        Target {
            vm: vm.clone(),
            spec: grant.and_then(|grant| grant.spec.clone()),
            generation: generation.or(granted).unwrap_or_default(),
            owner: owners.get(vm).copied(),
            incarnation: world.incarnation.clone(),
            domain: domain.cloned(),
        }
    }

    /// What is worth telling of a new report.
    fn events(
        &self,
        vm: &VmName,
        report: &VmReport,
        before: Option<&VmReport>,
    ) -> Vec<holdfast_store::guards::HostWrite> {
        let same_grant = before.filter(|before| before.generation == report.generation);
        let ran = same_grant.is_some_and(|before| before.state != RunState::Starting);
        if report.state != RunState::Running || ran {
            return Vec::new();
        }
        let at = self.resumed_at.get(&(vm.clone(), report.generation));
        let at = at.copied().unwrap_or_else(wall);
        vec![super::events::vm_running(
            &self.tools,
            vm,
            report.generation,
            at,
        )]
    }
}

type Revisions = BTreeMap<VmName, Revision>;
