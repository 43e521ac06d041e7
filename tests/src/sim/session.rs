//! An agent's session: opening it, keeping it, losing it; and what the guard makes of that.

use super::agent::{Agent, Phase, identity, name};
use super::bounds::{OPEN_RETRY_MS, START_MARGIN_MS};
use super::ctx::Ctx;
use super::event::{Request, Tag};
use super::machine::Machine;
use holdfast_core::guardian::deadline::Renewal;
use holdfast_model::fence::{FenceRecord, FenceStage};
use holdfast_model::host::{
    GuardState, HostSpec, RunnerBounds, Session, SessionState, StoragePlane,
};
use holdfast_model::id::{Incarnation, Revision};
use holdfast_model::time::Instant;
use holdfast_store::TxnOutcome;
use holdfast_store::api::{Compare, Listing, Txn, TxnOp};
use holdfast_store::guarded::{Ack, Answer, Ask, Lost};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::session::{Opening, continued, heartbeat, reopen, reopened, taken_back};

/// The session that stands in the store is of an earlier life of this host; or it is this very life's,
/// by a process before this one: then this one ends, and its successor goes on with it.
fn was_set_back(m: &Machine, ctx: &Ctx) -> bool {
    let found: Option<Session> = ctx.record(&Key::HostSession(m.name.clone()));
    let (Some(found), Some(saved)) = (found, &m.saved) else {
        return false;
    };
    identity(m).has_outlived(&found) || found.incarnation == *saved
}

impl Agent {
    /// The life whose VMs may run here: saved, and still watched over by the guard.
    pub(super) fn incarnation(&self, m: &Machine) -> Option<Incarnation> {
        let saved = m.saved.clone();
        saved.filter(|life| m.deadline.accepts(life))
    }

    pub(super) fn check_lapse(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        let now = m.local(ctx);
        if m.guard_answers(ctx) {
            m.deadline.tick(now);
        }
        if m.saved.is_some() && self.incarnation(m).is_none() {
            let life = m.saved.take();
            if let (Some(life), Phase::Live { .. }) = (life, &self.session) {
                ctx.log(&m.name, format!("agent: incarnation {life} is over"));
            }
            self.session = Phase::Closed { not_before: now };
            self.reset_opener(m);
        }
    }

    pub(super) fn keep_session(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        let now = m.local(ctx);
        let ask = match &mut self.session {
            Phase::Refused
            | Phase::Reading
            | Phase::Reopening { .. }
            | Phase::Live { busy: true, .. } => return,
            Phase::Closed { .. } if !self.grants_known => return,
            Phase::Closed { not_before } if now < *not_before => Ask::Wait(*not_before),
            Phase::Closed { .. } => {
                self.session = Phase::Reading;
                let key = Key::HostSession(m.name.clone()).path();
                return self.call(ctx, m, Tag::ReadSession, Request::List(key));
            }
            Phase::Live { heartbeat, .. } => heartbeat.poll(now),
        };
        match ask {
            Ask::Wait(at) => self.wake(ctx, m, at),
            Ask::Txn(txn) => self.beat(m, ctx, Request::Txn(txn)),
            Ask::Read(prefix) => self.beat(m, ctx, Request::List(prefix)),
            Ask::Over(Lost::Closed) if self.outlives_its_session(m) => {
                // The storage plane may hold: whether this life may go on, its fence record tells.
                ctx.log(
                    &m.name,
                    "agent: its session was closed; its storage lease holds",
                );
                if let Some(life) = m.saved.clone().filter(|_| m.guard_answers(ctx)) {
                    m.deadline.control_closed(&life, now);
                    m.guard(ctx);
                }
                self.session = Phase::Closed { not_before: now };
                self.reset_opener(m);
                self.wake(ctx, m, now.plus(1));
            }
            Ask::Over(Lost::Taken(_)) if was_set_back(m, ctx) => {
                ctx.log(
                    &m.name,
                    "agent: the store does not know this life: was it set back?",
                );
                self.session = Phase::Closed { not_before: now };
                self.reset_opener(m);
                self.wake(ctx, m, now.plus(1));
            }
            Ask::Over(lost) => {
                ctx.log(&m.name, format!("agent: session lost: {lost}"));
                let life = m.saved.take();
                if let Some(life) = life.filter(|_| m.guard_answers(ctx)) {
                    m.deadline.revoke(&life, now);
                    m.guard(ctx);
                }
                self.session = Phase::Closed { not_before: now };
                self.reset_opener(m);
                self.wake(ctx, m, now.plus(1));
            }
        }
    }

