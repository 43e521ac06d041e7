//! The agent: the production's session and guardian in a shell that is as thin as it can be.
//!
//! ```text
//! look: news of libvirt ─> lease lapsed? ─> session (read, open, heartbeat) ─> round
//! round: decide ─> reports in one guarded write ─> then the actions
//! ```
//! This file: its life and its view. The session is in `session`, rounds in `rounds`, calls in
//! `jobs`, what it asks fencing devices of other hosts in `asking`.

use super::asking::Asking;
use super::ctx::Ctx;
use super::event::{Client, Inbox, Request, Tag};
use super::machine::Machine;
use super::rests::LeftOut;
use holdfast_core::guardian::Ended;
use holdfast_core::lease::lookout::Lookout;
use holdfast_model::host::Session;
use holdfast_model::id::{Revision, VmName};
use holdfast_model::time::Instant;
use holdfast_model::timing::{Profile, Timing};
use holdfast_store::TxnOutcome;
use holdfast_store::api::Listing;
use holdfast_store::guarded::Answer;
use holdfast_store::keyspace::{ERRANDS, FENCES, Key, VMS, host_prefix};
use holdfast_store::record::ReadChange;
use holdfast_store::session::{Identity, Opener, SessionHeartbeat};
use holdfast_store::view::View;
use std::collections::BTreeMap;

/// One life of an agent.
pub struct Agent {
    pub(super) client: Client,
    pub(super) view: View,
    prefixes: Vec<String>,
    listed: Vec<Option<Listing>>,
    listing: bool,
    watched: Revision,
    /// Its watch cannot go on from there: the view is to be listed anew.
    behind: bool,
    /// The view was listed once.
    pub(super) grants_known: bool,
    pub(super) session: Phase,
    pub(super) opener: Opener,
    pub(super) spec_asked: bool,
    /// Which process of the guard has been armed for the present life.
    pub(super) armed_on: Option<u32>,
    pub(super) jobs: BTreeMap<VmName, super::jobs::Work>,
    pub(super) ends: BTreeMap<VmName, Ended>,
    pub(super) pending: Option<super::rounds::Pending>,
    /// A round whose write had no answer: nobody knows whether it happened.
    pub(super) unanswered: Option<super::rounds::Pending>,
    pub(super) must_see: Revision,
    pub(super) lookout: Lookout,
    /// There was nobody to look at, and neither fence records nor sightings have changed since.
    pub(super) nobody_to_see: bool,
    pub(super) saw_busy: bool,
    /// What the guardian reads of the view, while that stays as it is.
    pub(super) known: Option<super::rounds::Known>,
    /// The last round had nothing to do, and nothing it went by has changed since but the time.
    pub(super) rested: Option<super::rounds::Rested>,
    /// How often a round was left out because only time had passed.
    pub(super) left_out: LeftOut,
    /// What it asks fencing devices of other hosts, if it can.
    pub(super) asking: Option<Box<Asking>>,
}

/// Where its session stands.
pub(super) enum Phase {
    /// None; the record is read then.
    Closed { not_before: Instant },
    /// The record is being read.
    Reading,
    /// A life that its storage lease kept alive opens its session again.
    Reopening {
        /// The closed session's revision.
        base: Revision,
        session: Box<Session>,
        /// When, and with which number; none while its fence record is being read.
        sent: Option<(Instant, u64)>,
    },
    /// Renewed.
    Live {
        heartbeat: Box<SessionHeartbeat>,
        busy: bool,
        announced: bool,
    },
    /// Not as this host: the daemon has ended.
    Refused,
}

/// What it knows of itself: its state file is of this boot.
pub(super) fn identity(m: &Machine) -> Identity {
    let lives = m.lives_before + 1..=m.lives;
    let lives = lives.map(|number| name(&format!("{}-{number}", m.name)));
    Identity {
        host: m.name.clone(),
        boot_id: m.boot_id.clone(),
        machine_id: name(&format!("machine-{}", m.name)),
        saved: m.saved.clone(),
        earlier: lives
            .filter(|life| m.saved.as_ref() != Some(life))
            .collect(),
    }
}

