//! What a leader has somebody else ask, done as whom it is for does it: managers and agents alike, by the production's
//! duties and by its transactions ([`holdfast_store::errands`]).
//!
//! ```text
//! view ─> duty ─take─> accepted by the store ─> still fresh? ─> off ─> status ─> answer
//!            └─ for an earlier life, or taken by one: said so, nothing is asked
//! ```

use super::clock::Clock;
use super::ctx::Ctx;
use super::event::{Client, ErrandCall, Event, FenceCall, FenceStage, Request, Tag};
use super::net::Place;
use holdfast_core::errand::{Duty, Memory};
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{ErrandId, Revision};
use holdfast_model::plan::Step;
use holdfast_model::policy::Policy;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_store::TxnOutcome;
use holdfast_store::errands::{self, Standing};
use holdfast_store::guarded::Answer;
use holdfast_store::view::View;
use std::collections::BTreeMap;

/// Waits before an answer that could not be written is written again, in milliseconds.
const AGAIN_MS: [u64; 2] = [100, 300];
/// Times that one is tried to be taken: a heartbeat of the agent's own host in between makes that fail.
const TAKES: usize = 5;
/// For that heartbeat to be acknowledged, in milliseconds.
const ACKNOWLEDGED_IN_MS: u64 = 50;

/// Who does errands.
pub(super) trait Doer {
    /// What it sees of the store.
    fn view(&self) -> &View;
    /// It, in its present life.
    fn client(&self) -> Client;
    /// Where it is.
    fn place(&self) -> Place;
    /// Of its machine.
    fn clock(&self) -> &Clock;
    /// Tells something of it.
    fn log(&self, ctx: &mut Ctx, text: &str);
    /// What is to be done about one.
    fn duty(&self, errand: &Errand, memory: &Memory) -> Duty;
    /// What it lacks to ask a device, in words.
    fn lacks(&self, device: &FenceDevice) -> Option<String>;
    /// What it proves of itself when it takes one.
    fn proof(&self) -> Proof;
}

/// What is proven of itself by whoever takes an errand.
pub(super) enum Proof {
    /// Nothing: it is a manager.
    None,
    /// How an agent's own host stands.
    Own(Standing),
    /// An agent's host has no session that holds.
    Missing,
}

/// What this life of it does for leaders.
#[derive(Default)]
pub(super) struct Duties {
    memory: Memory,
    under_way: BTreeMap<ErrandId, Doing>,
}

struct Doing {
    errand: Errand,
    /// Of its last write.
    revision: Revision,
    /// A decision holds so long: another manager may lead after it. In milliseconds.
    holds_ms: u64,
    course: Stage,
}

enum Stage {
    /// It is being taken.
    Taking(Taking),
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

struct Taking {
    /// The first time that it was tried.
    sent_at: Instant,
    /// Attempts that are left.
    left: usize,
    /// What was proven the last time.
    proven: Option<Standing>,
    /// That was refused, and it is tried again then.
    again_at: Option<Instant>,
}

impl Duties {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Looks at what there is to do.
    pub(super) fn attend(&mut self, ctx: &mut Ctx, me: &impl Doer) {
        let now = me.clock().at(ctx.now);
        self.go_on(ctx, me, now);
        let view = me.view();
        if view.errands.is_empty() {
            return;
        }
        let holds_ms = holds_ms(view);
        let due = view.errands.values().map(|seen| {
            let duty = me.duty(&seen.value, &self.memory);
            (seen.clone(), duty)
        });
        let due = due.filter(|(_, duty)| *duty != Duty::Nothing);
        let due: Vec<_> = due.collect();
        for (seen, duty) in due {
            let id = seen.value.id.clone();
            self.memory.begin(&id);
            let lack = me.lacks(&seen.value.as_set);
            let doing = Doing {
                errand: seen.value,
                revision: seen.revision,
                holds_ms,
                course: Stage::Taking(Taking {
                    sent_at: now,
                    left: TAKES,
                    proven: None,
                    again_at: None,
                }),
            };
            self.under_way.insert(id.clone(), doing);
            match (duty, lack) {
                (Duty::Take, None) => self.take(ctx, me, &id),
                // Before it is taken: somebody else may have what this one lacks.
                (Duty::Take, Some(lack)) => {
                    self.decline(ctx, me, &id, format!("not asked: {lack}"));
                }
                (Duty::Say(what), _) => self.say(ctx, me, &id, what, 0),
                (Duty::Nothing, _) => {}
            }
        }
    }

    /// What waits for its time.
    fn go_on(&mut self, ctx: &mut Ctx, me: &impl Doer, now: Instant) {
        let waiting = self.under_way.iter().filter_map(|(id, doing)| {
            let until = match &doing.course {
                Stage::Waiting { until, .. } => *until,
                Stage::Taking(taking) => taking.again_at?,
                Stage::Asking | Stage::Saying { .. } => return None,
            };
            Some((id.clone(), until))
        });
        let waiting: Vec<_> = waiting.collect();
        for (id, until) in waiting {
            if now < until {
                ctx.wake_at(&me.client(), me.clock().when(ctx.now, until));
                continue;
            }
            match self.under_way.get(&id).map(|doing| &doing.course) {
                Some(Stage::Waiting { what, tries, .. }) => {
                    let (what, tries) = (what.clone(), *tries);
                    self.say(ctx, me, &id, what, tries);
                }
                _ => self.take(ctx, me, &id),
            }
        }
    }