    fn beat(&mut self, m: &Machine, ctx: &mut Ctx, request: Request) {
        if let Phase::Live { busy, .. } = &mut self.session {
            *busy = true;
        }
        self.call(ctx, m, Tag::Session, request);
    }

    pub(super) fn on_session_read(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        listing: Option<Listing>,
    ) {
        if !matches!(self.session, Phase::Reading) {
            return;
        }
        let now = m.local(ctx);
        let later = Phase::Closed {
            not_before: now.plus(OPEN_RETRY_MS),
        };
        let Some(listing) = listing else {
            self.session = later;
            return;
        };
        let clean = self.decide(m, ctx).clean;
        self.session = match self.opener.decide(now, listing.items.first(), clean) {
            Opening::New { base } => self.open(m, ctx, base).unwrap_or(later),
            Opening::Continue { base, session } => self
                .go_on(m, ctx, base, &session)
                .unwrap_or(Phase::Closed { not_before: now }),
            Opening::Reopen { base, session } => {
                let key = Key::Fence(m.name.clone(), session.incarnation.clone()).path();
                self.call(ctx, m, Tag::ReadFence, Request::List(key));
                Phase::Reopening {
                    base,
                    session: Box::new(session),
                    sent: None,
                }
            }
            Opening::TakeBack { base } => self
                .take_back(m, ctx, base)
                .unwrap_or(Phase::Closed { not_before: now }),
            Opening::CleanFirst { .. } => later,
            Opening::Observe { until } => Phase::Closed { not_before: until },
            Opening::Refused(error) => {
                ctx.log(&m.name, format!("agent: {error}"));
                Phase::Refused
            }
        };
    }

    fn open(&mut self, m: &mut Machine, ctx: &mut Ctx, base: Option<Revision>) -> Option<Phase> {
        let life: Incarnation = name(&format!("{}-{}", m.name, m.lives + 1));
        let session = self.session_record(m, life.clone());
        if !m.arm(ctx, &life, &session.bounds) {
            return None;
        }
        if let Some(vm) = m.domains.keys().next() {
            ctx.violation(format!(
                "clean-session: {} opens {life} while a domain of {vm} is there",
                m.name
            ));
        }
        m.lives += 1;
        m.saved = Some(life);
        self.armed_on = Some(m.guard_is.life);
        let period_ms = self.timing().heartbeat_ms;
        let beats = heartbeat(m.name.clone(), session, base, period_ms);
        Some(Phase::Live {
            heartbeat: Box::new(beats),
            busy: false,
            announced: false,
        })
    }

    /// The store has forgotten this life. `None`: the guard does not have it any more.
    fn take_back(&mut self, m: &mut Machine, ctx: &mut Ctx, base: Revision) -> Option<Phase> {
        let life = m.saved.clone()?;
        let session = self.session_record(m, life);
        if !m.arm(ctx, &session.incarnation, &session.bounds) {
            if m.guard_answers(ctx) {
                m.saved = None;
                self.reset_opener(m);
            }
            return None;
        }
        self.armed_on = Some(m.guard_is.life);
        let period_ms = self.timing().heartbeat_ms;
        let beats = taken_back(m.name.clone(), session, base, period_ms);
        Some(Phase::Live {
            heartbeat: Box::new(beats),
            busy: false,
            announced: false,
        })
    }