impl Agent {
    /// A process that has just started.
    pub fn new(m: &Machine, life: u32, now: Instant) -> Self {
        let me = identity(m);
        let asking = Asking::of(m, life, now);
        let mut prefixes = vec![
            VMS.to_owned(),
            host_prefix(&m.name),
            FENCES.to_owned(),
            Key::Policy.path(),
            Key::Cluster.path(),
        ];
        if asking.is_some() {
            prefixes.push(ERRANDS.to_owned());
        }
        Self {
            client: Client::Agent(m.name.clone(), life),
            view: View::default(),
            listed: vec![None; prefixes.len()],
            prefixes,
            listing: false,
            watched: Revision(0),
            behind: false,
            grants_known: false,
            session: Phase::Closed {
                not_before: Instant(0),
            },
            opener: Opener::new(me, Timing::of(Profile::Default).suspect_after_ms),
            spec_asked: false,
            armed_on: None,
            jobs: BTreeMap::new(),
            ends: BTreeMap::new(),
            pending: None,
            unanswered: None,
            must_see: Revision(0),
            lookout: Lookout::default(),
            nobody_to_see: false,
            saw_busy: false,
            known: None,
            rested: None,
            left_out: LeftOut::default(),
            asking,
        }
    }

    /// What its watch has brought so far.
    pub fn watched(&self) -> Revision {
        self.watched
    }

    pub(super) fn reset_opener(&mut self, m: &Machine) {
        let me = identity(m);
        self.opener = Opener::new(me, self.timing().suspect_after_ms);
    }

    pub(super) fn timing(&self) -> Timing {
        let policy = self.view.policy.as_ref();
        policy.map_or_else(
            || holdfast_model::policy::Policy::default().timing.resolve(),
            |seen| seen.value.timing.resolve(),
        )
    }

    pub(super) fn wake(&self, ctx: &mut Ctx, m: &Machine, at: Instant) {
        ctx.wake_at(&self.client, m.clock.when(ctx.now, at));
    }

    pub(super) fn call(&self, ctx: &mut Ctx, m: &Machine, tag: Tag, request: Request) {
        ctx.call(self.client.clone(), m.place(), tag, request);
    }

    /// Something came.
    pub fn on(&mut self, m: &mut Machine, ctx: &mut Ctx, inbox: Inbox) {
        let now = m.local(ctx);
        let answers = m.guard_answers(ctx);
        if let Some(lease) = m.lease.as_mut().filter(|_| answers) {
            lease.heard = now;
        }
        let only_time = match &inbox {
            Inbox::Watch(_) => true,
            Inbox::Timer
            | Inbox::Reply(Tag::Session, Answer::Txn(Ok(TxnOutcome::Committed(_)))) => {
                self.rests_at(now)
            }
            _ => false,
        };
        if !only_time || !m.news.is_empty() {
            self.rested = None;
        }
        match inbox {
            Inbox::Wake | Inbox::Timer => {}
            Inbox::Watch(upto) => self.on_watch(m, ctx, upto),
            Inbox::Reply(Tag::List(n), Answer::Read(result)) => {
                self.listed[n] = result.ok();
                self.on_list(m, ctx, n + 1);
            }
            Inbox::Reply(Tag::ReadSession, Answer::Read(result)) => {
                self.on_session_read(m, ctx, result.ok());
            }
            Inbox::Reply(Tag::ReadFence, Answer::Read(result)) => {
                self.on_fence_read(m, ctx, result.ok());
            }
            Inbox::Reply(Tag::Reopen, answer) => self.on_reopened(m, ctx, answer),
            Inbox::Reply(Tag::Session, answer) => self.on_beat(m, ctx, answer),
            Inbox::Reply(Tag::Saw, _) => self.saw_busy = false,
            Inbox::Reply(Tag::Round, answer) => self.on_round(m, ctx, answer),
            Inbox::Reply(Tag::Check(vm), answer) => self.on_check(m, ctx, &vm, answer),
            Inbox::Reply(Tag::HostSpec, answer) => {
                self.spec_asked = matches!(answer, Answer::Txn(Ok(_)));
            }
            Inbox::Reply(Tag::Asks(what), answer) => self.on_asks(m, ctx, what, answer),
            Inbox::Reply(Tag::Errand(what), answer) => self.on_errand(m, ctx, &what, answer),
            Inbox::Errand(id, power) => self.errand_done(m, ctx, &id, power),
            Inbox::Reply(..) | Inbox::Power(..) => {}
        }
        self.look(m, ctx);
    }

