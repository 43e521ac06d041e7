//! Which lease planes let a VM run. Today there is one, the control plane (the host's session in
//! etcd); a storage lease joins here, and nowhere else in the guard.

use serde::{Deserialize, Serialize};

/// What kind of storage a VM's disks are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaneClass {
    /// Copies may diverge in a partition, or there is no storage lease: the control plane alone
    /// counts.
    #[default]
    Plain,
    /// The storage itself lets only one side of a partition write: either plane is enough.
    Quorum,
}

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

/// The runner's rule of safety.md.
pub fn may_run(class: PlaneClass, control: PlaneState, storage: PlaneState) -> bool {
    match class {
        PlaneClass::Plain => control == PlaneState::Valid,
        PlaneClass::Quorum => control == PlaneState::Valid || storage == PlaneState::Valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storage_with_a_quorum_of_its_own_can_keep_a_vm_running_alone() {
        use PlaneClass::{Plain, Quorum};
        use PlaneState::{Lapsed, Unused, Valid};
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
