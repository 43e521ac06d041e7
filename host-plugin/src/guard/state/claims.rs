//! The claims of the VMs that are watched.

use super::{Guard, NO_VOLUME};
use crate::guard::claims::Task;
use crate::guard::protocol::Answer;
use holdfast_core::guardian::deadline::Phase;
use holdfast_core::lease::claim::Wanted;
use holdfast_model::lease::Holder;
use holdfast_model::time::Instant;

impl Guard {
    /// For the armed life alone: a claim of another one would be nobody's to look at.
    pub(super) fn claim(
        &mut self,
        slot: Option<u32>,
        wanted: Box<Wanted>,
        now: Instant,
    ) -> Result<Answer, String> {
        let life = &wanted.holder.incarnation;
        if !matches!(self.deadline.phase(), Phase::Armed(armed) if armed.incarnation == *life) {
            return Err(format!("incarnation {life} is not armed: arm it first"));
        }
        let uuid = wanted.uuid.clone();
        let task = match slot {
            Some(slot) => Task::Claim { slot, wanted },
            None => Task::Window { uuid },
        };
        self.on_volume(task, now)
    }

    pub(super) fn on_volume(&mut self, task: Task, now: Instant) -> Result<Answer, String> {
        let lease = self.lease.as_mut().ok_or(NO_VOLUME)?;
        let state = lease.claim(task, now);
        Ok(Answer::Claim { state })
    }

    /// Goes on with what was asked for, and looks at the claims of this life again.
    pub(super) fn step_claims(&mut self, now: Instant) {
        let Phase::Armed(armed) = self.deadline.phase() else {
            if let Some(lease) = &mut self.lease {
                lease.forget_claims();
            }
            return;
        };
        let holder = Holder {
            host: self.host.clone(),
            incarnation: armed.incarnation.clone(),
        };
        let held = self.watched.values().filter_map(|watched| {
            let process = &watched.process;
            let slot = process.slot.filter(|_| watched.doomed.is_none())?;
            let holder = &holder;
            let own = move || Wanted {
                vm: process.vm.clone(),
                uuid: process.uuid.clone(),
                generation: process.generation,
                holder: holder.clone(),
                follows: Vec::new(),
            };
            Some((slot, own))
        });
        let Some(lease) = &mut self.lease else { return };
        lease.step_claims(held, now);
    }
}
