//! VMs: what each does, where, and why.
//!
//! The owner record says who may run it; the report of that very grant says what became of it; the
//! host's heartbeat says whether the report still means anything.

use super::Scene;
use holdfast_model::fence::FenceStage;
use holdfast_model::host::{ExitKind, Membership, PauseReason, RunState, VmReport};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::Subject;
use holdfast_model::status::{Vm, VmState};
use holdfast_model::vm::{Intent, Owner, Rest, Runner, VmSpec};
use holdfast_model::world::VmView;

impl Scene<'_> {
    pub(super) fn vms(&self) -> Vec<Vm> {
        self.view
            .vms
            .iter()
            .map(|(name, vm)| self.vm(name, vm))
            .collect()
    }

    fn vm(&self, name: &VmName, vm: &VmView) -> Vm {
        let spec = vm.spec.as_ref().map(|spec| &spec.value);
        let owner = vm.owner.as_ref().map(|owner| &owner.value);
        let (state, why) = self.vm_state(name, spec, owner);
        // Proven stopped there: it is nowhere.
        let nowhere = matches!(state, VmState::Waiting | VmState::Stopped);
        let holder = owner.and_then(|owner| owner.holder.as_ref());
        let host = holder.filter(|_| !nowhere).map(|holder| &holder.host);
        let site = host.and_then(|host| self.site_of(host)).cloned();
        let preferred_site = spec.and_then(|spec| spec.preferred_site.clone());
        let said = self.said(&Subject::Vm(name.clone()));
        let mut words = vec![why];
        if state == VmState::Waiting && said.is_some() {
            // The planner says it better than the last grant's reason.
            words.clear();
        }
        if site.is_some() && preferred_site.is_some() && site != preferred_site {
            let home = preferred_site.as_ref().map_or("", |site| site.as_str());
            words.push(format!("away from site {home}"));
        }
        words.extend(said);
        words.retain(|word| !word.is_empty());
        words.dedup();
        Vm {
            name: name.clone(),
            uuid: spec.map(|spec| spec.uuid.clone()),
            state,
            host: host.cloned(),
            site,
            preferred_site,
            generation: owner.map(|owner| owner.generation).unwrap_or_default(),
            lease: lease_words(owner).to_owned(),
            reason: words.join("; "),
            priority: spec.map_or(0, |spec| spec.priority),
        }
    }

    fn site_of(&self, host: &HostName) -> Option<&holdfast_model::id::SiteName> {
        let spec = self.view.hosts.get(host)?.spec.as_ref()?;
        Some(&spec.value.site)
    }

    fn vm_state(
        &self,
        name: &VmName,
        spec: Option<&VmSpec>,
        owner: Option<&Owner>,
    ) -> (VmState, String) {
        let wanted = spec.is_some_and(|spec| spec.run && !spec.deleting);
        let deleting = spec.is_some_and(|spec| spec.deleting);
        let rest = owner.and_then(|owner| owner.rest.as_ref());
        let Some((owner, holder)) = owner.and_then(|o| Some((o, o.holder.as_ref()?))) else {
            return match (wanted, rest, spec) {
                (true, Some(Rest::GuestShutdown { run_serial }), Some(spec))
                    if spec.run_serial <= *run_serial =>
                {
                    (VmState::Stopped, String::new())
                }
                (true, ..) => (VmState::Waiting, self.waits(owner)),
                _ if deleting => (VmState::Stopped, "being removed".to_owned()),
                _ => (VmState::Stopped, "as asked".to_owned()),
            };
        };
        if let Some(fence) = self
            .view
            .fences
            .get(&(holder.host.clone(), holder.incarnation.clone()))
            .filter(|fence| fence.value.stage == FenceStage::Closed)
        {
            let why = format!("{} was lost: {}", holder.host, fence.value.evidence);
            return if wanted {
                (VmState::Waiting, why)
            } else {
                (VmState::Stopped, why)
            };
        }
        if let Some(silent) = self.silent(holder) {
            return (VmState::Unknown, silent);
        }
        self.held(owner, self.report(name, owner, holder), (spec, wanted))
    }

    /// Why nobody holds a VM that should run, where the planner says nothing.
    fn waits(&self, owner: Option<&Owner>) -> String {
        match owner {
            Some(owner) => owner.reason.clone(),
            None if self.context.view_since.is_none() => {
                "etcd has no majority: nothing can be started".to_owned()
            }
            None => "new".to_owned(),
        }
    }

    /// Why nothing can be said of what this runner does.
    fn silent(&self, holder: &Runner) -> Option<String> {
        let host = self.view.hosts.get(&holder.host);
        let session = host.and_then(|host| host.session.as_ref());
        let Some(session) = session else {
            return Some(format!("{} has no session", holder.host));
        };
        if session.value.incarnation != holder.incarnation {
            return Some(format!(
                "{} came back clean; its earlier life is not closed yet",
                holder.host
            ));
        }
        let silence_ms = self.context.now.since(session.seen_at);
        let suspect = host
            .and_then(|host| host.state.as_ref())
            .is_some_and(|state| state.value.membership == Membership::Suspect);
        (suspect || silence_ms >= self.timing.suspect_after_ms).then(|| {
            format!(
                "{} has been silent for {:.1} s",
                holder.host,
                silence_ms as f64 / 1000.0
            )
        })
    }

    /// What the holder last said of this very grant.
    fn report(&self, name: &VmName, owner: &Owner, holder: &Runner) -> Option<&VmReport> {
        let report = &self.view.hosts.get(&holder.host)?.vms.get(name)?.value;
        let same =
            report.incarnation == holder.incarnation && report.generation == owner.generation;
        same.then_some(report)
    }

    fn held(
        &self,
        owner: &Owner,
        report: Option<&VmReport>,
        (spec, wanted): (Option<&VmSpec>, bool),
    ) -> (VmState, String) {
        let granted = owner.reason.clone();
        let to = owner
            .incoming
            .as_ref()
            .map_or(String::new(), |to| format!("to {}", to.host));
        let Some(report) = report else {
            return match owner.intent {
                Intent::Migrate | Intent::AbortMigration => (VmState::Migrating, to),
                Intent::Stop | Intent::Kill => (VmState::Stopping, granted),
                Intent::Run | Intent::Resume => (VmState::Starting, granted),
            };
        };
        match &report.state {
            RunState::Running if matches!(owner.intent, Intent::Stop | Intent::Kill) => {
                (VmState::Stopping, granted)
            }
            RunState::Running if owner.incoming.is_some() => (VmState::Migrating, to),
            RunState::Running => (VmState::Running, granted),
            RunState::Starting => (VmState::Starting, granted),
            RunState::Stopping => (VmState::Stopping, granted),
            RunState::Paused { reason } => (VmState::Paused, pause_words(*reason, spec)),
            RunState::MigratingOut | RunState::MigratedAway | RunState::Incoming { .. } => {
                (VmState::Migrating, to)
            }
            RunState::MigrationFailed { reason } => {
                (VmState::Migrating, format!("migration failed: {reason}"))
            }
            RunState::NotHere => (VmState::Waiting, granted),
            RunState::Unknown { reason } => (VmState::Unknown, reason.clone()),
            RunState::Exited { how } if wanted => (VmState::Waiting, exit_words(how)),
            RunState::Exited { how } => (VmState::Stopped, exit_words(how)),
        }
    }
}

