//! The VMs' claims on the lease volume: written when an agent asks for it, looked at again as long as their
//! VMs run. Whether a sector may be taken is decided by `holdfast_core::lease::claim`; here is what is
//! asked for, and the turn of each.
//!
//! ```text
//! agent: claim? ──> waiting ─> one batch at a time, on a thread of its own ─> answer, when asked again
//! watched VMs ────> due for another look ─┘                     └─> passed over: its VM is killed
//! ```

mod calls;

use holdfast_core::lease::claim::Wanted;
use holdfast_core::lease::slots::Found;
use holdfast_model::id::{Generation, VmName, VmUuid};
use holdfast_model::lease::Claim;
use holdfast_model::time::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use calls::carry_out;

/// A claim is looked at again after this long, in milliseconds; later if the host has many.
pub const LOOK_AGAIN_MS: u64 = 2_000;
/// Claims looked at in one batch: one that is asked for meanwhile waits for them.
const LOOKS_AT_ONCE: usize = 32;
/// Between two batches of looks, in milliseconds.
const LOOK_PAUSE_MS: u64 = 1_000;
/// An answer that nobody fetches is forgotten after this long, in milliseconds.
const FORGET_MS: u64 = 30_000;

/// One thing to do with a VM's sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Read the sectors in which its claim may stand.
    Window {
        /// Whose.
        uuid: VmUuid,
    },
    /// Write its claim.
    Claim {
        /// Into which slot.
        slot: u32,
        /// What.
        wanted: Box<Wanted>,
    },
    /// Empty it: the VM does not exist any more.
    Free {
        /// Which slot.
        slot: u32,
        /// Whose it must be.
        uuid: VmUuid,
    },
    /// Look at a claim of this life again.
    Look {
        /// In which slot.
        slot: u32,
        /// What should stand there.
        own: Box<Wanted>,
    },
}

/// How it stands with something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "claim")]
pub enum ClaimState {
    /// Not done yet: ask again.
    UnderWay,
    /// The claim stands on the volume.
    Held,
    /// The sector is free.
    Freed,
    /// What stands in the sectors that may be the VM's.
    Window {
        /// By slot.
        found: Vec<(u32, Found)>,
    },
    /// Nothing was taken.
    Refused {
        /// Why not.
        reason: String,
        /// The claim that stands there, if the grant knows nothing of it.
        #[serde(default)]
        stands: Option<Box<Claim>>,
    },
    /// Only of a look: somebody else has claimed the VM since.
    PassedOver {
        /// Under which grant, and where, in words.
        by: String,
    },
}

/// A VM whose claim was passed over: it has to go at once, whatever its planes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Which.
    pub vm: VmName,
    /// Under which grant it runs here.
    pub generation: Generation,
    /// By whom.
    pub by: String,
}

struct Asked {
    task: Task,
    state: ClaimState,
    at: Instant,
}

/// What is asked for, and when each claim is looked at.
#[derive(Default)]
pub struct Claims {
    asked: Vec<Asked>,
    /// A batch is with the thread.
    under_way: bool,
    /// By slot: when to look again.
    looks: BTreeMap<u32, Instant>,
    next_looks: Instant,
}

impl Claims {
    /// Asks for something, or how it stands with it. An answer is given once.
    pub fn ask(&mut self, task: Task, now: Instant) -> ClaimState {
        self.asked.retain(|asked| now.since(asked.at) < FORGET_MS);
        match self.asked.iter().position(|asked| asked.task == task) {
            Some(at) if self.asked[at].state == ClaimState::UnderWay => ClaimState::UnderWay,
            Some(at) => self.asked.remove(at).state,
            None => {
                let state = ClaimState::UnderWay;
                self.asked.push(Asked {
                    task,
                    state,
                    at: now,
                });
                ClaimState::UnderWay
            }
        }
    }

    /// What the thread is to do next, if it is free. `held`: the claims of the VMs that run here.
    pub fn next_batch<W: FnOnce() -> Wanted>(
        &mut self,
        held: impl Iterator<Item = (u32, W)>,
        now: Instant,
    ) -> Option<Vec<Task>> {
        if self.under_way {
            return None;
        }
        let waits = |asked: &&Asked| asked.state == ClaimState::UnderWay;
        let waiting = self.asked.iter().filter(waits);
        let mut batch: Vec<Task> = waiting.map(|asked| asked.task.clone()).collect();
        if now >= self.next_looks {
            batch.extend(self.due(held, now));
            self.next_looks = now.plus(LOOK_PAUSE_MS);
        }
        self.under_way = !batch.is_empty();
        self.under_way.then_some(batch)
    }

    fn due<W: FnOnce() -> Wanted>(
        &mut self,
        held: impl Iterator<Item = (u32, W)>,
        now: Instant,
    ) -> Vec<Task> {
        let before = std::mem::take(&mut self.looks);
        let mut due = Vec::new();
        for (slot, own) in held {
            // One that has just been written has its turn later.
            let at = before.get(&slot).copied();
            let at = at.unwrap_or_else(|| now.plus(LOOK_AGAIN_MS));
            self.looks.insert(slot, at);
            if now >= at {
                due.push((at, slot, own));
            }
        }
        due.sort_by_key(|(at, ..)| *at);
        due.truncate(LOOKS_AT_ONCE);
        let look = |(_, slot, own): (Instant, u32, W)| {
            let own = Box::new(own());
            Task::Look { slot, own }
        };
        due.into_iter().map(look).collect()
    }

