//! A host's guard: the production's deadline, heartbeat and observation of the peers, around a process
//! table and calls to the storage.
//!
//! ```text
//! deadline ─> kill ─> all gone ─> "released" in the heartbeat
//! keeper ───> write ─> deadline (storage plane), observer ─> read everything ─> observer, mailbox
//! ```

use super::ctx::Ctx;
use super::event::Event;
use super::machine::Machine;
use super::san::{Io, IoCall, IoEnd, Sector, Sectors};
use super::truth::Stop;
use holdfast_core::guardian::EndKind;
use holdfast_core::guardian::deadline::{Phase, Verdict};
use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_core::lease::mailbox::Mailbox;
use holdfast_core::lease::observer::{Observer, ReadTimes};
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{Incarnation, VmName};
use holdfast_model::lease::{AgentState, Mail, Record, StorageClass};
use holdfast_model::time::Instant;

use super::bounds::KILL_MS;

/// A process that the guard watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Its domain.
    pub domain: u64,
    /// Under which storage lease it runs.
    pub class: StorageClass,
}

/// An agent that has not been heard of for this long is silent, in milliseconds.
const AGENT_SILENT_MS: u64 = 3_000;

/// The guard's part on the lease volume.
pub struct Lease {
    /// Its slot.
    pub slot: u32,
    /// What the storage promises.
    pub class: StorageClass,
    pub(super) keeper: Option<Keeper>,
    /// What it sees of the peers.
    pub observer: Observer,
    reading: Option<Instant>,
    next_look: Instant,
    /// When the agent was last heard of.
    pub heard: Instant,
    asked: Option<u64>,
    /// Which messages are heeded.
    pub mailbox: Mailbox,
}

impl Lease {
    /// On a slot.
    pub fn new(slot: u32, class: StorageClass) -> Self {
        Self {
            slot,
            class,
            keeper: None,
            observer: Observer::default(),
            reading: None,
            next_look: Instant(0),
            heard: Instant(0),
            asked: None,
            mailbox: Mailbox::default(),
        }
    }

    /// Nothing of a boot outlives it.
    pub fn power_off(&mut self) {
        *self = Self::new(self.slot, self.class);
    }

    /// Another guard goes on from the table of the last.
    pub fn restarted(&mut self, now: Instant) {
        let known = self.mailbox.known();
        self.power_off();
        self.heard = now;
        self.mailbox = Mailbox::go_on(known, now);
    }
}

impl Machine {
    /// The guard takes a process to watch. False: it does not let it run.
    pub fn watch(&mut self, ctx: &Ctx, vm: &VmName, class: StorageClass) -> bool {
        if !self.guard_answers(ctx) {
            return false;
        }
        let verdict = self.deadline.tick(self.local(ctx));
        let life = self.saved.as_ref();
        let accepts = life.is_some_and(|life| self.deadline.accepts(life));
        let may_run = match verdict {
            Verdict::LetRun => true,
            Verdict::KillUnleased => class == StorageClass::Quorum,
            Verdict::KillAll => false,
        };
        if accepts
            && may_run
            && let Some(domain) = self.domains.get(vm)
        {
            let domain = domain.id;
            self.watched.insert(vm.clone(), Watched { domain, class });
        }
        accepts && may_run
    }

    /// The guard is armed for a life. False: it refuses, or is not there.
    pub fn arm(&mut self, ctx: &mut Ctx, life: &Incarnation, bounds: &RunnerBounds) -> bool {
        if !self.guard_answers(ctx) {
            return false;
        }
        let now = self.local(ctx);
        let empty = self.watched.is_empty();
        let storage = self.lease.is_some();
        let armed = self
            .deadline
            .arm(life.clone(), bounds.clone(), storage, empty, now);
        if armed.is_err() {
            return false;
        }
        let boot_id = self.boot_id.clone();
        let identity = Identity::new(self.name.clone(), life.clone(), boot_id, bounds);
        if let Some(lease) = &mut self.lease {
            let same = lease.keeper.as_ref().map(|k| &k.identity().incarnation) == Some(life);
            if !same {
                lease.keeper = Some(Keeper::new(identity, now));
                lease.asked = None;
                lease.mailbox = Mailbox::default();
            }
            if let Some(keeper) = &mut lease.keeper {
                keeper.set_bounds(bounds);
            }
            lease.mailbox.hold(now);
        }
        self.probe_life = self.probes.then_some(self.guard_is.life);
        self.plan_guard(ctx);
        true
    }

