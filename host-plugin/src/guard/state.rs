//! What the guard watches, and what follows from the deadline.
//!
//! ```text
//!  Unarmed ── stamped processes found, nobody arms within ORPHAN_GRACE_MS ──> killed
//!  Armed ──── deadline ──> every watched process gets SIGKILL, at once and before anything else
//!  Lapsed ─── what is handed over or found later gets it too, until another life is armed
//! ```
//! Everything here is done by the one thread of the guard. It reads no file of another process but
//! `/proc/PID/stat`, which does not block.

use super::protocol::{Answer, Call, Killed, Process, Status, VERSION};
use super::table::{Found, Table, TableFile};
use super::watched::Watched;
use holdfast_core::guardian::deadline::{Deadline, Phase, Verdict};
use holdfast_model::id::Incarnation;
use holdfast_model::time::Instant;
use rustix::fd::BorrowedFd;
use std::collections::BTreeMap;

/// A guard that lost its table and finds stamped processes gives an agent this long to arm it: less
/// than the shortest deadline of any profile, and longer than an agent that runs needs to connect.
pub const ORPHAN_GRACE_MS: u64 = 1_500;
/// While something is being killed, its end is looked at this often besides being told of it.
const KILLING_LOOK_MS: u64 = 100;
/// After a deadline, what may have turned up since is looked for this often.
const RESCAN_MS: u64 = 1_000;

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
    pub fn restore(table: TableFile, boot_id: String, now: Instant) -> Self {
        let mut guard = Self {
            boot_id,
            deadline: Deadline::new(),
            watched: BTreeMap::new(),
            killed: Vec::new(),
            table,
            warnings: Vec::new(),
            orphans_until: None,
            kills: false,
            next_scan: Some(now),
        };
        match guard.table.read(&guard.boot_id) {
            Found::Table(found) => guard.go_on_from(found),
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

    fn go_on_from(&mut self, table: Table) {
        self.deadline = table.deadline;
        self.killed = table.killed;
        for process in table.watched {
            let (vm, pid) = (process.vm.clone(), process.process.pid);
            match Watched::open(process) {
                Ok(watched) => {
                    tracing::info!(%vm, pid, "watched again");
                    self.watched.insert(pid, watched);
                }
                Err(error) => tracing::info!(%error, "not watched again"),
            }
        }
    }

    /// Answers a call.
    pub fn call(&mut self, call: Call, now: Instant) -> Result<Answer, String> {
        match call {
            Call::Status => Ok(Answer::Status(self.status())),
            Call::Arm {
                incarnation,
                bounds,
            } => {
                self.reap();
                let empty = self.watched.is_empty();
                let other = self.life() != Some(&incarnation);
                let armed = self.deadline.arm(incarnation.clone(), bounds, empty, now);
                let deadline = armed.map_err(|error| error.to_string())?;
                if other {
                    tracing::info!(%incarnation, "armed");
                    self.killed.clear();
                }
                self.orphans_until = None;
                self.kills = false;
                self.save_or_refuse()?;
                Ok(Answer::Armed { deadline })
            }
            Call::Renewed {
                incarnation,
                sent_at,
            } => {
                let renewal = self.deadline.renewed(&incarnation, sent_at, now);
                self.save();
                Ok(Answer::Renewed { renewal })
            }
            Call::Revoke { incarnation } => {
                self.deadline.revoke(&incarnation, now);
                self.save();
                Ok(Answer::Done)
            }
            Call::Watch {
                incarnation,
                process,
            } => self.watch(&incarnation, process).map(|()| Answer::Done),
        }
    }

    fn watch(&mut self, incarnation: &Incarnation, process: Process) -> Result<(), String> {
        let lapsed = matches!(self.deadline.phase(), Phase::Lapsed { .. });
        if !lapsed && !self.deadline.accepts(incarnation) {
            return Err(format!(
                "incarnation {incarnation} is not armed: arm it first"
            ));
        }
        let (vm, pid) = (process.vm.clone(), process.process.pid);
        let watched = Watched::open(process).map_err(|error| error.to_string())?;
        let known = self.watched.insert(pid, watched);
        if lapsed {
            // It is killed by the step that follows every call.
            return Err(format!(
                "the deadline has passed: {vm} is being killed, as everything of this life"
            ));
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
        let kill = verdict == Verdict::KillAll || orphaned;
        let mut todo = Todo::default();
        if kill {
            todo.tell = self.kill_all();
        }
        if kill && !self.kills {
            let vms = self.watched.len();
            match self.life() {
                Some(life) => tracing::error!(%life, vms, "the deadline has passed: killing"),
                None => tracing::error!("VMs run here and nobody watches over them: killing"),
            }
            self.kills = true;
            self.next_scan = Some(now);
            todo.tell = true;
        }
        if self.reap() {
            todo.tell |= self.kills;
            self.save();
        } else if todo.tell {
            self.save();
        }
        if self.next_scan.is_some_and(|at| now >= at) {
            todo.scan = true;
            self.next_scan = self.kills.then(|| now.plus(RESCAN_MS));
        }
        todo
    }

    /// Signals everything that is watched; true if the list of what was killed grew.
    fn kill_all(&mut self) -> bool {
        let mut grew = false;
        for watched in self.watched.values() {
            if let Err(error) = watched.kill() {
                let vm = &watched.process.vm;
                tracing::error!(%vm, %error, "a process could not be killed; trying again");
            }
        }
        for watched in self.watched.values() {
            let Process { vm, generation, .. } = &watched.process;
            let is_it = |killed: &Killed| killed.vm == *vm && killed.generation == *generation;
            if !self.killed.iter().any(is_it) {
                self.killed.push(Killed {
                    vm: vm.clone(),
                    generation: *generation,
                    gone: false,
                });
                grew = true;
            }
        }
        grew
    }

    /// Forgets what has exited; true if there was any.
    fn reap(&mut self) -> bool {
        let exited = |watched: &Watched| watched.has_exited();
        let gone: Vec<u32> = (self.watched.iter())
            .filter(|(_, watched)| exited(watched))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in &gone {
            let Some(Watched { process, .. }) = self.watched.remove(pid) else {
                continue;
            };
            tracing::info!(vm = %process.vm, pid, "has exited");
            for killed in &mut self.killed {
                if killed.vm == process.vm && killed.generation == process.generation {
                    killed.gone = true;
                }
            }
        }
        !gone.is_empty()
    }

    /// What a scan found.
    pub fn found(&mut self, processes: Vec<Process>, now: Instant) {
        if self.kills {
            for process in processes {
                self.catch(process);
            }
            return;
        }
        if *self.deadline.phase() != Phase::Unarmed || processes.is_empty() {
            return;
        }
        let count = processes.len();
        tracing::warn!(count, "VMs run here and no agent has armed this guard");
        self.orphans_until.get_or_insert(now.plus(ORPHAN_GRACE_MS));
    }

    fn catch(&mut self, process: Process) {
        let pid = process.process.pid;
        if self.watched.contains_key(&pid) {
            return;
        }
        let vm = process.vm.clone();
        match Watched::open(process) {
            Ok(watched) => {
                tracing::warn!(%vm, pid, "nobody had handed this one over");
                self.watched.insert(pid, watched);
            }
            Err(error) => tracing::debug!(%error, "found, and gone by now"),
        }
    }

    /// When to step at the latest.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let look = (self.kills && !self.watched.is_empty()).then(|| now.plus(KILLING_LOOK_MS));
        let times = [
            self.deadline.next_wake(),
            self.orphans_until.filter(|_| !self.kills),
            self.next_scan,
            look,
        ];
        times.into_iter().flatten().min()
    }

    /// The processes whose end wakes the guard.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watched.values().map(Watched::fd)
    }

    /// What was killed, and of which life.
    pub fn stopped(&self) -> (Option<Incarnation>, Vec<Killed>) {
        (self.life().cloned(), self.killed.clone())
    }

    /// Something was killed at a deadline, or would have been.
    pub fn is_killing(&self) -> bool {
        self.kills
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
            warnings: self.warnings.clone(),
        }
    }

    fn processes(&self) -> Vec<Process> {
        self.watched.values().map(|w| w.process.clone()).collect()
    }

    fn save_or_refuse(&mut self) -> Result<(), String> {
        let table = Table {
            boot_id: self.boot_id.clone(),
            deadline: self.deadline.clone(),
            watched: self.processes(),
            killed: self.killed.clone(),
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
