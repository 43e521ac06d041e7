//! Trials: what the demo, the benchmarks and the lab tests do to a lab, and how it is measured.
//!
//! ```text
//! power off ── lost ── proven ── granted ── running ── first guest write
//!   the lab     └── the cluster's own events ──┘          └ the observer, outside all hosts
//! ```
//! The cluster is driven and read through its own command line, as an operator would. What a VM
//! really did is taken from the observer alone.

mod cluster;
mod fail;
mod handover;
mod home;
mod leaders;
mod picture;

pub use cluster::{Calls, Cluster, VmWish};
pub use fail::{Failover, VmFailover, lose, lose_site};
pub use handover::{Handover, hand_over};
pub use home::{Homecoming, VmMove, move_vm, watch_homecoming};
pub use leaders::{lead_from, leading_manager, move_etcd_leader};
pub use picture::{failover_picture, moves_picture};

/// The middle of a list, or the mean of the two in the middle; none of an empty one.
pub fn median(values: impl IntoIterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([5]), Some(5));
        assert_eq!(median([9, 1, 5]), Some(5));
        assert_eq!(median([1, 9, 5, 6]), Some(5));
    }
}
