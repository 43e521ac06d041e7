//! An agent's rounds: decide, write the reports, then act.

use super::agent::{Agent, Phase};
use super::ctx::Ctx;
use super::event::{Request, Tag};
use super::machine::{Machine, News};
use holdfast_core::guardian::deadline::Phase as Watched;
use holdfast_core::guardian::{
    self, Action, Decision, Domain, DomainState, Elsewhere, Ended, Grant, HostWorld, Job,
};
use holdfast_model::host::{ExitKind, HostReport, LibvirtState, RunState, StorageState, VmReport};
use holdfast_model::id::{Incarnation, Revision, VmName};
use holdfast_model::time::Instant;
use holdfast_store::TxnOutcome;
use holdfast_store::guarded::Answer;
use holdfast_store::guards::{HostWrite, report_txn};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A round whose reports are under way: the actions wait for them.
pub struct Pending {
    reports: BTreeMap<VmName, Option<VmReport>>,
    actions: Vec<Planned>,
}

/// What the guardian reads of an agent's view: its grants and its reports.
pub struct Known {
    grants: BTreeMap<VmName, Grant>,
    reports: BTreeMap<VmName, VmReport>,
}

/// What a round that had nothing to do went by, besides the view, the calls, the news and the time.
#[derive(PartialEq)]
struct GoesBy {
    incarnation: Option<Incarnation>,
    libvirt_lists: bool,
    libvirt_is_down: bool,
    /// Its session lets it act.
    may_act: bool,
    guard_works: bool,
    storage: StorageState,
    /// libvirt's domains, by their numbers.
    domains: Vec<(u64, DomainState)>,
}

/// A round that had nothing to do.
pub struct Rested {
    goes_by: GoesBy,
    /// When time alone gives it something to do.
    until: Option<Instant>,
    /// It could be left out, and is held all the same: what it finds to do is wrong.
    tried: bool,
}

/// An action, and the revision of the owner record it was decided on.
pub(super) struct Planned {
    pub vm: VmName,
    pub action: Action,
    pub owner: Option<Revision>,
}

/// A deadline that is not the agent's to know, in milliseconds from now.
const FAR_MS: u64 = 3_600_000;
/// Where every host says it is asked: nobody looks at it.
const PROBED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7071);
/// An agent whose write had no answer looks again after this, in milliseconds.
const RETRY_MS: u64 = 200;

impl Agent {
    pub(super) fn hear_news(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        for news in std::mem::take(&mut m.news) {
            match news {
                News::Claimed {
                    vm,
                    generation,
                    result,
                } => self.on_claimed(m, ctx, vm, generation, result),
                News::Created { call, vm, error } => self.on_created(m, ctx, call, vm, error),
                News::Returned { call, vm } => self.on_returned(call, &vm),
                // Nobody knows what became of them; the next list tells.
                News::ConnectionBroke => self
                    .jobs
                    .retain(|_, work| matches!(work.job, Job::Shutdown { .. })),
                News::Ended {
                    vm,
                    generation,
                    how,
                } => {
                    self.jobs.remove(&vm);
                    self.ends.insert(vm, Ended { generation, how });
                }
            }
        }
        // A shutdown is over when its domain is gone, also one that was asked of a guest that had just
        // gone by itself.
        if m.libvirtd.lists(ctx.now) {
            self.jobs.retain(|vm, work| {
                !matches!(work.job, Job::Shutdown { .. }) || m.domains.contains_key(vm)
            });
        }
    }

    /// The guardian's decision now.
    pub(super) fn decide(&mut self, m: &Machine, ctx: &Ctx) -> Decision {
        let world = self.world(m, ctx);
        let decision = guardian::decide(&world);
        self.keep(world);
        decision
    }

    /// What of it stays true until the view changes.
    fn keep(&mut self, world: HostWorld) {
        let (grants, reports) = (world.grants, world.reports);
        self.known = Some(Known { grants, reports });
    }

    fn known(&self, m: &Machine) -> Known {
        let own = self.view.hosts.get(&m.name);
        let reports = own.map(|host| &host.vms).into_iter().flatten();
        let vms = self.view.vms.keys();
        Known {
            grants: vms
                .filter_map(|vm| Some((vm.clone(), self.grant(m, vm)?)))
                .collect(),
            reports: reports
                .map(|(vm, seen)| (vm.clone(), seen.value.clone()))
                .collect(),
        }
    }

