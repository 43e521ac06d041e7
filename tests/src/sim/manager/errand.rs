//! What another manager that leads has this one ask, as the production does it: by the same `duty`, and by the same
//! transactions.

use super::*;
use crate::sim::event::ErrandCall;
use holdfast_core::errand::{Duty, Memory, duty};
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::ErrandId;
use holdfast_model::power::PowerState;
use holdfast_store::errands;

/// Waits before an answer that could not be written is written again, in milliseconds.
const AGAIN_MS: [u64; 2] = [100, 300];

/// What this life of the manager does for others.
#[derive(Default)]
pub(super) struct Duties {
    memory: Memory,
    under_way: BTreeMap<ErrandId, Doing>,
}

struct Doing {
    errand: Errand,
    /// Of its last write.
    revision: Revision,
    course: Stage,
}

enum Stage {
    /// It is being taken.
    Taking { sent_at: Instant },
    /// The device is being asked.
    Asking,
    /// It is being told what became of it, for the n-th time.
    Saying { what: ErrandStage, tries: usize },
    /// That could not be written, and is tried again then.
    Waiting {
        what: ErrandStage,
        tries: usize,
        until: Instant,
    },
}

impl Duties {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }
}

impl Manager {
    /// There is something to do for other managers, or by them.
    pub(super) fn has_errands(&self) -> bool {
        let process = &self.process;
        !(process.view.errands.is_empty() && process.courier.is_idle() && process.duties.is_idle())
    }

    /// What came of a call to the store about one.
    pub(super) fn on_errand(&mut self, ctx: &mut Ctx, what: ErrandCall, answer: Answer) {
        match what {
            ErrandCall::Send(number) => self.letter_written(ctx, number, answer),
            ErrandCall::Read(number) => self.letter_read(ctx, number, answer),
            ErrandCall::Remove(id) => self.errand_removed(&id),
            ErrandCall::Take(id) => self.errand_taken(ctx, &id, answer),
            ErrandCall::Say(id) => self.errand_said(ctx, &id, &answer),
        }
    }

    /// Looks at what there is to do.
    pub(super) fn attend_to_errands(&mut self, ctx: &mut Ctx) {
        let now = self.clock.at(ctx.now);
        self.say_again(ctx, now);
        let life = self.life.to_string();
        let process = &self.process;
        let all = process.view.errands.values();
        let due = all.map(|seen| {
            let duty = duty(&self.name, &life, &seen.value, &process.duties.memory);
            (seen.clone(), duty)
        });
        let due = due.filter(|(_, duty)| *duty != Duty::Nothing);
        let due: Vec<_> = due.collect();
        for (seen, duty) in due {
            let id = seen.value.id.clone();
            self.process.duties.memory.begin(&id);
            let take = errands::take(&seen.value, seen.revision);
            let doing = Doing {
                errand: seen.value,
                revision: seen.revision,
                course: Stage::Taking { sent_at: now },
            };
            self.process.duties.under_way.insert(id.clone(), doing);
            match duty {
                Duty::Take => {
                    let tag = Tag::Errand(ErrandCall::Take(id));
                    self.call(ctx, tag, Request::Txn(take));
                }
                Duty::Say(what) => self.say(ctx, &id, what, 0),
                Duty::Nothing => {}
            }
        }
    }

    fn say_again(&mut self, ctx: &mut Ctx, now: Instant) {
        let doing = self.process.duties.under_way.iter();
        let waiting = doing.filter_map(|(id, doing)| match &doing.course {
            Stage::Waiting { what, tries, until } => {
                Some((id.clone(), what.clone(), *tries, *until))
            }
            _ => None,
        });
        let waiting: Vec<_> = waiting.collect();
        for (id, what, tries, until) in waiting {
            match now < until {
                true => self.wake(ctx, until),
                false => self.say(ctx, &id, what, tries),
            }
        }
    }

