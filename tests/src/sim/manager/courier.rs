//! A leader has another manager, or an agent, ask a fencing device that is not for itself to ask, as the production's
//! courier does it: around the same [`Tried`] and [`Course`], by the same transactions.

use super::*;
use crate::sim::agent::name as named_id;
use crate::sim::event::ErrandCall;
use holdfast_core::errand::{Course, Outcome, Scene, Tried, Turn, Way, is_over};
use holdfast_model::asking::Asker;
use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::policy::Policy;
use holdfast_model::power::PowerState;
use holdfast_store::api::{KeyValue, StoreError};
use holdfast_store::errands;
use holdfast_store::keyspace::Key;

/// Attempts to write one: what stands there may have changed since it was seen.
const WRITES: usize = 3;

/// What a leader has others ask.
#[derive(Default)]
pub(super) struct Courier {
    /// By the number of the ask in this life.
    courses: BTreeMap<u64, Sending>,
    numbers: u64,
    removing: BTreeSet<ErrandId>,
    /// Who has asked in vain.
    tried: Tried,
}

/// One ask.
struct Sending {
    ask: PowerAsk,
    device: FenceDevice,
    course: Course,
    epoch: Revision,
    began: Instant,
    /// Of its letters so far.
    ids: BTreeSet<ErrandId>,
    /// What is being written.
    letter: Option<Letter>,
}

struct Letter {
    errand: Errand,
    /// The earliest of all attempts to write it.
    sent_at: Instant,
    /// Attempts, this one included.
    left: usize,
}

impl Courier {
    pub(super) fn is_idle(&self) -> bool {
        self.courses.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What came of an ask counts for whose turn it is next.
    fn note(&mut self, sending: &Sending, outcome: &Outcome) {
        let passed = sending.course.passed_by().cloned();
        let state = &outcome.answer.state;
        let by = outcome.by.as_ref();
        self.tried.note(&sending.ask, by, state, passed);
    }

    /// Nobody waits for this one any more.
    fn abandon(&mut self, number: u64) {
        if let Some(mut sending) = self.courses.remove(&number) {
            let outcome = sending.course.abandon();
            self.note(&sending, &outcome);
        }
    }
}

impl Manager {
    /// Who asks this time. Managers have what every device takes.
    pub(super) fn way(&mut self, now: Instant, ask: &PowerAsk, device: &FenceDevice) -> Way {
        let Process { view, courier, .. } = &mut self.process;
        let policy = view.policy_in_force().ok().flatten();
        let timing = policy.map_or_else(|| Policy::default().timing, |p| p.timing.clone());
        let scene = Scene {
            managers: &view.managers,
            hosts: &view.hosts,
            asks: &view.host_asks,
            own: &self.name,
            site: &self.site,
            now,
            suspect_after_ms: timing.resolve().suspect_after_ms,
        };
        courier.tried.way(ask, device, true, scene)
    }

    /// It has asked one itself.
    pub(super) fn asked_here(&mut self, ask: &PowerAsk, state: &PowerState) {
        let own = Asker::Manager(self.name.clone());
        let tried = &mut self.process.courier.tried;
        tried.note(ask, Some(&own), state, []);
    }

    /// Nobody waits for what it had others ask in an earlier term.
    pub(super) fn forget_errands(&mut self) {
        let courier = &mut self.process.courier;
        let numbers: Vec<u64> = courier.courses.keys().copied().collect();
        numbers
            .into_iter()
            .for_each(|number| courier.abandon(number));
    }

    /// The step before it was accepted: from now on it is followed.
    pub(super) fn send_errand(
        &mut self,
        now: Instant,
        ask: PowerAsk,
        device: FenceDevice,
        others: Vec<Addressee>,
    ) {
        let process = &mut self.process;
        let Some(epoch) = process.leadership.epoch() else {
            return;
        };
        let sending = Sending {
            course: Course::new(&device, others, now),
            ask,
            device,
            epoch,
            began: now,
            ids: BTreeSet::new(),
            letter: None,
        };
        let number = process.courier.number();
        process.courier.courses.insert(number, sending);
    }