    /// What a watch brought about one VM.
    pub(super) fn learn(&mut self, m: &Machine, vm: &VmName) {
        let Some(mut known) = self.known.take() else {
            self.rested = None;
            return;
        };
        let own = self.view.hosts.get(&m.name);
        let report = own.and_then(|host| host.vms.get(vm));
        let before = (
            set(&mut known.grants, vm, self.grant(m, vm)),
            set(
                &mut known.reports,
                vm,
                report.map(|seen| seen.value.clone()),
            ),
        );
        let named = known.grants.contains_key(vm) || known.reports.contains_key(vm);
        let is_ours = named || m.domains.contains_key(vm);
        if is_ours || before != (None, None) {
            self.rested = None;
        }
        self.known = Some(known);
    }

    /// What the guardian decides on.
    fn world(&mut self, m: &Machine, ctx: &Ctx) -> HostWorld {
        let incarnation = self.incarnation(m);
        let known = self.known.take().unwrap_or_else(|| self.known(m));
        let domain = |domain: &super::machine::Domain| Domain {
            generation: domain.generation,
            own: !matches!(domain.state, DomainState::Receiving | DomainState::Received),
            state: domain.state,
        };
        let lists = m.libvirtd.lists(ctx.now);
        let domains = m.domains.iter().map(|(vm, d)| (vm.clone(), domain(d)));
        HostWorld {
            now: m.local(ctx),
            host: m.name.clone(),
            may_act_until: self.may_act_until(),
            // With a storage plane only the guard knows.
            deadline: match (self.lapses_at(), m.lease.is_some(), m.deadline.phase()) {
                (Some(_), true, _) => m.local(ctx).plus(FAR_MS),
                (Some(until), false, _) => until,
                (None, _, Watched::Armed(armed)) => armed.deadline(),
                (None, _, Watched::Unarmed | Watched::Lapsed { .. }) => Instant(0),
            },
            guard_works: incarnation.is_some() && self.armed_on.is_some(),
            incarnation,
            restart: self
                .view
                .policy
                .as_ref()
                .map(|seen| seen.value.restart.clone())
                .unwrap_or_default(),
            domains: lists.then(|| domains.collect()),
            grants_known: self.grants_known,
            elsewhere: self.elsewhere(m),
            grants: known.grants,
            reports: known.reports,
            jobs: self.jobs_now(m),
            ends: self.ends.clone(),
        }
    }

    /// Owners that the grants leave out.
    fn elsewhere(&self, m: &Machine) -> BTreeMap<VmName, Elsewhere> {
        let record = |vm: &VmName| {
            let owner = self.view.vms.get(vm)?.owner.as_ref()?;
            let mut runners = owner.value.possible_runners();
            let other = runners.all(|runner| runner.host != m.name);
            other.then(|| (vm.clone(), Elsewhere::of(&owner.value)))
        };
        m.domains.keys().filter_map(record).collect()
    }

    /// A VM's grant, if this host may run it.
    fn grant(&self, m: &Machine, vm: &VmName) -> Option<Grant> {
        let view = self.view.vms.get(vm)?;
        let owner = &view.owner.as_ref()?.value;
        let mut runners = owner.possible_runners();
        runners.any(|runner| runner.host == m.name).then(|| Grant {
            owner: owner.clone(),
            spec: view.spec.as_ref().map(|spec| spec.value.clone()),
        })
    }

    /// The agent's own calls, and the migrations libvirt still carries on for an earlier agent.
    fn jobs_now(&self, m: &Machine) -> BTreeMap<VmName, Job> {
        let found = m.migrating.iter().map(|(vm, generation)| {
            let job = Job::Migrate {
                generation: *generation,
                aborting: false,
            };
            (vm.clone(), job)
        });
        let own = self.jobs.iter().map(|(vm, work)| (vm.clone(), work.job));
        found.chain(own).collect()
    }

