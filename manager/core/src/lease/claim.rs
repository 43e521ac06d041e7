//! A VM's sector: a fencing token that outlives etcd.
//!
//! Who may start a VM is decided in etcd, by evidence. The sector is the second lock: it is written
//! before the VM runs, with the grant's generation. It is taken only by a grant that knows the claim that
//! stands there, generation and holder: one that it does not know is of an owner that the control plane
//! has forgotten, because it was set back to an older state. A higher generation alone would not do: after
//! a restore the next grant but one is above what stands there, and the VM still runs (the protocol model,
//! *Set back*, in nine steps).
//!
//! A write that hung may land late and hide a newer claim. So a holder looks at its sector every few
//! seconds, and writes its claim again over an older one.

use holdfast_model::id::{Generation, VmName, VmUuid};
use holdfast_model::lease::{Claim, Holder};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A grant that is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The VM.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: VmUuid,
    /// The grant.
    pub generation: Generation,
    /// This host's life.
    pub holder: Holder,
    /// The grants before it that may have been claimed, by the control plane's memory.
    pub follows: Vec<(Generation, Holder)>,
}

/// Why a sector is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is another VM's.
    #[error(
        "the slot on the lease volume is that of VM {vm} ({uuid}): the two are mixed up in etcd"
    )]
    OtherVm {
        /// Whose it is.
        vm: VmName,
        /// Its UUID.
        uuid: VmUuid,
    },
    /// A grant stands there that the control plane does not know of.
    #[error(
        "the storage knows an owner that the control plane does not: generation {} by {}, and generation \
         {wanted} was granted. Was etcd restored from a backup? Nothing is started",
        found.generation, holder(found)
    )]
    Unknown {
        /// That stands there.
        found: Box<Claim>,
        /// That was granted.
        wanted: Generation,
    },
}

fn holder(claim: &Claim) -> &str {
    let holder = claim.holder.as_ref();
    holder.map_or("nobody", |holder| holder.host.as_str())
}

/// Whether a sector may be taken for a grant; what is to be written then. `found` is what stands
/// there, `None` if the slot is free. A damaged sector is no case of this: it is not taken.
pub fn claim(found: Option<&Claim>, wanted: &Wanted) -> Result<Claim, ClaimError> {
    if let Some(found) = found {
        if found.vm != wanted.vm || found.uuid != wanted.uuid {
            return Err(ClaimError::OtherVm {
                vm: found.vm.clone(),
                uuid: found.uuid.clone(),
            });
        }
        // The very same claim again: its acknowledgement was lost.
        let again =
            found.generation == wanted.generation && found.holder.as_ref() == Some(&wanted.holder);
        let known = found.generation < wanted.generation
            && wanted.follows.iter().any(|(generation, holder)| {
                *generation == found.generation
                    && found.holder.as_ref().is_none_or(|found| found == holder)
            });
        if !again && !known {
            return Err(ClaimError::Unknown {
                found: Box::new(found.clone()),
                wanted: wanted.generation,
            });
        }
    }
    Ok(Claim {
        vm: wanted.vm.clone(),
        uuid: wanted.uuid.clone(),
        generation: wanted.generation,
        holder: Some(wanted.holder.clone()),
        incoming: None,
    })
}

/// What a holder finds that looks at its sector again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Its claim stands there.
    Held,
    /// An older one hides it, or somebody else's VM: it is written again.
    WriteAgain,
    /// A newer one, or the same grant by another life: its VM is killed at once, whatever its planes say.
    PassedOver,
}

/// Looks at a sector that was claimed. `None`: the slot is free, which it never becomes by itself.
pub fn look_again(found: Option<&Claim>, own: &Wanted) -> Again {
    let Some(found) = found.filter(|found| found.uuid == own.uuid) else {
        return Again::WriteAgain;
    };
    match found.generation.cmp(&own.generation) {
        Ordering::Greater => Again::PassedOver,
        Ordering::Less => Again::WriteAgain,
        Ordering::Equal => match &found.holder {
            Some(holder) if *holder != own.holder => Again::PassedOver,
            Some(_) => Again::Held,
            None => Again::WriteAgain,
        },
    }
}