    /// It does not go on as this host.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.session, Phase::Refused)
    }

    fn look(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        if self.has_ended() {
            return;
        }
        self.hear_news(m, ctx);
        self.check_lapse(m, ctx);
        self.declare_guard(m, ctx, false);
        self.list(m, ctx);
        self.keep_session(m, ctx);
        self.look_out(m, ctx);
        self.keep_errands(m, ctx);
        self.round(m, ctx);
    }

    fn list(&mut self, m: &Machine, ctx: &mut Ctx) {
        if (!self.grants_known || self.behind) && !self.listing {
            self.listing = true;
            let first = Request::List(self.prefixes[0].clone());
            self.call(ctx, m, Tag::List(0), first);
        }
    }

    fn on_list(&mut self, m: &Machine, ctx: &mut Ctx, next: usize) {
        if self.listed[next - 1].is_none() {
            self.listing = false;
            return;
        }
        if let Some(prefix) = self.prefixes.get(next) {
            let request = Request::List(prefix.clone());
            return self.call(ctx, m, Tag::List(next), request);
        }
        let listings: Vec<Listing> = self.listed.iter().flatten().cloned().collect();
        let revisions = listings.iter().map(|listing| listing.revision);
        // Each prefix is complete up to its own listing: the watch begins at the oldest.
        self.watched = revisions.min().unwrap_or(Revision(0));
        self.known = None;
        self.rested = None;
        self.nobody_to_see = false;
        self.view.reset(&self.prefixes, listings, m.local(ctx));
        self.listing = false;
        self.behind = false;
        if !std::mem::replace(&mut self.grants_known, true) {
            self.reset_opener(m);
        }
        ctx.watchers.insert(self.client.clone(), m.place());
    }

    fn on_watch(&mut self, m: &Machine, ctx: &mut Ctx, upto: Revision) {
        if !self.grants_known || self.behind || upto <= self.watched {
            return;
        }
        if ctx.is_behind(self.watched) {
            self.behind = true;
            let error = ctx.compacted();
            return ctx.log(&m.name, format!("agent: {error}; it lists anew"));
        }
        let sent = (self.watched, upto);
        let mut vms = Vec::new();
        let mut to_see = false;
        // Its own heartbeat is no news for a round, nor are fence records, nor what is asked of devices.
        let counts = |_: &View, change: &ReadChange| match change.key() {
            Some(Key::VmSpec(vm) | Key::VmOwner(vm) | Key::HostVm(_, vm)) => {
                vms.push(vm.clone());
                false
            }
            Some(Key::Fence(..)) => {
                to_see = true;
                false
            }
            Some(Key::HostSaw(..)) => {
                to_see = true;
                true
            }
            key => !matches!(
                key,
                Some(Key::HostSession(_) | Key::HostAsks(_) | Key::Errand(..))
            ),
        };
        if ctx.bring(&mut self.view, &self.prefixes, sent, m.local(ctx), counts) {
            self.rested = None;
        }
        self.nobody_to_see &= !to_see;
        for vm in vms {
            self.learn(m, &vm);
        }
        self.watched = upto;
    }
}

/// Names in the simulation are made of names: always legal.
pub(super) fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Display,
{
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}
