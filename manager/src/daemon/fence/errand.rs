//! What another manager that leads has this one ask: a device that it does not reach itself. How errands are done is
//! `holdfast_fence`'s.

use super::Desk;
use crate::daemon::Shared;
use async_trait::async_trait;
use holdfast_core::errand::{Duty, Memory, duty};
use holdfast_fence::errand::{self, Doer};
use holdfast_model::errand::Errand;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::StoreError;
use holdfast_store::api::{Store, TxnOutcome};
use holdfast_store::cache::Cache;
use holdfast_store::errands;
use holdfast_store::view::View;
use std::sync::Arc;

#[async_trait]
impl Doer for Shared {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    fn desk(&self) -> &Desk {
        self.fencer.desk()
    }

    fn duty(&self, _: &View, errand: &Errand, memory: &Memory) -> Duty {
        duty(&self.me.name, &self.me.life, errand, memory)
    }

    async fn take(&self, errand: &Seen<Errand>) -> Result<TxnOutcome, StoreError> {
        let take = errands::take(&errand.value, errand.revision);
        self.store.txn(take).await
    }
}

/// Runs until the daemon ends. What is under way then is given up, and told by the next life.
pub async fn run(shared: Shared, cache: Cache) {
    let stop = shared.stop.clone();
    errand::run(Arc::new(shared), cache, stop).await;
}

/// Takes one, and asks the device if that was accepted.
pub async fn carry_out(shared: &Shared, errand: &Seen<Errand>, holds_ms: u64) {
    errand::carry_out(shared, errand, holds_ms).await;
}