    /// `None`: the guard has let that life lapse; it is forgotten.
    fn go_on(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        base: Revision,
        found: &Session,
    ) -> Option<Phase> {
        let mut session = self.session_record(m, found.incarnation.clone());
        let armed = m.arm(ctx, &session.incarnation, &session.bounds);
        if !armed && m.guard_answers(ctx) {
            m.saved = None;
            self.reset_opener(m);
            return None;
        }
        self.armed_on = armed.then_some(m.guard_is.life);
        if !armed {
            ctx.log(&m.name, "agent: goes on without a guard");
            session.guard = GuardState::Absent;
        }
        let period_ms = self.timing().heartbeat_ms;
        let beats = continued(m.name.clone(), session, base, found.beat, period_ms);
        Some(Phase::Live {
            heartbeat: Box::new(beats),
            busy: false,
            announced: false,
        })
    }

    /// This life has a storage plane, and it may have kept it alive.
    fn outlives_its_session(&self, m: &Machine) -> bool {
        m.lease.is_some() && self.incarnation(m).is_some()
    }

    /// The fence record of a life that is to go on has been read.
    pub(super) fn on_fence_read(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        listing: Option<Listing>,
    ) {
        let now = m.local(ctx);
        let Phase::Reopening { base, session, .. } = &self.session else {
            return;
        };
        let (base, found) = (*base, session.clone());
        self.session = Phase::Closed {
            not_before: now.plus(OPEN_RETRY_MS),
        };
        let Some(listing) = listing else { return };
        if !m.guard_answers(ctx) {
            // It may still hold the storage plane: looked at again.
            return;
        }
        let fence = listing.items.first().and_then(|item| {
            let record: FenceRecord = serde_json::from_slice(&item.value).ok()?;
            (record.stage == FenceStage::ControlClosed).then_some(item.revision)
        });
        let session = self.session_record(m, found.incarnation.clone());
        let armed = m.arm(ctx, &session.incarnation, &session.bounds);
        self.armed_on = armed.then_some(m.guard_is.life);
        let (Some(fence), true) = (fence, armed) else {
            let life = session.incarnation;
            ctx.log(&m.name, format!("agent: incarnation {life} is over"));
            m.deadline.revoke(&life, now);
            m.saved = None;
            m.guard(ctx);
            return self.reset_opener(m);
        };
        let (txn, beat) = reopen(&m.name, &session, found.beat, (base, fence), now);
        self.session = Phase::Reopening {
            base,
            session: Box::new(session),
            sent: Some((now, beat)),
        };
        self.call(ctx, m, Tag::Reopen, Request::Txn(txn));
    }

    /// The session was opened again, or not.
    pub(super) fn on_reopened(&mut self, m: &mut Machine, ctx: &mut Ctx, answer: Answer) {
        let now = m.local(ctx);
        let Phase::Reopening {
            session,
            sent: Some((sent_at, beat)),
            ..
        } = &self.session
        else {
            return;
        };
        let (session, sent_at, beat) = (session.as_ref().clone(), *sent_at, *beat);
        self.session = Phase::Closed { not_before: now };
        self.reset_opener(m);
        // Refused, or nobody knows: the record is read again, and tells.
        let Answer::Txn(Ok(TxnOutcome::Committed(revision))) = answer else {
            return;
        };
        let life = session.incarnation.clone();
        let ack = Ack { sent_at, revision };
        let period_ms = self.timing().heartbeat_ms;
        let beats = reopened(m.name.clone(), session, ack, beat, period_ms);
        ctx.log(
            &m.name,
            format!("agent: session open again, incarnation {life}"),
        );
        self.session = Phase::Live {
            heartbeat: Box::new(beats),
            busy: false,
            announced: true,
        };
        self.acknowledge(m, ctx, &life, ack);
    }

    fn acknowledge(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        life: &Incarnation,
        ack: Ack,
    ) -> bool {
        let now = m.local(ctx);
        if !m.guard_answers(ctx) {
            m.tell_later(life, ack.sent_at);
            return false;
        }
        let counts = matches!(
            m.deadline.renewed(life, ack.sent_at, now),
            Renewal::Until { .. }
        );
        if let Some(lease) = &mut m.lease {
            lease.mailbox.acknowledged(ack.revision);
        }
        if counts {
            if m.dying.is_empty() {
                // What its guard had to kill is gone: from here on a stop needs a reason of its own.
                ctx.truth.kills.remove(&m.name);
            }
            m.plan_guard(ctx);
            let sent = ctx.now - now.since(ack.sent_at).min(ctx.now);
            ctx.truth.acknowledged.insert(m.name.clone(), sent);
        }
        counts
    }

