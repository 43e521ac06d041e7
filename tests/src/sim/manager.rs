//! A manager: the production's view, leadership, planner, verify and guarded steps.
//!
//! ```text
//! watch ─> View ─> leadership (claim, renew) ─> plan ─> verify ─> steps, a few at a time ─> again,
//!                                                       once the view has what they wrote
//! ```

mod courier;
mod errand;
mod presence;
mod steps;

use self::courier::Courier;
use self::presence::Presence;
use super::agent::name as named;
use super::bounds::{PLAN_PAUSE_MS, STEPS_UNDER_WAY};
use super::clock::Clock;
use super::ctx::Ctx;
use super::errands::Duties;
use super::event::{Client, Event, FenceCall, FenceStage, Inbox, Request, Tag};
use super::extension::Simulated;
use super::net::Place;
use super::probes::Probing;
use super::rests::{LeftOut, Planned, asks_for_nothing, counts, heard_since};
use holdfast_core::planner::plan_with;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_core::verify::verify;
use holdfast_model::id::{ErrandId, ManagerName, Revision, SiteName};
use holdfast_model::plan::{PlannerStep, Step, Subject};
use holdfast_model::power::PowerAsk;
use holdfast_model::time::{Instant, UnixMs};
use holdfast_store::TxnOutcome;
use holdfast_store::freshness::Freshness;
use holdfast_store::guarded::{Answer, Ask};
use holdfast_store::guards::{event_id, step_txn_in};
use holdfast_store::keyspace::ROOT;
use holdfast_store::leadership::{Leadership, Me, Pace, Seat, Turn};
use holdfast_store::record::ReadChange;
use holdfast_store::view::View;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A manager's machine, with one life of its daemon.
pub struct Manager {
    /// Its name.
    pub name: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// The daemon runs.
    pub up: bool,
    /// Which life of it.
    pub life: u32,
    /// It is stopped until then (SIGSTOP).
    pub frozen_until: u64,
    /// Of its machine.
    pub clock: Clock,
    /// How far its machine's clock on the wall is off.
    pub wall_offset_ms: i64,
    process: Process,
    /// What it asks hosts.
    pub(super) probing: Probing,
    /// What the planner last said about each subject: alone, and with the hosts it refused.
    pub said: BTreeMap<(PlannerStep, Subject), (String, String)>,
}

struct Process {
    view: View,
    listed: bool,
    listing: bool,
    watched: Revision,
    fresh: Freshness,
    leadership: Leadership,
    lead_busy: bool,
    /// Leadership has nothing to do before then, as far as is known.
    lead_waits: Option<Instant>,
    steps: VecDeque<(Step, Option<PowerAsk>)>,
    /// What it asked fencing devices while it leads.
    power: PowerBook,
    /// What it has others ask while it leads, and what it asks for others.
    courier: Courier,
    duties: Duties,
    presence: Presence,
    under_way: usize,
    executed: Executed,
    must_see: Revision,
    planned: Option<Planned>,
    /// What counts was changed last by this revision, or an earlier one that came with it.
    changed: Revision,
    left_out: LeftOut,
    not_before: Instant,
    events: u64,
    /// Refused steps that were told of since the lead was won: a deposed leader asks again and
    /// again until it hears of it.
    refused: BTreeSet<String>,
}

/// What came of the steps of one plan.
#[derive(Default)]
struct Executed {
    done: usize,
    unknown: usize,
}

impl Manager {
    /// A daemon that has just started.
    pub fn new(name: ManagerName, site: SiteName, clock: Clock, life: u32) -> Self {
        let process = Process::new(&name, &site, life);
        Self {
            name,
            site,
            up: true,
            life,
            frozen_until: 0,
            clock,
            wall_offset_ms: 0,
            process,
            probing: Probing::default(),
            said: BTreeMap::new(),
        }
    }

    /// The daemon is started again.
    pub fn start(&mut self, life: u32) {
        self.up = true;
        self.life = life;
        self.frozen_until = 0;
        self.process = Process::new(&self.name, &self.site, life);
        self.probing = Probing::default();
        self.said.clear();
    }

