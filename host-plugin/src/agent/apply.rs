//! What the loop does: the guardian's decision, as tasks.

use super::target::{Claiming, Place, Target};
use super::vms::{Revisions, Vms};
use holdfast_core::guardian::{Action, Decision, Grant, HostWorld};
use holdfast_model::host::{RunState, VmReport};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::lease::{Holder, StorageClass};
use holdfast_model::vm::Owner;
use holdfast_store::clock::wall;
use holdfast_store::guards::HostWrite;
use std::collections::BTreeSet;

impl Vms {
    pub(super) fn apply(
        &mut self,
        decision: Decision,
        world: &HostWorld,
        owners: &Revisions,
        seen_at: &Revisions,
    ) {
        let Decision {
            mut reports,
            mut actions,
            ..
        } = decision;
        let names: BTreeSet<VmName> = reports.keys().chain(actions.keys()).cloned().collect();
        for vm in names {
            let (report, action) = (reports.remove(&vm), actions.remove(&vm));
            let target = self.target(&vm, action.as_ref(), world, owners);
            let events = match &report {
                Some(Some(report)) => self.events(&vm, report, world.reports.get(&vm)),
                _ => Vec::new(),
            };
            if let Some(uuid) = target.spec.as_ref().map(|spec| &spec.uuid)
                && matches!(action, Some(Action::Start { .. }))
                && !self.tasks.is_busy(&vm)
            {
                self.seen.begins(uuid);
            }
            let seen = seen_at.get(&vm).copied();
            self.tasks
                .begin(&self.tools, target, report, action, seen, events, world.now);
        }
    }

    fn target(
        &self,
        vm: &VmName,
        action: Option<&Action>,
        world: &HostWorld,
        owners: &Revisions,
    ) -> Target {
        let grant = world.grants.get(vm);
        let domain = self.seen.domains().and_then(|domains| domains.get(vm));
        let stamped = domain.map(|domain| domain.stamp.generation);
        let granted = grant.map(|grant| grant.owner.generation);
        let generation = match action {
            Some(
                Action::Start { generation }
                | Action::TakeOver { generation }
                | Action::Resume { generation }
                | Action::Migrate { generation, .. },
            ) => Some(*generation),
            // These are about what is here.
            Some(Action::Shutdown | Action::Destroy { .. } | Action::AbortMigration) => stamped,
            None => granted,
        };
        Target {
            vm: vm.clone(),
            spec: grant.and_then(|grant| grant.spec.clone()),
            generation: generation.or(granted).unwrap_or_default(),
            owner: owners.get(vm).copied(),
            lease: self.lease_of(grant.map(|grant| &grant.owner), generation),
            claim: grant
                .filter(|grant| Some(grant.owner.generation) == generation)
                .and_then(|grant| self.claiming(vm, grant))
                .map(Box::new),
            incarnation: world.incarnation.clone(),
            incoming: grant
                .and_then(|grant| grant.owner.incoming.as_ref())
                .map(|runner| runner.host.clone()),
            domain: domain.cloned(),
        }
    }

    /// The storage lease under which a VM of that generation runs here.
    pub(super) fn lease_of(
        &self,
        owner: Option<&Owner>,
        generation: Option<Generation>,
    ) -> StorageClass {
        let owner = owner.filter(|owner| Some(owner.generation) == generation);
        let granted = owner.map_or(StorageClass::Plain, |owner| owner.lease);
        let life = self.sources.life.borrow();
        life.session()
            .map_or(StorageClass::Plain, |open| open.lease(granted))
    }

    /// What is claimed before a VM runs under that grant.
    fn claiming(&self, vm: &VmName, grant: &Grant) -> Option<Claiming> {
        let generation = Some(grant.owner.generation);
        if self.lease_of(Some(&grant.owner), generation) != StorageClass::Quorum {
            return None;
        }
        let uuid = &grant.spec.as_ref()?.uuid;
        let (holder, volume) = {
            let life = self.sources.life.borrow();
            let open = life.session()?;
            let holder = Holder {
                host: self.tools.config.name.clone(),
                incarnation: open.incarnation.clone(),
            };
            (holder, open.storage.as_ref()?.volume.clone())
        };
        let slot = self.sources.cache.read(|view| view.slot_of(&volume, uuid));
        let at = Place { volume, slot };
        Some(Claiming::of(&grant.owner, uuid, vm, holder, at))
    }

    /// What is worth telling of a new report.
    fn events(&self, vm: &VmName, report: &VmReport, before: Option<&VmReport>) -> Vec<HostWrite> {
        let same_grant = before.filter(|before| before.generation == report.generation);
        let ran = same_grant.is_some_and(|before| before.state != RunState::Starting);
        if report.state != RunState::Running || ran {
            return Vec::new();
        }
        let at = self.resumed_at.get(&(vm.clone(), report.generation));
        let at = at.copied().unwrap_or_else(wall);
        vec![super::events::vm_running(
            &self.tools,
            vm,
            report.generation,
            at,
        )]
    }
}
