//! A plan in the making: what was decided so far in this round, and what it uses up.

use super::capacity::Load;
use super::facts::{cluster_age_ms, site_of};
use super::follows;
use super::places::{Place, places};
use super::recovery::by_priority;
use crate::advice::{Advisor, Silent, silent};
use holdfast_model::advice::Advised;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::fence::FenceStage;
use holdfast_model::host::HostState;
use holdfast_model::id::{HostName, Incarnation, OpId, Revision, SiteName, VmName};
use holdfast_model::plan::{Plan, PlannerStep, Report, Step, Subject, Write};
use holdfast_model::power::PowerAsk;
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_model::vm::Owner;
use holdfast_model::world::{VmView, World};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// VMs in an order.
pub(super) type ByPriority<'w> = Rc<[(&'w VmName, &'w VmView)]>;

/// The plan in the making.
pub(super) struct Draft<'w> {
    /// What is decided on.
    pub world: &'w World,
    /// Who answers for placement extensions.
    pub advisor: &'w dyn Advisor,
    /// What they answered.
    advised: RefCell<Vec<Advised>>,
    /// The bounds in force.
    pub timing: Timing,
    /// Counted when it is first asked for: most rounds place nothing.
    load: OnceCell<Load>,
    /// Found out when it is first asked for, and asked for with every VM that is placed.
    places: OnceCell<Vec<Place<'w>>>,
    cluster_age_ms: OnceCell<Option<u64>>,
    by_priority: OnceCell<ByPriority<'w>>,
    /// Links on which a migration had to wait in this round, from a site to another.
    full_links: RefCell<BTreeSet<(SiteName, SiteName)>>,
    plan: Plan,
    vms: BTreeSet<VmName>,
    hosts: BTreeSet<HostName>,
    ops: BTreeSet<OpId>,
    fences: BTreeSet<(HostName, Incarnation)>,
}

impl<'w> Draft<'w> {
    pub fn new(world: &'w World, advisor: &'w dyn Advisor) -> Self {
        Self {
            world,
            advisor,
            advised: RefCell::default(),
            timing: world.policy.timing.resolve(),
            load: OnceCell::new(),
            places: OnceCell::new(),
            cluster_age_ms: OnceCell::new(),
            by_priority: OnceCell::new(),
            full_links: RefCell::default(),
            plan: Plan::default(),
            vms: BTreeSet::new(),
            hosts: BTreeSet::new(),
            ops: BTreeSet::new(),
            fences: BTreeSet::new(),
        }
    }

    /// What hosts and links carry, this round's decisions included.
    pub fn load(&self) -> &Load {
        self.load.get_or_init(|| Load::of(self.world))
    }

    /// All hosts, with what does not depend on the VM that is placed.
    pub fn places(&self) -> &[Place<'w>] {
        self.places.get_or_init(|| places(self.world, &self.timing))
    }

