//! Which sector of a lease volume is a VM's.
//!
//! A VM's claim stands in one of [`WINDOW`] sectors that follow from its UUID alone, so it is found on the
//! volume also by a control plane that has forgotten it. Which of them it is, is settled in the store once
//! and for all of the VM's life, so that no two VMs take one.

use holdfast_model::id::VmUuid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sectors in which a VM's claim may stand.
pub const WINDOW: u32 = 16;

/// What stands in a sector for VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "found")]
pub enum Found {
    /// Nobody's claim.
    Free,
    /// A VM's claim.
    Of {
        /// Whose.
        uuid: VmUuid,
    },
    /// It cannot be believed.
    Damaged {
        /// Why not.
        why: String,
    },
}

/// Why a VM has no sector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// It may be this VM's.
    #[error(
        "slot {slot} of the lease volume may be this VM's and cannot be read: {why}. If etcd was not \
         restored from a backup since, `holdfast lease repair VOLUME --claims` empties it"
    )]
    Damaged {
        /// Which slot.
        slot: u32,
        /// What is wrong with it.
        why: String,
    },
    /// The store and the volume do not agree.
    #[error(
        "slot {slot} of the lease volume is that of VM {disk} by the volume and of {store} by etcd; was \
         etcd restored from a backup? `holdfast doctor` tells more"
    )]
    Mixed {
        /// Which slot.
        slot: u32,
        /// The UUID that stands there.
        disk: VmUuid,
        /// The UUID in the store.
        store: VmUuid,
    },
    /// All are other VMs'.
    #[error(
        "all {WINDOW} slots of the lease volume in which this VM's claim may stand are other VMs'; make a \
         larger volume (`holdfast lease create --vms`)"
    )]
    Full,
}

/// The slots in which a VM's claim may stand, on a volume with that many: from the FNV-1a hash (64 bits,
/// offset basis 0xcbf29ce484222325, prime 0x100000001b3) of its UUID's text on.
pub fn window(uuid: &VmUuid, vms_max: u32) -> Vec<u32> {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = uuid.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let first = hash % u64::from(vms_max.max(1));
    let nth = |n: u32| (first + u64::from(n)) % u64::from(vms_max.max(1));
    let slots = (0..WINDOW.min(vms_max)).map(nth);
    slots.filter_map(|slot| u32::try_from(slot).ok()).collect()
}

/// The slot that a VM has, or takes. `found`: its window as it stands on the volume; `known`: whose the
/// store says they are.
pub fn choose(
    uuid: &VmUuid,
    found: &[(u32, Found)],
    known: &BTreeMap<u32, VmUuid>,
) -> Result<u32, SlotError> {
    for (slot, there) in found {
        match (there, known.get(slot)) {
            (Found::Of { uuid: disk }, Some(store))
                if disk != store && (disk == uuid || store == uuid) =>
            {
                return Err(SlotError::Mixed {
                    slot: *slot,
                    disk: disk.clone(),
                    store: store.clone(),
                });
            }
            (Found::Of { uuid: disk }, _) if disk == uuid => return Ok(*slot),
            (Found::Free, Some(store)) if store == uuid => return Ok(*slot),
            _ => {}
        }
    }
    for (slot, there) in found {
        if let Found::Damaged { why } = there
            && known.get(slot).is_none_or(|store| store == uuid)
        {
            return Err(SlotError::Damaged {
                slot: *slot,
                why: why.clone(),
            });
        }
    }
    let free = |(slot, there): &&(u32, Found)| *there == Found::Free && !known.contains_key(slot);
    let free = found.iter().find(free);
    free.map(|(slot, _)| *slot).ok_or(SlotError::Full)
}
