//! An agent that asks fencing devices of other hosts for a leader, where its machine has what that takes: it tells so
//! in `hosts/H/fencing`, and does what it is sent, as the production's (`agent/errands`, `holdfast-host/errands`).

use super::agent::{Agent, Phase};
use super::clock::Clock;
use super::ctx::Ctx;
use super::errands::{Doer, Duties, Proof};
use super::event::{AsksCall, Client, ErrandCall, Request, Tag};
use super::machine::Machine;
use super::net::Place;
use holdfast_core::errand::{AgentView, Duty, Memory, agent_duty, standing_at};
use holdfast_model::asking::{AskMeans, HostAsks};
use holdfast_model::errand::Errand;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{ErrandId, Incarnation, Revision};
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use holdfast_store::TxnOutcome;
use holdfast_store::errands::Standing;
use holdfast_store::guarded::Answer;
use holdfast_store::guards::{HostWrite, encode, report_txn};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;

/// It is looked at this often whether there is news to tell, in milliseconds.
const LOOK_EVERY_MS: u64 = 1_000;
/// What could not be written is tried again after this, in milliseconds.
const AGAIN_MS: u64 = 100;

/// What one life of an agent is about, where its machine has anything to ask with.
pub(super) struct Asking {
    life: String,
    means: AskMeans,
    duties: Duties,
    began: Instant,
    told: Option<HostAsks>,
    telling: Telling,
}

/// How far what it has is told.
enum Telling {
    /// As far as is known there is nothing new.
    Rests,
    /// It is looked at then.
    Due(Instant),
    /// What stands there is being read.
    Reads,
    /// It is being written.
    Writes(HostAsks),
}

impl Asking {
    /// None: the machine has nothing to ask with.
    pub(super) fn of(m: &Machine, life: u32, began: Instant) -> Option<Box<Self>> {
        let means = AskMeans {
            programs: m.fence_agents.clone(),
            ..AskMeans::default()
        };
        (!means.is_empty()).then(|| {
            Box::new(Self {
                life: life.to_string(),
                means,
                duties: Duties::default(),
                began,
                told: None,
                telling: Telling::Rests,
            })
        })
    }
}

/// An agent on its machine.
struct OnHost<'a> {
    agent: &'a Agent,
    m: &'a Machine,
    life: &'a str,
    means: &'a AskMeans,
    now: Instant,
}

impl Doer for OnHost<'_> {
    fn view(&self) -> &View {
        &self.agent.view
    }

    fn client(&self) -> Client {
        self.agent.client.clone()
    }

    fn place(&self) -> Place {
        self.m.place()
    }

    fn clock(&self) -> &Clock {
        &self.m.clock
    }

    fn log(&self, ctx: &mut Ctx, text: &str) {
        ctx.log(&self.m.name, format!("agent: {text}"));
    }

    fn duty(&self, errand: &Errand, memory: &Memory) -> Duty {
        let view = &self.agent.view;
        let session = self.agent.holds(self.now).map(|(life, _)| life);
        let own = view.hosts.get(&self.m.name);
        let me = AgentView {
            host: &self.m.name,
            life: self.life,
            session,
            state: own
                .and_then(|own| own.state.as_ref())
                .map(|seen| &seen.value),
            policy: view.policy_in_force().ok().flatten(),
        };
        agent_duty(me, errand, memory)
    }

    fn lacks(&self, device: &FenceDevice) -> Option<String> {
        self.means.lacks(device)
    }

    fn proof(&self) -> Proof {
        let standing = || {
            let (life, session) = self.agent.holds(self.now)?;
            let own = self.agent.view.hosts.get(&self.m.name)?;
            let state = standing_at(own.state.as_ref(), life)?;
            Some(Standing {
                host: self.m.name.clone(),
                session,
                state,
            })
        };
        standing().map_or(Proof::Missing, Proof::Own)
    }
}

impl Agent {
    /// Its session, if a heartbeat of it was acknowledged and it holds long enough yet.
    fn holds(&self, now: Instant) -> Option<(&Incarnation, Revision)> {
        let Phase::Live { heartbeat, .. } = &self.session else {
            return None;
        };
        let revision = self.acknowledged()?;
        (now < self.may_act_until()).then(|| (&heartbeat.record().session.incarnation, revision))
    }

    /// Tells what it has for asking, and looks at what there is to ask.
    pub(super) fn keep_errands(&mut self, m: &Machine, ctx: &mut Ctx) {
        let Some(asking) = self.asking.as_mut() else {
            return;
        };
        let idle = asking.duties.is_idle() && self.view.errands.is_empty();
        self.tell_means(m, ctx);
        if !idle {
            self.on_duty(m, ctx, |duties, ctx, me| duties.attend(ctx, me));
        }
    }

