//! An agent's look at peers whose session was closed and whose storage plane was not.

use super::agent::Agent;
use super::ctx::Ctx;
use super::event::{Request, Tag};
use super::machine::Machine;
use holdfast_core::lease::lookout::{Case, is_news, sighting};
use holdfast_model::id::HostName;
use holdfast_model::lease::Sighting;
use holdfast_model::timing::required_taker_wait_ms;
use holdfast_store::guards::{HostWrite, report_txn};

/// While there is something to look at, it is looked at this often, in milliseconds.
const LOOK_MS: u64 = 250;

impl Agent {
    pub(super) fn look_out(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        let may_look = m.lease.is_some() && self.grants_known && !self.nobody_to_see;
        if !may_look || self.acknowledged().is_none() {
            return;
        }
        let cases = self
            .lookout
            .cases(&m.name, super::VOLUME, &self.view.fences);
        let now = m.local(ctx);
        let mut writes = self.forgotten(m, &cases);
        let answers = m.guard_answers(ctx);
        for case in cases.iter().filter(|_| answers) {
            if let Some(mail) = self.lookout.mail(case, &m.name, now) {
                m.send_mail(ctx, case.slot, mail);
            }
            if let Some(next) = self.sighting(m, case) {
                let told = self.told(m, &case.host);
                let expect = told.map(|seen| seen.revision);
                if is_news(told.map(|seen| &seen.value), &next) {
                    writes.push(HostWrite::Saw {
                        of: case.host.clone(),
                        sighting: next,
                        expect,
                    });
                }
            }
        }
        self.nobody_to_see = cases.is_empty() && writes.is_empty();
        if !cases.is_empty() {
            m.look_now(ctx);
            self.wake(ctx, m, now.plus(LOOK_MS));
        }
        let Some(session) = self.acknowledged() else {
            return;
        };
        if !writes.is_empty() && !self.saw_busy && self.view.revision >= self.must_see {
            self.saw_busy = true;
            let txn = report_txn(&m.name, session, &writes);
            self.call(ctx, m, Tag::Saw, Request::Txn(txn));
        }
    }

    fn told(&self, m: &Machine, host: &HostName) -> Option<&holdfast_model::world::Seen<Sighting>> {
        self.view.hosts.get(&m.name)?.saw.get(host)
    }

    /// Sightings that no open case needs any more.
    fn forgotten(&self, m: &Machine, cases: &[Case]) -> Vec<HostWrite> {
        let own = self.view.hosts.get(&m.name);
        let told = own.map(|host| &host.saw).into_iter().flatten();
        told.filter(|(host, _)| cases.iter().all(|case| case.host != **host))
            .map(|(host, seen)| HostWrite::ForgetSaw {
                of: host.clone(),
                expect: seen.revision,
            })
            .collect()
    }

    fn sighting(&self, m: &Machine, case: &Case) -> Option<Sighting> {
        let observer = &m.lease.as_ref()?.observer;
        let found = observer.finding(case.slot, &case.incarnation, case.closed);
        let declared = observer.last(case.slot).map_or(0, |beat| {
            required_taker_wait_ms(
                beat.runner_deadline_ms.into(),
                beat.kill_bound_ms.into(),
                beat.watchdog_bound_ms.into(),
            )
        });
        let timing = self.timing();
        let policy = self.view.policy.as_ref();
        let quiet_ms = policy.and_then(|seen| seen.value.fencing.quiet_ms(&case.host, &timing));
        sighting(case, found, declared.max(timing.taker_wait_ms), quiet_ms)
    }
}
