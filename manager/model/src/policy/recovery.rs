//! How VMs and hosts come back after they failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How failed VMs are started again. Holdfast never gives up; it waits longer each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartPolicy {
    /// Failures in a row on one host after which another host is tried.
    pub same_host_attempts: u32,
    /// Wait before the second attempt in a row; doubles with each further one.
    pub backoff_min_ms: u64,
    /// Longest wait between attempts.
    pub backoff_max_ms: u64,
    /// A VM that ran this long has recovered: earlier failures are forgotten.
    pub stable_after_ms: u64,
    /// How long a guest may take to shut down when asked to, before it is destroyed.
    pub shutdown_grace_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            same_host_attempts: 3,
            backoff_min_ms: 1_000,
            backoff_max_ms: 300_000,
            stable_after_ms: 60_000,
            shutdown_grace_ms: 60_000,
        }
    }
}

impl RestartPolicy {
    /// Wait before the next attempt after `failures` in a row: none after the first.
    pub fn backoff_ms(&self, failures: u32) -> u64 {
        match failures {
            0 | 1 => 0,
            n => {
                let factor = 1u64 << (n - 2).min(32);
                self.backoff_min_ms
                    .saturating_mul(factor)
                    .min(self.backoff_max_ms)
            }
        }
    }
}

/// How long a host that was lost is held back once it is there again. It may take VMs in the
/// meantime only where no other host can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RejoinPolicy {
    /// After one loss; doubles with each further one.
    pub hold_down_ms: u64,
    /// The longest.
    pub hold_down_max_ms: u64,
    /// A host that stayed online this long has no past.
    pub forget_after_ms: u64,
}

impl Default for RejoinPolicy {
    fn default() -> Self {
        Self {
            hold_down_ms: 10_000,
            hold_down_max_ms: 600_000,
            forget_after_ms: 1_800_000,
        }
    }
}

impl RejoinPolicy {
    /// Hold-down after `losses` in a row.
    pub fn hold_down_for_ms(&self, losses: u32) -> u64 {
        let factor = 1u64 << losses.saturating_sub(1).min(32);
        self.hold_down_ms
            .saturating_mul(factor)
            .min(self.hold_down_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_is_bounded() {
        let policy = RestartPolicy::default();
        let waits: Vec<u64> = (0..5).map(|n| policy.backoff_ms(n)).collect();
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000]);
        assert_eq!(policy.backoff_ms(u32::MAX), policy.backoff_max_ms);
        assert_eq!(RejoinPolicy::default().hold_down_for_ms(u32::MAX), 600_000);
    }
}