    /// Writes what became of it.
    fn say(&mut self, ctx: &mut Ctx, id: &ErrandId, what: ErrandStage, tries: usize) {
        let Some(doing) = self.process.duties.under_way.get_mut(id) else {
            return;
        };
        let txn = errands::say(&doing.errand, doing.revision, what.clone());
        if let ErrandStage::Declined { reason } = &what {
            let Errand {
                by, device, host, ..
            } = &doing.errand;
            let text = format!("declines an errand of {by}: {device} about {host}: {reason}");
            ctx.log(&self.name, text);
        }
        doing.course = Stage::Saying { what, tries };
        let tag = Tag::Errand(ErrandCall::Say(id.clone()));
        self.call(ctx, tag, Request::Txn(txn));
    }

    /// What came of taking one.
    pub(super) fn errand_taken(&mut self, ctx: &mut Ctx, id: &ErrandId, answer: Answer) {
        let now = self.clock.at(ctx.now);
        let policy = self.process.view.policy.as_ref();
        let policy = policy.map(|seen| seen.value.timing.resolve());
        let holds_ms = policy.map_or(0, |timing| timing.leader_wait_ms);
        let duties = &mut self.process.duties;
        let Some(doing) = duties.under_way.get_mut(id) else {
            return;
        };
        let Stage::Taking { sent_at } = doing.course else {
            return;
        };
        let refused = match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(revision))) => {
                doing.revision = revision;
                let late = now.since(sent_at) > holds_ms;
                late.then_some("not asked: that it might took too long to find out")
            }
            Answer::Txn(Ok(TxnOutcome::Refused(_))) => {
                Some("not asked: another manager leads, or the host's session has changed since")
            }
            // If it happened all the same, the watch shows it, and it is said then that nothing is known.
            _ => {
                duties.under_way.remove(id);
                duties.memory.end(id);
                return;
            }
        };
        if let Some(reason) = refused {
            let reason = reason.to_owned();
            return self.say(ctx, id, ErrandStage::Declined { reason }, 0);
        }
        doing.course = Stage::Asking;
        let errand = doing.errand.clone();
        self.ask_for(ctx, errand);
    }

    fn ask_for(&self, ctx: &mut Ctx, errand: Errand) {
        let Errand {
            by, device, host, ..
        } = &errand;
        let text = format!("takes an errand of {by}: {device} about {host}");
        ctx.log(&self.name, text);
        if !ctx.truth.errands.insert(errand.id.clone()) {
            let (name, id) = (&self.name, &errand.id);
            ctx.violation(format!(
                "errand-once: {name} asks {device} about {host} again, for errand {id}"
            ));
        }
        let call = FenceCall {
            client: self.client(),
            ask: PowerAsk {
                host: errand.host,
                incarnation: errand.incarnation,
                session_revision: errand.session_revision,
                device: errand.device,
                attempt: errand.attempt,
                step: Step {
                    writes: Vec::new(),
                    events: Vec::new(),
                    why: String::new(),
                },
            },
            errand: Some(errand.id),
            stage: FenceStage::Asked,
            answered: false,
            read_at: ctx.now,
        };
        ctx.after(0, Event::Fence(Box::new(call)));
    }

    /// The device has answered.
    pub(super) fn errand_done(&mut self, ctx: &mut Ctx, id: &ErrandId, power: PowerState) {
        self.say(ctx, id, ErrandStage::Answered { power }, 0);
    }

    /// Refused: nobody waits for it any more.
    pub(super) fn errand_said(&mut self, ctx: &mut Ctx, id: &ErrandId, answer: &Answer) {
        let now = self.clock.at(ctx.now);
        let duties = &mut self.process.duties;
        let Some(doing) = duties.under_way.get_mut(id) else {
            return;
        };
        let again = match (&doing.course, answer) {
            (Stage::Saying { what, tries }, Answer::Txn(Err(_))) => {
                let wait_ms = AGAIN_MS.get(*tries);
                wait_ms.map(|ms| (what.clone(), tries + 1, now.plus(*ms)))
            }
            _ => None,
        };
        match again {
            Some((what, tries, until)) => {
                doing.course = Stage::Waiting { what, tries, until };
            }
            None => {
                duties.under_way.remove(id);
                duties.memory.end(id);
            }
        }
    }
}