    pub(super) fn round(&mut self, m: &mut Machine, ctx: &mut Ctx) {
        if self.pending.is_some() || !self.may_decide(m) {
            return;
        }
        self.give_claims_up(m, ctx);
        self.leave_calls_behind(m, ctx);
        let goes_by = GoesBy {
            may_act: m.local(ctx) < self.may_act_until(),
            guard_works: self.armed_on.is_some(),
            storage: m.storage.clone(),
            domains: m
                .domains
                .values()
                .map(|domain| (domain.id, domain.state))
                .collect(),
            incarnation: self.incarnation(m),
            libvirt_lists: m.libvirtd.lists(ctx.now),
            libvirt_is_down: m.libvirtd.is_down(ctx.now),
        };
        let rests = self.rested.take_if(|rested| rested.goes_by == goes_by);
        let tried = rests.as_ref().is_some_and(|rests| rests.tried);
        if let Some(rests) = rests.filter(|_| !tried) {
            // An earlier wake-up stands for all later ones.
            if let Some(at) = rests.until {
                self.wake(ctx, m, at);
            }
            self.rested = Some(rests);
            return;
        }
        self.drop_failed_calls(m, ctx);
        if let Some(earlier) = self.unanswered.take()
            && self.stands(m, &earlier.reports)
        {
            return self.act(m, ctx, earlier.actions);
        }
        let mut world = self.world(m, ctx);
        let settled = guardian::settled_ends(&world);
        for vm in settled {
            self.ends.remove(&vm);
            world.ends.remove(&vm);
        }
        let decision = guardian::decide(&world);
        self.keep(world);
        if let Some(at) = decision.wake_at {
            self.wake(ctx, m, at);
        }
        let planned = self.planned(&decision);
        let writes = self.writes(m, ctx, &decision);
        let nothing = planned.is_empty() && writes.is_empty();
        if tried && !nothing {
            let doing = planned.iter().map(|planned| &planned.action);
            let (name, doing) = (&m.name, doing.collect::<Vec<_>>());
            ctx.violation(format!(
                "rests: {name} acts without a reason: {doing:?}, {writes:?}"
            ));
        }
        self.rested = nothing.then_some(Rested {
            goes_by,
            until: decision.wake_at,
            tried: false,
        });
        let (Some(session), false) = (self.acknowledged(), writes.is_empty()) else {
            // Nothing to write, or no right to: only what needs no report is done.
            let free = |planned: &Planned| !decision.reports.contains_key(&planned.vm);
            return self.act(m, ctx, planned.into_iter().filter(free).collect());
        };
        if matches!(self.session, Phase::Live { busy: true, .. }) {
            // The heartbeat under way changes what guards the write: its answer wakes us.
            return;
        }
        self.pending = Some(Pending {
            reports: decision.reports,
            actions: planned,
        });
        let txn = report_txn(&m.name, session, &writes);
        self.call(ctx, m, Tag::Round, Request::Txn(txn));
    }

    /// Whether reports whose write had no answer are in the store: it did happen.
    fn stands(&self, m: &Machine, reports: &BTreeMap<VmName, Option<VmReport>>) -> bool {
        let own = self.view.hosts.get(&m.name);
        let known = |vm| Some(&own?.vms.get(vm)?.value);
        reports
            .iter()
            .all(|(vm, report)| known(vm) == report.as_ref())
    }

    /// Whether the last round had nothing to do, and still has not, with nothing but this time as news. Now and then
    /// it is held all the same: it has to find nothing.
    pub(super) fn rests_at(&mut self, now: Instant) -> bool {
        let mut failed = self.jobs.values().filter_map(|work| work.failed_until);
        let retries = failed.any(|until| now >= until);
        let Some(rested) = self.rested.as_mut().filter(|_| !retries) else {
            return false;
        };
        self.left_out.count();
        rested.tried = self.left_out.is_tried();
        rested.until.is_none_or(|until| now < until)
    }

    /// Decisions need a view that has this process's own last write. Without a lease there is
    /// nothing to read first: everything goes.
    fn may_decide(&self, m: &Machine) -> bool {
        self.view.revision >= self.must_see || self.incarnation(m).is_none()
    }

    fn planned(&self, decision: &Decision) -> Vec<Planned> {
        let plan = |(vm, action): (&VmName, &Action)| Planned {
            vm: vm.clone(),
            action: action.clone(),
            owner: self
                .view
                .vms
                .get(vm)
                .and_then(|view| Some(view.owner.as_ref()?.revision)),
        };
        decision.actions.iter().map(plan).collect()
    }

