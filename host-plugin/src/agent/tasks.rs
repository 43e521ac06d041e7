//! One call per VM at a time, each a task of its own.

use super::jobs;
use super::peer::migrate_target;
use super::target::{Outcome, Target, Tools};
use crate::driver::{DomainRef, SeenDomain};
use holdfast_core::guardian::{Action, Job};
use holdfast_model::host::VmReport;
use holdfast_model::id::{Generation, HostName, Revision, VmName};
use holdfast_model::time::Instant;
use holdfast_store::guards::HostWrite;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// A task that ended.
pub struct Finished {
    /// Whose.
    pub vm: VmName,
    /// Which grant it was about.
    pub generation: Generation,
    /// What came of it.
    pub outcome: Outcome,
    number: u64,
}

struct Task {
    number: u64,
    /// What the guardian is told; none for a report alone.
    job: Option<Job>,
    /// The call has not ended. A shutdown that was asked for stays a job until the guest is gone.
    running: bool,
    domain: Option<DomainRef>,
}

/// The tasks.
pub struct Tasks {
    tasks: BTreeMap<VmName, Task>,
    /// VMs whose last call failed, and until when no other is begun for them: a failure that
    /// repeats at once must not spin.
    resting: BTreeMap<VmName, Instant>,
    done: UnboundedSender<Finished>,
    next_number: u64,
}

/// After a failed call, in milliseconds.
const REST_MS: u64 = 400;
/// Before a migration is aborted, the store is asked for this long at most where it goes.
const LOOK_UP: Duration = Duration::from_secs(2);

impl Tasks {
    /// None yet. Their ends are sent to `done`.
    pub fn new(done: UnboundedSender<Finished>) -> Self {
        Self {
            tasks: BTreeMap::new(),
            resting: BTreeMap::new(),
            done,
            next_number: 1,
        }
    }

    /// When the next one has rested.
    pub fn wake_at(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// The calls under way, for the guardian.
    pub fn jobs(&self) -> BTreeMap<VmName, Job> {
        let job = |(vm, task): (&VmName, &Task)| Some((vm.clone(), task.job?));
        self.tasks.iter().filter_map(job).collect()
    }

    /// VMs with a call that has not ended.
    pub fn busy(&self) -> BTreeSet<VmName> {
        let running = self.tasks.iter().filter(|(_, task)| task.running);
        running.map(|(vm, _)| vm.clone()).collect()
    }

    /// Whether a call of this VM has not ended.
    pub fn is_busy(&self, vm: &VmName) -> bool {
        self.tasks.get(vm).is_some_and(|task| task.running)
    }

    /// No call has not ended.
    pub fn is_empty(&self) -> bool {
        self.tasks.values().all(|task| !task.running)
    }

    /// No call is under way that should not be left behind. A migration is libvirtd's own business
    /// and goes on without us.
    pub fn may_be_left(&self) -> bool {
        let may = |task: &Task| !task.running || matches!(task.job, Some(Job::Migrate { .. }));
        self.tasks.values().all(may)
    }

    /// A shutdown is over when its domain is gone.
    pub fn forget_gone(&mut self, domains: Option<&BTreeMap<VmName, SeenDomain>>, now: Instant) {
        self.resting.retain(|_, until| now < *until);
        let Some(domains) = domains else { return };
        self.tasks.retain(|vm, task| {
            let here = domains.get(vm).is_some_and(|seen| {
                task.domain
                    .as_ref()
                    .is_none_or(|domain| domain.uuid == seen.uuid)
            });
            task.running || here
        });
    }

    /// Takes note of an end; false if another call has taken its place.
    pub fn finish(&mut self, finished: &Finished, now: Instant) -> bool {
        let Some(task) = self.tasks.get_mut(&finished.vm) else {
            return false;
        };
        if task.number != finished.number {
            return false;
        }
        task.running = false;
        if finished.outcome.failure.is_some() {
            self.resting.insert(finished.vm.clone(), now.plus(REST_MS));
        }
        if !matches!(task.job, Some(Job::Shutdown { .. })) {
            self.tasks.remove(&finished.vm);
        }
        true
    }

    /// Writes the report, then makes the call. While a call has not ended another one is not begun,
    /// with two exceptions: a shutdown may become a destroy, and a migration may be aborted.
    #[expect(
        clippy::too_many_arguments,
        reason = "one decision, with what it was decided on"
    )]
    pub fn begin(
        &mut self,
        tools: &Tools,
        target: Target,
        report: Option<Option<VmReport>>,
        action: Option<Action>,
        seen: Option<Revision>,
        events: Vec<HostWrite>,
        now: Instant,
    ) {
        let vm = target.vm.clone();
        if let Some(task) = self.tasks.get_mut(&vm)
            && task.running
        {
            match (&task.job, &action) {
                (Some(Job::Shutdown { .. }), Some(Action::Destroy { .. })) => {}
                (Some(Job::Migrate { generation, .. }), Some(Action::AbortMigration)) => {
                    let generation = *generation;
                    task.job = Some(Job::Migrate {
                        generation,
                        aborting: true,
                    });
                    abort(tools.clone(), task.domain.clone(), target.incoming.clone());
                    return;
                }
                _ => return,
            }
        }
        if self.resting.get(&vm).is_some_and(|until| now < *until) {
            return;
        }
        self.resting.remove(&vm);
        if let (None, Some(Action::AbortMigration)) = (&report, &action) {
            // One that an agent before this one began.
            abort(tools.clone(), target.reference(), target.incoming.clone());
            self.resting.insert(vm, now.plus(REST_MS));
            return;
        }
        if let (None, None) = (&report, &action) {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let job = action
            .as_ref()
            .and_then(|action| job_of(action, &target, now));
        if let Some(action) = &action {
            tracing::info!(%vm, generation = %target.generation, ?action, "begins");
        }
        // A report alone does not end a shutdown that goes on.
        let before = self.tasks.get(&vm).and_then(|task| task.job);
        let task = Task {
            number,
            job: job.or(before.filter(|job| matches!(job, Job::Shutdown { .. }))),
            running: true,
            domain: target.reference(),
        };
        self.tasks.insert(vm, task);
        let (tools, done) = (tools.clone(), self.done.clone());
        tokio::spawn(async move {
            let outcome = work(&tools, &target, report, action, seen, events).await;
            let _ = done.send(Finished {
                vm: target.vm.clone(),
                generation: target.generation,
                outcome,
                number,
            });
        });
    }
}