    /// All VMs, those that matter most first.
    pub fn by_priority(&self) -> ByPriority<'w> {
        let order = || by_priority(self.world).into();
        Rc::clone(self.by_priority.get_or_init(order))
    }

    /// The age of the oldest open session; none without any.
    pub fn cluster_age_ms(&self) -> Option<u64> {
        let age_ms = || cluster_age_ms(self.world, &self.timing);
        *self.cluster_age_ms.get_or_init(age_ms)
    }

    /// A migration from that host to that site has to wait, because of the link between.
    pub fn link_is_full(&self, from: &HostName, to: Option<&SiteName>) {
        if let Some((from, to)) = site_of(self.world, from).zip(to) {
            let link = (from.clone(), to.clone());
            self.full_links.borrow_mut().insert(link);
        }
    }

    /// Whether one had to wait for it in this round. What is decided in it only fills a link.
    pub fn is_link_full(&self, from: &HostName, to: &SiteName) -> bool {
        let full = self.full_links.borrow();
        let from = site_of(self.world, from).filter(|_| !full.is_empty());
        from.is_some_and(|from| full.contains(&(from.clone(), to.clone())))
    }

    /// What is decided counts, or is tried out and taken back.
    pub fn change_load(&mut self, change: impl FnOnce(&mut Load)) {
        self.load();
        if let Some(load) = self.load.get_mut() {
            change(load);
        }
    }

    pub fn finish(self) -> Plan {
        let mut plan = Plan {
            advised: self.advised.into_inner(),
            ..self.plan
        };
        // A site's loss asks about each of its VMs, and of twenty extensions that say nothing each is told of each VM:
        // words are put together for what is told, and not to find out whether it is.
        let mut told: BTreeMap<&VmName, Vec<Silent>> = BTreeMap::new();
        for advised in &plan.advised {
            let mut silent = silent(&advised.advice).peekable();
            if silent.peek().is_none() {
                continue;
            }
            let told = told.entry(&advised.vm).or_default();
            let before = told.len();
            for each in silent {
                if told[..before].contains(&each) {
                    continue;
                }
                plan.reports.push(Report {
                    step: PlannerStep::Placement,
                    subject: Subject::Vm(advised.vm.clone()),
                    text: each.to_string(),
                    refused: Vec::new(),
                    until: None,
                });
                told.push(each);
            }
        }
        plan
    }

    /// Placement extensions were asked, and said so.
    pub fn advised(&self, advised: Advised) {
        self.advised.borrow_mut().push(advised);
    }

    /// Whether this round already wrote this VM's owner, or has to leave it alone.
    pub fn vm_done(&self, vm: &VmName) -> bool {
        self.vms.contains(vm)
    }

    /// Nothing else is decided about this VM in this round.
    pub fn leave_alone(&mut self, vm: &VmName) {
        self.vms.insert(vm.clone());
    }

    /// Whether this round already wrote this host's state.
    pub fn host_done(&self, host: &HostName) -> bool {
        self.hosts.contains(host)
    }

    /// Whether this round already answered this request.
    pub fn op_done(&self, id: &OpId) -> bool {
        self.ops.contains(id)
    }

    /// Whether this round already closed this life.
    pub fn fence_done(&self, host: &HostName, life: &Incarnation) -> bool {
        self.fences.contains(&(host.clone(), life.clone()))
    }

    /// Adds a transaction.
    pub fn push(&mut self, why: impl Into<String>, mut writes: Vec<Write>, mut events: Vec<Event>) {
        let checks = self.half_closed(&writes);
        writes.extend(checks);
        events.extend(self.unadvised(&writes));
        for write in &writes {
            match write {
                Write::Owner { vm, owner, .. } => {
                    self.load();
                    if let Some(load) = self.load.get_mut() {
                        load.replace(self.world, vm, owner);
                    }
                    self.vms.insert(vm.clone());
                }
                Write::DeleteVm { vm, .. } => {
                    self.vms.insert(vm.clone());
                }
                Write::HostState { host, .. } | Write::CloseSession { host, .. } => {
                    self.hosts.insert(host.clone());
                }
                Write::DeleteOp { id, .. } => {
                    self.ops.insert(id.clone());
                }
                Write::Fence { record, .. } => {
                    self.fences
                        .insert((record.host.clone(), record.incarnation.clone()));
                }
                Write::CheckVmSpec { .. }
                | Write::CheckHostSpec { .. }
                | Write::CheckSession { .. }
                | Write::CheckFence { .. } => {}
            }
        }
        self.plan.steps.push(Step {
            writes,
            events,
            why: why.into(),
        });
    }

    /// What is decided without an extension's answer is told for good, with the decision.
    fn unadvised(&self, writes: &[Write]) -> Vec<Event> {
        let advised = self.advised.borrow();
        let chosen = writes.iter().filter_map(|write| match write {
            Write::Owner { vm, .. } => advised.iter().rev().find(|each| each.vm == *vm),
            _ => None,
        });
        let told = chosen.flat_map(|each| {
            silent(&each.advice).map(move |silent| Event {
                vm: Some(each.vm.clone()),
                ..self.event(EventKind::Note, format!("{}: {silent}", each.vm))
            })
        });
        told.collect()
    }

    /// Has a fencing device asked, once the step that goes before it is accepted.
    pub fn ask(&mut self, ask: PowerAsk) {
        self.plan.asks.push(ask);
    }

    /// What an owner record is decided on must still stand when it is written: where an earlier
    /// possible runner counts as stopped because the session of its life was closed, and the life may
    /// open it again, that record is compared as well.
    fn half_closed(&self, writes: &[Write]) -> Vec<Write> {
        let mut lives = BTreeSet::new();
        for write in writes {
            let Write::Owner { vm, .. } = write else {
                continue;
            };
            let owner = self.world.vms.get(vm).and_then(|view| view.owner.as_ref());
            let runners = owner.into_iter().flat_map(|o| o.value.possible_runners());
            lives.extend(runners.map(|r| (r.host.clone(), r.incarnation.clone())));
        }
        let half = |life: (HostName, Incarnation)| {
            let fence = self.world.fences.get(&life)?;
            let half = fence.value.stage == FenceStage::ControlClosed;
            half.then_some(Write::CheckFence {
                host: life.0,
                incarnation: life.1,
                expect: fence.revision,
            })
        };
        lives.into_iter().filter_map(half).collect()
    }

    /// The planner looks again at `at` even if nothing changes.
    pub fn wake_at(&mut self, at: Instant) {
        if at > self.world.now {
            self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |other| other.min(at)));
        }
    }

    /// Says what was found.
    pub fn report(&mut self, step: PlannerStep, subject: Subject, text: impl Into<String>) {
        self.report_whole(Report {
            step,
            subject,
            text: text.into(),
            refused: Vec::new(),
            until: None,
        });
    }

    /// Says what is waited for, and until when; the planner looks again then.
    pub fn wait(
        &mut self,
        step: PlannerStep,
        subject: Subject,
        text: impl Into<String>,
        until: Instant,
    ) {
        self.wake_at(until);
        self.report_whole(Report {
            step,
            subject,
            text: text.into(),
            refused: Vec::new(),
            until: Some(until),
        });
    }

    /// Says what was found, with the hosts that were refused.
    pub fn report_whole(&mut self, report: Report) {
        self.plan.reports.push(report);
    }

    /// An event of this leader, now.
    pub fn event(&self, kind: EventKind, text: impl Into<String>) -> Event {
        Event {
            at: self.world.wall,
            actor: self.world.leader.to_string(),
            kind,
            host: None,
            site: None,
            vm: None,
            generation: None,
            text: text.into(),
        }
    }

    /// An event about a VM.
    pub fn vm_event(
        &self,
        kind: EventKind,
        vm: &VmName,
        owner: &Owner,
        text: impl Into<String>,
    ) -> Event {
        Event {
            vm: Some(vm.clone()),
            host: owner.holder.as_ref().map(|runner| runner.host.clone()),
            generation: Some(owner.generation),
            ..self.event(kind, text)
        }
    }

    /// An event about a host.
    pub fn host_event(&self, kind: EventKind, host: &HostName, text: impl Into<String>) -> Event {
        let site = super::facts::site_of(self.world, host).cloned();
        Event {
            host: Some(host.clone()),
            site,
            ..self.event(kind, text)
        }
    }

    /// The write of an owner record, guarded by the revision this world has.
    pub fn owner_write(&self, vm: &VmName, owner: Owner) -> Write {
        let seen = self.world.vms.get(vm).and_then(|v| v.owner.as_ref());
        let follows = match seen {
            Some(seen) => follows::after(self.world, vm, &seen.value, &owner),
            None => owner.follows.clone(),
        };
        Write::Owner {
            vm: vm.clone(),
            owner: Owner { follows, ..owner },
            expect: seen.map(|seen| seen.revision),
        }
    }

    /// The write of a host's state, guarded by the revision this world has.
    pub fn host_state_write(&self, host: &HostName, state: HostState) -> Write {
        Write::HostState {
            host: host.clone(),
            state,
            expect: self.host_state_revision(host),
        }
    }

    fn host_state_revision(&self, host: &HostName) -> Option<Revision> {
        self.world
            .hosts
            .get(host)?
            .state
            .as_ref()
            .map(|state| state.revision)
    }
}
