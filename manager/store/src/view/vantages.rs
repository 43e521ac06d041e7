//! What other managers find that ask hosts directly.

use super::View;
use holdfast_model::id::ManagerName;
use holdfast_model::probe::{Opinion, Silence, Vantage};
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use std::collections::BTreeMap;

impl View {
    /// What other managers than this one find, by the time at which it was first seen here.
    pub fn vantages(&self, own: &ManagerName) -> BTreeMap<ManagerName, Vantage> {
        let others = self.probes.iter().filter(|(name, _)| *name != own);
        others
            .map(|(name, seen)| (name.clone(), vantage(seen)))
            .collect()
    }
}

/// An opinion, with its silences counted from when it was first seen: they began so long before it was
/// written, and that was no later.
fn vantage(opinion: &Seen<Opinion>) -> Vantage {
    let silent = opinion.value.silent.iter().map(|(host, silent)| {
        let silence = Silence {
            incarnation: silent.incarnation.clone(),
            since: Instant(opinion.seen_at.0.saturating_sub(silent.silent_ms)),
            for_ms: silent.silent_ms,
        };
        (host.clone(), silence)
    });
    Vantage {
        site: opinion.value.site.clone(),
        silent: silent.collect(),
        heard: BTreeMap::new(),
    }
}