    fn on_duty(
        &mut self,
        m: &Machine,
        ctx: &mut Ctx,
        go_on: impl FnOnce(&mut Duties, &mut Ctx, &OnHost),
    ) {
        let Some(mut asking) = self.asking.take() else {
            return;
        };
        let me = OnHost {
            agent: self,
            m,
            life: &asking.life,
            means: &asking.means,
            now: m.local(ctx),
        };
        go_on(&mut asking.duties, ctx, &me);
        self.asking = Some(asking);
    }

    /// What came of a call to the store about an errand.
    pub(super) fn on_errand(
        &mut self,
        m: &Machine,
        ctx: &mut Ctx,
        what: &ErrandCall,
        answer: Answer,
    ) {
        self.on_duty(m, ctx, |duties, ctx, me| match what {
            ErrandCall::Take(id) => duties.taken(ctx, me, id, answer),
            ErrandCall::Say(id) => duties.said(ctx, me, id, &answer),
            // No agent sends any.
            ErrandCall::Send(_) | ErrandCall::Read(_) | ErrandCall::Remove(_) => {}
        });
    }

    /// The device has answered.
    pub(super) fn errand_done(
        &mut self,
        m: &Machine,
        ctx: &mut Ctx,
        id: &ErrandId,
        power: PowerState,
    ) {
        self.on_duty(m, ctx, |duties, ctx, me| duties.done(ctx, me, id, power));
    }

    /// What it has to tell, if it may write.
    fn means_to_tell(&self) -> Option<HostAsks> {
        let asking = self.asking.as_ref()?;
        let Phase::Live { heartbeat, .. } = &self.session else {
            return None;
        };
        self.acknowledged()?;
        let incarnation = &heartbeat.record().session.incarnation;
        let told = asking.told.as_ref();
        let news = told.is_none_or(|told| told.incarnation != *incarnation);
        news.then(|| HostAsks {
            incarnation: incarnation.clone(),
            life: asking.life.clone(),
            means: asking.means.clone(),
            newest: Default::default(),
        })
    }

    /// Once a second, if there is news.
    fn tell_means(&mut self, m: &Machine, ctx: &mut Ctx) {
        let now = m.local(ctx);
        let Some(asking) = self.asking.as_ref() else {
            return;
        };
        let due = match &asking.telling {
            Telling::Reads | Telling::Writes(_) => return,
            Telling::Due(at) => *at,
            Telling::Rests if self.means_to_tell().is_none() => return,
            Telling::Rests => {
                let looks = now.since(asking.began).div_ceil(LOOK_EVERY_MS);
                asking.began.plus(looks * LOOK_EVERY_MS)
            }
        };
        let next = if now < due {
            self.wake(ctx, m, due);
            Telling::Due(due)
        } else if self.means_to_tell().is_some() {
            let path = Key::HostAsks(m.name.clone()).path();
            self.call(ctx, m, Tag::Asks(AsksCall::Read), Request::List(path));
            Telling::Reads
        } else {
            Telling::Rests
        };
        self.telling(next);
    }

    fn telling(&mut self, telling: Telling) {
        if let Some(asking) = self.asking.as_mut() {
            asking.telling = telling;
        }
    }

    /// What came of telling it.
    pub(super) fn on_asks(&mut self, m: &Machine, ctx: &mut Ctx, what: AsksCall, answer: Answer) {
        let again = Telling::Due(m.local(ctx).plus(AGAIN_MS));
        let next = match (what, answer) {
            (AsksCall::Read, Answer::Read(Ok(listing))) => {
                let key = Key::HostAsks(m.name.clone()).path();
                let there = listing.items.iter().find(|item| item.key == key);
                let (Some(record), Some(session)) = (self.means_to_tell(), self.acknowledged())
                else {
                    return self.telling(Telling::Rests);
                };
                if there.is_some_and(|there| there.value == encode(&record)) {
                    return self.has_told(record);
                }
                let writes = [HostWrite::Asks {
                    record: Some(record.clone()),
                    expect: there.map(|there| there.revision),
                }];
                let txn = report_txn(&m.name, session, &writes);
                self.call(ctx, m, Tag::Asks(AsksCall::Write), Request::Txn(txn));
                Telling::Writes(record)
            }
            (AsksCall::Write, Answer::Txn(Ok(TxnOutcome::Committed(_)))) => {
                let asking = self.asking.as_mut();
                let telling = asking.map(|a| std::mem::replace(&mut a.telling, Telling::Rests));
                if let Some(Telling::Writes(record)) = telling {
                    self.has_told(record);
                }
                return;
            }
            // A heartbeat of its own in between, or nobody knows: what stands there tells.
            _ => again,
        };
        self.telling(next);
    }

    fn has_told(&mut self, record: HostAsks) {
        if let Some(asking) = self.asking.as_mut() {
            asking.told = Some(record);
            asking.telling = Telling::Rests;
        }
    }
}