    /// Follows all that is under way, and removes what is over.
    pub(super) fn follow_errands(&mut self, ctx: &mut Ctx) {
        let numbers: Vec<u64> = self.process.courier.courses.keys().copied().collect();
        for number in numbers {
            while self.follow(ctx, number) {}
        }
        self.sweep(ctx);
    }

    /// One step of one. True: there may be another.
    fn follow(&mut self, ctx: &mut Ctx, number: u64) -> bool {
        let now = self.clock.at(ctx.now);
        let process = &mut self.process;
        let leads = process.leadership.epoch();
        let Some(sending) = process.courier.courses.get_mut(&number) else {
            return false;
        };
        if sending.letter.is_some() {
            return false;
        }
        if leads != Some(sending.epoch) {
            process.courier.abandon(number);
            return false;
        }
        let standing = (sending.ask.host.clone(), sending.ask.device.clone());
        if let Some(seen) = process.view.errands.get(&standing) {
            let (id, stage) = (&seen.value.id, &seen.value.stage);
            sending.course.see(id, stage, now);
        }
        match sending.course.poll(now) {
            Turn::Wait(until) => self.wake(ctx, until),
            Turn::Over(outcome) => self.errand_over(ctx, number, outcome),
            Turn::Send(to) => return self.write_letter(ctx, number, to),
        }
        false
    }

    /// Writes it for this manager. True: it is not, and something else comes next.
    fn write_letter(&mut self, ctx: &mut Ctx, number: u64, to: Addressee) -> bool {
        let now = self.clock.at(ctx.now);
        let own = self.probing.observer.vantage(&self.site);
        let process = &mut self.process;
        let id = format!("{}-{}-{}", self.name, self.life, process.courier.number());
        let Some(sending) = process.courier.courses.get_mut(&number) else {
            return false;
        };
        let ask = &sending.ask;
        let heard = own.heard.get(&ask.host);
        if heard.is_some_and(|h| h.incarnation == ask.incarnation && h.asked_at > sending.began) {
            sending.course.not_sent("the host answers probes again");
            return true;
        }
        let errand = Errand {
            id: named_id(&id),
            by: self.name.clone(),
            epoch: sending.epoch,
            to,
            host: ask.host.clone(),
            incarnation: ask.incarnation.clone(),
            session_revision: ask.session_revision,
            device: ask.device.clone(),
            // That it may be asked so is decided, and an earlier version reads no device with this.
            as_set: FenceDevice {
                askers: Vec::new(),
                ..sending.device.clone()
            },
            attempt: ask.attempt,
            stage: ErrandStage::Sent,
        };
        sending.ids.insert(errand.id.clone());
        let there = process.view.seen(&key(&errand));
        let txn = errands::send(&errand, there.map(|(revision, _)| revision));
        sending.letter = Some(Letter {
            errand,
            sent_at: now,
            left: WRITES,
        });
        let tag = Tag::Errand(ErrandCall::Send(number));
        self.call(ctx, tag, Request::Txn(txn));
        false
    }

