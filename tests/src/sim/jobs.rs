//! An agent's calls to libvirt: one per VM, each to its end.
//!
//! ```text
//! Start:            claim ─> create (paused) ─> guard watches ─> re-check ─> resume
//! TakeOver, Resume: claim ────────────────────> guard watches ─> re-check ─> resume (restamped)
//! Destroy:          re-check of the owner record, while there is a session ─> destroy
//! ```
//! The re-check is one linearizable read: the owner record is the one that was decided on, and the
//! session is still this process's own.

use super::agent::Agent;
use super::bounds::{CREATE_BOUND_MS, DESTROY_BOUND_MS, SHORT_BOUND_MS};
use super::claims::Refusal;
use super::ctx::Ctx;
use super::event::{Event, Request, Tag};
use super::machine::Machine;
use super::rounds::Planned;
use holdfast_core::guardian::{Action, EndKind, Ended, Job};
use holdfast_core::lease::claim::Wanted;
use holdfast_model::id::{Generation, Revision, VmName};
use holdfast_model::lease::{Holder, StorageClass};
use holdfast_model::time::Instant;
use holdfast_model::vm::Runner;
use holdfast_store::TxnOutcome;
use holdfast_store::api::Compare;
use holdfast_store::guarded::Answer;
use holdfast_store::guards::{check_txn, expect, session_guard};
use holdfast_store::keyspace::Key;

/// A heartbeat may come between: the re-check is repeated that often.
const CHECKS_MAX: u32 = 5;
/// For a claim to stand on the lease volume, in milliseconds.
const CLAIM_MS: u64 = 5_000;
/// A call that libvirt refused ends its job this much later, so that it is not repeated at once.
const REFUSED_MS: u64 = 1_000;

/// A call under way.
pub struct Work {
    pub(super) job: Job,
    owner: Option<Revision>,
    checks: u32,
    pub(super) failed_until: Option<Instant>,
    /// Its claim has to stand on the volume by then.
    claims_until: Option<Instant>,
    /// Which call libvirt has been asked to carry out, and until when that is waited for.
    called: Option<(u64, Instant)>,
}

impl Agent {
    pub(super) fn act(&mut self, m: &mut Machine, ctx: &mut Ctx, planned: Vec<Planned>) {
        for Planned { vm, action, owner } in planned {
            let job = match action {
                Action::Start { generation } => Job::Start { generation },
                Action::TakeOver { generation } => Job::TakeOver { generation },
                Action::Resume { generation } => Job::Resume { generation },
                Action::Shutdown => {
                    m.shut_down(ctx, &vm);
                    let since = m.local(ctx);
                    Job::Shutdown { since }
                }
                Action::Destroy { why } => {
                    ctx.log(&m.name, format!("{vm} is to be destroyed: {why}"));
                    Job::Destroy
                }
                Action::Migrate { generation, to } => {
                    let from = (m.name.clone(), m.boot);
                    let asked = Event::MigrationAsked {
                        vm: vm.clone(),
                        from,
                        to,
                        generation,
                    };
                    ctx.after(1, asked);
                    Job::Migrate {
                        generation,
                        aborting: false,
                    }
                }
                Action::AbortMigration => {
                    ctx.after(1, Event::AbortAsked(m.name.clone(), vm.clone()));
                    let generation = m.migrating.get(&vm).copied().unwrap_or(Generation(0));
                    Job::Migrate {
                        generation,
                        aborting: true,
                    }
                }
            };
            let work = Work {
                job,
                owner,
                checks: 0,
                failed_until: None,
                claims_until: None,
                called: None,
            };
            self.jobs.insert(vm.clone(), work);
            match job {
                Job::Start { .. } | Job::TakeOver { .. } | Job::Resume { .. } => {
                    self.claim(m, ctx, &vm);
                }
                Job::Destroy if self.incarnation(m).is_some() => self.check_owner(m, ctx, &vm),
                Job::Destroy => self.destroy(m, ctx, &vm),
                Job::Shutdown { .. } | Job::Migrate { .. } => {}
            }
        }
    }

    /// Under a storage lease the claim comes first.
    fn claim(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName) {
        let Some(wanted) = self.wanted(m, vm) else {
            return self.proceed(m, ctx, vm);
        };
        if !m.claim(ctx, wanted) {
            return self.call_failed(m, ctx, vm, "the guard does not write its claim");
        }
        let until = m.local(ctx).plus(CLAIM_MS);
        if let Some(work) = self.jobs.get_mut(vm) {
            work.claims_until = Some(until);
        }
        self.wake(ctx, m, until);
    }