    /// The guard wakes when its deadline may have come, or its heartbeat is due.
    pub fn plan_guard(&mut self, ctx: &mut Ctx) {
        let deadline = self.deadline.next_wake(self.local(ctx));
        let keeper = self.lease.as_ref().and_then(|l| l.keeper.as_ref());
        let beat = keeper.and_then(Keeper::next_wake);
        let lease = self.lease.as_ref().filter(|l| l.keeper.is_some());
        let look = lease.filter(|l| l.reading.is_none()).map(|l| l.next_look);
        let claims = self.next_claims();
        let Some(at) = [deadline, beat, look, claims].into_iter().flatten().min() else {
            return;
        };
        let when = self.clock.when(ctx.now, at).max(ctx.now + 1);
        if self.guard_wakes_at <= ctx.now || self.guard_wakes_at > when {
            self.guard_wakes_at = when;
            ctx.queue
                .push(when, Event::Guard(self.name.clone(), self.boot));
        }
    }

    /// The guard looks at the clock.
    pub fn guard(&mut self, ctx: &mut Ctx) {
        if !self.guard_answers(ctx) {
            return;
        }
        self.hear_what_waits(self.local(ctx));
        let verdict = self.deadline.tick(self.local(ctx));
        self.beat(ctx);
        self.look_at_claims(ctx);
        if !self.sabotaged {
            self.kill(ctx, verdict);
        }
        self.say_released(ctx);
        if !(self.sabotaged && verdict != Verdict::LetRun) {
            self.plan_guard(ctx);
        }
    }

    fn kill(&mut self, ctx: &mut Ctx, verdict: Verdict) {
        if verdict == Verdict::LetRun {
            return;
        }
        if verdict == Verdict::KillAll {
            self.wake_agent(ctx);
        }
        let doomed = self.doomed(verdict);
        if doomed.is_empty() {
            return;
        }
        self.dying.extend(doomed.iter().map(|(_, domain)| domain));
        let silence = ctx.truth.silence(&self.name, ctx.now);
        let life = self.saved.clone().or_else(|| match self.deadline.phase() {
            Phase::Lapsed { incarnation, .. } => Some(incarnation.clone()),
            Phase::Armed(_) | Phase::Unarmed => None,
        });
        ctx.truth.kills.insert(self.name.clone(), (life, silence));
        let names: Vec<&str> = doomed.iter().map(|(vm, _)| vm.as_str()).collect();
        let what = match verdict {
            Verdict::KillUnleased => "the session has lapsed; killing what has no storage lease:",
            _ => "the lease has lapsed; killing",
        };
        let text = format!("guard: {what} {}", names.join(", "));
        ctx.log(&self.name, text);
        let ms = KILL_MS + ctx.kill_extra_ms;
        ctx.after(ms, Event::Killed(self.name.clone(), self.boot, doomed));
    }

    fn doomed(&self, verdict: Verdict) -> Vec<(VmName, u64)> {
        let dies = |watched: &Watched| match verdict {
            Verdict::LetRun => false,
            Verdict::KillUnleased => watched.class == StorageClass::Plain,
            Verdict::KillAll => true,
        };
        let doomed = self.watched.iter().filter(|(_, watched)| dies(watched));
        let doomed = doomed.filter(|(_, watched)| !self.dying.contains(&watched.domain));
        doomed
            .map(|(vm, watched)| (vm.clone(), watched.domain))
            .collect()
    }

    /// The guard's signals have taken effect: on those processes, and on none that came later.
    pub fn killed(&mut self, ctx: &mut Ctx, doomed: &[(VmName, u64)]) {
        for (vm, domain) in doomed {
            self.dying.remove(domain);
            if self.watched.get(vm).is_some_and(|w| w.domain == *domain) {
                self.watched.remove(vm);
                let words = "is killed by the guard";
                self.end(ctx, vm, *domain, Stop::Killed, words, EndKind::SelfFenced);
            }
        }
        // What was handed over meanwhile, and a heartbeat that says that all is gone.
        self.guard(ctx);
    }

    /// Once everything of a life that has lapsed is gone, its heartbeat says so.
    fn say_released(&mut self, ctx: &mut Ctx) {
        let now = self.local(ctx);
        let Phase::Lapsed { incarnation, .. } = self.deadline.phase() else {
            return;
        };
        let nothing_left = self.watched.is_empty() && self.domains.is_empty();
        if let Some(lease) = &mut self.lease
            && let Some(keeper) = &mut lease.keeper
            && keeper.identity().incarnation == *incarnation
            && nothing_left
            && !keeper.is_released()
        {
            keeper.release(lease.asked.unwrap_or(0), now);
            self.beat(ctx);
        }
    }

    pub(super) fn call(&self, io: Io) -> IoCall {
        IoCall {
            host: self.name.clone(),
            of: (self.boot, self.guard_is.life),
            place: self.place(),
            io,
        }
    }

