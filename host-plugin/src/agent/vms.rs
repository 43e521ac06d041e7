//! The loop that runs this host's VMs: look, decide, do. Woken by every change, it always looks at
//! the whole; a wake-up says nothing but "look again".
//!
//! ```text
//! cache · libvirt · guard · session · ends of calls · timer
//!        └────────> lists ─> hand over to the guard ─> world ─> guardian ─┬─> reports
//!                                                                         └─> jobs
//! ```

use super::claim::Cover;
use super::life::Life;
use super::lister::Lister;
use super::seen::Seen;
use super::target::{Outcome, Tools};
use super::tasks::{Finished, Tasks};
use crate::driver::DriverEvent;
use crate::guard::client::Stopped;
use crate::guard::protocol::Killed;
use crate::process::ProcessId;
use holdfast_core::guardian::{EndKind, Ended, decide, settled_ends};
use holdfast_model::id::{Generation, Incarnation, Revision, VmName};
use holdfast_model::time::{Instant, UnixMs};
use holdfast_store::cache::Cache;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

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
    pub fenced: mpsc::UnboundedSender<Killed>,
}

/// The loop's state.
pub struct Vms {
    pub(super) tools: Tools,
    pub(super) sources: Sources,
    pub(super) sinks: Sinks,
    pub(super) seen: Seen,
    pub(super) tasks: Tasks,
    pub(super) finished: mpsc::UnboundedReceiver<Finished>,
    pub(super) ends: BTreeMap<VmName, Ended>,
    pub(super) resumed_at: BTreeMap<(VmName, Generation), UnixMs>,
    /// What the guard watches, on which connection to it.
    pub(super) watched: BTreeSet<(u64, ProcessId, Generation, Cover)>,
    pub(super) all_watched: bool,
    pub(super) grants_known: bool,
    /// VMs are judged by lists from this number on: the first that began with everything known.
    judges_from: Option<u64>,
    pub(super) lister: Lister,
    /// VMs that are judged by lists from that number on: something about them ended meanwhile.
    pub(super) settling: BTreeMap<VmName, u64>,
    /// VMs that are not in lists before that number, whatever those say: their processes have exited.
    pub(super) left: BTreeMap<VmName, u64>,
    /// Migrations that libvirtd carries on although no call of this process is under way: an agent
    /// before this one began them.
    pub(super) carried_on: BTreeMap<VmName, Generation>,
    /// While libvirt does not answer: whether a process of this cluster's VMs runs here.
    pub(super) processes: Option<bool>,
    /// What was told of the guard's work.
    fenced_told: BTreeSet<(VmName, Generation)>,
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
            judges_from: None,
            lister: Lister::default(),
            settling: BTreeMap::new(),
            left: BTreeMap::new(),
            carried_on: BTreeMap::new(),
            processes: None,
            fenced_told: BTreeSet::new(),
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
            Some(event) = self.sources.driver.recv() => self.on_driver(event),
            Some(stopped) = self.sources.stopped.recv() => self.on_stopped(stopped),
            Some(finished) = self.finished.recv() => self.on_finished(finished),
            Some(listed) = self.lister.ended() => self.on_listed(listed),
            Ok(()) = self.sources.life.changed() => {}
            Ok(()) = self.sources.stop.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Everything that has arrived counts before the next look.
    fn drain(&mut self) {
        while let Ok(event) = self.sources.driver.try_recv() {
            self.on_driver(event);
        }
        while let Ok(stopped) = self.sources.stopped.try_recv() {
            self.on_stopped(stopped);
        }
        while let Ok(finished) = self.finished.try_recv() {
            self.on_finished(finished);
        }
        while let Some(listed) = self.lister.try_ended() {
            self.on_listed(listed);
        }
    }

    fn on_driver(&mut self, event: DriverEvent) {
        self.lister.due();
        match event {
            DriverEvent::Stopped { uuid, how } => self.seen.stopped(uuid, how),
            DriverEvent::Lost { .. } => self.seen.lost(),
            DriverEvent::IoError { uuid, text } => {
                tracing::error!(%uuid, text, "a disk had an I/O error");
            }
            DriverEvent::Connected | DriverEvent::Changed { .. } => {}
        }
    }

    fn on_stopped(&mut self, stopped: Stopped) {
        self.lister.due();
        for killed in stopped.killed {
            if !killed.gone {
                tracing::warn!(vm = %killed.vm, "the guard is killing it");
                continue;
            }
            let (vm, generation) = (killed.vm.clone(), killed.generation);
            self.seen.explained(&vm, generation);
            let how = EndKind::SelfFenced;
            // The list is told anew with each kill; what ended since is more.
            let known = self.ends.get(&vm);
            if known.is_none_or(|known| known.generation <= generation) {
                self.ends.insert(vm.clone(), Ended { generation, how });
            }
            self.settling.insert(vm.clone(), self.lister.next());
            if self.fenced_told.insert((vm, generation)) {
                let _ = self.sinks.fenced.send(killed);
            }
        }
        if let Some(incarnation) = stopped.incarnation {
            let _ = self.sinks.ended.send(incarnation);
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        self.lister.due();
        let (vm, generation) = (finished.vm.clone(), finished.generation);
        if !self.tasks.finish(&finished, (self.tools.clock)()) {
            return;
        }
        let Outcome {
            end,
            has_exited,
            resumed_at,
            failure,
        } = finished.outcome;
        let next_list = self.lister.next();
        if has_exited {
            // The destination waits for the word.
            self.seen.left(&vm);
            self.left.insert(vm.clone(), next_list);
        } else {
            self.settling.insert(vm.clone(), next_list);
        }
        if let Some(failure) = failure {
            tracing::warn!(%vm, %generation, failure, "not done");
        }
        if let Some(at) = resumed_at {
            tracing::info!(%vm, %generation, "runs");
            self.resumed_at.retain(|(other, _), _| *other != vm);
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
        let now = (self.tools.clock)();
        self.grants_known |= self.sources.cache.view_since().is_some();
        let everything_known = match life {
            Life::Cleaning => true,
            Life::Open(_) => self.grants_known,
            Life::Unknown | Life::Opening(_) => false,
        };
        self.judges_from = match everything_known {
            true => self.judges_from.or_else(|| {
                self.lister.due();
                Some(self.lister.next())
            }),
            false => None,
        };
        self.begin_list(&life, now);
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
        let judges = self
            .judges_from
            .is_some_and(|from| self.lister.done() >= from);
        if !judges {
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
}

/// The revisions of records, by VM.
pub(super) type Revisions = BTreeMap<VmName, Revision>;
