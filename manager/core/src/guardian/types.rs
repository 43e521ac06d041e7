//! What the guardian reads and answers.

use holdfast_model::host::{PauseReason, VmReport};
use holdfast_model::id::{Generation, HostName, Incarnation, VmName};
use holdfast_model::lease::Claim;
use holdfast_model::policy::RestartPolicy;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Owner, VmSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything the guardian decides on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostWorld {
    /// Now, by this host's steady clock.
    pub now: Instant,
    /// This host.
    pub host: HostName,
    /// Its present life; none while it has no open session.
    pub incarnation: Option<Incarnation>,
    /// VMs may be started or resumed until then: the runner's deadline, less what a start takes.
    /// In the past while heartbeats are not acknowledged.
    pub may_act_until: Instant,
    /// The runner's deadline itself, at which the guard kills. Past it, what stands paused is
    /// destroyed as well: a later resume would bring back an old memory image.
    pub deadline: Instant,
    /// A guard watches over this host's VMs.
    pub guard_works: bool,
    /// Cluster policy for restarts (the shutdown grace).
    pub restart: RestartPolicy,
    /// Domains with this cluster's stamp that libvirt shows; none while libvirt does not answer.
    pub domains: Option<BTreeMap<VmName, Domain>>,
    /// This life of the agent has read the owner records at least once. Until then nobody knows
    /// that a domain has no grant, so none is destroyed for that.
    pub grants_known: bool,
    /// Owner records that name this host as holder or incoming, in whatever incarnation.
    pub grants: BTreeMap<VmName, Grant>,
    /// What the owner records say of the other VMs that have a domain here.
    #[serde(default)]
    pub elsewhere: BTreeMap<VmName, Elsewhere>,
    /// This host's own reports as they stand in the store, of whatever incarnation.
    pub reports: BTreeMap<VmName, VmReport>,
    /// Calls under way, one per VM at the most. A start, a takeover and a migration begin with the
    /// write of their report, so the job stands here from before that write. A migration that
    /// libvirt still carries on after a restart of the agent is a job as well.
    pub jobs: BTreeMap<VmName, Job>,
    /// What the shell learned about grants that ended, until the store has the report of it (see
    /// [`settled_ends`](super::settled_ends)). Learned before `domains` was listed: where an end
    /// and a domain contradict each other, the domain counts.
    pub ends: BTreeMap<VmName, Ended>,
}

/// An owner record that does not name this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The last grant.
    pub generation: Generation,
    /// Another host holds it.
    pub held: bool,
}

impl Elsewhere {
    /// What a record says that does not name this host.
    pub fn of(owner: &Owner) -> Self {
        Self {
            generation: owner.generation,
            held: owner.holder.is_some(),
        }
    }
}

/// An owner record that names this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The record.
    pub owner: Owner,
    /// The VM's definition, if it still exists.
    pub spec: Option<VmSpec>,
}

/// A domain on this host that carries this cluster's stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The generation stamped on it.
    pub generation: Generation,
    /// It carries the stamp of this host's present life.
    #[serde(default)]
    pub own: bool,
    /// What libvirt says it does.
    pub state: DomainState,
}

/// What libvirt says a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum DomainState {
    /// vCPUs run.
    Running,
    /// Created and not yet resumed for the first time.
    Created,
    /// vCPUs stand still.
    Paused {
        /// Why.
        reason: PauseReason,
    },
    /// It is being received by a live migration; its memory is not whole.
    Receiving,
    /// It was received whole and never ran here.
    Received,
    /// The guest is shutting down.
    ShuttingDown,
}

/// A call that is under way for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "job")]
pub enum Job {
    /// Creating, re-checking, resuming.
    Start {
        /// Of which grant.
        generation: Generation,
    },
    /// Taking over a received domain: restamp, re-check, resume.
    TakeOver {
        /// The new grant.
        generation: Generation,
    },
    /// Resuming a paused domain after a re-check.
    Resume {
        /// Of which grant.
        generation: Generation,
    },
    /// The guest was asked to shut down.
    Shutdown {
        /// When it was asked.
        since: Instant,
    },
    /// Destroying the domain.
    Destroy,
    /// Migrating it away.
    Migrate {
        /// Of which grant.
        generation: Generation,
        /// Its abort was asked for.
        aborting: bool,
    },
}

/// How a grant ended on this host, as the shell learned it from a call's result or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which grant.
    pub generation: Generation,
    /// How.
    pub how: EndKind,
}

/// How.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum EndKind {
    /// The start was refused or failed, and no domain is left of it.
    StartFailed {
        /// libvirt's words.
        reason: String,
    },
    /// The start was refused: the lease volume has a claim that the grant knows nothing of.
    ClaimedBefore {
        /// In words.
        reason: String,
        /// The claim.
        claim: Box<Claim>,
    },
    /// libvirt says the guest shut itself down.
    GuestShutdown,
    /// The QEMU process died, or was killed by someone.
    Crashed {
        /// What is known.
        reason: String,
    },
    /// Destroyed by the agent.
    Destroyed,
    /// Killed by the guard at the deadline.
    SelfFenced,
    /// The live migration out of here was reported as successful.
    MigratedAway,
    /// The live migration out of here failed; a domain may still be here.
    MigrationFailed {
        /// libvirt's words.
        reason: String,
    },
}

/// What the guardian answers.
///
/// The shell writes the reports first. An action is carried out only after the report on the same
/// VM in the same decision (if there is one) is in the store, else it is dropped: so `Starting` is
/// durable before a domain exists, and an agent that finds it with neither a domain nor a job
/// knows that the start was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Reports to write to the store, each guarded by the session; `None` removes one.
    pub reports: BTreeMap<VmName, Option<VmReport>>,
    /// Calls to make, one per VM at the most.
    pub actions: BTreeMap<VmName, Action>,
    /// No stamped domain and no call is left: a new session may be opened.
    pub clean: bool,
    /// When to look again even if nothing changes.
    pub wake_at: Option<Instant>,
}

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// Create the domain paused, have the guard watch it, re-check owner, session and deadline,
    /// resume. Ends in [`EndKind::StartFailed`] or a running domain.
    Start {
        /// Of which grant; stamped on the domain.
        generation: Generation,
    },
    /// Stamp a received domain with its new grant, have the guard watch it, re-check, resume.
    TakeOver {
        /// The new grant.
        generation: Generation,
    },
    /// Have the guard watch it, re-check owner, session and deadline, resume a paused domain.
    Resume {
        /// Of which grant.
        generation: Generation,
    },
    /// Ask the guest to shut down.
    Shutdown,
    /// Destroy the domain, whatever it does. While this life is open its owner record is re-checked
    /// first, as before a resume: a view that lags must not cost a VM whose grant is on its way.
    /// Without a session there is nothing to check.
    Destroy {
        /// Why, in words.
        why: String,
    },
    /// Migrate live to a host, paused on arrival.
    Migrate {
        /// Of which grant.
        generation: Generation,
        /// Where to.
        to: HostName,
    },
    /// Abort the migration under way.
    AbortMigration,
}