    /// Its present life.
    pub fn client(&self) -> Client {
        Client::Manager(self.name.clone(), self.life)
    }

    /// What it sees of the store.
    pub(super) fn view(&self) -> &View {
        &self.process.view
    }

    /// The same, and what it asks hosts.
    pub(super) fn view_and_probing(&mut self) -> (&View, &mut Probing) {
        (&self.process.view, &mut self.probing)
    }

    /// Hosts have fallen silent, or are heard again: that may be a reason to plan.
    pub(super) fn opinion_changed(&mut self, ctx: &mut Ctx) {
        self.process.planned = None;
        self.look(ctx);
    }

    pub(super) fn place(&self) -> Place {
        Place {
            site: self.site.clone(),
            host: None,
        }
    }

    /// Its epoch, if it believes that it leads.
    pub fn epoch(&self) -> Option<Revision> {
        self.process.leadership.epoch().filter(|_| self.up)
    }

    /// What its watch has brought so far.
    pub fn watched(&self) -> Revision {
        self.process.watched
    }

    /// Nothing is planned or under way.
    pub fn is_idle(&self) -> bool {
        self.process.steps.is_empty() && self.process.under_way == 0
    }

    fn wake(&self, ctx: &mut Ctx, at: Instant) {
        ctx.wake_at(&self.client(), self.clock.when(ctx.now, at));
    }

    /// An earlier wake-up stands for all later ones: they are asked for again then.
    fn wake_for(&self, ctx: &mut Ctx, last: &Planned) {
        if let Some(at) = last.wake_at {
            self.wake(ctx, at);
        }
    }

    pub(super) fn call(&self, ctx: &mut Ctx, tag: Tag, request: Request) {
        ctx.call(self.client(), self.place(), tag, request);
    }

    /// Something came.
    pub fn on(&mut self, ctx: &mut Ctx, inbox: Inbox) {
        let now = self.clock.at(ctx.now);
        match inbox {
            Inbox::Wake | Inbox::Timer => {}
            Inbox::Watch(upto) => {
                if !self.on_watch(ctx, now, upto) {
                    return;
                }
            }
            Inbox::Reply(Tag::List(_), Answer::Read(result)) => {
                self.process.listing = false;
                if let Ok(listing) = result {
                    self.process.watched = listing.revision;
                    self.process.changed = listing.revision;
                    let view = &mut self.process.view;
                    view.reset(&[ROOT.to_owned()], vec![listing], now);
                    self.process.listed = true;
                    self.process.fresh.hear(0, now, now);
                    ctx.watchers.insert(self.client(), self.place());
                }
            }
            Inbox::Reply(Tag::Lead, answer) => self.on_lead(ctx, now, answer),
            Inbox::Reply(Tag::Step(why, ask), answer) => {
                self.on_step(ctx, now, &why, ask, answer);
            }
            Inbox::Power(ask, read_at, state) => {
                if state.says_on() {
                    let words = &mut ctx.truth.words;
                    words.says_on(&ask, self.client(), ctx.now);
                }
                self.asked_here(&ask, &state);
                let read_at = self.clock.at(read_at);
                let answer = PowerAnswer { read_at, state };
                self.process.power.answered(&ask, answer, now);
                self.process.planned = None;
            }
            Inbox::Errand(id, state) => self.errand_done(ctx, &id, state),
            Inbox::Reply(Tag::Errand(what), answer) => self.on_errand(ctx, what, answer),
            Inbox::Reply(Tag::Probes, answer) => self.probing.told(&answer),
            Inbox::Reply(..) => {}
        }
        self.look(ctx);
    }

