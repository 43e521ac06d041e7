//! A VM's sector: a fencing token that outlives etcd.
//!
//! Who may start a VM is decided in etcd, by evidence. The sector is the second lock: it is written
//! before the VM runs, with the grant's generation, and a generation that is not above the one that
//! stands there is refused. So a control plane that was set back to an older state starts nothing
//! that runs, and a holder that was passed over finds out from the storage.

use holdfast_model::id::{Generation, VmName, VmUuid};
use holdfast_model::lease::{Claim, Holder};

/// A grant that is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The VM.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: VmUuid,
    /// The grant.
    pub generation: Generation,
    /// This host's life.
    pub holder: Holder,
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
    /// A newer grant stands there.
    #[error(
        "the storage knows a newer owner than the control plane: generation {found} by {holder}, \
         and generation {wanted} was granted. Was etcd restored from a backup? Nothing is started"
    )]
    Newer {
        /// That stands there.
        found: Generation,
        /// That was granted.
        wanted: Generation,
        /// Who holds it.
        holder: String,
    },
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
        if found.generation >= wanted.generation && !again {
            let holder = found.holder.as_ref().map(|holder| holder.host.to_string());
            return Err(ClaimError::Newer {
                found: found.generation,
                wanted: wanted.generation,
                holder: holder.unwrap_or_else(|| "nobody".to_owned()),
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

/// Whether a holder that looks at its sector again has been passed over: then its VM is killed at
/// once, whatever its planes say.
pub fn is_passed_over(found: &Claim, own: &Wanted) -> bool {
    found.uuid == own.uuid
        && (found.generation > own.generation
            || (found.generation == own.generation
                && found
                    .holder
                    .as_ref()
                    .is_some_and(|holder| *holder != own.holder)))
}