    fn beat(&mut self, ctx: &mut Ctx) {
        let now = self.local(ctx);
        let (control, _) = self.deadline.planes(now);
        let look_due = |lease: &Lease| lease.keeper.is_some() && now >= lease.next_look;
        if self.lease.as_ref().is_some_and(look_due) {
            self.look(ctx);
        }
        let Some(lease) = &mut self.lease else { return };
        let Some(keeper) = &mut lease.keeper else {
            return;
        };
        keeper.set_agent(match control {
            _ if now.since(lease.heard) >= AGENT_SILENT_MS => AgentState::Silent,
            PlaneState::Valid => AgentState::Connected,
            PlaneState::Lapsed | PlaneState::Unused => AgentState::CutOff,
        });
        let Some(heartbeat) = keeper.poll(now) else {
            return;
        };
        let record = Record::Heartbeat(Some(heartbeat));
        let io = Io::Write(Sector::Heartbeat(lease.slot), record);
        let call = self.call(io);
        ctx.io(call);
    }

    /// A call to the storage has ended.
    pub fn io_ended(&mut self, ctx: &mut Ctx, of: (u32, u32), end: IoEnd) {
        if of != (self.boot, self.guard_is.life) {
            return;
        }
        if !self.guard_answers(ctx) {
            let event = Event::IoEnds(self.name.clone(), of, end);
            return ctx.queue.push(self.guard_is.back_at(), event);
        }
        match end {
            IoEnd::Written(done) => self.written(ctx, done),
            IoEnd::Read(sectors) => self.was_read(ctx, sectors),
            end => super::claims::ended(self, ctx, end),
        }
        self.guard(ctx);
    }

    fn written(&mut self, ctx: &mut Ctx, done: bool) {
        let now = self.local(ctx);
        let Some(lease) = &mut self.lease else { return };
        let Some(keeper) = &mut lease.keeper else {
            return;
        };
        // One call at a time: it is the one under way. A message to a peer is not waited for.
        let Some(counter) = keeper.counter_under_way() else {
            return;
        };
        if !done {
            return keeper.failed(counter, now);
        }
        let life = keeper.identity().incarnation.clone();
        let Some(sent) = keeper.written(counter) else {
            return;
        };
        lease.observer.own_write_succeeded(sent, now);
        self.deadline.storage_renewed(&life, sent, now);
        let at = ctx.now - now.since(sent).min(ctx.now);
        ctx.truth.written.insert(self.name.clone(), at);
        self.look(ctx);
    }

    /// Reads everything: after each own heartbeat, and in its rhythm also while none ends.
    fn look(&mut self, ctx: &mut Ctx) {
        let now = self.local(ctx);
        let Some(lease) = &mut self.lease else { return };
        let Some(keeper) = &lease.keeper else { return };
        lease.next_look = now.plus(u64::from(keeper.identity().period_ms));
        if lease.reading.is_none() {
            lease.reading = Some(now);
            let call = self.call(Io::Read);
            ctx.io(call);
        }
    }

    fn was_read(&mut self, ctx: &mut Ctx, sectors: Option<Sectors>) {
        let now = self.local(ctx);
        let Some(lease) = &mut self.lease else { return };
        let Some(began) = lease.reading.take() else {
            return;
        };
        let Some(sectors) = sectors else { return };
        let times = ReadTimes { began, ended: now };
        for (sector, record) in &sectors {
            let sector = *sector;
            match (sector, record.as_deref()) {
                (Sector::Heartbeat(slot), Some(Record::Heartbeat(Some(heartbeat)))) => {
                    lease.observer.saw(slot, heartbeat, times);
                }
                (Sector::Heartbeat(slot), Some(_)) => lease.observer.saw_nothing(slot),
                // One that cannot be believed proves nothing, and takes nothing back.
                (Sector::Heartbeat(_), None) => {}
                (Sector::Mailbox(slot), Some(Record::Mailbox(Some(mail))))
                    if slot == lease.slot =>
                {
                    if let Some(keeper) = &lease.keeper {
                        let life = &keeper.identity().incarnation;
                        lease.asked = lease.mailbox.heeds(mail, life, now);
                    }
                }
                _ => {}
            }
        }
        let asked = lease.asked.is_some();
        if let (true, Some(keeper)) = (asked, &lease.keeper)
            && self.deadline.accepts(&keeper.identity().incarnation)
        {
            let life = keeper.identity().incarnation.clone();
            ctx.log(&self.name, "guard: asked to release everything");
            ctx.truth.asked.insert(self.name.clone(), life.clone());
            self.deadline.revoke(&life, now);
        }
    }

    /// Writes into a peer's mailbox.
    pub fn send_mail(&self, ctx: &mut Ctx, slot: u32, mail: Mail) {
        if !self.guard_answers(ctx) {
            return;
        }
        let io = Io::Write(Sector::Mailbox(slot), Record::Mailbox(Some(mail)));
        let call = self.call(io);
        ctx.mail(call);
    }

    /// The agent wants to know more about a peer, soon.
    pub fn look_now(&mut self, ctx: &mut Ctx) {
        if !self.guard_answers(ctx) {
            return;
        }
        let now = self.local(ctx);
        if let Some(lease) = &mut self.lease
            && let Some(keeper) = &mut lease.keeper
        {
            keeper.hurry(now);
        }
        self.plan_guard(ctx);
    }
}