    /// As the cache does it: true if the view changed or became fresh, so that there is something
    /// to look at.
    fn on_watch(&mut self, ctx: &mut Ctx, now: Instant, upto: Revision) -> bool {
        let process = &mut self.process;
        if !process.listed {
            return true;
        }
        let news = upto > process.watched;
        if news {
            if ctx.is_behind(process.watched) {
                process.listed = false;
                let error = ctx.compacted();
                ctx.log(&self.name, format!("{error}; it lists anew"));
                return true;
            }
            let sent = (process.watched, upto);
            let heard_since = heard_since(&process.view, process.fresh.since(now), now);
            let counts = |view: &View, change: &ReadChange| counts(view, change, heard_since);
            if ctx.bring(&mut process.view, &[ROOT], sent, now, counts) {
                process.changed = upto;
            }
            process.watched = upto;
        }
        let became_fresh = self.process.fresh.hear(0, now, now);
        let rests = self.rests(now);
        if rests {
            self.process.left_out.count();
        }
        became_fresh || (news && !rests)
    }

    /// The last plan, if it would be the same again.
    fn last_plan(&self, now: Instant) -> Option<Planned> {
        let process = &self.process;
        let since = process.fresh.since(now);
        let last = process.planned?;
        (last.stands(process.changed, since, now) && self.hears_all(now)).then_some(last)
    }

    /// All hosts answer it. Whom it asks in vain the planner reads, and the store has that later.
    fn hears_all(&self, now: Instant) -> bool {
        let policy = self.process.view.policy.as_ref();
        policy.is_some_and(|policy| {
            let timing = policy.value.timing.resolve();
            self.probing.observer.hears_all(now, &timing)
        })
    }

    /// What has come is no reason to look: nothing has changed for who leads, nor for what the leader plans.
    fn rests(&self, now: Instant) -> bool {
        let process = &self.process;
        let waits = process.lead_waits.is_some_and(|at| now < at);
        let nothing_to_plan = match process.leadership.epoch() {
            None => process.changed < process.watched,
            Some(_) => self.last_plan(now).is_some() && !process.left_out.is_tried(),
        };
        (waits || process.lead_busy) && nothing_to_plan && !self.has_errands()
    }

    fn look(&mut self, ctx: &mut Ctx) {
        if !self.process.listed {
            if !std::mem::replace(&mut self.process.listing, true) {
                self.call(ctx, Tag::List(0), Request::List(ROOT.to_owned()));
            }
            return;
        }
        self.lead(ctx);
        self.tell_presence(ctx);
        if self.has_errands() {
            self.attend_to_errands(ctx);
            self.follow_errands(ctx);
        }
        self.plan(ctx);
    }

    fn lead(&mut self, ctx: &mut Ctx) {
        if self.process.lead_busy {
            return;
        }
        let now = self.clock.at(ctx.now);
        let process = &mut self.process;
        if let Some(policy) = &process.view.policy {
            let timing = policy.value.timing.resolve();
            process.leadership.set_pace(Pace {
                renew_ms: timing.leader_renew_ms,
                wait_ms: timing.leader_wait_ms,
            });
        }
        let seat = Seat::of(&process.view, process.fresh.since(now));
        let ask = process.leadership.poll(now, &seat);
        process.lead_waits = None;
        match ask {
            Ask::Wait(at) => {
                process.lead_waits = Some(at);
                self.wake(ctx, at);
            }
            Ask::Over(_) => {}
            Ask::Txn(txn) => {
                self.process.lead_busy = true;
                self.call(ctx, Tag::Lead, Request::Txn(txn));
            }
            Ask::Read(prefix) => {
                self.process.lead_busy = true;
                self.call(ctx, Tag::Lead, Request::List(prefix));
            }
        }
    }

    fn on_lead(&mut self, ctx: &mut Ctx, now: Instant, answer: Answer) {
        self.process.lead_busy = false;
        match self.process.leadership.answer(now, answer) {
            Some(Turn::Elected { epoch }) => {
                self.process.must_see = epoch;
                self.process.planned = None;
                self.process.refused.clear();
                self.process.power = PowerBook::default();
                self.forget_errands();
                ctx.log(&self.name, "leads");
            }
            Some(Turn::Deposed(lost)) => {
                ctx.log(&self.name, format!("does not lead any more: {lost}"));
                self.process.steps.clear();
                self.said.clear();
            }
            Some(Turn::Renewed(_)) | None => {}
        }
    }

