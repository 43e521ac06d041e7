//! What has to go: signalled, looked after until it has exited, and left to the watchdog if it does not.

use super::{Guard, ORPHAN_GRACE_MS};
use crate::guard::claims::PassedOver;
use crate::guard::protocol::{KillReason, Killed, Process};
use crate::guard::reset::LeftToReset;
use crate::guard::watched::{Doom, Watched};
use holdfast_core::guardian::deadline::{Phase, Verdict};
use holdfast_model::lease::StorageClass;
use holdfast_model::time::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;

/// For VMs of a life whose bounds nobody knows any more: the shortest of any profile.
const KILL_BOUND_UNKNOWN_MS: u64 = 500;

/// Whether a process under that storage lease has to go.
pub(super) fn dies(verdict: Verdict, lease: StorageClass) -> bool {
    match verdict {
        Verdict::LetRun => false,
        Verdict::KillUnleased => lease == StorageClass::Plain,
        Verdict::KillAll => true,
    }
}

/// Those that have exited, by one look at all of them: there may be hundreds, at every step.
fn exited(watched: &BTreeMap<u32, Watched>) -> Vec<u32> {
    let mut fds: Vec<PollFd<'_>> = watched
        .values()
        .map(|watched| PollFd::from_borrowed_fd(watched.fd(), PollFlags::IN))
        .collect();
    let zero = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // A failed poll says nothing: they stay watched.
    if !matches!(poll(&mut fds, Some(&zero)), Ok(1..)) {
        return Vec::new();
    }
    let found = watched.keys().zip(&fds);
    let gone = found.filter(|(_, fd)| fd.revents().contains(PollFlags::IN));
    gone.map(|(pid, _)| *pid).collect()
}

impl Guard {
    /// Signals what must go; true if the list of what was killed grew.
    pub(super) fn kill(&mut self, verdict: Verdict, now: Instant) -> bool {
        let due = self.due(now);
        let kill_bound_ms = self.kill_bound_ms.unwrap_or(KILL_BOUND_UNKNOWN_MS);
        let mut grew = false;
        for watched in self.watched.values_mut() {
            let Process {
                vm,
                generation,
                lease,
                ..
            } = &watched.process;
            if dies(verdict, *lease) && watched.doomed.is_none() {
                if verdict != Verdict::KillAll {
                    tracing::error!(%vm, "the session has lapsed, and it has no storage lease: killing");
                }
                watched.doomed = Some(Doom {
                    due,
                    signalled: now,
                    kill_bound_ms,
                });
            }
            if watched.doomed.is_none() {
                continue;
            }
            if let Err(error) = watched.kill() {
                tracing::error!(%vm, %error, "a process could not be killed; trying again");
            }
            let is_it = |killed: &Killed| killed.vm == *vm && killed.generation == *generation;
            if !self.killed.iter().any(is_it) {
                self.killed.push(Killed {
                    vm: vm.clone(),
                    generation: *generation,
                    gone: false,
                    why: KillReason::Lapsed,
                });
                grew = true;
            }
        }
        grew
    }

    /// A VM that somebody else has claimed since goes at once, whatever the planes say. It is signalled by
    /// the step that follows.
    pub(super) fn doom(&mut self, passed: &PassedOver, now: Instant) {
        let kill_bound_ms = self.kill_bound_ms.unwrap_or(KILL_BOUND_UNKNOWN_MS);
        for watched in self.watched.values_mut() {
            let process = &watched.process;
            if process.vm != passed.vm || process.generation != passed.generation {
                continue;
            }
            let (vm, generation) = (passed.vm.clone(), passed.generation);
            tracing::error!(%vm, %generation, by = passed.by, "the storage knows a newer holder: killing");
            watched.doomed.get_or_insert(Doom {
                due: now,
                signalled: now,
                kill_bound_ms,
            });
            self.killed.push(Killed {
                vm,
                generation,
                gone: false,
                why: KillReason::PassedOver,
            });
        }
    }

    /// Forgets what has exited; true if there was any.
    pub(super) fn reap(&mut self) -> bool {
        let gone = exited(&self.watched);
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
        self.scanned = true;
        if self.kills {
            self.scanned_clean = processes.is_empty();
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

    /// The deadline that has passed, as a taker counts it; now if none is known.
    fn due(&self, now: Instant) -> Instant {
        let due = match self.deadline.phase() {
            Phase::Unarmed => now,
            Phase::Armed(armed) => armed.control_until(),
            Phase::Lapsed { since, .. } => *since,
        };
        due.min(now)
    }

    /// A life that has lapsed has no bounds any more. While new ones are on their way, the shorter
    /// count.
    pub(super) fn remember_kill_bound(&mut self) {
        if let Phase::Armed(armed) = self.deadline.phase() {
            let own = armed.bounds.kill_bound_ms;
            let next = armed.next_bounds.as_ref();
            let bound = next.map_or(own, |(_, bounds)| bounds.kill_bound_ms.min(own));
            self.kill_bound_ms = Some(bound);
        }
    }

    /// From now on nothing that is watched heeds a signal.
    #[cfg(test)]
    pub fn make_deaf(&mut self) {
        self.watched.values_mut().for_each(|w| w.deaf = true);
    }

    /// Pets the watchdog, or leaves this host to it. To be called after all other work of a step: a
    /// guard that does not get through it must not pet.
    pub fn pet(&mut self, now: Instant) {
        // Only looked at: acknowledgements that wait are taken in before a deadline counts as passed.
        let verdict = self.deadline.clone().tick(now);
        let undone = |w: &Watched| w.doomed.is_none() && dies(verdict, w.process.lease);
        if self.watched.values().any(undone) {
            // A deadline has passed since the step: that comes first.
            return;
        }
        // It may have gone since the step, if this process stood still in between.
        let there = |from: fn(&Doom) -> Instant| {
            let late = move |w: &&Watched| w.doomed.is_some_and(|doom| now >= from(&doom));
            let mut watched = self.watched.values();
            watched.find(|w| late(w) && !w.has_exited())
        };
        let stuck = there(Doom::given_up);
        if let Some(vm) = stuck.map(|watched| watched.process.vm.clone()) {
            let incarnation = self.life().cloned();
            let since = now;
            let left = LeftToReset {
                incarnation,
                vm,
                since,
            };
            if self.reset.give_up(left) {
                self.save();
            }
        } else if there(Doom::gone_by).is_none() {
            self.reset.pet(now);
        }
    }

    /// The guard is to end. What becomes of the host, in words.
    pub fn end(&mut self) -> String {
        self.reap();
        let vms = self.watched.len();
        let unknown = !self.scanned || self.orphans_until.is_some();
        let unproven = self.kills && !self.scanned_clean;
        let bound_ms = self.reset.bound_ms();
        let left = match (vms, unknown || unproven) {
            (1.., _) => Err(format!("{vms} VMs are watched")),
            (0, true) => Err("it is not known that nothing runs here".to_owned()),
            (0, false) => self.reset.release(),
        };
        match left {
            Ok(()) if bound_ms > 0 => {
                "ended; nothing is watched: the watchdog was told to stop".to_owned()
            }
            Ok(()) => "ended; nothing is watched".to_owned(),
            Err(reason) if bound_ms > 0 => format!(
                "ended, and the watchdog goes on: {reason}. It resets this host in {bound_ms} ms \
                 unless a guard is started before"
            ),
            Err(reason) => {
                format!("ended; {reason}, and nothing guards them until it is started again")
            }
        }
    }
}
