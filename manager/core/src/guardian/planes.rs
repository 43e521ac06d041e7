//! Which lease planes let a VM run: the control plane (the host's session in the store), the storage
//! plane (its heartbeat on a lease volume), or either.

use holdfast_model::lease::StorageClass;
use serde::{Deserialize, Serialize};

/// How a lease plane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaneState {
    /// Renewed in time.
    Valid,
    /// Not, or not any more.
    Lapsed,
    /// Not in use.
    Unused,
}

/// The runner's rule. `class`: of the storage lease under which the VM was granted.
pub fn may_run(class: StorageClass, control: PlaneState, storage: PlaneState) -> bool {
    match class {
        StorageClass::Plain => control == PlaneState::Valid,
        StorageClass::Quorum => control == PlaneState::Valid || storage == PlaneState::Valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storage_with_a_quorum_of_its_own_can_keep_a_vm_running_alone() {
        use PlaneState::{Lapsed, Unused, Valid};
        use StorageClass::{Plain, Quorum};
        for (class, control, storage, runs) in [
            (Plain, Valid, Unused, true),
            (Plain, Valid, Lapsed, true),
            (Plain, Lapsed, Valid, false),
            (Plain, Unused, Unused, false),
            (Quorum, Valid, Lapsed, true),
            (Quorum, Lapsed, Valid, true),
            (Quorum, Lapsed, Unused, false),
            (Quorum, Lapsed, Lapsed, false),
        ] {
            assert_eq!(
                may_run(class, control, storage),
                runs,
                "{class:?} {control:?} {storage:?}"
            );
        }
    }
}
