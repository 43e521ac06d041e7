//! Domains that no grant of this life covers. They carry this cluster's stamp, so they are ours to
//! destroy; what they ran may run elsewhere by now.

use super::case::Next;
use super::types::{Domain, DomainState, HostWorld};
use holdfast_model::host::{RunState, VmReport};
use holdfast_model::id::VmName;

/// The store has forgotten the grant that the domain carries: it was set back to an older state. This life
/// was granted the VM, so it runs on and is told of; the leader puts the record right, or nobody does.
/// Whoever else is granted it meanwhile finds this host's claim on the lease volume.
pub(super) fn forgotten(world: &HostWorld, vm: &VmName, domain: &Domain) -> Option<Next> {
    let life = world.incarnation.as_ref()?;
    let forgotten = match (world.grants.get(vm), world.elsewhere.get(vm)) {
        (Some(grant), _) => domain.generation > grant.owner.generation,
        // The very generation is another host's: it was given twice.
        (None, Some(owner)) if owner.held => domain.generation >= owner.generation,
        (None, Some(owner)) => domain.generation > owner.generation,
        (None, None) => true,
    };
    if !domain.own || !world.grants_known || !forgotten {
        return None;
    }
    let state = match domain.state {
        DomainState::Running | DomainState::ShuttingDown => RunState::Running,
        DomainState::Paused { reason } => RunState::Paused { reason },
        DomainState::Created | DomainState::Receiving | DomainState::Received => {
            RunState::Unknown {
                reason: "it stands paused, and the store has forgotten its grant".to_owned(),
            }
        }
    };
    let report = VmReport {
        incarnation: life.clone(),
        generation: domain.generation,
        state,
    };
    let told = world.reports.get(vm) == Some(&report);
    Some(match told {
        true => Next::nothing(),
        false => Next {
            report: Some(Some(report)),
            ..Next::nothing()
        },
    })
}

/// This host has no session (it was closed, or never opened): whatever is here is of an earlier
/// life.
pub(super) fn without_session(domain: Option<&Domain>) -> Next {
    match domain {
        Some(_) => Next::destroy("this host has no session: nothing may run here"),
        None => Next::nothing(),
    }
}

/// The owner record does not name this host. Once nothing is left the report goes as well: the
/// leader has moved on, and reports must not pile up.
pub(super) fn elsewhere(domain: Option<&Domain>, reported: bool) -> Next {
    match domain {
        Some(_) => Next::destroy("it is not granted to this host"),
        None if reported => Next::remove_report(),
        None => Next::nothing(),
    }
}

/// The owner record names an earlier life of this host. The report stays until the leader has
/// moved on: it may still want to read it.
pub(super) fn of_an_earlier_life(domain: Option<&Domain>) -> Next {
    match domain {
        Some(_) => Next::destroy("its grant is to an earlier life of this host"),
        None => Next::nothing(),
    }
}
