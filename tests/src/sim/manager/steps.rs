//! A manager carries out the steps of its plan, as the executor does.

use super::*;
use holdfast_core::errand::Way;

impl Manager {
    pub(super) fn send_steps(&mut self, ctx: &mut Ctx) {
        while self.process.under_way < STEPS_UNDER_WAY {
            let Some((step, ask)) = self.process.steps.pop_front() else {
                return;
            };
            // As the executor does it: a manager that knows it is deposed sends nothing.
            let Some(epoch) = self.process.leadership.epoch() else {
                self.process.steps.clear();
                return;
            };
            let mut number = self.process.events;
            let txn = step_txn_in(&self.process.view, &step, epoch, |event| {
                number += 1;
                event_id(event, number)
            });
            self.process.events = number;
            self.process.under_way += 1;
            let tag = Tag::Step(step.why, ask.map(Box::new));
            self.call(ctx, tag, Request::Txn(txn));
        }
    }

    pub(super) fn on_step(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        why: &str,
        ask: Option<Box<PowerAsk>>,
        answer: Answer,
    ) {
        let process = &mut self.process;
        process.under_way = process.under_way.saturating_sub(1);
        match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(revision))) => {
                process.must_see = process.must_see.max(revision);
                process.executed.done += 1;
                ctx.log(&self.name, why);
                // As the executor does it: only a manager that still leads asks.
                if let Some(ask) = ask.filter(|_| process.leadership.epoch().is_some()) {
                    self.ask(ctx, now, *ask);
                }
            }
            Answer::Txn(Ok(TxnOutcome::Refused(revision))) => {
                // What it ran into is in the store: plan again once it is in the view as well.
                process.must_see = process.must_see.max(revision);
                if process.refused.insert(why.to_owned()) {
                    ctx.log(&self.name, format!("refused by the store: {why}"));
                }
            }
            Answer::Txn(Err(error)) => {
                ctx.log(&self.name, format!("{why}: {error}"));
                process.executed.unknown += 1;
                process.steps.clear();
            }
            Answer::Read(_) => {}
        }
        self.send_steps(ctx);
        if self.is_idle() {
            let process = &mut self.process;
            process.planned = None;
            if process.executed.done == 0 || process.executed.unknown > 0 {
                process.not_before = now.plus(PLAN_PAUSE_MS);
                let at = process.not_before;
                self.wake(ctx, at);
            }
        }
    }

    /// Has a device asked: by itself, or by somebody else.
    fn ask(&mut self, ctx: &mut Ctx, now: Instant, ask: PowerAsk) {
        self.process.power.asked(&ask, now);
        let policy = self.process.view.policy.as_ref();
        let devices = policy.map(|seen| &seen.value.fencing.devices);
        let device = devices.and_then(|devices| devices.get(&ask.device));
        if let Some(device) = device.cloned()
            && let Way::There(others) = self.way(now, &ask, &device)
        {
            return self.send_errand(now, ask, device, others);
        }
        let call = FenceCall {
            client: self.client(),
            ask,
            errand: None,
            stage: FenceStage::Asked,
            answered: false,
            read_at: ctx.now,
        };
        ctx.after(0, Event::Fence(Box::new(call)));
    }
}