    /// What came of writing one.
    pub(super) fn letter_written(&mut self, ctx: &mut Ctx, number: u64, answer: Answer) {
        let now = self.clock.at(ctx.now);
        let courses = &mut self.process.courier.courses;
        let Some(sending) = courses.get_mut(&number) else {
            return;
        };
        let Some(letter) = sending.letter.take() else {
            return;
        };
        match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(_))) => {
                let Errand {
                    id,
                    to,
                    device,
                    host,
                    ..
                } = &letter.errand;
                sending.course.sent(id.clone(), letter.sent_at, now);
                let to = to.asker();
                let text = format!("sends an errand to {to}: {device} about {host}");
                ctx.log(&self.name, text);
            }
            Answer::Txn(Ok(TxnOutcome::Refused(_)) | Err(StoreError::OutcomeUnknown { .. })) => {
                let path = key(&letter.errand).path();
                sending.letter = Some(letter);
                let tag = Tag::Errand(ErrandCall::Read(number));
                self.call(ctx, tag, Request::List(path));
            }
            Answer::Txn(Err(error)) => sending.course.not_sent(&error.to_string()),
            Answer::Read(_) => {}
        }
    }

    /// What stands there instead: overwritten, unless it is the one before and that is being carried out after all.
    pub(super) fn letter_read(&mut self, ctx: &mut Ctx, number: u64, answer: Answer) {
        let now = self.clock.at(ctx.now);
        let courses = &mut self.process.courier.courses;
        let Some(sending) = courses.get_mut(&number) else {
            return;
        };
        let Some(mut letter) = sending.letter.take() else {
            return;
        };
        let Answer::Read(Ok(listing)) = answer else {
            return sending.course.not_sent("no answer");
        };
        let path = key(&letter.errand).path();
        let found = listing.items.iter().find(|item| item.key == path);
        if let Some(there) = found.and_then(read) {
            if there.id == letter.errand.id {
                let id = there.id.clone();
                sending.course.sent(id, letter.sent_at, now);
            }
            sending.course.see(&there.id, &there.stage, now);
            if sending.course.poll(now) != Turn::Send(letter.errand.to.clone()) {
                return;
            }
        }
        letter.left -= 1;
        if letter.left == 0 {
            let why =
                "this manager does not lead any more, or the host's session has changed since";
            return sending.course.not_sent(why);
        }
        let txn = errands::send(&letter.errand, found.map(|item| item.revision));
        sending.letter = Some(letter);
        let tag = Tag::Errand(ErrandCall::Send(number));
        self.call(ctx, tag, Request::Txn(txn));
    }

    fn errand_over(&mut self, ctx: &mut Ctx, number: u64, outcome: Outcome) {
        let now = self.clock.at(ctx.now);
        let client = self.client();
        let process = &mut self.process;
        let Some(sending) = process.courier.courses.remove(&number) else {
            return;
        };
        process.courier.note(&sending, &outcome);
        let Outcome { by, answer } = outcome;
        if answer.state.says_on() {
            ctx.truth.words.says_on(&sending.ask, client, ctx.now);
        }
        let by = by.as_ref();
        process.power.answered_by(&sending.ask, by, answer, now);
        process.planned = None;
    }

    /// A leader removes what nobody waits for any more.
    fn sweep(&mut self, ctx: &mut Ctx) {
        let process = &mut self.process;
        let Some(epoch) = process.leadership.epoch() else {
            return;
        };
        let courses = process.courier.courses.values();
        let awaited: BTreeSet<ErrandId> = courses.flat_map(|of| of.ids.clone()).collect();
        let removing = &process.courier.removing;
        let over = process.view.errands.values().filter(|seen| {
            is_over(&seen.value, epoch, &awaited) && !removing.contains(&seen.value.id)
        });
        let over: Vec<_> = over.cloned().collect();
        for seen in over {
            let id = seen.value.id.clone();
            self.process.courier.removing.insert(id.clone());
            let txn = errands::remove(&seen.value, seen.revision, epoch);
            let tag = Tag::Errand(ErrandCall::Remove(id));
            self.call(ctx, tag, Request::Txn(txn));
        }
    }

    /// It is removed, or it is tried again.
    pub(super) fn errand_removed(&mut self, id: &ErrandId) {
        self.process.courier.removing.remove(id);
    }
}

fn key(errand: &Errand) -> Key {
    Key::Errand(errand.host.clone(), errand.device.clone())
}

fn read(item: &KeyValue) -> Option<Errand> {
    serde_json::from_slice(&item.value).ok()
}
