//! The hosts as places for VMs: which take any at all, and why the others do not. What depends on the VM
//! is in [`super::placement`].

use super::facts::{is_drained, open_session};
use super::suspect::suspicion;
use holdfast_model::host::{GuardState, HostReport, LibvirtState, Membership, StorageState};
use holdfast_model::id::{HostName, SiteName};
use holdfast_model::timing::Timing;
use holdfast_model::vm::Runner;
use holdfast_model::world::{HostView, World};
use std::borrow::Cow;
use std::sync::Arc;

/// Why a host may not take a VM.
pub(super) type Refusal = Cow<'static, str>;

/// A host, with what does not depend on the VM that is placed.
pub(super) struct Place<'w> {
    /// Its name.
    pub name: &'w HostName,
    /// All that is known of it.
    pub host: &'w HostView,
    /// Where it stands.
    pub site: Option<&'w SiteName>,
    /// Its present life if it takes VMs at all, and whether it is held down.
    pub takes_vms: Result<(Runner, bool), Refusal>,
    /// By the report of that life.
    pub healthy: Result<&'w HostReport, Refusal>,
}

/// All hosts, by name.
pub(super) fn places<'w>(world: &'w World, timing: &Timing) -> Vec<Place<'w>> {
    let place = |(name, host): (&'w HostName, &'w Arc<HostView>)| {
        let takes_vms = takes_vms(world, timing, name, host);
        let healthy = match &takes_vms {
            Ok((runner, _)) => healthy(host, runner),
            Err(reason) => Err(reason.clone()),
        };
        Place {
            name,
            host,
            site: host.spec.as_ref().map(|spec| &spec.value.site),
            takes_vms,
            healthy,
        }
    };
    world.hosts.iter().map(place).collect()
}

/// The host's present life if it takes VMs at all, and whether it is held down.
fn takes_vms(
    world: &World,
    timing: &Timing,
    name: &HostName,
    host: &HostView,
) -> Result<(Runner, bool), Refusal> {
    let Some(session) = open_session(host) else {
        return Err(match &host.session {
            Some(_) => "lost: its session is closed".into(),
            None => "it never had a session".into(),
        });
    };
    if let Some(why) = suspicion(world, timing, name, session) {
        return Err(format!("suspect: {why}").into());
    }
    // After an outage of the store, or of this manager, a host that is gone looks as silent as all
    // others, for a moment. What was listed at the very beginning of the view may be as old as the
    // outage.
    if session.seen_at <= world.view_since {
        return Err("not heard of since the store can be seen again".into());
    }
    if session.value.guard == GuardState::Absent {
        return Err("its guard does not work".into());
    }
    if is_drained(host) {
        return Err("in maintenance".into());
    }
    let state = host.state.as_ref().map(|state| &state.value);
    let held_down = match state {
        Some(state) if state.incarnation != session.value.incarnation => true,
        Some(state) => matches!(
            state.membership,
            Membership::Rejoining | Membership::Isolated | Membership::Fenced
        ),
        None => false,
    };
    let incarnation = session.value.incarnation.clone();
    Ok((
        Runner {
            host: name.clone(),
            incarnation,
        },
        held_down,
    ))
}

/// Whether libvirt and storage work there, by the report of its present life.
fn healthy<'h>(host: &'h HostView, runner: &Runner) -> Result<&'h HostReport, Refusal> {
    let report = host.report.as_ref().map(|report| &report.value);
    let Some(report) = report.filter(|report| report.incarnation == runner.incarnation) else {
        return Err("it has not reported its capacity yet".into());
    };
    if let LibvirtState::Unreachable { reason } = &report.libvirt {
        return Err(format!("libvirt does not answer there: {reason}").into());
    }
    match &report.storage {
        StorageState::Unusable { reason } => {
            Err(format!("storage is not usable there: {reason}").into())
        }
        StorageState::Unknown { reason } => {
            Err(format!("storage is unknown there: {reason}").into())
        }
        StorageState::NotChecked | StorageState::Synced | StorageState::Degraded { .. } => {
            Ok(report)
        }
    }
}
