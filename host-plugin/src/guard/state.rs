//! What the guard watches, and what follows from the deadline.
//!
//! ```text
//!  Unarmed ── stamped processes found, nobody arms within ORPHAN_GRACE_MS ──> killed
//!  Armed ──── session lapsed ──> what runs without a storage lease gets SIGKILL
//!        ──── both planes ──> every watched process gets SIGKILL, at once and before anything else
//!  Lapsed ─── what is handed over or found later gets it too, until another life is armed
//! ```
//! Once everything of a life that has lapsed is gone, its heartbeat on the lease volume says so.
//!
//! Everything here is done by the one thread of the guard. It reads no file of another process but
//! `/proc/PID/stat`, which does not block.

mod claims;
mod kills;

use super::claims::Task;
use super::lease::{LeasePlane, News};
use super::probes::Probes;
use super::protocol::{Answer, Call, Killed, Process, Status, VERSION};
use super::reset::Reset;
use super::table::{Found, Table, TableFile};
use super::watched::Watched;
use holdfast_core::guardian::deadline::{Deadline, Phase, Verdict};
use holdfast_core::lease::keeper::Identity;
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::time::Instant;
use holdfast_model::timing::required_taker_wait_ms;
use rustix::fd::BorrowedFd;
use std::collections::BTreeMap;

/// A guard that lost its table and finds stamped processes gives an agent this long to arm it: less
/// than the shortest deadline of any profile, and longer than an agent that runs needs to connect.
pub const ORPHAN_GRACE_MS: u64 = 1_500;
/// While something is being killed, its end is looked at this often besides being told of it.
const KILLING_LOOK_MS: u64 = 100;
/// After a deadline, what may have turned up since is looked for this often.
const RESCAN_MS: u64 = 1_000;

/// What a call about the lease volume is answered without one.
const NO_VOLUME: &str = "this host has no lease volume: `volume` of [lease] in host.toml names one";

/// The guard's state.
pub struct Guard {
    boot_id: String,
    deadline: Deadline,
    watched: BTreeMap<u32, Watched>,
    killed: Vec<Killed>,
    table: TableFile,
    warnings: Vec<String>,
    orphans_until: Option<Instant>,
    kills: bool,
    next_scan: Option<Instant>,
    lease: Option<LeasePlane>,
    host: HostName,
    probes: Probes,
    /// A scan begun after the deadline has found nothing more.
    scanned_clean: bool,
    /// A scan has ended at all.
    scanned: bool,
    reset: Reset,
    /// By the bounds that were armed last.
    kill_bound_ms: Option<u64>,
}

/// What the server has to do after a step.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Todo {
    /// Tell the agents what was stopped.
    pub tell: bool,
    /// Look for processes that nobody handed over.
    pub scan: bool,
}

impl Guard {
    /// Goes on from the table, if there is one of this boot.
    pub fn restore(
        table: TableFile,
        boot_id: String,
        host: HostName,
        lease: Option<LeasePlane>,
        reset: Reset,
        now: Instant,
    ) -> Self {
        let mut guard = Self {
            probes: Probes::new(&host, &boot_id),
            boot_id,
            deadline: Deadline::new(),
            watched: BTreeMap::new(),
            killed: Vec::new(),
            table,
            warnings: Vec::new(),
            orphans_until: None,
            kills: false,
            next_scan: Some(now),
            lease,
            host,
            scanned_clean: false,
            scanned: false,
            reset,
            kill_bound_ms: None,
        };
        match guard.table.read(&guard.boot_id) {
            Found::Table(found) => guard.go_on_from(*found, now),
            Found::Nothing => {}
            Found::Damaged(reason) => {
                tracing::error!(reason, "the table of the guard's last life cannot be read");
                guard.warn(format!("the guard's table was damaged: {reason}"));
            }
        }
        guard
    }