    /// There is nothing to look at, and so nothing to wake up for.
    pub fn forget_looks(&mut self) {
        self.looks.clear();
    }

    /// When there may be something to do by itself.
    pub fn next_wake(&self) -> Option<Instant> {
        let first = self.looks.values().min().copied();
        first
            .filter(|_| !self.under_way)
            .map(|at| at.max(self.next_looks))
    }

    /// The thread could not be handed the batch.
    pub fn not_begun(&mut self) {
        self.under_way = false;
    }

    /// A batch has ended.
    pub fn take(&mut self, done: Vec<(Task, ClaimState)>, now: Instant) -> Vec<PassedOver> {
        self.under_way = false;
        let mut passed = Vec::new();
        for (task, state) in done {
            if let Task::Look { slot, own } = task {
                self.looks.insert(slot, now.plus(LOOK_AGAIN_MS));
                if let ClaimState::PassedOver { by } = state {
                    passed.push(PassedOver {
                        vm: own.vm,
                        generation: own.generation,
                        by,
                    });
                }
                continue;
            }
            let asked = self.asked.iter_mut().find(|asked| asked.task == task);
            if let Some(asked) = asked {
                asked.state = state;
                asked.at = now;
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::lease::Holder;

    fn own(slot: u32) -> (u32, impl FnOnce() -> Wanted) {
        let wanted = Wanted {
            vm: format!("vm{slot}").parse().expect("a name"),
            uuid: format!("uuid{slot}").parse().expect("a UUID"),
            generation: Generation(3),
            holder: Holder {
                host: "a1".parse().expect("a name"),
                incarnation: "life".parse().expect("a name"),
            },
            follows: Vec::new(),
        };
        (slot, move || wanted)
    }

    fn window(number: u32) -> Task {
        Task::Window {
            uuid: format!("uuid{number}").parse().expect("a UUID"),
        }
    }

    #[test]
    fn what_is_asked_for_is_done_once_and_answered_once() {
        let mut claims = Claims::default();
        let nothing = || std::iter::empty::<(u32, fn() -> Wanted)>();
        assert_eq!(claims.ask(window(1), Instant(10)), ClaimState::UnderWay);
        assert_eq!(
            claims.next_batch(nothing(), Instant(10)),
            Some(vec![window(1)])
        );
        // Asked again while it is under way, and something else besides: one batch at a time.
        assert_eq!(claims.ask(window(1), Instant(20)), ClaimState::UnderWay);
        assert_eq!(claims.ask(window(2), Instant(20)), ClaimState::UnderWay);
        assert_eq!(claims.next_batch(nothing(), Instant(20)), None);
        let found = ClaimState::Window { found: Vec::new() };
        claims.take(vec![(window(1), found.clone())], Instant(30));
        assert_eq!(claims.ask(window(1), Instant(40)), found);
        let next = claims.next_batch(nothing(), Instant(40));
        assert_eq!(next, Some(vec![window(2)]), "the first is not done again");
    }

    #[test]
    fn every_claim_has_its_turn() {
        let mut claims = Claims::default();
        let held = || (0..40).map(own);
        assert_eq!(claims.next_batch(held(), Instant(0)), None, "just written");
        let mut looked = std::collections::BTreeSet::new();
        let mut now = claims.next_wake().expect("a turn");
        assert_eq!(now, Instant(LOOK_AGAIN_MS));
        while now < Instant(2 * LOOK_AGAIN_MS) {
            let batch = claims.next_batch(held(), now).expect("something is due");
            assert!(batch.len() <= LOOKS_AT_ONCE);
            for task in &batch {
                let Task::Look { slot, .. } = task else {
                    panic!("nothing was asked for")
                };
                assert!(looked.insert(*slot), "{slot} twice before others once");
            }
            let held = batch.into_iter().map(|task| (task, ClaimState::Held));
            assert_eq!(claims.take(held.collect(), now), []);
            now = claims.next_wake().expect("a turn");
        }
        assert_eq!(looked.len(), 40);
    }

    #[test]
    fn one_that_was_passed_over_is_told() {
        let mut claims = Claims::default();
        let held = || std::iter::once(own(4));
        claims.next_batch(held(), Instant(0));
        let batch = claims.next_batch(held(), Instant(LOOK_AGAIN_MS));
        let task = batch.expect("due").remove(0);
        let by = "generation 5 by b1".to_owned();
        let state = ClaimState::PassedOver { by: by.clone() };
        let passed = claims.take(vec![(task, state)], Instant(2_100));
        let (vm, generation) = ("vm4".parse().expect("a name"), Generation(3));
        assert_eq!(passed, [PassedOver { vm, generation, by }]);
    }
}