    /// What is claimed for the grant that is being carried out; none without a storage lease.
    fn wanted(&self, m: &Machine, vm: &VmName) -> Option<Wanted> {
        if self.lease_of(m, vm) != StorageClass::Quorum {
            return None;
        }
        let view = self.view.vms.get(vm)?;
        let owner = &view.owner.as_ref()?.value;
        let holder = |runner: &Runner| Holder {
            host: runner.host.clone(),
            incarnation: runner.incarnation.clone(),
        };
        let follows = owner.follows.iter();
        Some(Wanted {
            vm: vm.clone(),
            uuid: view.spec.as_ref()?.value.uuid.clone(),
            generation: owner.generation,
            holder: Holder {
                host: m.name.clone(),
                incarnation: self.incarnation(m)?,
            },
            follows: follows
                .map(|grant| (grant.generation, holder(&grant.runner)))
                .collect(),
        })
    }

    pub(super) fn on_claimed(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        vm: VmName,
        generation: Generation,
        result: Result<(), Refusal>,
    ) {
        let Some(work) = self.jobs.get_mut(&vm) else {
            return;
        };
        let of_it = matches!(work.job,
            Job::Start { generation: of } | Job::TakeOver { generation: of } | Job::Resume { generation: of }
                if of == generation);
        if !of_it || work.claims_until.take().is_none() {
            return;
        }
        let job = work.job;
        match result {
            Ok(()) => self.proceed(m, ctx, &vm),
            Err(Refusal {
                reason,
                stands: Some(claim),
            }) if matches!(job, Job::Start { .. }) => {
                self.jobs.remove(&vm);
                let how = EndKind::ClaimedBefore { reason, claim };
                self.ends.insert(vm, Ended { generation, how });
                m.wake_agent(ctx);
            }
            Err(refusal) => self.call_failed(m, ctx, &vm, &refusal.reason),
        }
    }

    fn proceed(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName) {
        match self.jobs.get(vm).map(|work| work.job) {
            Some(Job::Start { generation }) => {
                let call = m.create(ctx, vm, generation);
                self.called(m, ctx, vm, call, CREATE_BOUND_MS);
            }
            Some(Job::TakeOver { .. } | Job::Resume { .. }) => self.watch_and_check(m, ctx, vm),
            _ => {}
        }
    }

    /// Storage that does not answer is no place to start a VM on.
    pub(super) fn give_claims_up(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        let now = m.local(ctx);
        let late = |work: &Work| work.claims_until.is_some_and(|until| now >= until);
        let late: Vec<VmName> = (self.jobs.iter())
            .filter(|(_, work)| late(work))
            .map(|(vm, _)| vm.clone())
            .collect();
        for vm in late {
            if let Some(work) = self.jobs.get_mut(&vm) {
                work.claims_until = None;
            }
            self.call_failed(
                m,
                ctx,
                &vm,
                "its claim is not written: the storage does not answer",
            );
        }
    }

    fn destroy(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName) {
        let call = m.destroy(ctx, vm);
        self.called(m, ctx, vm, call, DESTROY_BOUND_MS);
    }

    /// Libvirt was asked for something.
    fn called(&mut self, m: &Machine, ctx: &mut Ctx, vm: &VmName, call: u64, bound_ms: u64) {
        let until = m.local(ctx).plus(bound_ms);
        if let Some(work) = self.jobs.get_mut(vm) {
            work.called = Some((call, until));
        }
        self.wake(ctx, m, until);
    }

    /// Whether this is what is waited for; what was left behind ends without anybody who listens.
    fn awaits(&self, vm: &VmName, call: u64) -> bool {
        let called = self.jobs.get(vm).and_then(|work| work.called);
        called.is_some_and(|(number, _)| number == call)
    }

    /// Calls that libvirt has not carried out in time: whether it will, nobody knows.
    pub(super) fn leave_calls_behind(&mut self, m: &Machine, ctx: &mut Ctx) {
        let now = m.local(ctx);
        let late = |work: &Work| work.called.is_some_and(|(_, until)| now >= until);
        let late = self.jobs.iter_mut().filter(|(_, work)| late(work));
        let mut any = false;
        for (vm, work) in late {
            any = true;
            work.called = None;
            work.failed_until = Some(now.plus(REFUSED_MS));
            ctx.log(
                &m.name,
                format!("{vm}: libvirt's call is left behind: no answer"),
            );
        }
        if any {
            self.rested = None;
            self.wake(ctx, m, now.plus(REFUSED_MS));
        }
    }

    pub(super) fn on_returned(&mut self, call: u64, vm: &VmName) {
        if self.awaits(vm, call) {
            self.jobs.remove(vm);
        }
    }

    pub(super) fn on_created(
        &mut self,
        m: &mut Machine,
        ctx: &mut Ctx,
        call: u64,
        vm: VmName,
        error: Option<String>,
    ) {
        if !self.awaits(&vm, call) {
            return;
        }
        match error {
            Some(reason) => self.not_started(m, ctx, &vm, &reason),
            None => self.watch_and_check(m, ctx, &vm),
        }
    }

