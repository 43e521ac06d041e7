//! What every scenario with VMs is held to besides its own words: nothing ran twice, nothing acknowledged was
//! lost, and no VM was stopped that nobody had to stop. See [`needless`].

use holdfast_model::event::Event;
use holdfast_model::status::VmState;

use super::{PATIENCE, expect};
use crate::clock;
use crate::error::{LabError, Result};
use crate::needless::{Trial, needless};
use crate::proof::Proof;
use crate::trial::{Cluster, VmWish};

/// What is known once all VMs of a scenario run.
pub(super) struct Watch {
    began_ms: u64,
    ran_ms: u64,
    known: Vec<Event>,
}

impl Watch {
    /// Runs the VMs; from then on each of them, and any other, has to run on unless something is done to it.
    pub(super) fn begin(cluster: &Cluster, wishes: &[VmWish]) -> Result<Watch> {
        cluster.lab.struck().clear();
        let began_ms = clock::now_ms();
        cluster.run_vms(wishes, PATIENCE)?;
        Ok(Watch {
            began_ms,
            // In this order: a grant that is known here has not booted later.
            known: cluster.events()?,
            ran_ms: clock::now_ms(),
        })
    }

    /// The end: all of them run, and the guests' signs and the records of all VMs are in order.
    pub(super) fn end(self, cluster: &Cluster, wishes: &[VmWish]) -> Result<()> {
        live(cluster, wishes)?;
        let proof = cluster.lab.proof()?;
        for wish in wishes {
            never_twice(&proof, &wish.name)?;
        }
        let mut events = cluster.events()?;
        events.retain(|event| !self.known.contains(event));
        let hits = cluster.lab.struck().clone();
        let found = needless(
            &proof,
            &Trial {
                began_ms: self.began_ms,
                ran_ms: self.ran_ms,
                hits: &hits,
                events: &events,
            },
        );
        expect(found.is_empty(), || {
            format!(
                "stopped needlessly: {}; done was {hits:?}",
                found.join("; ")
            )
        })
    }
}

/// Each is reported to run, or to be on its way home, and gives a sign.
fn live(cluster: &Cluster, wishes: &[VmWish]) -> Result<()> {
    cluster.wait("all VMs to run in the end", PATIENCE, |status| {
        let found = |wish: &VmWish| status.vms.iter().find(|vm| vm.name.as_str() == wish.name);
        let away = |wish: &&VmWish| {
            let state = found(wish).map(|vm| vm.state);
            !matches!(state, Some(VmState::Running | VmState::Migrating))
        };
        let late: Vec<String> = wishes
            .iter()
            .filter(away)
            .map(|wish| format!("{}: {:?}", wish.name, found(wish)))
            .collect();
        match late.is_empty() {
            true => Ok(()),
            false => Err(late.join("; ")),
        }
    })?;
    let since_ms = clock::now_ms();
    let mut log = cluster.lab.observer_log()?;
    for wish in wishes {
        log.wait_for_beat(&wish.name, since_ms, PATIENCE)?;
    }
    Ok(())
}

/// The guests' own signs show no moment in which a VM ran twice.
pub(super) fn never_twice(proof: &Proof, vm: &str) -> Result<()> {
    let Some(found) = proof.vms.iter().find(|each| each.vm == vm) else {
        return Err(LabError::Refused(format!("nothing was ever heard of {vm}")));
    };
    expect(found.overlaps.is_empty(), || {
        format!("{vm} ran twice: {:?}", found.overlaps)
    })?;
    expect(found.lost_writes == 0, || {
        format!(
            "{vm} lost {} writes that it was told were durable",
            found.lost_writes
        )
    })
}
