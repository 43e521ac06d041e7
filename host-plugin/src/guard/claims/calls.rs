//! The calls to the volume, on the thread that may hang.

use super::{ClaimState, Task};
use holdfast_core::lease::claim::{Again, ClaimError, Wanted, claim, look_again};
use holdfast_core::lease::slots::{Found, window};
use holdfast_lease::error::VolumeError;
use holdfast_lease::volume::Volume;
use holdfast_model::id::VmUuid;
use holdfast_model::lease::{Claim, Record};

/// Does one thing.
pub fn carry_out(volume: &Volume, task: &Task) -> ClaimState {
    let done = match task {
        Task::Window { uuid } => look_around(volume, uuid),
        Task::Claim { slot, wanted } => take(volume, *slot, wanted),
        Task::Free { slot, uuid } => free(volume, *slot, uuid),
        Task::Look { slot, own } => look(volume, *slot, own),
    };
    done.unwrap_or_else(|error| {
        let advice = match error {
            VolumeError::Sector { .. } => {
                "; if etcd was not restored from a backup since, `holdfast lease repair VOLUME --claims` \
                 empties it"
            }
            _ => "",
        };
        ClaimState::Refused {
            reason: format!("{error}{advice}"),
            stands: None,
        }
    })
}

/// What stands in a slot, and how often it was written.
struct There {
    number: u64,
    writes: u64,
    claim: Option<Claim>,
}

fn read(volume: &Volume, slot: u32) -> Result<There, VolumeError> {
    let layout = volume.superblock().layout;
    let none = || VolumeError::Layout(format!("the lease volume has no slot {slot} for VMs"));
    let number = layout.claim(slot).ok_or_else(none)?;
    let sector = volume.read(number)?;
    let claim = match sector.record {
        Record::Claim(claim) => claim,
        // The kind is checked when a sector is read.
        _ => None,
    };
    Ok(There {
        number,
        writes: sector.writes,
        claim,
    })
}

fn look_around(volume: &Volume, uuid: &VmUuid) -> Result<ClaimState, VolumeError> {
    let slots = window(uuid, volume.superblock().layout.vms_max);
    let found = slots.into_iter().map(|slot| match read(volume, slot) {
        Ok(There { claim: None, .. }) => Ok((slot, Found::Free)),
        Ok(There {
            claim: Some(claim), ..
        }) => Ok((slot, Found::Of { uuid: claim.uuid })),
        Err(VolumeError::Sector { source, .. }) => {
            let why = source.to_string();
            Ok((slot, Found::Damaged { why }))
        }
        Err(error) => Err(error),
    });
    let found = found.collect::<Result<_, _>>()?;
    Ok(ClaimState::Window { found })
}

/// What was written is read back: the storage may have lost it, or somebody else may write there too.
fn take(volume: &Volume, slot: u32, wanted: &Wanted) -> Result<ClaimState, VolumeError> {
    let there = read(volume, slot)?;
    let next = match claim(there.claim.as_ref(), wanted) {
        Ok(next) => next,
        Err(error) => {
            let reason = error.to_string();
            let stands = match error {
                ClaimError::Unknown { found, .. } => Some(found),
                ClaimError::OtherVm { .. } => None,
            };
            return Ok(ClaimState::Refused { reason, stands });
        }
    };
    let record = Record::Claim(Some(next));
    volume.write_and_check(there.number, there.writes + 1, record)?;
    Ok(ClaimState::Held)
}

fn free(volume: &Volume, slot: u32, uuid: &VmUuid) -> Result<ClaimState, VolumeError> {
    let there = read(volume, slot)?;
    if there.claim.is_some_and(|claim| claim.uuid == *uuid) {
        let record = Record::Claim(None);
        volume.write_and_check(there.number, there.writes + 1, record)?;
    }
    Ok(ClaimState::Freed)
}

/// A sector that is torn or rotten is written again by its holder, as one that an older claim hides.
fn look(volume: &Volume, slot: u32, own: &Wanted) -> Result<ClaimState, VolumeError> {
    let there = match read(volume, slot) {
        Ok(there) => there,
        Err(VolumeError::Sector { number, source, .. }) if source.is_damage() => {
            let vm = &own.vm;
            tracing::warn!(%vm, slot, why = %source, "its claim is damaged; it is written again");
            There {
                number,
                writes: 0,
                claim: None,
            }
        }
        Err(error) => return Err(error),
    };
    match look_again(there.claim.as_ref(), own) {
        Again::Held => Ok(ClaimState::Held),
        Again::WriteAgain => {
            let again = Claim {
                vm: own.vm.clone(),
                uuid: own.uuid.clone(),
                generation: own.generation,
                holder: Some(own.holder.clone()),
                incoming: None,
            };
            tracing::warn!(vm = %own.vm, slot, "its claim was hidden; it is written again");
            let record = Record::Claim(Some(again));
            volume.write_and_check(there.number, there.writes + 1, record)?;
            Ok(ClaimState::Held)
        }
        Again::PassedOver => {
            let claim = there.claim.as_ref();
            let generation = claim.map_or(own.generation, |claim| claim.generation);
            let holder = claim.and_then(|claim| claim.holder.as_ref());
            let host = holder.map_or("nobody", |holder| holder.host.as_str());
            Ok(ClaimState::PassedOver {
                by: format!("generation {generation} by {host}"),
            })
        }
    }
}