    fn watch_and_check(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName) {
        let class = self.lease_of(m, vm);
        if m.watch(ctx, vm, class) {
            if let Some(wanted) = self.wanted(m, vm) {
                m.holds(vm, wanted);
            }
            self.check(m, ctx, vm);
        } else {
            self.call_failed(m, ctx, vm, "the guard does not let it run");
        }
    }

    /// The storage lease under which this host may run it: that of the grant which is being carried
    /// out.
    fn lease_of(&self, m: &Machine, vm: &VmName) -> StorageClass {
        let generation = match self.jobs.get(vm).map(|work| work.job) {
            Some(
                Job::Start { generation }
                | Job::TakeOver { generation }
                | Job::Resume { generation },
            ) => Some(generation),
            _ => m.domains.get(vm).map(|domain| domain.generation),
        };
        let owner = self.view.vms.get(vm).and_then(|view| view.owner.as_ref());
        let owner = owner.filter(|owner| Some(owner.value.generation) == generation);
        match m.lease {
            Some(_) => owner.map_or(StorageClass::Plain, |owner| owner.value.lease),
            None => StorageClass::Plain,
        }
    }

    fn check(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName) {
        let owner = self.jobs.get(vm).and_then(|work| work.owner);
        let (Some(owner), Some(session)) = (owner, self.acknowledged()) else {
            return self.call_failed(m, ctx, vm, "this host has no session");
        };
        let txn = check_txn(vec![
            Compare::Revision(Key::VmOwner(vm.clone()).path(), owner),
            session_guard(&m.name, session),
        ]);
        self.call(ctx, m, Tag::Check(vm.clone()), Request::Txn(txn));
    }

    fn check_owner(&mut self, m: &Machine, ctx: &mut Ctx, vm: &VmName) {
        let owner = self.jobs.get(vm).and_then(|work| work.owner);
        let txn = check_txn(vec![expect(&Key::VmOwner(vm.clone()), owner)]);
        self.call(ctx, m, Tag::Check(vm.clone()), Request::Txn(txn));
    }

    pub(super) fn on_check(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName, answer: Answer) {
        let Some(work) = self.jobs.get_mut(vm) else {
            return;
        };
        if work.job == Job::Destroy {
            return match answer {
                Answer::Txn(Ok(TxnOutcome::Committed(_))) => self.destroy(m, ctx, vm),
                _ => self.call_failed(m, ctx, vm, "its owner record has changed or is not known"),
            };
        }
        let (Job::Start { generation } | Job::TakeOver { generation } | Job::Resume { generation }) =
            work.job
        else {
            return;
        };
        work.checks += 1;
        let again = work.checks < CHECKS_MAX;
        match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(_))) => {
                let now = m.local(ctx);
                let watched = self.incarnation(m).is_some();
                if watched && now < self.may_act_until() {
                    let call = m.resume(ctx, vm, generation);
                    self.called(m, ctx, vm, call, SHORT_BOUND_MS);
                } else {
                    self.call_failed(m, ctx, vm, "the lease is too near its end");
                }
            }
            Answer::Txn(Ok(TxnOutcome::Refused(_))) if again => self.check(m, ctx, vm),
            Answer::Txn(Ok(TxnOutcome::Refused(_))) => {
                self.call_failed(m, ctx, vm, "the grant has changed");
            }
            Answer::Txn(Err(error)) => self.call_failed(m, ctx, vm, &error.to_string()),
            Answer::Read(_) => {}
        }
    }

    /// Nothing was created by it: what is there is an earlier call's.
    fn not_started(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName, reason: &str) {
        self.rested = None;
        if let Some(work) = self.jobs.remove(vm)
            && let Job::Start { generation } = work.job
        {
            let reason = reason.to_owned();
            let how = EndKind::StartFailed { reason };
            self.ends.insert(vm.clone(), Ended { generation, how });
            m.wake_agent(ctx);
        }
    }

    /// A start leaves nothing behind; what a migration brought stays paused.
    fn call_failed(&mut self, m: &mut Machine, ctx: &mut Ctx, vm: &VmName, reason: &str) {
        self.rested = None;
        let now = m.local(ctx);
        let Some(work) = self.jobs.get_mut(vm) else {
            return;
        };
        if matches!(work.job, Job::Start { .. }) {
            if work.called.is_some() {
                m.domains.remove(vm);
                m.watched.remove(vm);
            }
            return self.not_started(m, ctx, vm, reason);
        }
        let until = now.plus(REFUSED_MS);
        work.failed_until = Some(until);
        ctx.log(&m.name, format!("{vm} is left as it is: {reason}"));
        self.wake(ctx, m, until);
    }

    pub(super) fn drop_failed_calls(&mut self, m: &Machine, ctx: &Ctx) {
        let now = m.local(ctx);
        self.jobs
            .retain(|_, work| work.failed_until.is_none_or(|until| now < until));
    }
}
