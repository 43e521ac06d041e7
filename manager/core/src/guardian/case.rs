//! One VM as seen from this host: what the owner record makes of us, and what is here.

use super::types::{Action, Domain, DomainState, EndKind, HostWorld};
use holdfast_model::host::{RunState, VmReport};
use holdfast_model::id::{Generation, Incarnation, VmName};
use holdfast_model::time::Instant;
use holdfast_model::vm::{Owner, Runner, VmSpec};

/// What the owner record makes of this host.
pub(super) enum Seat<'a> {
    /// The owner records have not been read yet in this life of the agent.
    NotKnown,
    /// This host has no session: nothing may run here.
    NoSession { domain: Option<&'a Domain> },
    /// The record names other hosts, nobody, or does not exist.
    Elsewhere { domain: Option<&'a Domain> },
    /// The record names an earlier life of this host: the leader has yet to close it.
    EarlierLife { domain: Option<&'a Domain> },
    /// May run it.
    Holder(Case<'a>),
    /// Receives it by live migration.
    Incoming(Case<'a>),
}

/// A grant of this life, and what became of it so far.
pub(super) struct Case<'a> {
    pub world: &'a HostWorld,
    pub life: &'a Incarnation,
    pub owner: &'a Owner,
    pub spec: Option<&'a VmSpec>,
    pub domain: Option<&'a Domain>,
    /// What the store has from this host on this VM, of whatever life and generation.
    pub stored: Option<&'a VmReport>,
    /// The same if it is of this life and this very grant.
    pub report: Option<&'a RunState>,
    /// How this grant ended, if the shell knows.
    pub end: Option<&'a EndKind>,
}

impl<'a> Seat<'a> {
    pub(super) fn of(world: &'a HostWorld, vm: &VmName, domain: Option<&'a Domain>) -> Self {
        let Some(life) = &world.incarnation else {
            return Self::NoSession { domain };
        };
        if !world.grants_known {
            return Self::NotKnown;
        }
        let Some(grant) = world.grants.get(vm) else {
            return Self::Elsewhere { domain };
        };
        let owner = &grant.owner;
        let is_here = |runner: &Runner| runner.host == world.host;
        let is_this_life = |runner: &Runner| is_here(runner) && runner.incarnation == *life;
        let case = || Case::new(world, vm, life, grant, domain);
        if owner.holder.as_ref().is_some_and(is_this_life) {
            Self::Holder(case())
        } else if owner.incoming.as_ref().is_some_and(is_this_life) {
            Self::Incoming(case())
        } else if owner.possible_runners().any(is_here) {
            Self::EarlierLife { domain }
        } else {
            Self::Elsewhere { domain }
        }
    }
}

impl<'a> Case<'a> {
    fn new(
        world: &'a HostWorld,
        vm: &VmName,
        life: &'a Incarnation,
        grant: &'a super::types::Grant,
        domain: Option<&'a Domain>,
    ) -> Self {
        let generation = grant.owner.generation;
        let stored = world.reports.get(vm);
        let of_this_grant =
            |report: &&VmReport| report.incarnation == *life && report.generation == generation;
        let end = world.ends.get(vm);
        Self {
            world,
            life,
            owner: &grant.owner,
            spec: grant.spec.as_ref(),
            domain,
            stored,
            report: stored.filter(of_this_grant).map(|report| &report.state),
            end: end
                .filter(|end| end.generation == generation)
                .map(|end| &end.how),
        }
    }

    /// The token of the grant.
    pub(super) fn generation(&self) -> Generation {
        self.owner.generation
    }

    /// vCPUs may be set going now: the session is good for long enough and a guard will stop them
    /// if it lapses.
    pub(super) fn may_set_going(&self) -> bool {
        self.world.guard_works && self.world.now < self.world.may_act_until
    }

    /// A report on this grant, unless the store has it already.
    pub(super) fn report(&self, state: RunState) -> Next {
        if self.report == Some(&state) {
            return Next::nothing();
        }
        Next {
            report: Some(Some(VmReport {
                incarnation: self.life.clone(),
                generation: self.generation(),
                state,
            })),
            ..Next::default()
        }
    }
}

/// What to do about one VM.
#[derive(Default)]
pub(super) struct Next {
    /// Outer `None`: leave the report as it is. Inner `None`: remove it.
    pub report: Option<Option<VmReport>>,
    pub action: Option<Action>,
    pub wake_at: Option<Instant>,
}

impl Next {
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn act(action: Action) -> Self {
        Self::nothing().then(action)
    }

    pub(super) fn destroy(why: &str) -> Self {
        Self::act(Action::Destroy {
            why: why.to_owned(),
        })
    }

    pub(super) fn remove_report() -> Self {
        Self {
            report: Some(None),
            ..Self::default()
        }
    }

    /// The action is made once the report is in the store.
    pub(super) fn then(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    pub(super) fn wake_at(mut self, at: Instant) -> Self {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        self
    }
}

impl DomainState {
    /// The domain exists and its vCPUs do not run.
    pub(super) fn stands_still(self) -> bool {
        match self {
            Self::Running | Self::ShuttingDown => false,
            Self::Created | Self::Paused { .. } | Self::Receiving | Self::Received => true,
        }
    }
}