fn job_of(action: &Action, target: &Target, now: Instant) -> Option<Job> {
    let generation = target.generation;
    match action {
        Action::Start { .. } => Some(Job::Start { generation }),
        Action::TakeOver { .. } => Some(Job::TakeOver { generation }),
        Action::Resume { .. } => Some(Job::Resume { generation }),
        Action::Shutdown => Some(Job::Shutdown { since: now }),
        Action::Destroy { .. } => Some(Job::Destroy),
        Action::Migrate { .. } => Some(Job::Migrate {
            generation,
            aborting: false,
        }),
        Action::AbortMigration => None,
    }
}

fn abort(tools: Tools, domain: Option<DomainRef>, to: Option<HostName>) {
    let Some(domain) = domain else { return };
    tokio::spawn(async move {
        // Only to help a QEMU that hangs: nobody waits long for it.
        let to = match to {
            Some(to) => tokio::time::timeout(LOOK_UP, migrate_target(&tools, &to, 0))
                .await
                .ok()
                .and_then(Result::ok),
            None => None,
        };
        if let Err(error) = tools.driver.abort_migration(&domain, to.as_ref()).await {
            tracing::warn!(vm = %domain.vm, %error, "aborting the migration");
        }
    });
}

async fn work(
    tools: &Tools,
    target: &Target,
    report: Option<Option<VmReport>>,
    action: Option<Action>,
    seen: Option<Revision>,
    events: Vec<HostWrite>,
) -> Outcome {
    if let Some(report) = report {
        let what = report.as_ref().map(|report| report.state.clone());
        let written = jobs::write_first(tools, target, report, seen, events).await;
        if let Err(error) = written {
            return Outcome {
                failure: Some(format!("the report {what:?} is not in the store: {error}")),
                ..Outcome::default()
            };
        }
        tracing::info!(vm = %target.vm, generation = %target.generation, state = ?what, "reported");
    }
    match action {
        None | Some(Action::AbortMigration) => Outcome::default(),
        Some(Action::Start { .. }) => jobs::start(tools, target).await,
        Some(Action::TakeOver { .. }) => jobs::take_over(tools, target).await,
        Some(Action::Resume { .. }) => jobs::resume(tools, target).await,
        Some(Action::Shutdown) => jobs::shutdown(tools, target).await,
        Some(Action::Destroy { .. }) => jobs::destroy(tools, target).await,
        Some(Action::Migrate { to, .. }) => jobs::migrate(tools, target, &to).await,
    }
}