    /// Adds to what the status warns of.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    fn go_on_from(&mut self, table: Table, now: Instant) {
        self.deadline = table.deadline;
        if let (Some(slot), Phase::Armed(armed)) = (table.slot, self.deadline.phase()) {
            let (life, bounds) = (armed.incarnation.clone(), armed.bounds.clone());
            self.beat_for(slot, &life, &bounds, now);
        }
        if let Some(lease) = &mut self.lease {
            lease.go_on_with_mail(table.acknowledged, now);
        }
        self.killed = table.killed;
        self.kill_bound_ms = table.kill_bound_ms;
        self.reset.go_on_from(table.left_to_reset);
        for process in table.watched {
            let (vm, pid) = (process.vm.clone(), process.process.pid);
            match Watched::open(process) {
                Ok(mut watched) => {
                    watched.doomed = table.doomed.get(&pid).copied();
                    tracing::info!(%vm, pid, "watched again");
                    self.watched.insert(pid, watched);
                }
                Err(error) => tracing::info!(%error, "not watched again"),
            }
        }
    }

    /// Answers a call.
    pub fn call(&mut self, call: Call, now: Instant) -> Result<Answer, String> {
        if let Some(lease) = &mut self.lease {
            lease.heard(now);
        }
        match call {
            Call::Status => Ok(Answer::Status(Box::new(self.status()))),
            Call::Alive => Ok(Answer::Done),
            Call::Arm {
                incarnation,
                bounds,
                slot,
            } => self.arm(incarnation, bounds, slot, now),
            Call::Renewed {
                incarnation,
                sent_at,
                revision,
            } => {
                let renewal = self.deadline.renewed(&incarnation, sent_at, now);
                if let Some(lease) = &mut self.lease {
                    lease.acknowledged(revision);
                }
                self.save();
                Ok(Answer::Renewed { renewal })
            }
            Call::Revoke { incarnation } => {
                self.deadline.revoke(&incarnation, now);
                self.save();
                Ok(Answer::Done)
            }
            Call::ControlClosed { incarnation } => {
                self.deadline.control_closed(&incarnation, now);
                self.save();
                Ok(Answer::Done)
            }
            Call::Watch {
                incarnation,
                process,
            } => self
                .watch(&incarnation, process, now)
                .map(|()| Answer::Done),
            Call::Probes { listen, key } => {
                let answers = self.probes.answer_on(listen, &key);
                answers.map(|()| Answer::Done)
            }
            Call::Volume => Ok(self.volume(now)),
            Call::Observe {
                slot,
                incarnation,
                closed,
            } => self.observe(slot, &incarnation, closed, now),
            Call::Claim { slot, wanted } => self.claim(slot, wanted, now),
            Call::FreeClaim { slot, uuid } => self.on_volume(Task::Free { slot, uuid }, now),
            Call::Send { slot, mail } => {
                let lease = self.lease.as_mut().ok_or(NO_VOLUME)?;
                let sent = lease.send(slot, mail);
                sent.map(|()| Answer::Done).map_err(|e| e.to_string())
            }
        }
    }

    fn arm(
        &mut self,
        incarnation: Incarnation,
        bounds: RunnerBounds,
        slot: Option<u32>,
        now: Instant,
    ) -> Result<Answer, String> {
        self.reap();
        let empty = self.watched.is_empty();
        let other = self.life() != Some(&incarnation);
        if other && let Some(left) = self.reset.left() {
            return Err(format!(
                "VM {} could not be killed, and this host is left to its watchdog: nothing new begins \
                 here until it was reset. If that does not come, power it off",
                left.vm
            ));
        }
        let storage = slot.is_some() && self.lease.is_some();
        let armed = (self.deadline).arm(incarnation.clone(), bounds.clone(), storage, empty, now);
        let deadline = armed.map_err(|error| error.to_string())?;
        if other {
            tracing::info!(%incarnation, "armed");
            self.killed.clear();
        }
        if let Some(slot) = slot {
            self.beat_for(slot, &incarnation, &bounds, now);
        }
        if let Some(lease) = &mut self.lease {
            lease.hold_mail(now);
        }
        self.orphans_until = None;
        self.kills = false;
        self.scanned_clean = false;
        self.save_or_refuse()?;
        // One that waited for the last of another life to go is started now, to be told of.
        self.pet(now);
        Ok(Answer::Armed {
            deadline,
            watchdog_bound_ms: self.reset.bound_ms(),
        })
    }

    /// Heartbeats on the lease volume for that life from now on.
    fn beat_for(&mut self, slot: u32, life: &Incarnation, bounds: &RunnerBounds, now: Instant) {
        let Ok(boot_id) = self.boot_id.parse() else {
            return;
        };
        let identity = Identity::new(self.host.clone(), life.clone(), boot_id, bounds);
        if let Some(lease) = &mut self.lease {
            lease.arm(slot, identity, bounds, now);
        }
    }

    fn volume(&mut self, now: Instant) -> Answer {
        let planes = self.deadline.planes(now);
        let (info, problem) = match &mut self.lease {
            Some(lease) => lease.info(),
            None => (None, None),
        };
        Answer::Volume {
            info,
            problem,
            planes,
        }
    }

    fn observe(
        &mut self,
        slot: u32,
        life: &Incarnation,
        closed: Instant,
        now: Instant,
    ) -> Result<Answer, String> {
        let lease = self.lease.as_mut().ok_or(NO_VOLUME)?;
        let (finding, last) = lease.observe(slot, life, closed, now);
        let wait_ms = last.map(|beat| {
            required_taker_wait_ms(
                beat.runner_deadline_ms.into(),
                beat.kill_bound_ms.into(),
                beat.watchdog_bound_ms.into(),
            )
        });
        Ok(Answer::Observed { finding, wait_ms })
    }

    fn watch(
        &mut self,
        incarnation: &Incarnation,
        process: Process,
        now: Instant,
    ) -> Result<(), String> {
        let verdict = self.deadline.tick(now);
        let lapsed = matches!(self.deadline.phase(), Phase::Lapsed { .. });
        let late = kills::dies(verdict, process.lease);
        if !lapsed && !self.deadline.accepts(incarnation) {
            return Err(format!(
                "incarnation {incarnation} is not armed: arm it first"
            ));
        }
        let (vm, pid) = (process.vm.clone(), process.process.pid);
        let mut watched = Watched::open(process).map_err(|error| error.to_string())?;
        let known = self.watched.remove(&pid);
        watched.doomed = known.as_ref().and_then(|known| known.doomed);
        let late = late || watched.doomed.is_some();
        self.watched.insert(pid, watched);
        if late {
            // It is killed by the step that follows every call.
            return Err(format!("its deadline has passed: {vm} is being killed"));
        }
        if known.is_none() {
            tracing::info!(%vm, pid, "watched");
        }
        self.save_or_refuse()
    }

    /// Does what is due. To be called at every wake-up and after every call.
    pub fn step(&mut self, now: Instant) -> Todo {
        let verdict = self.deadline.tick(now);
        let orphaned = self.orphans_until.is_some_and(|until| now >= until);
        let verdict = match orphaned {
            true => Verdict::KillAll,
            false => verdict,
        };
        let mut todo = Todo {
            tell: self.kill(verdict, now),
            ..Todo::default()
        };
        if verdict == Verdict::KillAll && !self.kills {
            let vms = self.watched.len();
            match self.life() {
                Some(life) => tracing::error!(%life, vms, "the deadline has passed: killing"),
                None => tracing::error!("VMs run here and nobody watches over them: killing"),
            }
            self.kills = true;
            self.scanned_clean = false;
            self.next_scan = Some(now);
            todo.tell = true;
        }
        if self.reap() {
            if self.kills && self.watched.is_empty() {
                // Nothing of this life may be left before that is said.
                self.next_scan = Some(now);
            }
            todo.tell |= self.kills || !self.killed.is_empty();
            self.save();
        } else if todo.tell {
            self.save();
        }
        if self.next_scan.is_some_and(|at| now >= at) {
            todo.scan = true;
            self.next_scan = self.kills.then(|| now.plus(RESCAN_MS));
        }
        self.step_lease(now);
        todo
    }

    fn step_lease(&mut self, now: Instant) {
        let gone = self.watched.is_empty() && self.scanned_clean;
        let (control, _) = self.deadline.planes(now);
        let over = match self.deadline.phase() {
            Phase::Lapsed { incarnation, .. } if gone => Some(incarnation.clone()),
            _ => None,
        };
        let Some(lease) = &mut self.lease else { return };
        if let Some(life) = over
            && !lease.is_released()
        {
            lease.release(&life, now);
        }
        lease.step(control, now);
        self.step_claims(now);
    }

    /// Calls to the lease volume have ended.
    pub fn lease_ready(&mut self, now: Instant) {
        let Some(lease) = &mut self.lease else { return };
        for news in lease.take(now) {
            match news {
                News::Renewed {
                    incarnation,
                    sent_at,
                } => self.deadline.storage_renewed(&incarnation, sent_at, now),
                News::Asked { incarnation } => drop(self.deadline.revoke(&incarnation, now)),
                News::PassedOver(passed) => self.doom(&passed, now),
            }
        }
    }

    /// When to step at the latest.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let killing = self.watched.values().any(|w| w.doomed.is_some());
        let look = killing.then(|| now.plus(KILLING_LOOK_MS));
        let times = [
            self.deadline.next_wake(now),
            self.lease.as_ref().and_then(LeasePlane::next_wake),
            self.orphans_until.filter(|_| !self.kills),
            self.next_scan,
            look,
            // With something to be killed the next look tells whether it may be petted.
            self.reset.next_pet().filter(|_| !killing),
        ];
        times.into_iter().flatten().min()
    }

    /// The processes whose end wakes the guard.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watched.values().map(Watched::fd)
    }

    /// Becomes readable when a call to the lease volume has ended.
    pub fn lease_fd(&self) -> Option<BorrowedFd<'_>> {
        self.lease.as_ref().map(LeasePlane::fd)
    }

    /// What was killed, and the life that is over, if one is.
    pub fn stopped(&self) -> (Option<Incarnation>, Vec<Killed>) {
        let over = match self.deadline.phase() {
            Phase::Lapsed { incarnation, .. } => Some(incarnation.clone()),
            Phase::Unarmed | Phase::Armed(_) => None,
        };
        (over, self.killed.clone())
    }

    /// Something was killed at a deadline, or would have been.
    pub fn is_killing(&self) -> bool {
        self.kills || !self.killed.is_empty()
    }

    fn life(&self) -> Option<&Incarnation> {
        match self.deadline.phase() {
            Phase::Unarmed => None,
            Phase::Armed(armed) => Some(&armed.incarnation),
            Phase::Lapsed { incarnation, .. } => Some(incarnation),
        }
    }

    fn status(&self) -> Status {
        Status {
            v: VERSION,
            phase: self.deadline.phase().clone(),
            watched: self.processes(),
            killed: self.killed.clone(),
            warnings: self.warnings(),
            watchdog_bound_ms: self.reset.bound_ms(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let problem = self.reset.problem().map(str::to_owned);
        self.warnings.iter().cloned().chain(problem).collect()
    }

    fn processes(&self) -> Vec<Process> {
        self.watched.values().map(|w| w.process.clone()).collect()
    }

    fn save_or_refuse(&mut self) -> Result<(), String> {
        self.remember_kill_bound();
        let doom = |(pid, watched): (&u32, &Watched)| Some((*pid, watched.doomed?));
        let table = Table {
            boot_id: self.boot_id.clone(),
            deadline: self.deadline.clone(),
            watched: self.processes(),
            killed: self.killed.clone(),
            slot: self.lease.as_ref().and_then(LeasePlane::slot),
            acknowledged: self
                .lease
                .as_ref()
                .map(LeasePlane::known_of_mail)
                .unwrap_or_default(),
            doomed: self.watched.iter().filter_map(doom).collect(),
            kill_bound_ms: self.kill_bound_ms,
            left_to_reset: self.reset.left().cloned(),
        };
        let written = self.table.write(&table);
        written.map_err(|error| format!("the guard cannot write its table: {error}"))
    }

    /// Where an older table would only make a restarted guard more careful.
    fn save(&mut self) {
        if let Err(error) = self.save_or_refuse() {
            tracing::warn!(error, "going on with the old one");
        }
    }
}