/// Which planes protect it under its present grant.
fn lease_words(owner: Option<&Owner>) -> &'static str {
    let held = owner.filter(|owner| owner.holder.is_some());
    match held.map(|owner| owner.lease) {
        Some(StorageClass::Quorum) => "control+storage",
        Some(StorageClass::Plain) | None => "control",
    }
}

/// How a grant ended, for people.
pub(crate) fn exit_words(how: &ExitKind) -> String {
    match how {
        ExitKind::GuestShutdown => "the guest shut itself down".to_owned(),
        ExitKind::Stopped => "stopped as asked".to_owned(),
        ExitKind::Crashed { reason } => format!("crashed: {reason}"),
        ExitKind::StartFailed { reason } => format!("start failed: {reason}"),
        ExitKind::ClaimedBefore { reason, .. } => format!("not started: {reason}"),
        ExitKind::SelfFenced => "its host stopped it: it had lost its lease".to_owned(),
    }
}

fn pause_words(reason: PauseReason, spec: Option<&VmSpec>) -> String {
    let words = match reason {
        PauseReason::IoError => match spec.and_then(|spec| spec.on_io_error) {
            None => {
                "paused by an I/O error of its disk; [storage] on_io_error says what becomes of it"
            }
            Some(own) => {
                return format!(
                    "paused by an I/O error of its disk; on_io_error = \"{}\" of its definition says what becomes of it",
                    crate::why::word(&own)
                );
            }
        },
        PauseReason::ByHand => "paused by hand; `virsh resume` on its host continues it",
        PauseReason::Migration => "paused until its migration is settled",
        PauseReason::Other => "paused",
    };
    words.to_owned()
}