    fn plan(&mut self, ctx: &mut Ctx) {
        let now = self.clock.at(ctx.now);
        let process = &self.process;
        let (Some(epoch), Some(view_since)) =
            (process.leadership.epoch(), process.fresh.since(now))
        else {
            return;
        };
        if now < process.not_before {
            return self.wake(ctx, process.not_before);
        }
        if !self.is_idle() || process.view.revision < process.must_see {
            return;
        }
        let last = process.planned;
        if let Some(last) = last.filter(|last| !last.is_over(process.view.revision, now)) {
            return self.wake_for(ctx, &last);
        }
        let view = &process.view;
        if !view.is_led_by(epoch) || view.can_plan().is_err() {
            return;
        }
        let last = self.last_plan(now);
        let revision = process.view.revision;
        if let Some(last) = last.filter(|_| !process.left_out.is_tried()) {
            self.process.left_out.count();
            self.process.planned = Some(last.stands_at(revision));
            return self.wake_for(ctx, &last);
        }
        let view = &self.process.view;
        let wall = (1_700_000_000_000 + ctx.now).saturating_add_signed(self.wall_offset_ms);
        let wall = UnixMs(wall);
        let mut world = view.world(now, wall, view_since, epoch, &self.name);
        let own = self.probing.observer.vantage(&self.site);
        world.probes.insert(self.name.clone(), own);
        self.process.power.look(&world);
        world.power = self.process.power.readings().clone();
        let extensions = Simulated::of(&self.process.view, &ctx.extensions);
        let made = plan_with(&world, &extensions);
        let violations = verify(&world, &made);
        for violation in &violations {
            ctx.violation(format!("verify: {violation}"));
        }
        self.process.planned = Some(Planned::new(&made, revision, view_since));
        if last.is_some() {
            self.process.left_out.count();
            if !asks_for_nothing(&made) {
                let what = made.steps.first().map(|step| &step.why);
                ctx.violation(format!("rests: planned without a reason: {what:?}"));
            }
        }
        if let Some(at) = made.wake_at {
            self.wake(ctx, at);
        }
        if ctx.plan_ms > 0 {
            self.process.not_before = now.plus(ctx.plan_ms);
            self.wake(ctx, self.process.not_before);
        }
        self.tell(ctx, &made);
        if violations.is_empty() {
            let asks = made
                .asks
                .into_iter()
                .map(|ask| (ask.step.clone(), Some(ask)));
            let journal = self.process.power.journal(&world);
            let steps = made.steps.into_iter().chain(journal);
            let steps = steps.map(|step| (step, None));
            self.process.steps = steps.chain(asks).collect();
            self.process.executed = Executed::default();
            self.send_steps(ctx);
        }
    }
}

impl Process {
    fn new(name: &ManagerName, site: &SiteName, life: u32) -> Self {
        let me = Me {
            name: name.clone(),
            site: site.clone(),
            life: life.to_string(),
        };
        let timing = holdfast_model::policy::Policy::default().timing.resolve();
        let pace = Pace {
            renew_ms: timing.leader_renew_ms,
            wait_ms: timing.leader_wait_ms,
        };
        Self {
            view: View::default(),
            listed: false,
            listing: false,
            watched: Revision(0),
            fresh: Freshness::new(1),
            leadership: Leadership::new(me, pace),
            lead_busy: false,
            lead_waits: None,
            steps: VecDeque::new(),
            power: PowerBook::default(),
            courier: Courier::default(),
            duties: Duties::default(),
            presence: Presence::default(),
            under_way: 0,
            executed: Executed::default(),
            must_see: Revision(0),
            planned: None,
            changed: Revision(0),
            left_out: LeftOut::default(),
            not_before: Instant(0),
            events: 0,
            refused: BTreeSet::new(),
        }
    }
}

/// The manager of a site.
pub fn manager_of(site: &SiteName) -> ManagerName {
    named(&format!("m-{site}"))
}
