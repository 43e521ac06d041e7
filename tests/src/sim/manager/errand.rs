//! What another manager that leads has this one ask.

use super::*;
use crate::sim::errands::{Doer, Duties, Proof};
use crate::sim::event::ErrandCall;
use holdfast_core::errand::{Duty, Memory, duty};
use holdfast_model::errand::Errand;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::power::PowerState;

impl Doer for Manager {
    fn view(&self) -> &View {
        &self.process.view
    }

    fn client(&self) -> Client {
        Manager::client(self)
    }

    fn place(&self) -> Place {
        Manager::place(self)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn log(&self, ctx: &mut Ctx, text: &str) {
        ctx.log(&self.name, text);
    }

    fn duty(&self, errand: &Errand, memory: &Memory) -> Duty {
        duty(&self.name, &self.life.to_string(), errand, memory)
    }

    /// Managers have what every device takes.
    fn lacks(&self, _: &FenceDevice) -> Option<String> {
        None
    }

    fn proof(&self) -> Proof {
        Proof::None
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
            ErrandCall::Take(id) => self.on_duty(|duties, me| duties.taken(ctx, me, &id, answer)),
            ErrandCall::Say(id) => self.on_duty(|duties, me| duties.said(ctx, me, &id, &answer)),
        }
    }

    /// Looks at what there is to do.
    pub(super) fn attend_to_errands(&mut self, ctx: &mut Ctx) {
        self.on_duty(|duties, me| duties.attend(ctx, me));
    }

    /// The device has answered.
    pub(super) fn errand_done(&mut self, ctx: &mut Ctx, id: &ErrandId, power: PowerState) {
        self.on_duty(|duties, me| duties.done(ctx, me, id, power));
    }

    fn on_duty(&mut self, go_on: impl FnOnce(&mut Duties, &Self)) {
        let mut duties = std::mem::take(&mut self.process.duties);
        go_on(&mut duties, self);
        self.process.duties = duties;
    }
}