    /// Tries to take it, if there is anything new to prove.
    fn take(&mut self, ctx: &mut Ctx, me: &impl Doer, id: &ErrandId) {
        let Some(doing) = self.under_way.get_mut(id) else {
            return;
        };
        let Stage::Taking(taking) = &mut doing.course else {
            return;
        };
        taking.again_at = None;
        let txn = match me.proof() {
            Proof::None => errands::take(&doing.errand, doing.revision),
            Proof::Own(own) if taking.left > 0 && taking.proven.as_ref() != Some(&own) => {
                let txn = errands::take_as(&doing.errand, doing.revision, &own);
                taking.proven = Some(own);
                txn
            }
            Proof::Own(_) | Proof::Missing if taking.proven.is_some() => {
                return self.decline(ctx, me, id, REFUSED.to_owned());
            }
            Proof::Own(_) | Proof::Missing => return self.end(id),
        };
        taking.left = taking.left.saturating_sub(1);
        call(ctx, me, ErrandCall::Take(id.clone()), txn);
    }

    fn decline(&mut self, ctx: &mut Ctx, me: &impl Doer, id: &ErrandId, reason: String) {
        self.say(ctx, me, id, ErrandStage::Declined { reason }, 0);
    }

    /// Writes what became of it.
    fn say(
        &mut self,
        ctx: &mut Ctx,
        me: &impl Doer,
        id: &ErrandId,
        what: ErrandStage,
        tries: usize,
    ) {
        let Some(doing) = self.under_way.get_mut(id) else {
            return;
        };
        let txn = errands::say(&doing.errand, doing.revision, what.clone());
        if let ErrandStage::Declined { reason } = &what {
            let Errand {
                by, device, host, ..
            } = &doing.errand;
            let text = format!("declines an errand of {by}: {device} about {host}: {reason}");
            me.log(ctx, &text);
        }
        doing.course = Stage::Saying { what, tries };
        call(ctx, me, ErrandCall::Say(id.clone()), txn);
    }

    /// What came of taking one.
    pub(super) fn taken(&mut self, ctx: &mut Ctx, me: &impl Doer, id: &ErrandId, answer: Answer) {
        let now = me.clock().at(ctx.now);
        let Some(doing) = self.under_way.get_mut(id) else {
            return;
        };
        let Stage::Taking(taking) = &mut doing.course else {
            return;
        };
        match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(revision))) => {
                doing.revision = revision;
                if now.since(taking.sent_at) > doing.holds_ms {
                    let why = "not asked: that it might took too long to find out";
                    return self.decline(ctx, me, id, why.to_owned());
                }
                doing.course = Stage::Asking;
                let errand = doing.errand.clone();
                ask(ctx, me, errand);
            }
            // It may have been a heartbeat of its own, whose acknowledgement is on its way.
            Answer::Txn(Ok(TxnOutcome::Refused(_))) if taking.proven.is_some() => {
                let again_at = now.plus(ACKNOWLEDGED_IN_MS);
                taking.again_at = Some(again_at);
                ctx.wake_at(&me.client(), me.clock().when(ctx.now, again_at));
            }
            Answer::Txn(Ok(TxnOutcome::Refused(_))) => {
                self.decline(ctx, me, id, REFUSED.to_owned());
            }
            // If it happened all the same, the watch shows it, and it is said then that nothing is known.
            _ => self.end(id),
        }
    }

    /// The device has answered.
    pub(super) fn done(&mut self, ctx: &mut Ctx, me: &impl Doer, id: &ErrandId, power: PowerState) {
        self.say(ctx, me, id, ErrandStage::Answered { power }, 0);
    }

    /// Refused: nobody waits for it any more.
    pub(super) fn said(&mut self, ctx: &mut Ctx, me: &impl Doer, id: &ErrandId, answer: &Answer) {
        let now = me.clock().at(ctx.now);
        let Some(doing) = self.under_way.get_mut(id) else {
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
            None => self.end(id),
        }
    }

    /// Nothing is being done about it any more.
    fn end(&mut self, id: &ErrandId) {
        self.under_way.remove(id);
        self.memory.end(id);
    }
}

/// Why one is not taken that was to be, in words.
const REFUSED: &str = "not asked: another manager leads, or the host's session has changed since";

fn holds_ms(view: &View) -> u64 {
    let policy = view.policy_in_force().ok().flatten();
    let timing = policy.map_or_else(|| Policy::default().timing, |p| p.timing.clone());
    timing.resolve().leader_wait_ms
}

fn call(ctx: &mut Ctx, me: &impl Doer, what: ErrandCall, txn: holdfast_store::Txn) {
    ctx.call(
        me.client(),
        me.place(),
        Tag::Errand(what),
        Request::Txn(txn),
    );
}

/// Has the device asked.
fn ask(ctx: &mut Ctx, me: &impl Doer, errand: Errand) {
    let Errand {
        by, device, host, ..
    } = &errand;
    me.log(
        ctx,
        &format!("takes an errand of {by}: {device} about {host}"),
    );
    ctx.check_ask(host);
    if !ctx.truth.errands.insert(errand.id.clone()) {
        let (client, id) = (me.client(), &errand.id);
        ctx.violation(format!(
            "errand-once: {client:?} asks {device} about {host} again, for errand {id}"
        ));
    }
    let call = FenceCall {
        client: me.client(),
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
