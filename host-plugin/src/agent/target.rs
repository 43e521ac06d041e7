//! What a job is about, what it works with, and how it ended.

use super::records::Records;
use crate::config::Config;
use crate::domain_xml::stamp::{Phase, Stamp};
use crate::driver::{DomainRef, SeenDomain, VmDriver};
use crate::guard::client::GuardClient;
use holdfast_core::guardian::EndKind;
use holdfast_core::lease::claim::Wanted;
use holdfast_model::id::{Generation, HostName, Incarnation, Revision, VmName, VmUuid};
use holdfast_model::lease::{Holder, StorageClass};
use holdfast_model::time::UnixMs;
use holdfast_model::vm::{Owner, VmSpec};
use holdfast_store::cache::Clock;
use std::sync::Arc;

/// What every job works with.
#[derive(Clone)]
pub struct Tools {
    /// This host's configuration.
    pub config: Arc<Config>,
    /// libvirt.
    pub driver: Arc<dyn VmDriver>,
    /// The guard.
    pub guard: GuardClient,
    /// The store.
    pub records: Records,
    /// This machine's clock.
    pub clock: Clock,
}

/// The grant a job is about.
#[derive(Clone)]
pub struct Target {
    /// The VM.
    pub vm: VmName,
    /// Its definition.
    pub spec: Option<VmSpec>,
    /// The grant.
    pub generation: Generation,
    /// The owner record's revision that was decided on.
    pub owner: Option<Revision>,
    /// The storage lease of the grant.
    pub lease: StorageClass,
    /// What is claimed on the lease volume before it runs; none without a storage lease.
    pub claim: Option<Box<Claiming>>,
    /// This host's life; none while it has no session (only destroying is done then).
    pub incarnation: Option<Incarnation>,
    /// Where it is being migrated to, by the owner record.
    pub incoming: Option<HostName>,
    /// The domain as it was listed.
    pub domain: Option<SeenDomain>,
}

/// How a job ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is known of the grant's end by it.
    pub end: Option<EndKind>,
    /// That end is proven by its process's exit; libvirt's list is not needed to believe it.
    pub has_exited: bool,
    /// When it set vCPUs going.
    pub resumed_at: Option<UnixMs>,
    /// Why it did not do what it was for, in words.
    pub failure: Option<String>,
}

impl Outcome {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self {
            failure: Some(reason.into()),
            ..Self::default()
        }
    }

    pub(super) fn ended(end: EndKind) -> Self {
        Self {
            end: Some(end),
            ..Self::default()
        }
    }
}

impl Target {
    /// The domain of this grant.
    pub fn reference(&self) -> Option<DomainRef> {
        let listed = self.domain.as_ref().map(|domain| domain.uuid.clone());
        let uuid = listed.or_else(|| Some(self.spec.as_ref()?.uuid.clone()))?;
        Some(DomainRef {
            uuid,
            vm: self.vm.clone(),
            generation: self.generation,
        })
    }

    pub(super) fn life(&self) -> Result<&Incarnation, String> {
        let none = || "this host has no session".to_owned();
        self.incarnation.as_ref().ok_or_else(none)
    }

    pub(super) fn stamp(&self, tools: &Tools) -> Result<Stamp, String> {
        Ok(Stamp {
            cluster: tools.config.cluster.clone(),
            vm: self.vm.clone(),
            generation: self.generation,
            incarnation: self.life()?.clone(),
            phase: Phase::Created,
        })
    }
}

/// Where a VM's claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The volume's id.
    pub volume: String,
    /// The slot, if it is settled.
    pub slot: Option<u32>,
}

/// What is claimed for a grant, and where.
#[derive(Debug, Clone)]
pub struct Claiming {
    /// The volume's id.
    pub volume: String,
    /// The VM's slot, if it is settled already.
    pub slot: Option<u32>,
    /// What is written there.
    pub wanted: Wanted,
}

impl Claiming {
    /// For a grant to this life.
    pub fn of(owner: &Owner, uuid: &VmUuid, vm: &VmName, holder: Holder, at: Place) -> Self {
        let follows = owner.follows.iter().map(|grant| {
            let holder = Holder {
                host: grant.runner.host.clone(),
                incarnation: grant.runner.incarnation.clone(),
            };
            (grant.generation, holder)
        });
        Self {
            volume: at.volume,
            slot: at.slot,
            wanted: Wanted {
                vm: vm.clone(),
                uuid: uuid.clone(),
                generation: owner.generation,
                holder,
                follows: follows.collect(),
            },
        }
    }
}