    fn writes(&self, m: &Machine, ctx: &Ctx, decision: &Decision) -> Vec<HostWrite> {
        let own = self.view.hosts.get(&m.name);
        let mut writes = Vec::new();
        let report = own.and_then(|host| host.report.as_ref());
        if let Some(wanted) = self.host_report(m, ctx)
            && report.is_none_or(|report| report.value != wanted)
        {
            writes.push(HostWrite::Report {
                report: wanted,
                expect: report.map(|report| report.revision),
            });
        }
        for (vm, report) in &decision.reports {
            let known = own.and_then(|host| host.vms.get(vm)).map(|r| r.revision);
            let vm = vm.clone();
            match (report, known) {
                (Some(report), expect) => writes.push(HostWrite::Vm {
                    vm,
                    report: report.clone(),
                    expect,
                }),
                (None, Some(expect)) => writes.push(HostWrite::ForgetVm { vm, expect }),
                (None, None) => {}
            }
        }
        writes
    }

    fn host_report(&self, m: &Machine, ctx: &Ctx) -> Option<HostReport> {
        let reason = match m.libvirtd.is_down(ctx.now) {
            true => "libvirtd is not there",
            false => "libvirtd does not answer",
        };
        let reason = reason.to_owned();
        Some(HostReport {
            incarnation: self.incarnation(m)?,
            libvirt: match m.libvirtd.lists(ctx.now) {
                true => LibvirtState::Connected,
                false => LibvirtState::Unreachable { reason },
            },
            capacity: m.capacity,
            storage: m.storage.clone(),
            migrate_address: m.name.to_string(),
            lease: holdfast_model::host::LeaseState::NotUsed,
            probe: m.probes.then_some(PROBED),
            labels: Default::default(),
        })
    }

    pub(super) fn on_round(&mut self, m: &mut Machine, ctx: &mut Ctx, answer: Answer) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        match answer {
            Answer::Txn(Ok(TxnOutcome::Committed(revision))) => {
                self.must_see = revision;
                for (vm, report) in &pending.reports {
                    if let Some(words) = report.as_ref().and_then(|r| words(&r.state)) {
                        ctx.log(&m.name, format!("{vm} {words}"));
                    }
                }
                self.act(m, ctx, pending.actions);
            }
            Answer::Txn(Ok(TxnOutcome::Refused(revision))) => self.must_see = revision,
            Answer::Txn(Err(_)) | Answer::Read(_) => {
                self.unanswered = Some(pending);
                let at = m.local(ctx).plus(RETRY_MS);
                self.wake(ctx, m, at);
            }
        }
    }
}

/// Puts it in, or takes it out; what was there before.
fn set<T>(map: &mut BTreeMap<VmName, T>, vm: &VmName, value: Option<T>) -> Option<T> {
    match value {
        Some(value) => map.insert(vm.clone(), value),
        None => map.remove(vm),
    }
}

/// What of a report is worth a line: the hypervisors tell of starts and stops themselves.
fn words(state: &RunState) -> Option<String> {
    Some(match state {
        RunState::Starting
        | RunState::Running
        | RunState::Stopping
        | RunState::MigratingOut
        | RunState::Incoming { complete: false } => return None,
        RunState::Paused { reason } => format!("reported paused ({reason:?})"),
        RunState::MigrationFailed { reason } => format!("reported: migration failed: {reason}"),
        RunState::MigratedAway => "reported as migrated away".to_owned(),
        RunState::Incoming { complete: true } => "reported as received whole".to_owned(),
        RunState::NotHere => "reported as not here".to_owned(),
        RunState::Exited { how } => match how {
            ExitKind::GuestShutdown => "reported: its guest shut itself down".to_owned(),
            ExitKind::Stopped => "reported as stopped".to_owned(),
            ExitKind::Crashed { reason } => format!("reported as crashed: {reason}"),
            ExitKind::StartFailed { reason } => format!("reported: start failed: {reason}"),
            ExitKind::ClaimedBefore { reason, .. } => format!("reported: not started: {reason}"),
            ExitKind::SelfFenced => "reported as stopped at the deadline".to_owned(),
        },
        RunState::Unknown { reason } => format!("reported as unknown: {reason}"),
    })
}