    fn session_record(&self, m: &Machine, incarnation: Incarnation) -> Session {
        let timing = self.timing();
        Session {
            incarnation,
            boot_id: m.boot_id.clone(),
            machine_id: name(&format!("machine-{}", m.name)),
            beat: 0,
            state: SessionState::Open,
            bounds: RunnerBounds {
                runner_deadline_ms: timing.runner_deadline_ms,
                kill_bound_ms: timing.kill_bound_ms,
                watchdog_bound_ms: timing.watchdog_bound_ms,
            },
            guard: GuardState::Working,
            storage: m.lease.as_ref().map(|lease| StoragePlane {
                volume: super::VOLUME.to_owned(),
                slot: lease.slot,
                class: lease.class,
            }),
            version: "sim".to_owned(),
        }
    }

    pub(super) fn on_beat(&mut self, m: &mut Machine, ctx: &mut Ctx, answer: Answer) {
        let now = m.local(ctx);
        let Phase::Live {
            heartbeat,
            busy,
            announced,
        } = &mut self.session
        else {
            return;
        };
        *busy = false;
        let Some(ack) = heartbeat.answer(now, answer) else {
            return;
        };
        let life = heartbeat.record().session.incarnation.clone();
        let first = !std::mem::replace(announced, true);
        if self.acknowledge(m, ctx, &life, ack) && first {
            ctx.log(&m.name, format!("agent: session open, incarnation {life}"));
        }
        self.declare_guard(m, ctx, true);
        self.write_spec(m, ctx);
    }

    /// A host that joins says where it stands; afterwards that record is the operators'.
    fn write_spec(&mut self, m: &Machine, ctx: &mut Ctx) {
        let known = self
            .view
            .hosts
            .get(&m.name)
            .and_then(|host| host.spec.as_ref());
        if known.is_some() || self.spec_asked {
            return;
        }
        self.spec_asked = true;
        let key = Key::HostSpec(m.name.clone()).path();
        let spec = HostSpec {
            name: m.name.clone(),
            site: m.site.clone(),
            maintenance: false,
        };
        let txn = Txn {
            compares: vec![Compare::Absent(key.clone())],
            ops: vec![TxnOp::Put(key, encode(&spec))],
        };
        self.call(ctx, m, Tag::HostSpec, Request::Txn(txn));
    }

    /// The revision that guards this life's writes, once there is one.
    pub(super) fn acknowledged(&self) -> Option<Revision> {
        match &self.session {
            Phase::Live { heartbeat, .. } => heartbeat.acknowledged().map(|ack| ack.revision),
            Phase::Closed { .. } | Phase::Reading | Phase::Reopening { .. } | Phase::Refused => {
                None
            }
        }
    }

    /// When the session lapses by what this very process had acknowledged; it asks no guard for that.
    pub(super) fn lapses_at(&self) -> Option<Instant> {
        let Phase::Live { heartbeat, .. } = &self.session else {
            return None;
        };
        let deadline_ms = heartbeat.record().session.bounds.runner_deadline_ms;
        heartbeat
            .acknowledged()
            .map(|ack| ack.sent_at.plus(deadline_ms))
    }

    /// VMs may be set going until then.
    pub(super) fn may_act_until(&self) -> Instant {
        let Phase::Live { heartbeat, .. } = &self.session else {
            return Instant(0);
        };
        let deadline_ms = heartbeat.record().session.bounds.runner_deadline_ms;
        let margin_ms = START_MARGIN_MS.min(deadline_ms / 4);
        let until = self.lapses_at().unwrap_or(Instant(0));
        Instant(until.0.saturating_sub(margin_ms))
    }
}
